// The profile of ../profile.json by k6:
//
//   TOKEN=$(cargo xtask token) URL=http://127.0.0.1:8000 k6 run tests/load/k6/rag.js
//
// Users have addresses of their own, for a gateway that is told to believe them: docs/load.md.

import http from 'k6/http';
import { check, sleep } from 'k6';

const profile = JSON.parse(open('../profile.json'));
const [shortest, longest] = profile.pause_seconds;

export const options = {
  stages: profile.stages.map(({ users, seconds }) => ({ target: users, duration: `${seconds}s` })),
  thresholds: {
    // To the answer's head, as the other program has it: a stream may take its time.
    http_req_waiting: [`p(95)<${profile.p95_milliseconds}`],
    http_req_failed: [`rate<${(profile.failed_percent / 100).toFixed(2)}`],
  },
};

export default function () {
  const headers = {
    authorization: `Bearer ${__ENV.TOKEN}`,
    'content-type': 'application/json',
    'x-forwarded-for': `198.18.${__VU >> 8}.${__VU & 255}`,
  };
  for (const { name, method, path, body } of profile.requests) {
    const sent = body === undefined ? null : JSON.stringify(body);
    const answer = http.request(method, __ENV.URL + path, sent, { headers, tags: { name } });
    check(answer, {
      'is 2xx': ({ status }) => status >= 200 && status < 300,
      'is not limited': ({ status }) => status !== 429,
    });
    sleep(shortest + Math.random() * (longest - shortest));
  }
}
