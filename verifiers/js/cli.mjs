// node cli.mjs PATH [--key KEY]… [--signer KEY_ID=BASE64]… [--complete] [--json]
//
// Checks an export offline, as `trailseal verify` does: NAME.jsonl[.gz] with its manifest beside it.
// Exit codes: 0 verified, 1 failed, 2 could not verify, 3 bad input.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Fault, verifyBundle } from "./verify.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    key: { type: "string", multiple: true, default: [] },
    signer: { type: "string", multiple: true, default: [] },
    complete: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

async function main() {
  const [path] = positionals;
  const stem = path?.replace(/\.jsonl(\.gz)?$/, "");
  if (positionals.length !== 1 || stem === path) throw new Fault("input", "give one NAME.jsonl[.gz]");
  const beside = (suffix) => readFile(stem + suffix).catch(() => undefined);
  const signers = Object.fromEntries(values.signer.map((pair) => pair.split(/=(.*)/s, 2)));
  const files = {
    content: createReadStream(path),
    manifest: await beside(".manifest.json"),
    manifestNote: await beside(".manifest.note"),
    checkpoint: await beside(".checkpoint"),
  };
  return verifyBundle(files, { keys: values.key, signers, complete: values.complete });
}

try {
  const report = await main();
  if (values.json) console.log(JSON.stringify(report));
  else {
    console.log(["verified", "FAILED", "could not verify", "bad input"][report.exitCode]);
    console.log(report.complete ? "complete" : `not proved complete: ${report.incompleteReason}`);
    for (const { index, line, kind, reason } of report.findings) {
      console.log(JSON.stringify(`${kind}: index ${index}, line ${line}: ${reason}`));
    }
  }
  process.exitCode = report.exitCode;
} catch (error) {
  console.error(`${error.message}`);
  process.exitCode = 3;
}
