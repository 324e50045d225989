// Counting who owns and who keeps how many players, page by page: no more of a player stays here than
// that it was counted.

import { get } from "./api.js";

/** Players of a page: as many as a node sends. */
const PAGE = 1000;
/** Pages of one count: beyond a hundred thousand players, the picture says that there are more. */
const PAGES_MAX = 100;

/** The key of an arrow. */
export const arrow = (owner, keeper) => `${owner} ${keeper}`;

/** Counts all players. */
export async function count() {
  const census = { players: 0, more: false, owned: new Map(), kept: new Map(), arrows: new Map() };
  const add = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
  let after = "";
  for (let page = 0; page < PAGES_MAX; page++) {
    const { players, next } = await get(`/v1/players?limit=${PAGE}${after}`);
    for (const { owner, keepers } of players) {
      census.players++;
      add(census.owned, owner);
      for (const keeper of keepers) {
        add(census.kept, keeper);
        add(census.arrows, arrow(owner, keeper));
      }
    }
    if (next === null) return census;
    after = `&after=${encodeURIComponent(next)}`;
  }
  return { ...census, more: true };
}
