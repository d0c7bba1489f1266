// Whether a request came through the gateway. Each function says what the secret is called that the
// request was accepted by, or throws. `req` is node:http's, `secrets` a Map of them by their ids: two
// of them while they are rotated.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { verifySignature } from 'http-message-sig';
import { jwtVerify } from 'jose';
import { parseDictionary } from 'structured-headers';

const LEEWAY = 30; // seconds that two clocks may be apart

/** `kind: static` */
export function verifyStatic(req, secrets) {
  // A hash has one length, which timingSafeEqual needs.
  const hash = (text) => createHash('sha256').update(text).digest();
  const sent = hash(credential(req));
  for (const [id, secret] of secrets) {
    if (timingSafeEqual(hash(secret), sent)) return { key_id: id };
  }
  throw new Error('the credential is none of the secrets');
}

/** `kind: jwt`. With `act`, `sub` is the caller; without, the gateway itself. */
export async function verifyJwt(req, secrets, { issuer, audience }) {
  const key = ({ kid }) => {
    if (!secrets.has(kid)) throw new Error('the token names a key that is not known');
    return Buffer.from(secrets.get(kid));
  };
  const { payload, protectedHeader } = await jwtVerify(credential(req), key, {
    algorithms: ['HS256'],
    typ: 'JWT',
    issuer,
    audience,
    requiredClaims: ['exp'],
    maxTokenAge: '1h', // with it, `iat` is looked at too
    clockTolerance: LEEWAY,
  });
  if (payload.exp - payload.iat > 3600) throw new Error('the token is good for too long');
  return { key_id: protectedHeader.kid, sub: payload.sub, act: payload.act?.sub };
}

/** `kind: http_signature`. `body`: all of it, as a Buffer. `nonces`: one `Nonces` for all requests. */
export async function verifyHttpSignature(req, body, secrets, nonces) {
  const fields = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    fields.push({ name: req.rawHeaders[i].toLowerCase(), value: req.rawHeaders[i + 1] });
  }
  // The library refuses a request with bytes beyond ASCII in any header. None of these can be covered.
  const odd = new Set(fields.filter(({ value }) => /[^\t\x20-\x7e]/.test(value)).map(({ name }) => name));

  // The library takes a URL apart again: a host with a slash in it would move the path.
  const hosts = req.headersDistinct.host ?? [];
  if (hosts.length !== 1 || !/^[\w.:[\]-]+$/.test(hosts[0]) || !req.url.startsWith('/')) {
    throw new Error('the request has no host or path that can be signed');
  }
  const hasDigest = 'content-digest' in req.headers;
  const { parameters } = await verifySignature(
    {
      kind: 'request',
      method: req.method,
      targetUri: `http://${hosts[0]}${req.url}`,
      fields: fields.filter(({ name }) => !odd.has(name)),
    },
    {
      label: 'service-token',
      policy: {
        algorithms: ['hmac-sha256'],
        requiredComponents: ['@method', '@authority', '@path', '@query', ...(hasDigest ? ['content-digest'] : [])],
        requiredParameters: ['created', 'expires', 'nonce', 'keyid', 'tag'],
        maxAge: 300,
        clockSkew: LEEWAY,
        // Called for what is signed by one of the secrets: nobody else can use a nonce up.
        validate: ({ parameters: { tag, nonce, created, expires } }) =>
          tag === 'service-token' && nonces.use(nonce, Math.min(expires, created + 300) + LEEWAY),
      },
      resolveVerifier: ({ parameters: { keyid } }) => ({
        algorithm: 'hmac-sha256',
        verify(base, signature) {
          if (!secrets.has(keyid)) return false;
          const ours = createHmac('sha256', secrets.get(keyid)).update(base).digest();
          return signature.length === ours.length && timingSafeEqual(signature, ours);
        },
      }),
    },
  );
  if (hasDigest) checkDigest(req.headersDistinct['content-digest'].join(', '), body);
  return { key_id: parameters.keyid };
}

/** Nonces that were used, each as long as its signature is good. When there is no room, none is new. */
export class Nonces {
  #ends = new Map();
  #capacity;

  constructor(capacity = 100_000) {
    this.#capacity = capacity;
  }

  /** Whether a nonce is new. `end`: the last second in which its signature is good. */
  use(nonce, end) {
    const now = Math.floor(Date.now() / 1000);
    // In the order in which they came, which is nearly that in which they end.
    for (const [old, oldEnd] of this.#ends) {
      if (oldEnd >= now) break;
      this.#ends.delete(old);
    }
    if (this.#ends.has(nonce) || this.#ends.size >= this.#capacity) return false;
    this.#ends.set(nonce, end);
    return true;
  }
}

/** Compares a body with `content-digest` (RFC 9530): every digest that is known, and at least one. */
function checkDigest(value, body) {
  const hashes = new Map([['sha-256', 'sha256'], ['sha-512', 'sha512']]);
  const known = [...parseDictionary(value)].filter(([algorithm]) => hashes.has(algorithm));
  const matches = ([algorithm, [digest]]) =>
    digest instanceof ArrayBuffer &&
    createHash(hashes.get(algorithm)).update(body).digest().equals(Buffer.from(digest));
  if (known.length === 0 || !known.every(matches)) throw new Error('the body is not the one that was signed');
}

/** The header's only line. Kong can't take a header away: an empty one is none. */
function credential(req) {
  const lines = req.headersDistinct['x-service-token'] ?? [];
  if (lines.length !== 1 || lines[0] === '') throw new Error('there is no credential, or more than one');
  return lines[0];
}
