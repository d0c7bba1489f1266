// Runs rag.js once without k6, and prints what it exports and what it asks for.
//
//   node --experimental-vm-modules --no-warnings tests/load/k6/check.mjs

import { readFileSync } from 'node:fs';
import vm from 'node:vm';

const read = path => readFileSync(new URL(path, import.meta.url), 'utf8');
const asked = [];
const request = (method, url, body, { headers }) => {
  asked.push({ method, url, body: JSON.parse(body), headers });
  return { status: 200 };
};
const modules = {
  'k6/http': { default: { request } },
  k6: { check: (answer, checks) => Object.values(checks).every(holds => holds(answer)), sleep() {} },
};

const context = vm.createContext({ open: read, __ENV: { URL: 'http://gateway', TOKEN: 'token' }, __VU: 258 });
const script = new vm.SourceTextModule(read('rag.js'), { context });
await script.link(name => {
  const exported = Object.entries(modules[name]);
  const fill = function () {
    exported.forEach(([key, value]) => this.setExport(key, value));
  };
  return new vm.SyntheticModule(exported.map(([key]) => key), fill, { context });
});
await script.evaluate();
script.namespace.default();
console.log(JSON.stringify({ options: script.namespace.options, asked }));
