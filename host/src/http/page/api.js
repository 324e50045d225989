// Asking this node: the token, problems, keys of calls, and the stream of events.

import { byId, say } from "./dom.js";

const TOKEN = "player-host-token";

/** How long a request waits. A call has ten seconds by itself. */
const PATIENCE = 20_000;

/** Silence after which a stream is taken for dead: a sign of life comes each 15 seconds. */
const SILENCE = 40_000;

/** Why something was not done. */
class Problem extends Error {
  constructor(body) {
    super(body.detail);
    Object.assign(this, { title: "", code: "unreadable", applied: false, ...body });
  }
}

const dialog = byId("token-dialog");
const field = byId("token");
const complaint = byId("token-problem");
let asking = null;
let declined = false;

/** Asks for a token. Whoever needs one meanwhile waits for the same answer. */
export function askForToken(why = "") {
  say(complaint, why);
  asking ??= new Promise((resolve) => {
    field.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    const close = () => {
      asking = null;
      const given = dialog.returnValue === "use" && field.value.trim();
      declined = !given;
      if (given) sessionStorage.setItem(TOKEN, field.value.trim());
      field.value = "";
      resolve(!declined);
    };
    dialog.addEventListener("close", close, { once: true });
  });
  return asking;
}

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

async function send(path, options) {
  const used = sessionStorage.getItem(TOKEN);
  let response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.status !== 401) return response;
  const told = await problemOf(response);
  // Another request may have asked meanwhile.
  const changed = sessionStorage.getItem(TOKEN) !== used;
  if (!changed && (declined || !(await askForToken(used ? told.detail : "")))) throw told;
  response = await fetch(path, { ...options, headers: headers(options.headers) });
  return response;
}

async function problemOf(response) {
  const { status } = response;
  try {
    return new Problem({ status, ...JSON.parse(await response.text()) });
  } catch {
    return new Problem({ status, detail: `The answer has the status ${status} and no words` });
  }
}

/** Points have 64 bits, and numbers here 53: larger ones are read from their text. */
function exact(_, value, context) {
  const isLarge = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return isLarge && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value;
}

/** Asks, and returns the answer's body. Throws a `Problem`. */
export async function ask(method, path, { body, key, patience = PATIENCE } = {}) {
  const options = { method, headers: {}, cache: "no-store" };
  if (body !== undefined) {
    options.body = body;
    options.headers["content-type"] = "application/json";
  }
  if (key) options.headers["idempotency-key"] = key;
  options.signal = AbortSignal.timeout(patience);
  let response, text;
  try {
    response = await send(path, options);
    if (response.ok) text = await response.text();
  } catch (error) {
    if (error instanceof Problem) throw error;
    const applied = method === "GET" ? false : null;
    throw new Problem({ code: "silent", detail: "This node does not answer", applied, key });
  }
  if (!response.ok) throw await problemOf(response);
  return JSON.parse(text, exact);
}

export const get = (path) => ask("GET", path);

/** Makes a key for a call: a UUID of version 7. The same key is the same call, however often sent. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let millis = Date.now();
  for (let at = 5; at >= 0; at--) {
    bytes[at] = millis % 256;
    millis = Math.floor(millis / 256);
  }
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

let paths = {};

/** Finds out what this node can be asked. */
export async function learn() {
  paths = (await get("/v1/openapi.json")).paths;
}

/** Whether this node can be asked that. */
export const can = (method, path) => paths[path]?.[method] !== undefined;

/**
 * Yields what happens, as `{ id, data }`, from behind the event `last`, until the stream breaks off.
 * An `EventSource` would do, but it cannot show a token.
 */
export async function* follow(last, opened) {
  const abort = new AbortController();
  let watchdog = setTimeout(() => abort.abort(), SILENCE);
  const options = { headers: last ? { "last-event-id": last } : {}, signal: abort.signal };
  try {
    const response = await send("/v1/events", { ...options, cache: "no-store" });
    if (!response.ok) throw await problemOf(response);
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), SILENCE);
      const pieces = (text + value).split("\n\n");
      text = pieces.pop();
      yield* pieces.map(eventOf).filter((event) => event.data);
    }
  } finally {
    clearTimeout(watchdog);
    abort.abort();
  }
}

function eventOf(piece) {
  const lines = piece.split("\n");
  const after = (start) => lines.find((line) => line.startsWith(start))?.slice(start.length);
  const data = after("data: ");
  return { id: after("id: "), data: data && JSON.parse(data, exact) };
}
