// One player: what it is, how its points went, and what can be done with it.

import { ask, can, get, newKey } from "./api.js";
import { Chart, Series } from "./charts.js";
import { confirm } from "./confirm.js";
import { byId, element, say, set, show } from "./dom.js";
import { filterEvents, lastTrap } from "./events.js";
import { listed } from "./names.js";
import { stateOf } from "./players.js";
import { clock, duration, names, number, problem, restored } from "./words.js";

/** The open player, and what is known of it; `seen` is null while there is no such player. */
let card = null;
let nodes = [];
let changed;
let chart;

const path = ({ player }, more = "") => `/v1/players/${encodeURIComponent(player)}${more}`;

/** Opens a player's card. */
export async function open(player) {
  const mine = { player, seen: null, points: new Series(), trap: undefined, again: null };
  card = mine;
  history.replaceState(null, "", `#${encodeURIComponent(player)}`);
  set(byId("card"), "hidden", false);
  set(byId("card-empty"), "hidden", true);
  say(byId("card-name"), player);
  result("", "");
  show(byId("functions"), [], () => 0);
  draw();
  try {
    // This asks the player itself, so that it says its points; from then on the list is looked at.
    take(mine, await get(path(mine)));
  } catch (error) {
    if (mine !== card) return;
    if (error.code === "no_player") result("There is no such player yet: a reward begins it.", "plain");
    else result(problem(error, player), "bad");
  }
  await describe(mine);
}

/** Goes to the card, for somebody who has chosen a player. */
export function focus() {
  byId("card-name").focus({ preventScroll: true });
  byId("card-panel").scrollIntoView({ block: "nearest" });
}

function take(mine, seen) {
  if (mine !== card) return;
  // The list has no code, and no points of a player that rests.
  const { code, points, seq } = { ...mine.seen, ...known(seen) };
  mine.seen = { ...seen, code, points, seq };
  record();
}

/** Remembers the points that it has now, and draws. */
function record() {
  if (card.seen.points != null) card.points.add(Date.now(), card.seen.points);
  draw();
}

const known = (seen) => Object.fromEntries(Object.entries(seen).filter(([, value]) => value != null));

/** Looks again. */
export async function refresh() {
  const mine = card;
  if (!mine) return;
  const seen = await listed(mine.player);
  if (seen) take(mine, seen);
}

async function describe(mine) {
  const told = await get(mine.seen ? path(mine, "/functions") : "/v1/functions").catch(() => null);
  if (mine !== card || !told) return;
  show(byId("functions"), told.functions, ({ name }) => name, functionOf);
  const count = told.functions.length + Number(told.left_out);
  say(byId("functions-count"), `Functions (${number(count)})`);
}

function functionOf({ name, shape, docs, refused }) {
  const parts = [element("code", {}, `${name}: ${shape}`)];
  if (docs) parts.push(element("p", {}, docs));
  if (refused) parts.push(element("p", {}, `Cannot be called from outside: ${refused}`));
  return element("li", {}, parts);
}

/** Draws what is known. */
function draw() {
  if (!card) return;
  const { seen, points, player } = card;
  const now = Date.now();
  const state = seen ? stateOf(seen) : "new";
  say(byId("card-state"), state);
  set(byId("card-state"), "data-kind", { running: "good", quarantined: "bad" }[state]);
  say(byId("card-points"), number(seen?.points));
  say(byId("card-owner"), seen?.owner ?? "\u2013");
  say(byId("card-keepers"), seen ? names(seen.keepers) : "\u2013");
  say(byId("card-generation"), number(seen?.generation));
  say(byId("card-seq"), number(seen?.seq));
  say(byId("card-code"), seen?.code ? seen.code.slice(0, 12) : "\u2013");
  chart ??= new Chart(byId("points-chart"), ["points"], { steps: true, low: true });
  chart.draw(now, points);
  const trap = lastTrap(player);
  set(byId("card-trap"), "hidden", !trap);
  say(byId("card-trap-text"), trap ? `${clock(trap.at)}: ${trap.text}` : "");
  const others = nodes.filter(({ name, status }) => status === "up" && name !== seen?.owner);
  const option = ({ name }) => element("option", { value: name }, name);
  show(byId("move-to"), others, ({ name }) => name, option);
  set(byId("move"), "disabled", !seen || others.length === 0);
  set(byId("crash"), "disabled", !seen);
  set(byId("end"), "disabled", !seen);
  set(byId("move-form"), "hidden", !can("post", "/v1/players/{player}/move"));
  set(byId("crash"), "hidden", !can("post", "/v1/players/{player}/crash"));
}

/** The player whose card is open, if one is. */
export const current = () => card?.player;

/** Draws what an event says of the open player. */
export function note({ player }) {
  if (card && player === card.player) draw();
}

/** Takes the nodes that a player can be moved to. */
export function offerNodes(all) {
  nodes = all;
  draw();
}

function result(text, kind, again = null) {
  say(byId("result"), text);
  set(byId("result"), "data-kind", kind);
  set(byId("again"), "hidden", !again);
  if (card) card.again = again;
}

/**
 * Does something with the open player, and says what came of it. `work` gets that player's card, for
 * another one may be open when it is done.
 */
async function act(meanwhile, work) {
  const mine = card;
  if (!mine) return;
  result(meanwhile, "busy");
  const only = (text, kind, again) => {
    if (mine === card) result(text, kind, again);
  };
  try {
    only(await work(mine), "good");
  } catch (error) {
    // With the key that it had, it is applied once at most.
    const retry = (card) => work(card, error.key);
    const again = error.applied === null && error.key ? () => act(meanwhile, retry) : null;
    only(problem(error, mine.player), "bad", again);
  }
  changed();
}

/** Rewards it. `points` is a number or a text, in JSON. */
function reward(points) {
  const key = newKey();
  return act(`Rewarding ${points}\u2026`, async (mine, again = key) => {
    const sent = { body: `{"points": ${points}}`, key: again };
    const { points: total, seq, node } = await ask("POST", path(mine, "/reward"), sent).catch((error) => {
      // Sent again, it must be the same call.
      throw Object.assign(error, { key: error.key ?? again });
    });
    const keepers = mine.seen?.keepers ?? [];
    take(mine, { ...mine.seen, keepers, running: true, points: total, seq, owner: node });
    return `${number(total)} points, at seq ${number(seq)} on ${node}. It is on every keeper.`;
  });
}

function crash() {
  return act("Crashing it\u2026", async (mine) => {
    const { node, restored: to } = await ask("POST", path(mine, "/crash"), { body: "{}" });
    return `Its instance on ${node} was thrown away. ${restored(to, node)}`;
  });
}

function move() {
  const to = byId("move-to").value;
  return act(`Moving it to ${to}\u2026`, async (mine) => {
    const began = performance.now();
    const moved = await ask("POST", path(mine, "/move"), { body: JSON.stringify({ to }) });
    const took = duration((performance.now() - began) * 1000);
    const kept = `it keeps copies on ${names(moved.keepers)}`;
    return `It went from ${moved.from} to ${moved.to} at seq ${number(moved.seq)} in ${took}; ${kept}.`;
  });
}

async function end() {
  const { player } = card;
  const words = "Its state and all copies of it are dropped for good. Its next call begins a new player.";
  if (!(await confirm(`End ${player}?`, words, "End it"))) return;
  await act("Ending it\u2026", async (mine) => {
    const { seq, node } = await ask("DELETE", path(mine));
    mine.seen = null;
    mine.points = new Series();
    draw();
    const at = seq == null ? "" : ` at seq ${number(seq)}`;
    return `${player} is no more: it ended${at} on ${node}.`;
  });
}

/** Begins to listen. `done` is called after something was done. */
export function listen(done) {
  changed = done;
  const whole = byId("reward-points");
  byId("reward-form").addEventListener("submit", (event) => {
    event.preventDefault();
    // Only a field with a whole number in it lets the form go; its text has all 64 bits.
    if (/^-?\d+$/.test(whole.value)) reward(BigInt(whole.value).toString());
  });
  byId("reward-a").addEventListener("click", () => reward('"a"'));
  byId("crash").addEventListener("click", crash);
  byId("move-form").addEventListener("submit", (event) => {
    event.preventDefault();
    move();
  });
  byId("end").addEventListener("click", end);
  byId("again").addEventListener("click", () => card?.again?.());
  byId("its-events").addEventListener("click", () => filterEvents(card.player));
}
