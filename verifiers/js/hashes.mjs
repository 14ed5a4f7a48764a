// SHA-256 (FIPS 180-4) and SHAKE128 (FIPS 202). Web Crypto has no SHA-256 that takes its input
// piece by piece, and no SHAKE; a bundle of any size needs the first, a seed the second.

const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((p) => n % p)) PRIMES.push(n);
const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
const K = Int32Array.from(PRIMES, (p) => fraction(Math.cbrt(p)));
const START = Int32Array.from(PRIMES.slice(0, 8), (p) => fraction(Math.sqrt(p)));

export class Sha256 {
  #state = START.slice();
  #block = new Uint8Array(64);
  #used = 0;
  #words = new Int32Array(64);
  size = 0;

  update(data) {
    this.size += data.length;
    for (let at = 0; at < data.length; ) {
      const taken = Math.min(64 - this.#used, data.length - at);
      this.#block.set(data.subarray(at, at + taken), this.#used);
      this.#used += taken;
      at += taken;
      if (this.#used === 64) this.#compress();
    }
    return this;
  }

  digest() {
    const bits = this.size * 8;
    const padding = new Uint8Array(((119 - (this.size % 64)) % 64) + 9);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits >>> 0);
    this.update(padding);
    const out = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, i) => out.setInt32(4 * i, word));
    return new Uint8Array(out.buffer);
  }

  #compress() {
    this.#used = 0;
    const w = this.#words;
    const view = new DataView(this.#block.buffer);
    const rotate = (x, n) => (x >>> n) | (x << (32 - n));
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(4 * i);
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15];
      const b = w[i - 2];
      const s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3);
      const s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = this.#state;
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (this.#state[i] += word));
  }
}

export const sha256 = (...parts) =>
  parts.reduce((hash, part) => hash.update(part), new Sha256()).digest();

const RATE = 168; // bytes of SHAKE128's state that take input and give output
const LANES = 25;
const MASK = (1n << 64n) - 1n;
const ROTATIONS = []; // of each lane, and where it goes
const ROUNDS = []; // the constant of each round
{
  let [x, y] = [1, 0];
  for (let t = 0; t < 24; t++) {
    const to = [y, (2 * x + 3 * y) % 5];
    ROTATIONS.push([x + 5 * y, to[0] + 5 * to[1], BigInt((((t + 1) * (t + 2)) / 2) % 64)]);
    [x, y] = to;
  }
  let register = 1;
  for (let round = 0; round < 24; round++) {
    let constant = 0n;
    for (let j = 0; j < 7; j++) {
      if (register & 1) constant |= 1n << BigInt(2 ** j - 1);
      register = (register << 1) ^ (register >> 7 ? 0x171 : 0);
    }
    ROUNDS.push(constant);
  }
}

function keccak(a) {
  const rotate = (lane, n) => ((lane << n) | (lane >> (64n - n))) & MASK;
  for (const constant of ROUNDS) {
    const columns = [0, 1, 2, 3, 4].map((x) => a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]);
    for (let i = 0; i < LANES; i++) {
      a[i] ^= columns[(i + 4) % 5] ^ rotate(columns[(i + 1) % 5], 1n);
    }
    const b = [a[0]];
    for (const [from, to, n] of ROTATIONS) b[to] = rotate(a[from], n);
    for (let i = 0; i < LANES; i++) {
      const row = i - (i % 5);
      a[i] = b[i] ^ (~b[row + ((i + 1) % 5)] & MASK & b[row + ((i + 2) % 5)]);
    }
    a[0] ^= constant;
  }
}

export function shake128(input, length) {
  const padded = new Uint8Array((Math.floor(input.length / RATE) + 1) * RATE);
  padded.set(input);
  padded[input.length] = 0x1f;
  padded[padded.length - 1] |= 0x80;
  const state = Array(LANES).fill(0n);
  const view = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += RATE) {
    for (let i = 0; i < RATE / 8; i++) state[i] ^= view.getBigUint64(at + 8 * i, true);
    keccak(state);
  }
  const out = new DataView(new ArrayBuffer(Math.ceil(length / RATE) * RATE));
  for (let at = 0; at < length; at += RATE) {
    if (at) keccak(state);
    for (let i = 0; i < RATE / 8; i++) out.setBigUint64(at + 8 * i, state[i], true);
  }
  return new Uint8Array(out.buffer, 0, length);
}
