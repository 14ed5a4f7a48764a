// A second verifier of TrailSeal exports, for browsers and Node, written from docs/verifying.md.
//
//   import { verifyBundle } from "./verify.mjs";
//   const report = await verifyBundle(files, { keys: [verifierKey], signers: {}, complete: true });
//
// `files` holds `content` (an async iterable of Uint8Array), `manifest`, `manifestNote` and
// `checkpoint` (Uint8Array, or undefined where missing). Memory does not grow with the content. No
// network, no dependency; Ed25519 is Web Crypto's. A report comes out whatever the files hold.

import { sha256 } from "./hashes.mjs";
import {
  Fault, hashes, hex, isObject, malformed, MAX_DEPTH, member, optional, parseJson, same, utf8,
} from "./json.mjs";
import { RootBuilder, verifyInclusion } from "./merkle.mjs";
import { parseCheckpoint, parseKey, parseNote, verifyNote } from "./notes.mjs";
import { checkEvent, checkSignature, parseEntry } from "./commitments.mjs";
import { Content, LINE, parseManifest } from "./bundle.mjs";

export { canonical, Fault, parseJson } from "./json.mjs";
export { verifyConsistency, verifyInclusion } from "./merkle.mjs";
export { openCheckpoint, parseKey } from "./notes.mjs";
export { checkEvent, checkSignature, fields, inOrder, parseEntry, salts } from "./commitments.mjs";

const MAX_SIDECAR = 1 << 20;
const MAX_FINDINGS = 100;
const MAX_SURPLUS = 1000;

class Audit {
  findings = [];
  counts = {};
  #at = [null, null];
  #report = { events: 0, redacted: 0, signed: 0, signaturesChecked: 0, signaturesTrusted: 0 };
  #tree = null;
  #recomputed = false;
  #next = 0;
  #lastTime = null;

  constructor(files, { keys = [], signers = {}, complete = false }) {
    Object.assign(this, { files, signers, complete });
    this.keys = keys.map((key) => (typeof key === "string" ? parseKey(key) : key));
  }

  note(fault) {
    const index = fault.index ?? this.#at[0];
    const finding = { index, line: this.#at[1], kind: fault.kind, reason: fault.message };
    const known = (other) => other.index === index && other.line === finding.line && other.reason === finding.reason;
    if (fault.kind === "unverifiable" && this.findings.some(known)) return;
    this.counts[fault.kind] = (this.counts[fault.kind] ?? 0) + 1;
    if (this.findings.length < MAX_FINDINGS) this.findings.push(finding);
  }

  async noting(check) {
    try {
      return await check();
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      this.note(fault);
    }
  }

  async run() {
    await this.noting(async () => {
      const manifest = (this.manifest = await this.#readManifest());
      await this.noting(() => this.#checkCheckpoint());
      await this.noting(() => this.#beginTree());
      await this.#checkContent();
      this.#checkEnd();
      await this.noting(() => this.#checkRoot());
      await this.noting(() => this.#checkTimes(manifest));
    });
    const reason = this.#whyIncomplete();
    if (this.complete && reason && !this.findings.length) {
      this.note(new Fault("unverifiable", `not proved complete: ${reason}`));
    }
    const kinds = Object.keys(this.counts);
    const wrong = kinds.some((kind) => kind !== "unverifiable" && kind !== "input");
    const exitCode = !kinds.length ? 0 : wrong ? 1 : kinds.includes("input") ? 3 : 2;
    const { findings, counts } = this;
    return { ...this.#report, exitCode, complete: !reason, incompleteReason: reason, findings, counts };
  }

  async #readManifest() {
    const bytes = sidecar(this.files.manifest, "the manifest");
    const manifest = parseManifest(bytes);
    await this.noting(async () => {
      const note = parseNote(sidecar(this.files.manifestNote, "the manifest's note"));
      if (note.text !== `trailseal/manifest/v1\n${manifest.origin}\n${hex(sha256(bytes))}\n`) {
        throw new Fault("manifest", "the manifest is not the one that was signed");
      }
      await verifyNote(note, this.keys, manifest.origin);
    });
    return manifest;
  }

  async #checkCheckpoint() {
    const { manifest, keys } = this;
    if (manifest.checkpoint === null) throw new Fault("unverifiable", "the log had no checkpoint");
    const note = parseNote(manifest.checkpoint);
    const ours = parseCheckpoint(note.text);
    if (ours.origin !== manifest.origin || ours.logId !== manifest.logId) {
      throw new Fault("origin", "the checkpoint is of another log than the manifest");
    }
    this.checkpoint = ours;
    await this.noting(() => verifyNote(note, keys, ours.origin));
    const beside = sidecar(this.files.checkpoint, "the checkpoint");
    if (same(beside, utf8(manifest.checkpoint))) return;
    const otherNote = parseNote(beside);
    const other = parseCheckpoint(otherNote.text);
    try {
      await verifyNote(otherNote, keys, other.origin);
    } catch (fault) {
      if (fault.kind !== "unverifiable") throw fault;
    }
    if (other.origin === ours.origin && other.size === ours.size && !same(other.root, ours.root)) {
      throw new Fault("fork", `the log has two roots for ${ours.size} events`);
    }
    throw new Fault("checkpoint", "the checkpoint file is not the manifest's");
  }

  #beginTree() {
    const { filtered, ascending, first, left } = this.manifest;
    if (filtered || !ascending || first === null || !left) return;
    this.#tree = new RootBuilder();
    this.#tree.appendRange(left, first);
  }

  async #checkContent() {
    const { manifest } = this;
    this.#next = (manifest.ascending ? manifest.first : manifest.last) ?? 0;
    const content = new Content(this.files.content, manifest.compressed);
    for await (const line of content.lines()) {
      if (this.#report.events === manifest.count + MAX_SURPLUS) {
        this.#at = [null, null];
        this.note(new Fault("content", "many more lines than announced"));
        break;
      }
      this.#report.events++;
      this.#at = [this.#next, this.#report.events];
      await this.noting(() => this.#checkLine(line));
    }
    this.#at = [null, null];
    await this.noting(() => content.check(manifest));
  }

  async #checkLine(bytes) {
    const { manifest } = this;
    let [raw, proof] = [null, null];
    try {
      if (bytes === null) throw malformed("the line is too long");
      raw = parseJson(bytes, MAX_DEPTH + 1);
      if (!isObject(raw) || !Object.keys(raw).every((name) => LINE.includes(name))) {
        throw malformed("a line must be an object with the members of an export line");
      }
      member(raw, "event", "object");
      member(raw, "entry", "string");
      proof = optional(raw, "proof", "array") && hashes(raw.proof, "'proof'");
      member(raw, "index", "integer");
    } catch (fault) {
      this.#next += manifest.filtered ? 0 : manifest.step;
      throw fault;
    }
    const index = raw.index;
    this.#at = [index, this.#report.events];
    this.#checkOrder(index);
    const entry = parseEntry(raw.entry);
    await this.noting(() => this.#checkPlace(entry, index, proof));
    await this.noting(() => {
      if ((manifest.start ?? "") > entry.receivedAt || entry.receivedAt > (manifest.end ?? "~")) {
        throw new Fault("time", "'received_at' is outside the export's time range");
      }
    });
    await this.noting(() => checkEvent(entry, raw.event, raw));
    const trusted = (await this.noting(() => checkSignature(entry, this.signers))) ?? null;
    if (this.#tree?.size === index) this.#tree.append(entry.leaf);
    this.#report.redacted += (raw.salts ?? null) !== null;
    this.#report.signed += entry.signature !== null;
    this.#report.signaturesChecked += trusted !== null;
    this.#report.signaturesTrusted += trusted === true;
    const [last, now] = [this.#lastTime, entry.receivedAt];
    this.#lastTime = now;
    if (last !== null && (manifest.ascending ? now < last : now > last)) {
      throw new Fault("time", "'received_at' goes back within the log");
    }
  }

  #checkOrder(index) {
    const { first, last, step: by, filtered } = this.manifest;
    if (first === null || last === null || index < first || index > last) {
      throw new Fault("order", "the index is outside the manifest's range");
    }
    const ahead = (index - this.#next) * by;
    if (ahead < 0) throw new Fault("order", "the line comes twice or out of order");
    if (ahead && !filtered) this.#missing(this.#next, index - by);
    this.#next = index + by;
  }

  #checkPlace(entry, index, proof) {
    if (entry.logId !== this.manifest.logId) throw new Fault("entry", "the entry is of another log");
    if (proof && this.checkpoint) {
      verifyInclusion(index, this.checkpoint.size, entry.leaf, proof, this.checkpoint.root);
    } else if (!this.#tree) {
      throw new Fault("unverifiable", "nothing shows that the entry is in the log");
    }
  }

  #missing(begin, end) {
    const [first, last] = [Math.min(begin, end), Math.max(begin, end)];
    this.note(new Fault("missing", `events ${first} to ${last} are missing`, first));
  }

  #checkEnd() {
    const { manifest, checkpoint } = this;
    const { first, last } = manifest;
    if (manifest.filtered) {
      if (this.#report.events !== manifest.count) {
        this.note(new Fault("missing", `${manifest.count} lines are announced`));
      }
    } else if (first !== null) {
      const end = manifest.ascending ? last : first;
      if ((end - this.#next) * manifest.step >= 0) this.#missing(this.#next, end);
    } else if (checkpoint?.size && !manifest.timed) this.#missing(0, checkpoint.size - 1);
  }

  #checkRoot() {
    const { manifest, checkpoint } = this;
    if (!this.#tree) return;
    if (!checkpoint || manifest.last === null || this.#tree.size !== manifest.last + 1) {
      throw new Fault("unverifiable", "not all entries could be read, so the root proves none");
    }
    this.#tree.appendRange(manifest.right ?? [], checkpoint.size);
    if (!same(this.#tree.root(), checkpoint.root)) {
      throw new Fault("root", "the entries do not give the checkpoint's root");
    }
    this.#recomputed = true;
  }

  #checkTimes({ filtered, timed, before, after, start, end, first, last }) {
    if (filtered || !timed || !this.checkpoint) return;
    const below = before ? before.index : -1;
    const above = after ? after.index : this.checkpoint.size;
    if ((start !== null && below + 1 !== (first ?? above)) || (end !== null && above - 1 !== (last ?? below))) {
      throw new Fault("range", "the entries named beside the time range are not");
    }
    for (const { index, entry, hashes: proof } of [before, after].filter(Boolean)) {
      if (entry.logId !== this.checkpoint.logId) throw new Fault("origin", "an entry of another log");
      verifyInclusion(index, this.checkpoint.size, entry.leaf, proof, this.checkpoint.root);
    }
    if (before && !(before.entry.receivedAt < (start ?? ""))) {
      throw new Fault("range", "the entry before the time range belongs to it");
    }
    if (after && !((end ?? "~") < after.entry.receivedAt)) {
      throw new Fault("range", "the entry after the time range belongs to it");
    }
  }

  #whyIncomplete() {
    const { manifest, checkpoint } = this;
    if (this.findings.length || !manifest || !checkpoint) return "not everything could be verified";
    if (manifest.filtered) return "a filtered export shows that its events are in the log, not that it has them all";
    if (!manifest.ascending) return "it is proved for ascending order only";
    if (manifest.first !== null && !this.#recomputed) return "the manifest has no 'boundary'";
    return null;
  }
}

function sidecar(bytes, what) {
  if (!bytes) throw new Fault("unverifiable", `${what} is missing`);
  if (bytes.length > MAX_SIDECAR) throw malformed(`${what} is too long`);
  return bytes;
}

export const verifyBundle = (files, options = {}) => new Audit(files, options).run();
