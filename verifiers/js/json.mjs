// Strict JSON and strict values: one spelling for each, or a `Fault`.

export const MAX_NUMBER = 2 ** 53 - 1;
export const MAX_DEPTH = 64;

export class Fault extends Error {
  constructor(kind, message, index = null) {
    super(message);
    Object.assign(this, { kind, index });
  }
}

export const malformed = (message) => new Fault("malformed", message);
const encoder = new TextEncoder();
export const utf8 = (text) => encoder.encode(text);
export const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Decimal);
export const isNumber = (value) => typeof value === "number" || value instanceof Decimal;
export const isIndex = (value) => typeof value === "number" && value >= 0;
export const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function text(bytes, what) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(`${what} is not UTF-8`);
  }
}

// Strict JSON

export class Decimal {
  // a number that was written with a fraction or an exponent: never an integer for a format
  constructor(value) {
    this.value = value;
  }
}

export function parseJson(source, maxDepth = MAX_DEPTH) {
  const json = typeof source === "string" ? source : text(source, "JSON text");
  const token = /[\t\n\r ]*(?:([{}[\]:,])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)|(true|false|null))/y;
  let found;
  const fail = () => malformed(`not JSON at character ${token.lastIndex}`);
  const next = () => {
    found = token.exec(json);
    if (!found) throw fail();
    return found[1];
  };
  const string = () => {
    const value = JSON.parse(found[2]);
    if (/\p{Surrogate}/u.test(value)) throw malformed("JSON text is not valid Unicode");
    return value;
  };
  const value = (depth) => {
    if (found[2] !== undefined) return string();
    if (found[6] !== undefined) return JSON.parse(found[6]);
    if (found[3] !== undefined) {
      const number = Number(found[3]);
      if (!(Math.abs(number) <= MAX_NUMBER)) throw malformed("a number is beyond ±(2^53-1)");
      return found[4] || found[5] ? new Decimal(number) : number;
    }
    if (depth === maxDepth) throw malformed(`JSON is nested deeper than ${maxDepth}`);
    if (found[1] === "[") return items("]", [], (list) => list.push(value(depth + 1)));
    if (found[1] !== "{") throw fail();
    return items("}", Object.create(null), (object) => {
      if (found[2] === undefined) throw fail();
      const name = string();
      if (name in object) throw malformed("a JSON object has a duplicate key");
      if (next() !== ":") throw fail();
      next();
      object[name] = value(depth + 1);
    });
  };
  const items = (end, container, add) => {
    if (next() === end) return container;
    for (;;) {
      add(container);
      const mark = next();
      if (mark === end) return container;
      if (mark !== ",") throw fail();
      next();
    }
  };
  next();
  const result = value(0);
  if (!/^[\t\n\r ]*$/.test(json.slice(token.lastIndex))) throw fail();
  return result;
}

// JCS (RFC 8785) is what JSON.stringify writes for strings and numbers.
export function scalar(value) {
  return JSON.stringify(value instanceof Decimal ? value.value : value);
}

export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return scalar(value);
  const names = Object.keys(value).sort(); // by UTF-16 units, as RFC 8785 has it
  return `{${names.map((name) => `${scalar(name)}:${canonical(value[name])}`).join(",")}}`;
}

// Reading single values

const TYPES = {
  string: (value) => typeof value === "string",
  integer: (value) => typeof value === "number",
  object: isObject,
  array: Array.isArray,
  boolean: (value) => typeof value === "boolean",
};

export function member(source, name, type) {
  if (!TYPES[type](source[name])) throw malformed(`'${name}' must be of type ${type}`);
  return source[name];
}

export const optional = (source, name, type) =>
  source[name] === undefined || source[name] === null ? null : member(source, name, type);

export function hash(value, name) {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) {
    throw malformed(`${name} must be a SHA-256 in lower-case hexadecimal`);
  }
  return Uint8Array.from(value.match(/../g), (pair) => parseInt(pair, 16));
}

export function hashes(value, name) {
  if (!Array.isArray(value)) throw malformed(`${name} must be an array of hashes`);
  return value.map((item) => hash(item, name));
}

export const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

export function base64(value, size, name) {
  try {
    const bytes = Uint8Array.from(atob(value), (char) => char.charCodeAt(0));
    if ((size === null || size === bytes.length) && toBase64(bytes) === value) return bytes;
  } catch {
    // below
  }
  throw malformed(`${name} must be base64`);
}
