// The player NAME: its whole state is the variable below.
//
// Nothing saves it from call to call: the host keeps the memory that it lives in. This module is
// evaluated when it is built; what its variables hold then is what each player begins with.

import log from 'log';

import { read, write } from './saved.js';

// How often each point of a reward counts.
const REWARD_COUNTS = 1n;

// The points, a 64 bit number. It survives traps and dead machines because its memory does.
let total = 0n;

export function reward(points) {
  if (points.tag === 'text') refuse(`not an integer: ${JSON.stringify(points.val)}`);
  // componentize-js 0.23 hands over a negative number in a variant as if it had no sign.
  return add(BigInt.asIntN(64, points.val), REWARD_COUNTS);
}

export function points() {
  return total;
}

export function giveBonus(bonus) {
  return add(bonus.points, BigInt(bonus.times));
}

// Other code takes the state over by these two: what `save` returns is given to its `load`. The bytes
// begin with a version; see saved.js.
export const migrate = {
  save() {
    return write(total);
  },

  // What is thrown is the error of the result, which is a string.
  load(state) {
    total = read(state);
  },
};

// Adds points and returns the new total.
function add(points, times) {
  const sum = total + points * times;
  if (BigInt.asIntN(64, sum) !== sum) refuse(`points overflow: ${total} + ${points} * ${times}`);
  total = sum;
  return total;
}

// Says why, and ends the call: an error that nobody catches is a trap. The host drops what the call
// has changed, and the caller reads this.
function refuse(why) {
  log('error', why);
  throw new Error(why);
}
