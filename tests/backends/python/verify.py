"""Whether a request came through the gateway. Each function says what the secret is called that the
request was accepted by, or raises. `headers` is the list of a request's names and values, `secrets` a
dict of secrets by their ids: two of them while they are rotated."""

import hmac
import time
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock

import jwt
from http_message_signatures import (
    HTTPMessageVerifier,
    HTTPSignatureComponentResolver,
    MappingKeyResolver,
    algorithms,
)

LEEWAY = 30  # seconds that two clocks may be apart
LONGEST_AGE = 300  # seconds since a signature was made


class Refused(Exception):
    pass


def verify_static(headers, secrets):
    """`kind: static`"""
    sent = credential(headers).encode("latin-1")
    for key_id, secret in secrets.items():
        if hmac.compare_digest(secret.encode(), sent):
            return {"key_id": key_id}
    raise Refused("the credential is none of the secrets")


def verify_jwt(headers, secrets, issuer, audience):
    """`kind: jwt`. With `act`, `sub` is the caller; without, the gateway itself."""
    token = credential(headers)
    head = jwt.get_unverified_header(token)
    if head.get("typ") != "JWT" or head.get("kid") not in secrets:
        raise Refused("the token is of another type, or names a key that is not known")
    claims = jwt.decode(
        token,
        secrets[head["kid"]],
        algorithms=["HS256"],
        issuer=issuer,
        audience=audience,
        leeway=LEEWAY,
        options={"require": ["iss", "aud", "iat", "exp"]},
    )
    if claims["exp"] - claims["iat"] > 3600:
        raise Refused("the token is good for too long")
    return {"key_id": head["kid"], "sub": claims.get("sub"), "act": (claims.get("act") or {}).get("sub")}


def verify_http_signature(method, target, headers, body, secrets, nonces):
    """`kind: http_signature`. `target`: path and query, as they stand in the request line. `body`: all
    of it. `nonces`: one `Nonces` for all requests."""
    hosts = [value for name, value in headers if name.lower() == "host"]
    if len(hosts) != 1 or not target.startswith("/"):
        raise Refused("the request has no host or path that can be signed")
    has_digest = any(name.lower() == "content-digest" for name, _ in headers)
    keys = {key_id: secret.encode() for key_id, secret in secrets.items()}
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.HMAC_SHA256,
        key_resolver=MappingKeyResolver(public_keys=keys, private_keys={}),
        component_resolver_class=Components,
    )
    verifier.max_clock_skew = timedelta(seconds=LEEWAY)
    [signed] = verifier.verify(
        Request(method, hosts[0], target, dict_of(headers)),
        max_age=timedelta(seconds=LONGEST_AGE),
        expect_tag="service-token",
        expect_label="service-token",
        require_components=["@method", "@authority", "@path", "@query"] + ["content-digest"] * has_digest,
        # With a body, the library compares it with its digest, which must then be there.
        body=body if has_digest else None,
    )
    if signed.nonce is None or "expires" not in signed.parameters:
        raise Refused("the signature has no nonce or no end")
    end = min(signed.parameters["expires"], signed.parameters["created"] + LONGEST_AGE) + LEEWAY
    # The last of all: nobody can use a nonce up who can't sign.
    if not nonces.use(signed.nonce, end):
        raise Refused("the nonce of the signature was used before")
    return {"key_id": signed.parameters["keyid"]}


@dataclass
class Request:
    method: str
    host: str
    target: str
    headers: dict
    url = "http://host/"  # the library wants one


class Components(HTTPSignatureComponentResolver):
    """What is covered, as it arrived. The library would take it from a URL, and refuses those with
    brackets, braces or bars in the query, which clients send and gateways pass on."""

    derived_component_resolvers = {
        "@method": lambda self: self.message.method,
        "@authority": lambda self: self.message.host.lower().removesuffix(":80"),
        "@path": lambda self: self.message.target.partition("?")[0],
        "@query": lambda self: "?" + self.message.target.partition("?")[2],
    }


class Nonces:
    """Nonces that were used, each as long as its signature is good. When there is no room, none is
    new."""

    def __init__(self, capacity=100_000):
        self.capacity = capacity
        self.ends = {}
        self.lock = Lock()

    def use(self, nonce, end):
        """Whether a nonce is new. `end`: the last second in which its signature is good."""
        with self.lock:
            now = time.time()
            # In the order in which they came, which is nearly that in which they end.
            while self.ends and next(iter(self.ends.values())) < now:
                del self.ends[next(iter(self.ends))]
            if nonce in self.ends or len(self.ends) >= self.capacity:
                return False
            self.ends[nonce] = end
            return True


def dict_of(headers):
    """Headers by name, the lines of one name joined."""
    joined = {}
    for name, value in headers:
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def credential(headers):
    """The header's only line. Kong can't take a header away: an empty one is none."""
    lines = [value for name, value in headers if name.lower() == "x-service-token"]
    if len(lines) != 1 or not lines[0]:
        raise Refused("there is no credential, or more than one")
    return lines[0]
