import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { read, write } from './saved.js';

const lines = readFileSync(new URL('../saved-states.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line && !line.startsWith('#'))
  .map((line) => line.split(' '));

test('states are saved and refused as by every other player', () => {
  for (const [state, hex = ''] of lines) {
    const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
    if (state === 'version' || state === 'damaged') {
      assert.throws(() => read(bytes), (why) => typeof why === 'string' && why.includes(state));
    } else {
      assert.deepEqual(write(BigInt(state)), bytes);
      assert.equal(read(bytes), BigInt(state));
    }
  }
});
