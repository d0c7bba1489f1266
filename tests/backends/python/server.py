"""A backend that answers 200 to what came through the gateway, and 401 to all else:

    SERVICE_TOKEN_KIND=static SERVICE_TOKEN_SECRETS='2026-12=… 2026-11=…' python3 server.py 8080

Port 0 is any; the one that it listens on is printed. Tokens are checked by SERVICE_TOKEN_ISSUER and
SERVICE_TOKEN_AUDIENCE.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import verify

LONGEST_BODY = 1024 * 1024

KIND = os.environ.get("SERVICE_TOKEN_KIND", "")
SECRETS = dict(secret.split("=", 1) for secret in os.environ.get("SERVICE_TOKEN_SECRETS", "").split())
ISSUER = os.environ.get("SERVICE_TOKEN_ISSUER")
AUDIENCE = os.environ.get("SERVICE_TOKEN_AUDIENCE")
NONCES = verify.Nonces()


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        try:
            answer = {"key_id": None, "sub": None, "act": None, **self.verified(self.body())}
            self.write(200, answer)
        except Exception as error:
            self.write(401, {"reason": str(error)})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def verified(self, body):
        headers = self.headers.items()
        # Not `path`, in which the standard library has replaced leading slashes.
        target = self.requestline.split(" ")[1]
        match KIND:
            case "static":
                return verify.verify_static(headers, SECRETS)
            case "jwt":
                return verify.verify_jwt(headers, SECRETS, ISSUER, AUDIENCE)
            case "http_signature":
                return verify.verify_http_signature(self.command, target, headers, body, SECRETS, NONCES)

    def body(self):
        if "transfer-encoding" not in self.headers:
            length = int(self.headers.get("content-length", 0))
            if not 0 <= length <= LONGEST_BODY:
                raise ValueError("the body is too long")
            return self.rfile.read(length)
        # The standard library reads no chunks.
        body = b""
        while (length := int(self.rfile.readline(1024).split(b";")[0], 16)) > 0:
            if len(body) + length > LONGEST_BODY:
                raise ValueError("the body is too long")
            body += self.rfile.read(length)
            self.rfile.readline()
        while self.rfile.readline(1024).strip():
            pass
        return body

    def write(self, status, answer):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, *_):
        pass


if KIND not in ("static", "jwt", "http_signature") or not SECRETS or (KIND == "jwt" and not (ISSUER and AUDIENCE)):
    # A claim that is not given would not be checked.
    sys.exit("SERVICE_TOKEN_KIND or SERVICE_TOKEN_SECRETS is missing, or what a token needs")
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8080), Handler)
print("listening", server.server_port, flush=True)
server.serve_forever()
