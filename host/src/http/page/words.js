// Numbers, times and problems in words.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A whole number. */
export const number = (value) => (value == null ? "\u2013" : whole.format(value));

/** So many in a second. */
export const rate = (value) =>
  value == null ? "\u2013" : (value < 10 ? tenths : whole).format(value);

/** A time. */
export function duration(micros) {
  if (micros == null) return "\u2013";
  if (micros < 1000) return `${digits.format(micros)} \u00b5s`;
  if (micros < 1_000_000) return `${digits.format(micros / 1000)} ms`;
  return `${digits.format(micros / 1_000_000)} s`;
}

/** So many of something. */
export const many = (count, one, more = `${one}s`) =>
  `${number(count)} ${Number(count) === 1 ? one : more}`;

/** Names, as one would say them. */
export function names(list) {
  if (list.length === 0) return "nobody";
  if (list.length === 1) return list[0];
  return `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
}

/** A time of the day. */
export const clock = (millis) => new Date(millis).toLocaleTimeString("en-GB");

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** What a player was restored to. */
export function restored({ seq, micros, keepers }, node) {
  const copies = keepers.length === 1 ? "its copy" : "its copies";
  const kept = keepers.length === 0 ? "" : `; ${copies} on ${names(keepers)} did not change`;
  return `It is restored at seq ${number(seq)} in ${duration(micros)} on ${node}${kept}.`;
}

/** What went wrong with what somebody wanted of `whom`, and what that means. */
export function problem(error, whom) {
  const { code, title, detail, applied } = error;
  if (code === "trapped") {
    const after = error.restored ? ` ${restored(error.restored, error.node)}` : "";
    return `${whom} trapped: ${sentence(detail)} Nothing was applied.${after}`;
  }
  const what = title ? `${sentence(title)} ${sentence(detail)}` : sentence(detail);
  return applied === null ? `${what} Nobody knows whether it was applied.` : what;
}
