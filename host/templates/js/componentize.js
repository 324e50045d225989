// Makes the component: `node componentize.js OUTPUT`.

import { writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

const { component } = await componentize({
  sourcePath: 'player.js',
  witPath: 'wit',
  worldName: 'rules',
  // What this player does not use it does not import either.
  disableFeatures: ['clocks', 'fetch-event', 'http', 'random', 'stdio'],
});
await writeFile(process.argv[2], component);
