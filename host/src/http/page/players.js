// The list of players: by the start of their names, by node, page by page.

import { byId, element, say, set, show } from "./dom.js";
import { page } from "./names.js";
import { number, problem } from "./words.js";

/** Players of a page. */
const LIMIT = 50;
/** Time between two letters after which what was typed is looked up. */
const TYPING = 200;

/** A player's state in a word. */
export function stateOf({ running, quarantined }) {
  if (quarantined) return "quarantined";
  return running ? "running" : "resting";
}

/** Where the pages before this one begin; the last is this one. */
const START = { after: null, first: 1 };
let begins = [START];
let next = null;
let open;
let asked = 0;

const start = () => byId("search").value.trim();

/** Looks the current page up and shows it. */
export async function refresh() {
  const mine = ++asked;
  const { after, first } = begins.at(-1);
  const found = await page(start(), byId("on").value, after, LIMIT);
  // Something else was typed meanwhile.
  if (mine !== asked) return;
  next = found.next;
  const { players } = found;
  show(byId("players"), players, ({ player }) => player, make, update);
  const isLast = next === null;
  const range = players.length === 0 ? "" : `${number(first)} to ${number(first + players.length - 1)}`;
  say(byId("players-range"), range);
  set(byId("next"), "disabled", isLast);
  set(byId("previous"), "disabled", begins.length === 1);
  const nobody = start() ? "No player's name begins so. Press Enter to open it anyway." : "No players yet.";
  const silent = found.silent.length > 0 ? `${found.silent.join(", ")} does not answer.` : "";
  say(byId("players-note"), players.length === 0 && isLast ? nobody : silent);
}

function make({ player }) {
  const name = element("button", { type: "button", class: "link", click: () => open(player) }, player);
  return element(
    "tr",
    { "data-player": player },
    element("th", { scope: "row" }, element("span", { class: "state" }, element("span", { class: "unseen" })), name),
    element("td", { class: "number" }),
    element("td", {}),
  );
}

function update(row, player) {
  const [name, points, owner] = row.children;
  say(points, number(player.points));
  say(owner, player.owner);
  say(name.firstChild.firstChild, `${stateOf(player)}: `);
  set(name.firstChild, "title", stateOf(player));
  set(row, "data-state", stateOf(player));
}

/** Marks the player whose card is open. */
export function mark(player) {
  for (const row of byId("players").children) {
    set(row, "aria-current", row.getAttribute("data-player") === player ? "true" : null);
  }
}

async function again() {
  try {
    await refresh();
  } catch (error) {
    say(byId("players-note"), problem(error, ""));
  }
}

function fromStart() {
  begins = [START];
  return again();
}

/** Shows the players of a node only. */
export function onNode(name) {
  byId("on").value = name;
  byId("search").value = "";
  fromStart();
  byId("players-panel").scrollIntoView({ block: "nearest" });
}

/** Offers these nodes to choose from. */
export function offerNodes(nodes) {
  const option = ({ name }) => element("option", { value: name }, name);
  show(byId("on-nodes"), nodes, ({ name }) => name, option);
}

/** Begins to listen. `opened` is called with a player whose card is wanted. */
export function listen(opened) {
  open = opened;
  let typing;
  byId("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(fromStart, TYPING);
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (start()) open(start());
  });
  byId("on").addEventListener("change", fromStart);
  byId("next").addEventListener("click", () => {
    const { first } = begins.at(-1);
    begins.push({ after: next, first: first + byId("players").children.length });
    again();
  });
  byId("previous").addEventListener("click", () => {
    begins.pop();
    again();
  });
}
