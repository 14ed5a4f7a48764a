// Reading a bundle: its manifest, and its content in constant memory.

import { Sha256 } from "./hashes.mjs";
import {
  Fault, hash, hashes, isNumber, isObject, malformed, member, optional, parseJson, same,
} from "./json.mjs";
import { parseEntry } from "./commitments.mjs";

const MAX_LINE = 32 << 20;
const FREE_EXPANSION = 64 << 20;
const MAX_EXPANSION = 200;

function choice(raw, name, ...allowed) {
  if (!allowed.includes(member(raw, name, "string"))) throw malformed(`'${name}' is not known`);
  return raw[name];
}

function instant(raw, name) {
  const given = optional(raw, name, "string");
  if (given === null) return null;
  const match = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?([Zz]|[+-]\d\d:\d\d)$/.exec(given);
  const time = match ? new Date(`${match[1]}T${match[2]}${match[4].toUpperCase()}`) : null;
  if (!time || Number.isNaN(time.getTime())) throw malformed(`'${name}' must be an RFC 3339 time`);
  return `${time.toISOString().slice(0, 19)}.${(match[3] ?? "").padEnd(6, "0")}Z`;
}

export function nodes(boundary, side) {
  return optional(boundary, side, "array")?.map((item) => {
    if (!Array.isArray(item) || item.length !== 3 || !item.slice(0, 2).every((n) => typeof n === "number")) {
      throw malformed("a node of 'boundary' must be [level, index, hash]");
    }
    return [item[0], item[1], hash(item[2], "a hash of 'boundary'")];
  });
}

function neighbour(raw, name) {
  const given = optional(raw, name, "object");
  return given && {
    index: member(given, "index", "integer"),
    entry: parseEntry(member(given, "entry", "string")),
    hashes: hashes(given.hashes, "'hashes'"),
  };
}

export function parseManifest(bytes) {
  try {
    const raw = parseJson(bytes);
    if (!isObject(raw)) throw malformed("it must be an object");
    if (raw.v !== 1 || raw.format !== "jsonl") throw malformed("it must be of version 1 and jsonl");
    const boundary = optional(raw, "boundary", "object") ?? {};
    const some = (value) => !(value === null || value === undefined || value === "" ||
      value === false || value === 0 || (typeof value === "object" && !isNumber(value) && !Object.keys(value).length));
    const manifest = {
      origin: member(raw, "origin", "string"),
      logId: member(raw, "log_id", "string"),
      compressed: choice(raw, "compression", "none", "gzip") === "gzip",
      filtered: some(raw.filter) || some(raw.query),
      ascending: choice(raw, "order", "asc", "desc") === "asc",
      first: optional(raw, "first_index", "integer"),
      last: optional(raw, "last_index", "integer"),
      count: member(raw, "count", "integer"),
      size: member(raw, "bytes", "integer"),
      sha256: hash(raw.sha256, "'sha256'"),
      checkpoint: optional(raw, "checkpoint", "string"),
      left: nodes(boundary, "left"),
      right: nodes(boundary, "right"),
      start: instant(raw, "start"),
      end: instant(raw, "end"),
      before: neighbour(raw, "before"),
      after: neighbour(raw, "after"),
    };
    const { first, last, count, filtered } = manifest;
    const span = first === null || last === null ? 0 : last - first + 1;
    const fits = span === 0 && (first === null || last === null)
      ? first === last && count === 0
      : first >= 0 && count > 0 && (filtered ? count <= span : count === span);
    if (!fits) throw malformed("'first_index', 'last_index' and 'count' contradict each other");
    manifest.step = manifest.ascending ? 1 : -1;
    manifest.timed = manifest.start !== null || manifest.end !== null;
    return manifest;
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    throw new Fault("input", `the manifest: ${fault.message}`);
  }
}

export const LINE = ["index", "event", "entry", "seed", "salts", "redactions", "proof"];

export class Content {
  fault = null;
  #hash = new Sha256();
  #source;

  constructor(source, compressed) {
    const hash = this.#hash;
    this.#source = (async function* () {
      for await (const piece of source) {
        hash.update(piece);
        yield piece;
      }
    })();
    this.compressed = compressed;
  }

  async *lines() {
    try {
      yield* this.#split();
    } catch (error) {
      if (error instanceof Fault) throw error;
      this.fault = new Fault("content", "the content is damaged, cut or unreadable");
    }
  }

  async check(manifest) {
    for await (const _ of this.#source);
    if (this.fault) throw this.fault;
    const size = this.#hash.size;
    if (size !== manifest.size || !same(this.#hash.digest(), manifest.sha256)) {
      throw new Fault("content", "the content is not the one that the manifest names");
    }
  }

  async *#pieces() {
    if (!this.compressed) return yield* { [Symbol.asyncIterator]: () => ({ next: () => this.#source.next() }) };
    const source = this.#source;
    const stream = new ReadableStream({
      async pull(controller) {
        const { value, done } = await source.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    });
    const reader = stream.pipeThrough(new DecompressionStream("gzip")).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  }

  async *#split() {
    let [kept, length, expanded] = [[], 0, 0];
    for await (const piece of this.#pieces()) {
      expanded += piece.length;
      if (expanded > Math.max(FREE_EXPANSION, MAX_EXPANSION * this.#hash.size)) {
        this.fault = new Fault("content", `the content expands more than ${MAX_EXPANSION} times`);
        return;
      }
      let at = 0;
      for (let end; (end = piece.indexOf(10, at)) >= 0; at = end + 1) {
        length += end - at;
        yield length >= MAX_LINE ? null : join([...kept, piece.subarray(at, end)]);
        [kept, length] = [[], 0];
      }
      length += piece.length - at;
      kept = length >= MAX_LINE ? [] : [...kept, piece.slice(at)];
    }
    if (length) yield length >= MAX_LINE ? null : join(kept);
  }
}

function join(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}
