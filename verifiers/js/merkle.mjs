// Merkle trees (RFC 6962; algorithms: RFC 9162)

import { sha256 } from "./hashes.mjs";
import { Fault, MAX_NUMBER, same } from "./json.mjs";

export const EMPTY_ROOT = sha256();
export const leafHash = (data) => sha256(Uint8Array.of(0), data);
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);
const half = (n) => Math.floor(n / 2); // shifts would cut to 32 bits

function step(sibling, last) {
  if (!last) throw new Fault("proof", "the proof has more hashes than the tree has levels");
  if (sibling.length !== 32) throw new Fault("proof", "a hash of the proof is not of 32 bytes");
}

export function verifyInclusion(index, size, leaf, proof, root) {
  if (!(index >= 0 && index < size && size <= MAX_NUMBER)) {
    throw new Fault("proof", `index ${index} is not in a tree of ${size} leaves`);
  }
  let [node, last, computed] = [index, size - 1, leaf];
  for (const sibling of proof) {
    step(sibling, last);
    if (node % 2 || node === last) {
      computed = nodeHash(sibling, computed);
      while (node && node % 2 === 0) [node, last] = [half(node), half(last)];
    } else computed = nodeHash(computed, sibling);
    [node, last] = [half(node), half(last)];
  }
  if (last || leaf.length !== 32 || !same(computed, root)) {
    throw new Fault("proof", "the inclusion proof does not lead to the checkpoint's root");
  }
}

export function verifyConsistency(oldSize, newSize, oldRoot, newRoot, proof) {
  if (!(oldSize > 0 && oldSize <= newSize && newSize <= MAX_NUMBER)) {
    throw new Fault("proof", `no consistency proof leads from ${oldSize} to ${newSize} leaves`);
  }
  if (oldSize === newSize) {
    if (proof.length) throw new Fault("proof", "a proof between equal sizes must be empty");
    if (!same(oldRoot, newRoot)) throw new Fault("fork", `two roots for ${newSize} leaves`);
    return;
  }
  let [node, last] = [oldSize - 1, newSize - 1];
  while (node % 2) [node, last] = [half(node), half(last)];
  const path = node ? [...proof] : [oldRoot, ...proof]; // 0 where oldSize is a power of two
  if (!path.length) throw new Fault("proof", "the consistency proof is empty");
  let [before, after] = [path[0], path[0]];
  for (const sibling of path.slice(1)) {
    step(sibling, last);
    if (node % 2 || node === last) {
      [before, after] = [nodeHash(sibling, before), nodeHash(sibling, after)];
      while (node && node % 2 === 0) [node, last] = [half(node), half(last)];
    } else after = nodeHash(after, sibling);
    [node, last] = [half(node), half(last)];
  }
  if (last || !same(before, oldRoot) || !same(after, newRoot)) {
    throw new Fault("fork", `${newSize} leaves do not continue the first ${oldSize}`);
  }
}

function rangeNodes(begin, end) {
  const nodes = [];
  while (begin < end) {
    let level = 0;
    while (begin % 2 ** (level + 1) === 0 && begin + 2 ** (level + 1) <= end) level++;
    nodes.push([level, begin / 2 ** level]);
    begin += 2 ** level;
  }
  return nodes;
}

export class RootBuilder {
  size = 0;
  #hashes = [];

  append(digest, level = 0) {
    for (let carry = this.size / 2 ** level; carry % 2; carry = half(carry)) {
      digest = nodeHash(this.#hashes.pop(), digest);
    }
    this.#hashes.push(digest);
    this.size += 2 ** level;
  }

  appendRange(nodes, end) {
    const wanted = rangeNodes(this.size, end);
    const fits = (node, i) => node[0] === wanted[i][0] && node[1] === wanted[i][1];
    if (nodes.length !== wanted.length || !nodes.every(fits)) {
      throw new Fault("proof", `not the compact range from leaf ${this.size} to ${end}`);
    }
    for (const [level, , digest] of nodes) this.append(digest, level);
  }

  root() {
    return this.#hashes.length ? this.#hashes.reduceRight((right, left) => nodeHash(left, right)) : EMPTY_ROOT;
  }
}
