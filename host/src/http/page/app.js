// The page of a node: asks it again and again, and hands out what it says.

import { askForToken, get, learn } from "./api.js";
import * as card from "./card.js";
import { count } from "./census.js";
import { Chart, Series } from "./charts.js";
import { byId, say, set } from "./dom.js";
import { watch } from "./events.js";
import * as nodes from "./nodes.js";
import { Picture } from "./picture.js";
import * as players from "./players.js";
import { between } from "./stats.js";
import { duration, rate } from "./words.js";

/** Pauses between two looks, in milliseconds. */
const NODES = 1000;
const STATS = 1000;
const PLAYERS = 2000;
const CARD = 1000;
const COUNT = 2000;
/** A look that takes long is followed by a longer pause, so that this page is never most of the load. */
const REST = 9;
/** Pause after a failure. */
const FAILED = 2000;

const picture = new Picture(byId("picture"));
const calls = { chart: new Chart(byId("calls-chart"), ["calls"], { area: true }), series: new Series() };
const latency = {
  chart: new Chart(byId("latency-chart"), ["p99", "p50"], { powers: true }),
  p50: new Series(),
  p99: new Series(),
};

let cluster = null;
let census = null;
let flow = null;
let stats = null;

const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** Waits until somebody looks at this page. */
const looked = () =>
  document.hidden
    ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))
    : Promise.resolve();

/** Does `work` again and again. Returns what has it done at once. */
function repeat(pause, work) {
  let wake = () => {};
  const run = async () => {
    for (;;) {
      await looked();
      const began = performance.now();
      let wait = FAILED;
      const woken = new Promise((resolve) => (wake = resolve));
      try {
        await work();
        wait = Math.max(pause, REST * (performance.now() - began));
        reached();
      } catch (error) {
        missed(error);
      }
      await Promise.race([sleep(wait), woken]);
    }
  };
  run();
  return () => wake();
}

function status(state, words) {
  set(byId("connection"), "data-kind", state);
  say(byId("connection"), words);
}

function reached() {
  status("good", "live");
}

function missed(error) {
  const isToken = error.status === 401 || error.status === 403;
  set(byId("change-token"), "hidden", !isToken && !sessionStorage.length);
  if (isToken) status("bad", "a token is needed");
  else if (error.code === "silent") status("bad", "this node does not answer; trying again");
  else if (error.detail) status("bad", error.detail);
  else {
    status("bad", "this page made a mistake");
    console.error(error);
  }
}

function draw() {
  if (!cluster) return;
  const seen = nodes.seen(cluster, census, flow?.rates);
  picture.draw(seen, census?.arrows ?? new Map());
  nodes.showTable(seen, players.onNode, lookAgain);
  players.offerNodes(seen);
  card.offerNodes(seen);
  say(byId("summary"), nodes.summary(seen, census));
  say(byId("asked"), cluster.asked);
  document.title = `${cluster.asked} \u2013 Player host`;
}

async function measure() {
  const now = Date.now();
  const told = await get("/v1/stats");
  const before = stats;
  stats = { told, at: performance.now() };
  if (!before) return;
  flow = between(before.told, told, (stats.at - before.at) / 1000);
  calls.series.add(now, flow.rate);
  latency.p50.add(now, flow.p50);
  latency.p99.add(now, flow.p99);
  say(byId("calls-now"), rate(flow.rate));
  say(byId("p50-now"), duration(flow.p50));
  say(byId("p99-now"), duration(flow.p99));
  const [, most] = calls.chart.draw(now, calls.series);
  say(byId("calls-top"), rate(most));
  const [fastest, slowest] = latency.chart.draw(now, latency.p99, latency.p50);
  const isKnown = latency.p99.values.some(({ value }) => value != null);
  say(byId("latency-top"), isKnown ? duration(slowest) : "");
  say(byId("latency-bottom"), isKnown ? duration(fastest) : "");
}

async function openFromAddress() {
  let player = "";
  try {
    player = decodeURIComponent(location.hash.slice(1));
  } catch {
    // Somebody has typed a percent sign that means nothing.
  }
  if (player) await openCard(player);
}

async function openCard(player, focused = false) {
  const opening = card.open(player);
  if (focused) card.focus();
  players.mark(player);
  await opening;
}

let lookAgain = () => {};

async function start() {
  byId("change-token").addEventListener("click", async () => {
    if (await askForToken()) location.reload();
  });
  set(byId("change-token"), "hidden", !sessionStorage.length);
  players.listen((player) => openCard(player, true));
  card.listen(() => lookAgain());
  addEventListener("hashchange", openFromAddress);
  while (!(await learn().then(() => true, (error) => void missed(error)))) await sleep(FAILED);
  const lookAtNodes = repeat(NODES, async () => {
    cluster = await get("/v1/nodes");
    draw();
  });
  repeat(STATS, measure);
  const recount = repeat(COUNT, async () => {
    census = await count();
    draw();
  });
  const list = repeat(PLAYERS, async () => {
    await players.refresh();
    players.mark(card.current());
  });
  const lookAtCard = repeat(CARD, card.refresh);
  lookAgain = () => [lookAtNodes, recount, list, lookAtCard].forEach((look) => look());
  const noted = (event) => {
    nodes.noteNode(event);
    card.note(event);
    // Those who are there, and who owns what, has changed.
    if (["joined", "down", "draining", "suspect"].includes(event.event)) lookAtNodes();
  };
  watch(noted, (state) => set(byId("events"), "data-state", state));
  await openFromAddress();
}

start();
