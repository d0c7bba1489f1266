// Checks Kubernetes resources by the models that npm carries: each is assigned to its kind's TypeScript type, which refuses
// a key that the kind does not have, and shown to its kind's validator, which knows patterns, ranges and what must be there.
//
// Reads a JSON list of resources; writes a JSON list with, for each, the list of what is wrong with it, or null where there
// is no model of its kind.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

// Modules are found from here, the types too.
const HERE = dirname(fileURLToPath(import.meta.url));

// Where the models of an API group are.
const PACKAGES = {
  "gateway.envoyproxy.io": "@kubernetes-models/envoy-gateway/gateway.envoyproxy.io",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api/gateway.networking.k8s.io",
  "extensions.istio.io": "@kubernetes-models/istio/extensions.istio.io",
  "networking.istio.io": "@kubernetes-models/istio/networking.istio.io",
  "networking.k8s.io": "kubernetes-models/networking.k8s.io",
  apps: "kubernetes-models/apps",
  policy: "kubernetes-models/policy",
  "": "kubernetes-models",
};

const resources = JSON.parse(readFileSync(0, "utf8"));
const models = resources.map(({ apiVersion, kind }) => {
  const [version, group = ""] = apiVersion.split("/").reverse();
  return group in PACKAGES ? { module: `${PACKAGES[group]}/${version}`, kind } : null;
});

const misfits = mistyped();
const answers = [];
for (const [index, model] of models.entries()) {
  answers.push(model && [...misfits[index], ...(await invalid(model, resources[index]))]);
}
console.log(JSON.stringify(answers));

/** What TypeScript says of each resource. */
function mistyped() {
  const name = (index) => join(HERE, `resource${index}.ts`);
  const sources = new Map();
  for (const [index, model] of models.entries()) {
    if (model === null) continue;
    // A literal, since TypeScript refuses unknown keys of nothing else.
    const literal = JSON.stringify(resources[index]);
    const type = `I${model.kind}`;
    sources.set(name(index), `import type { ${type} } from "${model.module}";\nexport const it: ${type} = ${literal};\n`);
  }
  const options = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    strict: true,
    noEmit: true,
    // The models' own declarations are not what is checked.
    skipLibCheck: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (path) => sources.has(path) || fileExists(path);
  host.readFile = (path) => sources.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) =>
    sources.has(path)
      ? ts.createSourceFile(path, sources.get(path), options.target)
      : getSourceFile(path, ...rest);
  const program = ts.createProgram([...sources.keys()], options, host);
  const general = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
  if (general.length > 0) throw new Error(text(general[0]));
  return models.map((model, index) => {
    const source = model && program.getSourceFile(name(index));
    return source ? program.getSemanticDiagnostics(source).map(text) : [];
  });
}

function text(diagnostic) {
  return ts.flattenDiagnosticMessageText(diagnostic.messageText, "; ");
}

/** What the model's validator says of a resource. */
async function invalid(model, resource) {
  const Model = (await import(model.module))[model.kind];
  try {
    new Model(resource).validate();
    return [];
  } catch (error) {
    return [error.message];
  }
}
