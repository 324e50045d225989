// Small charts of the last two minutes.

import { drawn, set } from "./dom.js";

/** How far back a chart looks. */
const SPAN = 120_000;

/** Size of a chart in its own units. It is stretched to its place, and its strokes are not. */
const [WIDTH, HEIGHT, ROOM] = [300, 100, 6];

/** Values with their times, of the last two minutes. */
export class Series {
  #values = [];

  add(at, value) {
    this.#values.push({ at, value });
    // One that is older stays, so that the line comes in from the edge.
    while (this.#values.length > 2 && this.#values[1].at < at - SPAN) this.#values.shift();
  }

  get values() {
    return this.#values;
  }
}

/** Returns a round number that is not below any of the values. */
function ceiling(values) {
  const most = Math.max(0, ...values);
  if (most === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= most);
}

/** Draws lines into an `<svg>`. */
export class Chart {
  #paths;

  /**
   * Each class names one line. `area` fills what is below the first one, `steps` joins values by steps,
   * `low` begins at the lowest value instead of at zero, and `powers` draws by powers of ten.
   */
  constructor(svg, classes, { area = false, steps = false, low = false, powers = false } = {}) {
    this.steps = steps;
    this.low = low;
    this.powers = powers;
    set(svg, "viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    set(svg, "preserveAspectRatio", "none");
    for (const y of [ROOM, HEIGHT / 2, HEIGHT - 1]) {
      svg.append(drawn("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.area = area ? drawn("path", { class: `area ${classes[0]}` }) : null;
    if (this.area) svg.append(this.area);
    this.#paths = classes.map((name) => drawn("path", { class: `line ${name}` }));
    svg.append(...this.#paths);
  }

  /** Draws one series a line. Returns the values at the bottom and the top. */
  draw(now, ...lines) {
    const values = lines.flatMap((series) => series.values);
    const known = values.filter(({ value }) => value != null).map(({ value }) => Number(value));
    const [bottom, top] = this.#range(known);
    const scale = this.powers ? (value) => Math.log10(Math.max(value, bottom)) : (value) => value;
    const place = ({ at, value }) => {
      const share = (scale(Number(value)) - scale(bottom)) / (scale(top) - scale(bottom));
      const x = WIDTH * (1 - (now - at) / SPAN);
      return [x.toFixed(1), (HEIGHT - 1 - share * (HEIGHT - 1 - ROOM)).toFixed(1)];
    };
    lines.forEach((series, at) => set(this.#paths[at], "d", this.#path(series.values, place)));
    if (this.area) set(this.area, "d", areaOf(lines[0].values, place));
    return [bottom, top];
  }

  #range(known) {
    if (known.length === 0) return [this.powers ? 1 : 0, 10];
    const [least, most] = [Math.min(...known), Math.max(...known)];
    if (this.powers) {
      const bottom = 10 ** Math.floor(Math.log10(Math.max(1, least)));
      return [bottom, Math.max(bottom * 10, 10 ** Math.ceil(Math.log10(Math.max(1, most))))];
    }
    if (!this.low) return [0, ceiling(known)];
    // Next to a large number, another one that is only 1 more is the same to a browser.
    return [least, Math.max(most, least + Math.max(1, Math.abs(least) / 1e6))];
  }

  #path(values, place) {
    let path = "";
    let joined = false;
    for (const point of values) {
      if (point.value != null) {
        const [x, y] = place(point);
        if (!joined) path += `M${x} ${y}h0`;
        else path += this.steps ? `H${x}V${y}` : `L${x} ${y}`;
      }
      joined = point.value != null;
    }
    return path;
  }
}

function areaOf(values, place) {
  const known = values.filter(({ value }) => value != null).map(place);
  if (known.length < 2) return "";
  const line = known.map(([x, y]) => `L${x} ${y}`).join("");
  return `M${known[0][0]} ${HEIGHT}${line}L${known.at(-1)[0]} ${HEIGHT}Z`;
}
