// A convspec worker in JavaScript: speaks harness/process/PROTOCOL.md on stdin and stdout, and calls kernels.mjs.
//
//     convspec check "command:node examples/javascript/worker.mjs" --level quick
//
// Node alone, no dependency. To write one in another language, go through it from the top: frames, options, a call.

import { readSync, writeSync } from "node:fs";
import { endianness } from "node:os";

import * as kernels from "./kernels.mjs";

// What a caller may ask for. A list, and not `kernels[op]`: a name such as "constructor" must not be a method.
const METHODS = ["conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp", "max_pool_with_argmax"];
const TYPES = {
  float64: Float64Array, float32: Float32Array, float16: Uint16Array, bfloat16: Uint16Array, bool: Uint8Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};
const [STDIN, STDOUT] = [0, 1];
const PREFIX = 16; // magic, 4 bytes; length of the header, 4; length of the body, 8
const LONGEST_ERROR = 2000;

// -------------------------------------------------------------------------------------------------------- frames

/** Read so many bytes; null when stdin ends, also in the middle. */
function read(size) {
  const bytes = new Uint8Array(size); // a buffer of its own, so that arrays in it are aligned
  for (let have = 0; have < size; ) {
    const count = readSync(STDIN, bytes, have, size - have, null);
    if (count === 0) return null;
    have += count;
  }
  return bytes;
}

function readFrame() {
  const prefix = read(PREFIX);
  if (prefix === null) return null;
  const view = new DataView(prefix.buffer);
  if (view.getUint32(0, true) !== 0x31535643) throw new Error("not a frame: it does not start with CVS1");
  const header = read(view.getUint32(4, true));
  const body = header && read(Number(view.getBigUint64(8, true)));
  return body && { ...JSON.parse(new TextDecoder().decode(header)), body };
}

/** Write a frame. Every array starts at a multiple of 8 bytes of the body. */
function writeFrame(header, arrays = []) {
  const entries = arrays.map(({ dtype, shape }) => ({ dtype, shape }));
  const text = new TextEncoder().encode(JSON.stringify({ ...header, arrays: entries }));
  const size = arrays.reduce((sum, { data }) => sum + aligned(data.byteLength), 0);
  const frame = new Uint8Array(PREFIX + text.length + size);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 0x31535643, true);
  view.setUint32(4, text.length, true);
  view.setBigUint64(8, BigInt(size), true);
  frame.set(text, PREFIX);
  let at = PREFIX + text.length;
  for (const { data } of arrays) {
    frame.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += aligned(data.byteLength);
  }
  for (let done = 0; done < frame.length; ) done += writeSync(STDOUT, frame, done);
}

function aligned(size) {
  return Math.ceil(size / 8) * 8;
}

/** The arrays of a frame, as views of its body. */
function arraysOf({ arrays = [], body }) {
  let at = 0;
  return arrays.map(({ dtype, shape }) => {
    const data = new TYPES[dtype](body.buffer, at, shape.reduce((count, n) => count * n, 1));
    at += aligned(data.byteLength);
    return { dtype, shape, data };
  });
}

// ------------------------------------------------------------------------------------------------------- options

/** Undo the tags for what JSON lacks: {"tuple": [...]}, {"dict": {...}}, {"float": "nan"}. */
function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if ("tuple" in value) return value.tuple.map(unpack);
  if ("float" in value) return { nan: NaN, inf: Infinity, "-inf": -Infinity }[value.float];
  return Object.fromEntries(Object.entries(value.dict).map(([key, item]) => [key, unpack(item)]));
}

// -------------------------------------------------------------------------------------------------------- a call

function answer(call) {
  const serial = call.serial;
  if (!METHODS.includes(call.op)) {
    return [{ kind: "answer", serial, status: "missing", error: `there is no method ${call.op}` }];
  }
  const inputs = arraysOf(call);
  const before = call.body.slice(); // to see afterwards that nothing was written to
  const started = performance.now();
  try {
    const options = Object.fromEntries(Object.entries(call.options).map(([key, value]) => [key, unpack(value)]));
    const results = kernels[call.op](inputs, options);
    const seconds = (performance.now() - started) / 1000;
    const mutated = changed(inputs, before);
    const aliases = results.some(({ data }) => data.buffer === call.body.buffer) ? inputs.map((_, n) => n) : [];
    return [{ kind: "answer", serial, status: "ok", mutated, aliases, seconds }, results];
  } catch (error) {
    const status = error instanceof kernels.Unsupported ? "unsupported" : "error";
    const text = status === "error" ? `${error.name}: ${error.message}` : error.message;
    const mutated = changed(inputs, before);
    return [{ kind: "answer", serial, status, error: text.slice(0, LONGEST_ERROR), mutated, stderr: error.stack }];
  }
}

/** Which inputs have other bytes than before. */
function changed(inputs, before) {
  const differs = ({ data }) => {
    const now = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return now.some((byte, at) => byte !== before[data.byteOffset + at]);
  };
  return inputs.flatMap((array, n) => (differs(array) ? [n] : []));
}

if (endianness() !== "LE") {
  const message = "arrays travel in little-endian order, and this machine has the other";
  writeFrame({ kind: "hello", protocol: 1, load_error: { class: "BackendImportError", message } });
  process.exit(1);
}
writeFrame({
  kind: "hello", protocol: 1, name: "plain loops in JavaScript",
  versions: { node: process.versions.node, v8: process.versions.v8 }, device: "cpu", methods: METHODS,
  contract: { accumulate: "float64" }, accepts_bias: true, argmax: true, dtypes: ["float32", "float64"],
});
for (let call; (call = readFrame()) !== null; ) writeFrame(...answer(call));
