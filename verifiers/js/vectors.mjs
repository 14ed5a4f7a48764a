// Runs the conformance suite: node vectors.mjs [FOLDER]. Prints a line for each wrong case, and the
// count; exits 1 unless all are right.

import { readFile } from "node:fs/promises";
import * as verify from "./verify.mjs";

const folder = process.argv[2] ?? new URL("../../spec/vectors/", import.meta.url).pathname;
const bytes = (base64) => Uint8Array.from(Buffer.from(base64, "base64"));
const unhex = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");
const strict = (value) => verify.parseJson(JSON.stringify(value));

const results = { right: 0, wrong: 0 };

async function expect(file, desc, check, wanted) {
  let got = null;
  try {
    await check();
  } catch (fault) {
    got = fault instanceof verify.Fault ? fault.kind : String(fault.stack);
  }
  const right = wanted === true ? got !== null && !got.includes("Error") : got === wanted;
  results[right ? "right" : "wrong"]++;
  if (!right) console.log(`${file}: ${desc}: wanted ${wanted}, got ${got}`);
}

function equal(got, wanted) {
  const [a, b] = [got, wanted].map((value) => JSON.stringify(value));
  if (a !== b) throw new Error(`wanted ${b}, got ${a}`);
}

const suites = {
  json: ({ json, canonical }) => {
    const value = verify.parseJson(bytes(json));
    if (canonical !== undefined) equal(verify.canonical(value), canonical);
  },
  checkpoints: ({ note, keys }) => verify.openCheckpoint(note, keys.map(verify.parseKey)),
  proofs: (c) => {
    const proof = c.proof.map(unhex);
    if (c.check === "inclusion") {
      verify.verifyInclusion(c.index, c.tree_size, unhex(c.leaf_hash), proof, unhex(c.root));
    } else {
      verify.verifyConsistency(c.old_size, c.new_size, unhex(c.old_root), unhex(c.new_root), proof);
    }
  },
  redacted: (c) => {
    const entry = verify.parseEntry(c.entry);
    equal(hex(entry.leaf), c.leaf_hash);
    verify.checkEvent(entry, strict(c.event), strict({ salts: c.salts, redactions: c.redactions }));
  },
  entries: async (c, { public_key }) => {
    const found = verify.fields(strict(c.event));
    const paths = verify.inOrder(found.keys());
    equal(paths, c.fields.map((field) => verify.canonical(strict(field.path))));
    equal(verify.salts(c.seed, found.size), c.fields.map((field) => field.salt));
    const entry = verify.parseEntry(c.entry);
    equal(hex(entry.leaf), c.leaf_hash);
    verify.checkEvent(entry, strict(c.event), c);
    if (c.signature) equal(await verify.checkSignature(entry, { [c.signature.key_id]: public_key }), true);
  },
};

for (const [name, check] of Object.entries(suites)) {
  const file = JSON.parse(await readFile(`${folder}/${name}.json`, "utf8"));
  for (const one of file.cases) {
    await expect(name, one.desc, () => check(one, file), one.want_error ?? null);
  }
}

const tree = JSON.parse(await readFile(`${folder}/tree.json`, "utf8"));
const [leaves, roots] = [tree.leaf_hashes.map(unhex), tree.roots.map(unhex)];
for (const { index, tree_size: size, proof } of tree.inclusion) {
  const check = () => verify.verifyInclusion(index, size, leaves[index], proof.map(unhex), roots[size]);
  await expect("tree", `leaf ${index} of ${size}`, check, null);
}
for (const { from, to, proof } of tree.consistency) {
  const check = () => verify.verifyConsistency(from, to, roots[from], roots[to], proof.map(unhex));
  await expect("tree", `${from} to ${to}`, check, null);
}

const bundles = JSON.parse(await readFile(`${folder}/bundles.json`, "utf8"));
for (const { desc, files, keys, signers, complete, want } of bundles.cases) {
  const content = Object.keys(files).find((name) => /\.jsonl(\.gz)?$/.test(name));
  const file = (suffix) => files[`audit${suffix}`] && bytes(files[`audit${suffix}`]);
  const given = {
    content: (async function* () {
      yield bytes(files[content]);
    })(),
    manifest: file(".manifest.json"),
    manifestNote: file(".manifest.note"),
    checkpoint: file(".checkpoint"),
  };
  const check = async () => {
    const report = await verify.verifyBundle(given, { keys, signers, complete });
    const findings = report.findings.map(({ index, kind }) => [index, kind]);
    equal({ exit_code: report.exitCode, complete: report.complete, findings }, want);
  };
  await expect("bundles", desc, check, null);
}

console.log(`${results.right} of ${results.right + results.wrong} cases are right`);
process.exitCode = results.wrong ? 1 : 0;
