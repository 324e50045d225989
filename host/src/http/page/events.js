// What happens, newest first, in the words of the nodes.

import { follow, get } from "./api.js";
import { byId, element, set, show } from "./dom.js";
import { clock } from "./words.js";

/** Events that are remembered. */
const KEPT_MAX = 1000;
/** Events that are shown. */
const SHOWN_MAX = 150;
/** Players whose last trap is remembered. */
const TRAPS_MAX = 1000;
/** Pause before a stream that broke off is opened again. */
const PAUSE = 1000;

/** What colour an event has: what was lost, what goes away, what is well again. */
const KINDS = {
  bad: ["down", "trapped", "unavailable", "quarantined", "taken_back", "not_migrated"],
  uneasy: ["suspect", "draining", "forgotten"],
  good: ["joined", "restored", "reseeded", "released", "deployed"],
};

const kindOf = (event) =>
  Object.keys(KINDS).find((kind) => KINDS[kind].includes(event)) ?? "plain";

const events = [];
const traps = new Map();
let count = 0;
let drawing = false;

/** Returns a player's last trap, as far as it was told. */
export const lastTrap = (player) => traps.get(player);

function note(event) {
  event.key = count++;
  // Each node tells its own in order, but they come from several.
  let at = 0;
  while (at < events.length && events[at].at > event.at) at++;
  events.splice(at, 0, event);
  if (events.length > KEPT_MAX) events.pop();
  if (event.event === "trapped" && !(traps.get(event.player)?.at > event.at)) {
    traps.delete(event.player);
    traps.set(event.player, event);
    if (traps.size > TRAPS_MAX) traps.delete(traps.keys().next().value);
  }
}

/** Draws once for all that comes at the same time. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const wanted = byId("event-filter").value.trim();
    const isWanted = ({ player }) => !wanted || (player ?? "").includes(wanted);
    const some = events.filter(isWanted).slice(0, SHOWN_MAX);
    show(byId("events"), some, (event) => event.key, make);
    set(byId("no-events"), "hidden", some.length > 0);
  });
}

function make({ at, event, text }) {
  const time = element("time", { datetime: new Date(at).toISOString() }, clock(at));
  return element("li", { "data-event": event, "data-kind": kindOf(event) }, time, element("span", {}, text));
}

/** Shows events of players with this in their names only. */
export function filterEvents(player) {
  byId("event-filter").value = player;
  draw();
}

/** What nodes remember from before, too: the places of the stream's beginning. */
async function beginning() {
  const { nodes } = await get("/v1/nodes");
  return nodes.map(({ id }) => `${id}=0`).join(",");
}

/** Follows what happens for as long as this page is open. */
export async function watch(noted, state) {
  byId("event-filter").addEventListener("input", draw);
  byId("event-filter").form.addEventListener("submit", (event) => event.preventDefault());
  byId("event-filter").form.addEventListener("reset", () => setTimeout(draw));
  let last;
  for (;;) {
    try {
      last ??= await beginning();
      for await (const { id, data } of follow(last, () => state("live"))) {
        last = id;
        note(data);
        noted(data);
        draw();
      }
    } catch {
      // The reason shows in what else is asked.
    }
    state("waiting");
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}
