// A backend that answers 200 to what came through the gateway, and 401 to all else:
//
//   SERVICE_TOKEN_KIND=static SERVICE_TOKEN_SECRETS='2026-12=… 2026-11=…' node server.mjs 8080
//
// Port 0 is any; the one that it listens on is printed. Tokens are checked by SERVICE_TOKEN_ISSUER and
// SERVICE_TOKEN_AUDIENCE.

import { createServer } from 'node:http';
import { env, argv, exit } from 'node:process';
import { Nonces, verifyHttpSignature, verifyJwt, verifyStatic } from './verify.mjs';

const LONGEST_BODY = 1024 * 1024;

const secrets = new Map(
  (env.SERVICE_TOKEN_SECRETS ?? '').split(/\s+/).filter(Boolean).map((secret) => {
    const at = secret.indexOf('=');
    return [secret.slice(0, at), secret.slice(at + 1)];
  }),
);
const nonces = new Nonces();
const claims = { issuer: env.SERVICE_TOKEN_ISSUER, audience: env.SERVICE_TOKEN_AUDIENCE };
const verify = {
  static: (req) => verifyStatic(req, secrets),
  jwt: (req) => verifyJwt(req, secrets, claims),
  http_signature: (req, body) => verifyHttpSignature(req, body, secrets, nonces),
}[env.SERVICE_TOKEN_KIND];
// A claim that is not given would not be checked.
const complete = env.SERVICE_TOKEN_KIND !== 'jwt' || (claims.issuer && claims.audience);
if (!verify || secrets.size === 0 || !complete) {
  console.error('SERVICE_TOKEN_KIND or SERVICE_TOKEN_SECRETS is missing, or what a token needs');
  exit(1);
}

async function read(req) {
  const chunks = [];
  let length = 0;
  for await (const chunk of req) {
    length += chunk.length;
    if (length > LONGEST_BODY) throw new Error('the body is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const server = createServer(async (req, res) => {
  let status = 200;
  let answer;
  try {
    const { key_id, sub = null, act = null } = await verify(req, await read(req));
    answer = { key_id, sub, act };
  } catch (error) {
    status = 401;
    answer = { reason: error.message };
  }
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(JSON.stringify(answer));
});
server.listen(Number(argv[2] ?? 8080), '127.0.0.1', () => {
  console.log(`listening ${server.address().port}`);
});
