// Values between a JavaScript judge and candidate, which are two processes: descriptor 3 is read, descriptor 4 written.
'use strict';
const fs = require('node:fs');
const CLOSED = 70; // CLOSED in grading.py
let rest = Buffer.alloc(0);

function readLine() {
  const parts = [rest];
  for (;;) {
    const last = parts[parts.length - 1];
    const place = last.indexOf(10);
    if (place >= 0) {
      parts[parts.length - 1] = last.subarray(0, place);
      rest = last.subarray(place + 1);
      return Buffer.concat(parts).toString();
    }
    const part = Buffer.alloc(65536);
    const size = fs.readSync(3, part);
    if (size === 0) return null;
    parts.push(part.subarray(0, size));
  }
}

function writeLine(value) {
  const line = Buffer.from(JSON.stringify(value) + '\n');
  for (let place = 0; place < line.length; ) place += fs.writeSync(4, line, place);
}

const pairs = (entries) => Array.from(entries, ([key, value]) => [encode(key), encode(value)]);

function encode(value) {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : ['n', Object.is(value, -0) ? '-0' : String(value)];
  if (value === undefined) return ['u'];
  if (typeof value === 'bigint') return ['i', String(value)];
  if (typeof value !== 'object') return ['x'];
  if (Array.isArray(value)) return ['a', Array.from(value, encode)];
  switch (Object.prototype.toString.call(value)) {
    case '[object Object]': return ['o', pairs(Object.entries(value))];
    case '[object Map]': return ['m', pairs(value)];
    case '[object Set]': return ['s', Array.from(value, encode)];
    case '[object Date]': return ['d', encode(value.getTime())];
    case '[object RegExp]': return ['r', value.source, value.flags];
    default: return ['x'];
  }
}

function object(entries) {
  const result = {};
  for (const [key, value] of entries) {
    Object.defineProperty(result, String(key), { value, enumerable: true, writable: true, configurable: true });
  }
  return result;
}

const decoders = {
  n: (text) => Number(text),
  u: () => undefined,
  i: (text) => BigInt(text),
  a: (items) => items.map(decode),
  o: (entries) => object(entries.map((pair) => pair.map(decode))),
  m: (entries) => new Map(entries.map((pair) => pair.map(decode))),
  s: (items) => new Set(items.map(decode)),
  d: (time) => new Date(decode(time)),
  r: (source, flags) => new RegExp(source, flags),
  x: () => Symbol('a value of no known type, equal to nothing'),
};
Object.setPrototypeOf(decoders, null);

function decode(data) {
  return Array.isArray(data) ? decoders[data[0]](...data.slice(1)) : data;
}

function call(passed) {
  try {
    writeLine(Array.from(passed, encode));
    const answer = JSON.parse(readLine());
    if (!Array.isArray(answer) || answer.length !== 1) throw new TypeError('no answer');
    const value = decode(answer[0]);
    fs.writeSync(2, '\x06'); // ANSWERED in grading.py
    return value;
  } catch (error) {
    process.exit(CLOSED);
  }
}

function serve(answer) {
  for (let line = readLine(); line !== null; line = readLine()) {
    writeLine([encode(answer(...JSON.parse(line).map(decode)))]);
  }
}

module.exports = { call, serve };
