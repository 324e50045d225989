//! A new owner's state has every acknowledged call, in its place and with its value.

use host::protocol::{Answer, CallKey, Generation, Operation, PlayerId, PlayerState, Value};

use super::super::client::op_of;
use super::super::happening::Slot;
use super::super::world::World;
use super::{Entry, has};

impl World {
    /// A server tells a caller that its call is safe.
    pub(in super::super) fn watch_answer(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        generation: Generation,
        key: CallKey,
        answer: &Answer,
    ) {
        let Answer::Returned { value: Value::Points(value), seq, .. } = *answer else { return };
        self.tell(|| format!("server {slot}: {player} g{generation} answers {key}: {value}"));
        let call = (player.clone(), key);
        self.watch.told.entry(call.clone()).or_default().push((seq, value, generation));
        if !self.is_reward(key) {
            return;
        }
        let known = self.watch.acknowledged.get(&call).copied();
        let known = known.filter(|(seq, _, by)| !self.is_given_up(player, *seq, *by));
        let (first_seq, first_value, by) = known.unwrap_or((seq, value, generation));
        self.watch.acknowledged.insert(call, (first_seq, first_value, by));
        self.coverage.replayed += u64::from(known.is_some());
        if (first_seq, first_value) != (seq, value) {
            let detail = format!("{player} {key}: {first_value} at {first_seq}, {value} at {seq}");
            self.broken("the same key is the same call", detail);
        }
        // An old owner may tell late what its keepers had acknowledged before they were fenced.
        let newer = self.watch.restored.get(player).filter(|(newer, _)| *newer > generation);
        if let Some((_, state)) = newer {
            let lacks = !has(state, &Entry { seq: seq.0, key, value });
            let lacks = lacks && !self.is_given_up(player, seq, generation);
            if lacks {
                let detail = format!("{player} {key} was answered after a newer owner began");
                self.broken("restored bytes are the acknowledged ones", detail);
            }
        }
    }

    /// An owner begins to serve from a state.
    pub(in super::super) fn watch_restored(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        generation: Generation,
        state: &PlayerState,
    ) {
        self.check_history(player, state, "restored");
        self.check_nothing_returns(player, generation, state);
        // An owner that was stopped meanwhile does not know yet what newer ones have done.
        let acknowledged = self
            .watch
            .acknowledged
            .iter()
            .filter(|((of, _), (_, _, by))| of == player && *by <= generation)
            .filter(|(_, (seq, _, by))| !self.is_given_up(player, *seq, *by));
        let lost = acknowledged
            .map(|((_, key), (seq, value, _))| Entry { seq: seq.0, key: *key, value: *value })
            .find(|entry| !has(state, entry));
        if let Some(Entry { key, seq, .. }) = lost {
            let detail = format!(
                "{player} on {slot} g{generation} begins at {} without {key} of {seq}",
                state.seq
            );
            self.broken("restored bytes are the acknowledged ones", detail);
        }
        let newest = self.watch.restored.get(player).map_or(Generation(0), |(newest, _)| *newest);
        if generation >= newest {
            self.watch.restored.insert(player.clone(), (generation, state.clone()));
        }
    }

    fn is_reward(&self, key: CallKey) -> bool {
        self.ops.get(op_of(key)).is_some_and(|op| matches!(op.operation, Operation::Reward(_)))
    }
}
