// Makes the component: `node build.js OUTPUT`.

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { component } = await componentize({
  sourcePath: here('player.js'),
  witPath: here('../../wit'),
  worldName: 'migrating-player',
  // What this player does not use it does not import either.
  disableFeatures: ['clocks', 'fetch-event', 'http', 'random', 'stdio'],
});
await writeFile(process.argv[2], component);
