// Asking whether somebody means it.

import { byId, say } from "./dom.js";

/** Asks, and says whether the answer is yes. */
export function confirm(title, words, yes) {
  const dialog = byId("confirm-dialog");
  say(byId("confirm-title"), title);
  say(byId("confirm-words"), words);
  say(byId("confirm-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
