#!/usr/bin/env node
// Writes artefacts/ from forge's output: what Rust needs of each contract, in a form that depends on the sources and
// nothing else, and the digests of those sources, by which the Rust tests know stale artefacts without Node.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const CODE_BYTES_MAX = 24_576; // EIP-170
const root = new URL("..", import.meta.url).pathname;
const at = (...parts) => join(root, ...parts);

const contracts = [
  ["Rollup"], ["Bridge"], ["DataCommittee"], ["Escape"], ["VerifierRouter"], ["TimelockController"], ["FixedTimelock"],
  ["Groth16Verifier", { optional: true }],
  // Nodes run it in views, where nothing deploys it.
  ["Multicall3", { withDeployed: true }],
  // Libraries whose custom errors surface through the contracts above are in their ABIs already.
  ["TestVerifier", { folder: "test" }],
  ["Probe", { folder: "test" }],
];

const sorted = (value) =>
  Array.isArray(value) ? value.map(sorted)
  : value && typeof value === "object"
    ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
    : value;

rmSync(at("artefacts"), { recursive: true, force: true });
mkdirSync(at("artefacts/test"), { recursive: true });
for (const [name, { optional = false, folder = "", withDeployed = false } = {}] of contracts) {
  const path = at("out", `${name}.sol`, `${name}.json`);
  if (!existsSync(path)) {
    if (optional) continue;
    throw new Error(`forge wrote no ${path}`);
  }
  const { abi, bytecode, deployedBytecode } = JSON.parse(readFileSync(path, "utf8"));
  const size = (deployedBytecode.object.length - 2) / 2;
  if (size > CODE_BYTES_MAX) throw new Error(`${name} has ${size} bytes of code, more than ${CODE_BYTES_MAX}`);
  const deployed = withDeployed ? { deployedBytecode: deployedBytecode.object } : {};
  const artefact = sorted({ abi, bytecode: bytecode.object, contractName: name, ...deployed });
  writeFileSync(at("artefacts", folder, `${name}.json`), `${JSON.stringify(artefact, null, 1)}\n`);
  console.log(`${name}: ${size} bytes`);
}

// Interface files of L2's system contracts compile to no code here and are left out.
const sources = [];
const walk = (folder) => {
  for (const entry of readdirSync(at(folder)).sort()) {
    const path = `${folder}/${entry}`;
    if (path === "src/l2") continue;
    if (statSync(at(path)).isDirectory()) walk(path);
    else if (path.endsWith(".sol")) sources.push(path);
  }
};
walk("src");
sources.push("foundry.toml", "package-lock.json", "tests/helpers/Probe.sol", "tests/helpers/TestVerifier.sol");
const digests = Object.fromEntries(
  sources.map((path) => [path, createHash("sha256").update(readFileSync(at(path))).digest("hex")]),
);
writeFileSync(at("artefacts/sources.json"), `${JSON.stringify(sorted(digests), null, 1)}\n`);
