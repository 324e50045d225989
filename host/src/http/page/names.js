// Finding players by their names. Nodes list them in the order of their names' bytes, and only from
// some name on: what comes right before a name is made up here.

import { get } from "./api.js";

/** Sorts behind nearly all that a name is made of. */
const LATE = "\u{2a6d6}";
/** Bytes of the longest name. */
const NAME_BYTES_MAX = 128;
/** Pages that one search looks at. */
const PAGES_MAX = 5;

const bytes = (text) => new TextEncoder().encode(text);

/** Which of two names comes first, in the order that nodes have: that of code points. */
export function compare(one, two) {
  const [ones, twos] = [bytes(one), bytes(two)];
  for (let at = 0; at < Math.min(ones.length, twos.length); at++) {
    if (ones[at] !== twos[at]) return ones[at] - twos[at];
  }
  return ones.length - twos.length;
}

/** Returns a name that comes before this one, with little or nothing between; "" for the first. */
export function before(name) {
  const letters = Array.from(name);
  const last = letters.pop()?.codePointAt(0) ?? 0;
  const start = letters.join("");
  // Nothing printable is before a space.
  if (last <= 0x21) return start;
  const near = start + String.fromCodePoint(last - 1);
  return bytes(near + LATE).length <= NAME_BYTES_MAX ? near + LATE : near;
}

const query = (limit, after, on) => {
  const wanted = new URLSearchParams({ limit });
  if (after) wanted.set("after", after);
  if (on) wanted.set("on", on);
  return `/v1/players?${wanted}`;
};

async function pageBehind(limit, after, on, start) {
  try {
    return await get(query(limit, after, on));
  } catch (error) {
    // What was made up is no name: the letter before is not printable, perhaps.
    if (error.code !== "bad_player" || !start) throw error;
    return get(query(limit, Array.from(start).slice(0, -1).join(""), on));
  }
}

/** Returns a page of the players on a node, or on any, whose names begin with `start`. */
export async function page(start, on, after, limit) {
  const found = [];
  let from = after ?? (start ? before(start) : "");
  let silent = [];
  for (let asked = 0; asked < PAGES_MAX; asked++) {
    const told = await pageBehind(limit - found.length, from, on, after ? "" : start);
    silent = told.silent;
    for (const player of told.players) {
      if (player.player.startsWith(start)) found.push(player);
      else if (compare(player.player, start) > 0) return { players: found, next: null, silent };
    }
    from = told.next;
    if (from === null || found.length >= limit) return { players: found, next: from, silent };
  }
  return { players: found, next: from, silent };
}

/** Looks at one player in the list, which is no call of it; null if it is not where it should be. */
export async function listed(name) {
  const { players } = await pageBehind(4, before(name), "", name);
  return players.find(({ player }) => player === name) ?? null;
}
