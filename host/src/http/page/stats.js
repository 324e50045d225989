// What happened between two looks at /v1/stats, whose numbers only grow.

/** Which share of the calls took at most how long, in microseconds; null without calls. */
export function quantile(buckets, longest, share) {
  const all = buckets.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  let left = all * share;
  for (let at = 0; at < buckets.length; at++) {
    if (buckets[at] > 0 && left <= buckets[at]) {
      const from = at === 0 ? 0 : longest[at - 1];
      // The last bucket has no end: its calls took that long at least.
      const to = longest[at] ?? from;
      return from + (to - from) * (left / buckets[at]);
    }
    left -= buckets[at];
  }
  return longest.at(-2);
}

const ended = ({ returned, trapped, refused, unknown }) => returned + trapped + refused + unknown;

/**
 * Compares two looks, `seconds` apart. A node that has started between them has begun to count anew,
 * and one that was not there before is counted from the next look on.
 */
export function between(before, after, seconds) {
  const known = new Map(before.nodes.map((node) => [node.node, node]));
  const buckets = after.bucket_micros.map(() => 0);
  const rates = new Map();
  let total = 0;
  for (const node of after.nodes) {
    let earlier = known.get(node.node);
    if (!earlier) continue;
    if (node.up_millis < earlier.up_millis) earlier = null;
    const calls = ended(node.calls) - (earlier ? ended(earlier.calls) : 0);
    node.calls.buckets.forEach((count, at) => {
      buckets[at] += count - (earlier ? earlier.calls.buckets[at] : 0);
    });
    rates.set(node.node, calls / seconds);
    total += calls;
  }
  const at = (share) => quantile(buckets, after.bucket_micros, share);
  return { rate: total / seconds, rates, p50: at(0.5), p99: at(0.99) };
}
