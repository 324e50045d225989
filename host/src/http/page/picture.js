// The cluster as a picture: a box for each node, an arrow from each owner to each of its keepers.

import { drawn, say, set, show } from "./dom.js";
import { arrow } from "./census.js";
import { many, number, rate } from "./words.js";

const [WIDTH, HEIGHT] = [600, 350];
const [BOX_WIDTH, BOX_HEIGHT] = [176, 80];
/** How far an arrow bends, so that the one back has a place of its own. */
const BEND = 32;
/** With more nodes than that, arrows have no numbers. */
const LABELLED_NODES_MAX = 6;

/** Size of a box: with many nodes, each is smaller. */
const scaleOf = (count) => (count <= 4 ? 1 : count <= 6 ? 0.84 : count <= 12 ? 0.6 : 0.4);

/** Where each node is: on an ellipse, in order, the first one at the top. */
function places(count) {
  const scale = scaleOf(count);
  if (count === 1) return [{ x: WIDTH / 2, y: HEIGHT / 2, scale }];
  const turn = count === 2 ? Math.PI : -Math.PI / 2;
  const across = WIDTH / 2 - (BOX_WIDTH / 2) * scale - 6;
  const down = HEIGHT / 2 - (BOX_HEIGHT / 2) * scale - 10;
  const middle = count === 3 ? HEIGHT / 2 + down / 3.4 : HEIGHT / 2;
  return Array.from({ length: count }, (_, at) => {
    const angle = turn + (2 * Math.PI * at) / count;
    // Three are not on an ellipse, but at the corners of a triangle that fills the picture.
    const stretched = count === 3 ? 1.1 : 1;
    return {
      x: WIDTH / 2 + across * Math.cos(angle) * stretched,
      y: Math.max(BOX_HEIGHT / 2 + 10, middle + down * Math.sin(angle) * (count === 3 ? 1.28 : 1)),
      scale,
    };
  });
}

/** Where a line from the middle of a box towards `to` leaves it. */
function edge(from, to) {
  const [x, y] = [to.x - from.x, to.y - from.y];
  const halfWidth = (BOX_WIDTH / 2 + 5) * from.scale;
  const halfHeight = (BOX_HEIGHT / 2 + 5) * from.scale;
  const share = Math.min(halfWidth / Math.abs(x || 1e-9), halfHeight / Math.abs(y || 1e-9));
  return { x: from.x + x * share, y: from.y + y * share };
}

/** The way of an arrow, and where its number stands. */
function curve(from, to) {
  const [x, y] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(x, y) || 1;
  const bend = { x: (-y / length) * BEND * from.scale, y: (x / length) * BEND * from.scale };
  const middle = { x: (from.x + to.x) / 2 + bend.x, y: (from.y + to.y) / 2 + bend.y };
  const [begin, end] = [edge(from, middle), edge(to, middle)];
  const at = (one, two) => (one + 2 * two[0] + two[1]) / 4;
  const label = { x: at(begin.x, [middle.x, end.x]), y: at(begin.y, [middle.y, end.y]) };
  const point = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  return { path: `M${point(begin)}Q${point(middle)} ${point(end)}`, label };
}

const STAR = "M0 -7L2 -2.2L7 -2.2L3 1L4.6 6L0 3L-4.6 6L-3 1L-7 -2.2L-2 -2.2Z";

export class Picture {
  constructor(svg) {
    this.svg = svg;
    set(svg, "viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    const tip = drawn("path", { d: "M0 0L8 4L0 8Z", class: "tip" });
    const size = { markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse" };
    const marker = drawn("marker", { id: "tip", refX: 7, refY: 4, orient: "auto", ...size }, tip);
    [this.lines, this.boxes, this.labels] = ["lines", "boxes", "labels"].map((layer) =>
      drawn("g", { class: layer }),
    );
    svg.append(drawn("defs", {}, marker), this.lines, this.boxes, this.labels);
  }

  /** Draws nodes: `{ name, status, leader, players, rate }`, and how many players are between them. */
  draw(nodes, arrows) {
    const spots = places(nodes.length);
    const at = new Map(nodes.map((node, place) => [node.name, spots[place]]));
    const most = Math.max(1, ...arrows.values());
    const drawnArrows = [];
    for (const from of nodes) {
      for (const to of nodes) {
        const players = arrows.get(arrow(from.name, to.name)) ?? 0;
        if (players === 0 || from === to) continue;
        const way = curve(at.get(from.name), at.get(to.name));
        const isBroken = from.status === "down" || to.status === "down";
        const key = arrow(from.name, to.name);
        drawnArrows.push({ key, players, isBroken, width: 1.2 + (2.3 * players) / most, ...way });
      }
    }
    const key = (item) => item.key;
    show(this.lines, drawnArrows, key, makeLine, updateLine);
    const labelled = nodes.length <= LABELLED_NODES_MAX ? drawnArrows : [];
    show(this.labels, labelled, key, makeLabel, updateLabel);
    const boxes = nodes.map((node) => ({ ...node, ...at.get(node.name) }));
    show(this.boxes, boxes, (box) => box.name, makeBox, updateBox);
    const words = nodes.map(
      (node) =>
        `${node.name} is ${node.status}${node.leader ? " and leads" : ""}, ` +
        `${many(node.players, "player")}`,
    );
    set(this.svg, "aria-label", `${many(nodes.length, "node")}: ${words.join("; ")}.`);
  }
}

function makeLine() {
  return drawn("path", { class: "arrow", "marker-end": "url(#tip)" });
}

function updateLine(line, { path, width, isBroken }) {
  set(line, "d", path);
  set(line, "stroke-width", width.toFixed(2));
  set(line, "class", isBroken ? "arrow broken" : "arrow");
}

function makeLabel() {
  const pill = drawn("rect", { rx: 9, height: 18, y: -9 });
  return drawn("g", { class: "count" }, pill, drawn("text", { y: 4 }));
}

function updateLabel(label, { label: { x, y }, players }) {
  const [pill, text] = label.children;
  say(text, number(players));
  const width = 14 + 7 * text.textContent.length;
  set(pill, "width", width);
  set(pill, "x", -width / 2);
  set(label, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
}

function makeBox({ name }) {
  const frame = drawn("rect", {
    class: "frame",
    x: -BOX_WIDTH / 2,
    y: -BOX_HEIGHT / 2,
    width: BOX_WIDTH,
    height: BOX_HEIGHT,
    rx: 12,
  });
  const left = -BOX_WIDTH / 2 + 14;
  const short = name.length > 16 ? `${name.slice(0, 15)}\u2026` : name;
  return drawn(
    "g",
    { class: "node", "data-node": name },
    drawn("title", {}, name),
    frame,
    drawn("circle", { class: "lamp", cx: left + 4, cy: -20, r: 5 }),
    drawn("text", { class: "name", x: left + 16, y: -15 }, short),
    drawn("path", { class: "star", d: STAR, transform: `translate(${BOX_WIDTH / 2 - 20} -20)` }),
    drawn("text", { class: "status", x: left, y: 6 }),
    drawn("text", { class: "owned", x: left, y: 26 }),
    drawn("text", { class: "rate", x: -left, y: 6 }),
  );
}

function updateBox(box, { status, leader, players, rate: calls, x, y, scale }) {
  set(box, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${scale})`);
  set(box, "data-status", status);
  set(box.querySelector(".star"), "display", leader ? null : "none");
  say(box.querySelector(".status"), status);
  say(box.querySelector(".owned"), many(players, "player"));
  say(box.querySelector(".rate"), status === "down" ? "" : `${rate(calls)} calls/s`);
}
