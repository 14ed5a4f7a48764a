// What a log entry commits to: the fields of an event, each hashed with a salt of its own.

import { sha256, shake128 } from "./hashes.mjs";
import {
  base64, Decimal, Fault, hash, hex, isIndex, isObject, malformed, MAX_DEPTH, member, optional,
  parseJson, same, scalar, toBase64, utf8,
} from "./json.mjs";
import { leafHash } from "./merkle.mjs";
import { verifyEd25519 } from "./notes.mjs";

const MAX_ENTRY = 65535; // bytes

export function fields(event) {
  const found = new Map();
  const collect = (container, lead, depth) => {
    if (depth > MAX_DEPTH) throw malformed(`the event is nested deeper than ${MAX_DEPTH}`);
    const list = Array.isArray(container);
    for (const name of Object.keys(container)) {
      const path = lead + (list ? name : JSON.stringify(name));
      const value = container[name];
      if (value === null || typeof value !== "object" || value instanceof Decimal) {
        found.set(`${path}]`, scalar(value));
      } else if (Object.keys(value).length) collect(value, `${path},`, depth + 1);
      else found.set(`${path}]`, Array.isArray(value) ? "[]" : "{}");
    }
  };
  collect(event, "[", 1);
  return found;
}

export function inOrder(paths) {
  const keyed = Array.from(paths, (path) => [utf8(path), path]);
  const compare = ([a], [b]) => {
    const at = a.findIndex((byte, i) => byte !== b[i]);
    return at < 0 ? a.length - b.length : a[at] - (b[at] ?? -1);
  };
  return keyed.sort(compare).map(([, path]) => path);
}

export function salts(seed, count) {
  const standard = seed.replace(/-/g, "+").replace(/_/g, "/");
  if (/[+/]/.test(seed)) throw malformed("'seed' must be base64url");
  const raw = base64(`${standard}=`, 32, "'seed'");
  const stream = shake128(Uint8Array.of(...utf8("trailseal/salts/v1\n"), ...raw), 18 * count);
  const all = toBase64(stream).replace(/\+/g, "-").replace(/\//g, "_");
  return all.match(/.{24}/g) ?? [];
}

const fieldHash = (salt, path, value) => sha256(utf8(`["${salt}",${path},${value}]`));
const combine = (all) => sha256(utf8("trailseal/fields/v1\n"), ...all);

export function fieldsHash(event, seed) {
  const found = fields(event);
  const chosen = salts(seed, found.size);
  return combine(inOrder(found.keys()).map((path, i) => fieldHash(chosen[i], path, found.get(path))));
}

function prefixes(path) {
  if (!Array.isArray(path) || !path.length || path.length > MAX_DEPTH) {
    throw malformed(`a path must be an array of 1 to ${MAX_DEPTH} names and indexes`);
  }
  const parts = path.map((part) => {
    if (typeof part !== "string" && !isIndex(part)) {
      throw malformed("a path holds member names and array indexes only");
    }
    return scalar(part);
  });
  return parts.map((_, i) => `[${parts.slice(0, i + 1).join(",")}]`);
}

export function redactedFieldsHash(event, saltList, redactions) {
  const [kept, hidden, atOrAbove] = [new Map(), new Map(), new Set()];
  for (const item of saltList) {
    const fits = Array.isArray(item) && item.length === 2 && typeof item[1] === "string";
    if (!fits || !/^[A-Za-z0-9_-]{24}$/.test(item[1])) {
      throw malformed("each of 'salts' must be [path, salt of 24 characters]");
    }
    kept.set(prefixes(item[0]).at(-1), item[1]);
  }
  for (const item of redactions) {
    if (!isObject(item)) throw malformed("each of 'redactions' must be an object");
    const all = prefixes(item.path);
    hidden.set(all.at(-1), hash(item.hash, "the 'hash' of a redaction"));
    all.forEach((path) => atOrAbove.add(path));
  }
  const bad = (message) => new Fault("event", message);
  if (kept.size !== saltList.length || hidden.size !== redactions.length ||
      [...kept.keys()].some((path) => hidden.has(path))) {
    throw bad("a path occurs twice in 'salts' and 'redactions'");
  }
  if (hidden.has('["id"]') || hidden.has('["action"]')) {
    throw bad("'id' and 'action' are never redacted");
  }
  const all = new Map(hidden);
  for (const [path, value] of fields(event)) {
    if (kept.has(path)) {
      all.set(path, fieldHash(kept.get(path), path, value));
      kept.delete(path);
    } else if (!["null", "{}", "[]"].includes(value) || !atOrAbove.has(path)) {
      throw bad(`the value at ${path} has no salt: it was not logged`);
    }
  }
  if (kept.size) throw bad("a value is missing");
  return combine(inOrder(all.keys()).map((path) => all.get(path)));
}

// Entries

const REQUIRED = ["v", "log_id", "id", "received_at", "ingested_by", "fields_hash"];
const OPTIONAL = ["channel_id", "imported", "signature"];

export function parseEntry(source) {
  const long = 3 * source.length > MAX_ENTRY; // else it cannot have as many bytes
  if (long && new TextEncoder().encode(source).length > MAX_ENTRY) throw malformed("an entry is too long");
  const raw = parseJson(source);
  if (!isObject(raw)) throw malformed("an entry must be an object");
  const names = Object.keys(raw);
  if (!REQUIRED.every((name) => name in raw) || !names.every((name) => [...REQUIRED, ...OPTIONAL].includes(name))) {
    throw malformed("an entry has a member too many or too few");
  }
  if (member(raw, "v", "integer") !== 1) throw malformed("an entry is not of version 1");
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(member(raw, "received_at", "string"))) {
    throw malformed("'received_at' must have six decimals and end with Z");
  }
  optional(raw, "channel_id", "string");
  optional(raw, "imported", "boolean");
  return {
    logId: member(raw, "log_id", "string"),
    id: member(raw, "id", "string"),
    receivedAt: raw.received_at,
    ingestedBy: member(raw, "ingested_by", "string"),
    fieldsHash: hash(raw.fields_hash, "'fields_hash'"),
    signature: optional(raw, "signature", "object"),
    leaf: leafHash(utf8(source)),
  };
}

export function checkEvent(entry, event, commitments) {
  if (event.id !== entry.id) throw new Fault("event", "its id is not the one in its entry");
  const seed = optional(commitments, "seed", "string");
  const saltList = optional(commitments, "salts", "array");
  const redactions = optional(commitments, "redactions", "array") ?? [];
  let committed;
  if (saltList && seed === null) committed = redactedFieldsHash(event, saltList, redactions);
  else if (seed !== null && !saltList && !redactions.length) committed = fieldsHash(event, seed);
  else if (seed === null) throw new Fault("unverifiable", "it comes with neither seed nor salts");
  else throw malformed("it has a 'seed' beside 'salts' or 'redactions'");
  if (!same(committed, entry.fieldsHash)) {
    throw new Fault("event", "its content is not what was logged (fields_hash differs)");
  }
}

export async function checkSignature(entry, signers) {
  if (!entry.signature) return null;
  const keyId = member(entry.signature, "key_id", "string");
  const given = Object.hasOwn(signers, keyId) ? signers[keyId] : null;
  const key = given ?? optional(entry.signature, "public_key", "string");
  if (key === null) return null;
  if (member(entry.signature, "algorithm", "string") !== "ed25519") {
    throw malformed("the 'algorithm' of a client's signature must be 'ed25519'");
  }
  await verifyEd25519(
    base64(key, 32, "a client's public key"),
    base64(entry.signature.value, 64, "a client's signature"),
    utf8(`trailseal/event/v1\n${entry.id}\n${hex(entry.fieldsHash)}\n`),
    keyId,
  );
  return given !== null;
}
