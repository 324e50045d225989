// The default player in JavaScript: points that rewards add to.

import log from 'log';

import { read, write } from './saved.js';

// The whole state of this player. It survives because its memory does.
let total = 0n;

export function reward(points) {
  if (points.tag === 'text') refuse(`not an integer: ${JSON.stringify(points.val)}`);
  // componentize-js 0.23 hands over a negative number in a variant as if it had no sign.
  const more = BigInt.asIntN(64, points.val);
  const sum = total + more;
  if (BigInt.asIntN(64, sum) !== sum) refuse(`points overflow: ${total} + ${more}`);
  total = sum;
  return total;
}

export function points() {
  return total;
}

export const migrate = {
  save() {
    return write(total);
  },

  // What is thrown is the error of the result, which is a string.
  load(state) {
    total = read(state);
  },
};

// Says why, and ends the call: an error that nobody catches is a trap. The host drops what the call
// has changed.
function refuse(why) {
  log('error', why);
  throw new Error(why);
}
