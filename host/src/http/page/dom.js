// Making elements. What the cluster says comes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element of HTML. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Makes an element of a picture. */
export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else set(node, name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

/** Sets an attribute, or takes it away, and touches nothing that is right already. */
export function set(node, name, value) {
  if (value == null || value === false) {
    node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Sets a text, and touches nothing that is right already: what is selected stays selected. */
export function say(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export const byId = (id) => document.getElementById(id);

const shown = new WeakMap();

/**
 * Has `parent` show these items, in their order. An item's element stays the same as long as its key
 * does, so that it keeps the focus.
 */
export function show(parent, items, keyOf, make, update = () => {}) {
  const before = shown.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const key = keyOf(item);
    after.set(key, before.get(key) ?? make(item));
  }
  for (const [key, node] of before) if (!after.has(key)) node.remove();
  let at = parent.firstChild;
  for (const item of items) {
    const node = after.get(keyOf(item));
    update(node, item);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  shown.set(parent, after);
}
