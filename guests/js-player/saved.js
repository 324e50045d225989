// A player's state in the bytes that the built-in player saves, too: version 0, then the points as a
// zigzag varint.

// A new version gets the next number, and `read` goes on reading the older ones.
const VERSION = 0;

/** Returns the bytes of a state. */
export function write(points) {
  const bytes = [VERSION];
  // Small numbers of either sign become small numbers: 0, -1, 1, -2 … are 0, 1, 2, 3 …
  let rest = points < 0n ? -2n * points - 1n : 2n * points;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

/** Reads the bytes of a state. Throws a string, in plain words, if they are of something else. */
export function read([version, ...varint]) {
  if (version !== undefined && version !== VERSION) {
    throw `the saved state has version ${version}, and this player reads ${VERSION} only`;
  }
  const last = varint.findIndex((byte) => byte < 0x80);
  const number = varint.reduceRight((number, byte) => (number << 7n) | BigInt(byte & 0x7f), 0n);
  if (last < 0 || last !== varint.length - 1 || varint.length > 10 || number >= 1n << 64n) {
    throw 'the saved state is cut off or damaged';
  }
  return number & 1n ? -(number >> 1n) - 1n : number >> 1n;
}
