// The table of nodes, and what can be done with one.

import { can, ask } from "./api.js";
import { confirm } from "./confirm.js";
import { byId, element, say, set, show } from "./dom.js";
import { many, names, number, problem, rate } from "./words.js";

/** For how long a node is shown as suspect after somebody said that it is silent. */
const SUSPECT_FOR = 10_000;

/** How long a node may hand over. */
const DRAIN_PATIENCE = 600_000;

const suspects = new Map();

/** Notes what an event says of a node. */
export function noteNode({ event, peer, at }) {
  if (event === "suspect") suspects.set(peer, at);
  if (event === "down" || event === "joined") suspects.delete(peer);
}

const path = (name, work) => `/v1/nodes/${encodeURIComponent(name)}/${work}`;

/** The node that this page asks. */
let asked;

/** Returns what to show of each node. */
export function seen({ nodes, asked: own }, census, rates) {
  asked = own;
  const statusOf = ({ name, status }) => {
    const isSilent = Date.now() - (suspects.get(name) ?? 0) < SUSPECT_FOR;
    return status === "up" && isSilent ? "suspect" : status;
  };
  const look = (node) => ({
    ...node,
    status: statusOf(node),
    players: census?.owned.get(node.name) ?? 0,
    copies: census?.kept.get(node.name) ?? 0,
    rate: rates?.get(node.name),
  });
  return nodes.map(look).sort((one, two) => (one.name < two.name ? -1 : 1));
}

/** Shows the table. `filter` is called with a node whose players are wanted. */
export function showTable(nodes, filter, changed) {
  const make = (node) => row(node, filter, changed);
  show(byId("nodes"), nodes, (node) => node.name, make, update);
}

function row({ name }, filter, changed) {
  const button = (words, what, work, more = "") =>
    element("button", { type: "button", class: `small ${more}`, "aria-label": what, click: work }, words);
  return element(
    "tr",
    { "data-node": name },
    element("th", { scope: "row" }, button(name, `List the players of ${name}`, () => filter(name), "link")),
    element("td", {}, element("span", { class: "badge" })),
    element("td", { class: "number" }),
    element("td", { class: "number" }),
    element("td", { class: "number wide" }),
    element(
      "td",
      { class: "actions" },
      button("Drain\u2026", `Drain ${name}`, () => drain(name, changed), "drain"),
      button("Crash\u2026", `Crash drill of ${name}`, () => crash(name, changed), "danger crash"),
    ),
  );
}

function update(row, node) {
  const [, status, players, copies, calls] = row.children;
  set(row, "data-status", node.status);
  say(status.firstChild, node.status);
  say(players, number(node.players));
  say(copies, number(node.copies));
  say(calls, node.status === "down" ? "\u2013" : rate(node.rate));
  const isThere = node.status !== "down";
  const [drains, crashes] = ["drain", "crash"].map((act) => can("post", `/v1/nodes/{node}/${act}`));
  set(row.querySelector(".drain"), "hidden", !drains);
  set(row.querySelector(".crash"), "hidden", !crashes);
  set(row.querySelector(".drain"), "disabled", node.status !== "up");
  set(row.querySelector(".crash"), "disabled", !isThere);
}

async function drain(name, changed) {
  const words = `${name} hands its players and copies over to other nodes, and ends. Calls go on.`;
  if (!(await confirm(`Drain ${name}?`, words, "Drain"))) return;
  await act(`${name} hands over\u2026`, name, changed, async () => {
    const sent = { body: "{}", patience: DRAIN_PATIENCE };
    const { players, copies, left } = await ask("POST", path(name, "drain"), sent);
    const over = `${many(players, "player")} and ${many(copies, "copy", "copies")}`;
    return `${name} has handed over ${over}, and ends.${left ? ` What stays: ${left}.` : ""}`;
  });
}

async function crash(name, changed) {
  const words =
    `The process of ${name} ends at once, as if it had been killed. Its players go on elsewhere. ` +
    "Somebody has to start it again.";
  if (!(await confirm(`Crash ${name}?`, words, "Crash it"))) return;
  await act(`${name} is told to crash\u2026`, name, changed, async () => {
    const { players, copies } = await ask("POST", path(name, "crash"), { body: "{}" }).catch((error) => {
      // Who is told to end at once answers nothing more.
      if (error.code === "silent" && name === asked) return {};
      throw error;
    });
    if (players === undefined) return `${name} is gone. This page goes on when it is started again.`;
    const had = `It owned ${many(players, "player")} and kept ${many(copies, "copy", "copies")}`;
    return `${name} is gone. ${had}: others go on with them.`;
  });
}

async function act(meanwhile, name, changed, work) {
  const result = byId("nodes-result");
  set(result, "data-kind", "busy");
  say(result, meanwhile);
  try {
    say(result, await work());
    set(result, "data-kind", "good");
  } catch (error) {
    say(result, problem(error, name));
    set(result, "data-kind", "bad");
  }
  changed();
}

/** Says in one line how the cluster is. */
export function summary(nodes, census) {
  const with_ = (status) => nodes.filter((node) => node.status === status).map((node) => node.name);
  const parts = [`${with_("up").length} of ${many(nodes.length, "node")} up`];
  if (with_("down").length > 0) parts.push(`${names(with_("down"))} down`);
  if (census) parts.push(`${census.more ? "over " : ""}${many(census.players, "player")}`);
  return parts.join(", ");
}
