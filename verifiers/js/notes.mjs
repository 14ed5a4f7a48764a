// C2SP signed notes and tlog-checkpoints, with Ed25519.

import { sha256 } from "./hashes.mjs";
import { base64, Fault, hex, malformed, MAX_NUMBER, same, text, utf8 } from "./json.mjs";
import { EMPTY_ROOT } from "./merkle.mjs";

const MAX_NOTE = 64 * 1024;
const MAX_SIGNATURES = 100;
const { subtle } = globalThis.crypto ?? (await import("node:crypto")).webcrypto; // Node 18

export async function verifyEd25519(publicKey, signature, message, signer) {
  let right = false;
  try {
    const key = await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    right = await subtle.verify("Ed25519", key, signature, message);
  } catch (error) {
    // No point of the curve, or a signature of another length; a runtime without Ed25519 judges nothing.
    if (!(error instanceof DOMException) || error.name === "NotSupportedError") throw error;
  }
  if (!right) throw new Fault("signature", `the signature of '${signer}' is wrong`);
}

export function parseKey(line) {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(line.trim());
  if (!match) throw malformed("a verifier key must read NAME+HASH+BASE64");
  const [, name, keyHash, encoded] = match;
  const data = base64(encoded, 33, "a verifier key");
  const right = hex(sha256(utf8(`${name}\n`), data).subarray(0, 4));
  if (data[0] !== 1 || right !== keyHash) throw malformed(`the key of ${name} is none`);
  return { name, keyHash, publicKey: data.subarray(1) };
}

export function parseNote(source) {
  const bytes = typeof source === "string" ? utf8(source) : source;
  if (bytes.length > MAX_NOTE) throw malformed("a signed note is too long");
  const note = text(bytes, "a signed note");
  const gap = note.lastIndexOf("\n\n");
  // eslint-disable-next-line no-control-regex
  if (gap < 0 || !note.endsWith("\n") || gap + 2 >= note.length || /[\x00-\x09\x0b-\x1f]/.test(note)) {
    throw malformed("a signed note must be text, an empty line and signature lines");
  }
  const lines = note.slice(gap + 2, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) throw malformed("a signed note has too many signatures");
  const signatures = lines.map((line) => {
    const match = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line);
    const data = match ? base64(match[2], null, "a signature") : [];
    if (data.length <= 4) throw malformed("a signature line of a signed note is malformed");
    return { name: match[1], keyHash: hex(data.subarray(0, 4)), value: data.subarray(4) };
  });
  if (new Set(signatures.map((one) => `${one.name} ${one.keyHash}`)).size < lines.length) {
    throw malformed("a signed note has two signatures by one key");
  }
  return { text: note.slice(0, gap + 1), signatures };
}

export async function verifyNote(note, keys, name) {
  const trusted = keys.filter((key) => key.name === name);
  if (!trusted.length) throw new Fault("unverifiable", `no verifier key for '${name}' was given`);
  const ours = trusted.flatMap((key) =>
    note.signatures
      .filter((one) => one.name === key.name && one.keyHash === key.keyHash)
      .map((one) => [key, one]),
  );
  if (!ours.length) throw new Fault("signature", `not signed by the key given for '${name}'`);
  for (const [key, one] of ours) {
    await verifyEd25519(key.publicKey, one.value, utf8(note.text), name);
  }
}

export function parseCheckpoint(source) {
  const lines = source.split("\n");
  if (lines.length < 4 || lines.at(-1) !== "" || !lines.slice(0, -1).every(Boolean)) {
    throw malformed("a checkpoint must be origin, size and root, on a line each");
  }
  const [origin, size, encoded] = lines;
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(size) || Number(size) > MAX_NUMBER) {
    throw malformed("the size of a checkpoint is not a decimal number in range");
  }
  const root = base64(encoded, 32, "the root of a checkpoint");
  if (size === "0" && !same(root, EMPTY_ROOT)) throw malformed("the empty log has another root");
  return { origin, size: Number(size), root, logId: origin.slice(origin.lastIndexOf("/") + 1) };
}

export async function openCheckpoint(source, keys) {
  const note = parseNote(source);
  const checkpoint = parseCheckpoint(note.text);
  await verifyNote(note, keys, checkpoint.origin);
  return checkpoint;
}
