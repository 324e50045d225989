//! The calls that a player remembers, so that a call that comes again is not applied again.
//!
//! ```text
//!    forgotten ──────┐ horizon     remembered                     newest
//!   ─────────────────┴──●───────●──────●──●─────────●──────●─────────●──────────► keys, by time
//!   absent: Expired     │                absent: New
//! ```
//!
//! Keys say when they were made, so they are forgotten from the oldest on, by their own times: what
//! a window holds depends on the calls alone, and not on any node's clock. The largest key that was
//! ever forgotten is the *horizon*. A key above it that is not remembered was never applied,
//! whatever the clocks of callers do; one at or below it may have been.
//!
//! Answers that are texts may be long, so those of the oldest calls are dropped before their keys are:
//! then a call that comes again is told where it was applied, but not what it returned.
//!
//! Invariants: the horizon never sinks; a key that was applied is never taken for a new one; the texts
//! together have no more bytes than a player may keep.

use std::collections::{BTreeMap, HashSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{CallKey, Effect, Operation, Seq, Value};
use crate::limits::{
    KEY_WINDOW_ANSWERS_BYTES_MAX, KEY_WINDOW_CALL_BYTES_MAX, KEY_WINDOW_CALLS,
    KEY_WINDOW_CALLS_MAX, KEY_WINDOW_TIME,
};

/// What a key window knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLookup {
    /// The call is new.
    New,
    /// The call was applied at this position and answered this value.
    Applied {
        /// The position.
        seq: Seq,
        /// The recorded answer.
        value: Value,
    },
    /// The call was applied at this position; its answer is not kept any more.
    AnswerGone {
        /// The position.
        seq: Seq,
    },
    /// The key was used for another operation.
    Reused,
    /// The key is as old as those that were forgotten: the call may have been applied.
    Expired {
        /// The largest key that was forgotten; larger ones can be new.
        horizon: CallKey,
    },
}

/// How much a window remembers. The same on every node: it does not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBounds {
    /// Calls that are remembered however old their keys are.
    pub calls: usize,
    /// Time before the newest key in which more calls are remembered, in milliseconds.
    pub millis: u64,
    /// Calls that are remembered at most.
    pub calls_max: usize,
}

impl Default for KeyBounds {
    fn default() -> Self {
        let millis = KEY_WINDOW_TIME.as_secs() * 1000;
        Self { calls: KEY_WINDOW_CALLS, millis, calls_max: KEY_WINDOW_CALLS_MAX }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    seq: Seq,
    operation: u64,
    answer: Answer,
}

/// What the guest returned, without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Points(i64),
    Nothing,
    /// A text: with the others, unless it was dropped.
    Wave,
}

/// The latest calls of a player, by their keys.
/// Invariant: it holds no more than a player may remember. Decoding checks it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyWindow {
    horizon: Option<CallKey>,
    calls: BTreeMap<CallKey, Remembered>,
    texts: Texts,
    #[serde(skip)]
    bounds: KeyBounds,
}

/// Texts of answers by the positions of their calls.
/// Invariant: together they have no more bytes than a player may keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Texts {
    by_seq: BTreeMap<Seq, Box<str>>,
    #[serde(skip)]
    bytes: usize,
}

/// What a text takes where it is stored, beside its bytes: its position and its length.
const TEXT_HEAD_BYTES_MAX: usize = 10 + 3;

impl Texts {
    fn insert(&mut self, seq: Seq, text: &str) {
        self.remove(seq);
        self.bytes += text.len() + TEXT_HEAD_BYTES_MAX;
        self.by_seq.insert(seq, text.into());
        while self.bytes > KEY_WINDOW_ANSWERS_BYTES_MAX
            && let Some((oldest, _)) = self.by_seq.first_key_value()
        {
            self.remove(*oldest);
        }
    }

    fn remove(&mut self, seq: Seq) {
        if let Some(text) = self.by_seq.remove(&seq) {
            self.bytes -= text.len() + TEXT_HEAD_BYTES_MAX;
        }
    }
}

impl KeyWindow {
    /// Returns a window that remembers as much as `bounds` say, and no call yet.
    pub fn new(bounds: KeyBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Looks a call up.
    pub fn lookup(&self, key: CallKey, operation: &Operation) -> KeyLookup {
        match (self.calls.get(&key), self.horizon) {
            (Some(call), _) if call.operation == operation.fingerprint() => {
                let seq = call.seq;
                self.answer(call).map_or(KeyLookup::AnswerGone { seq }, |value| {
                    KeyLookup::Applied { seq, value }
                })
            }
            (Some(_), _) => KeyLookup::Reused,
            (None, Some(horizon)) if key <= horizon => KeyLookup::Expired { horizon },
            (None, _) => KeyLookup::New,
        }
    }

    /// Returns the remembered calls in the order of their keys: where each was applied, and what it
    /// answered unless that is not kept any more.
    pub fn calls(&self) -> impl Iterator<Item = (Seq, CallKey, Option<Value>)> {
        self.calls.iter().map(|(key, call)| (call.seq, *key, self.answer(call)))
    }

    fn answer(&self, call: &Remembered) -> Option<Value> {
        Some(match call.answer {
            Answer::Points(points) => Value::Points(points),
            Answer::Nothing => Value::Nothing,
            Answer::Wave => Value::Wave(self.texts.by_seq.get(&call.seq)?.to_string()),
        })
    }

    /// Returns the largest key that was forgotten, if any was.
    pub fn horizon(&self) -> Option<CallKey> {
        self.horizon
    }

    /// Returns how many bytes the window takes at most where it is stored.
    pub fn bytes(&self) -> usize {
        self.calls.len() * KEY_WINDOW_CALL_BYTES_MAX + self.texts.bytes
    }

    /// Remembers a call, and forgets the oldest ones that are too many.
    pub(super) fn push(&mut self, seq: Seq, effect: &Effect) {
        let Effect { key, operation, value } = effect;
        let answer = match value {
            Value::Points(points) => Answer::Points(*points),
            Value::Nothing => Answer::Nothing,
            Value::Wave(text) => {
                self.texts.insert(seq, text);
                Answer::Wave
            }
        };
        self.calls.insert(*key, Remembered { seq, operation: *operation, answer });
        while let Some(oldest) = self.surplus() {
            if let Some(call) = self.calls.remove(&oldest) {
                self.texts.remove(call.seq);
            }
            // A key that was pushed below the horizon must not lower it.
            self.horizon = self.horizon.max(Some(oldest));
        }
    }

    /// The oldest key, if it need not be remembered.
    fn surplus(&self) -> Option<CallKey> {
        let ((oldest, _), (newest, _)) =
            (self.calls.first_key_value()?, self.calls.last_key_value()?);
        let count = self.calls.len();
        let old = newest.millis() - oldest.millis() > self.bounds.millis;
        let surplus = count > self.bounds.calls_max || (count > self.bounds.calls && old);
        surplus.then_some(*oldest)
    }
}

impl<'de> Deserialize<'de> for KeyWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            horizon: Option<CallKey>,
            calls: BTreeMap<CallKey, Remembered>,
            texts: BTreeMap<Seq, Box<str>>,
        }
        let Wire { horizon, calls, texts: by_seq } = Wire::deserialize(deserializer)?;
        let bounds = KeyBounds::default();
        if calls.len() > bounds.calls_max {
            return Err(D::Error::custom("more calls than a player may remember"));
        }
        let with_text = calls.values().filter(|call| call.answer == Answer::Wave);
        let with_text: HashSet<Seq> = with_text.map(|call| call.seq).collect();
        if !by_seq.keys().all(|seq| with_text.contains(seq)) {
            return Err(D::Error::custom("a text without its call"));
        }
        let bytes = by_seq.values().map(|text| text.len() + TEXT_HEAD_BYTES_MAX).sum();
        if bytes > KEY_WINDOW_ANSWERS_BYTES_MAX {
            return Err(D::Error::custom("longer answers than a player may keep"));
        }
        Ok(Self { horizon, calls, texts: Texts { by_seq, bytes }, bounds })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Term;
    use super::*;
    use crate::limits::{KEY_WINDOW_BYTES_MAX, RESULT_BYTES_MAX};

    const MINUTE: u64 = 60_000;

    fn push(window: &mut KeyWindow, seq: u64, key: CallKey) {
        window.push(Seq(seq), &Effect::new(key, &Operation::Points, 0));
    }

    fn lookup(window: &KeyWindow, key: CallKey) -> KeyLookup {
        window.lookup(key, &Operation::Points)
    }

    fn applied(seq: u64) -> KeyLookup {
        KeyLookup::Applied { seq: Seq(seq), value: Value::Points(0) }
    }

    #[test]
    fn a_key_is_remembered_with_its_operation_and_answer() {
        let mut window = KeyWindow::default();
        let [key, other] = [CallKey::new(1, 42), CallKey::new(1, 43)];
        window.push(Seq(1), &Effect::new(key, &Operation::Points, 7));
        assert_eq!(lookup(&window, key), KeyLookup::Applied { seq: Seq(1), value: 7.into() });
        let reward = Operation::Reward(Term::Integer(1));
        assert_eq!(window.lookup(key, &reward), KeyLookup::Reused);
        assert_eq!(lookup(&window, other), KeyLookup::New);
    }

    #[test]
    fn the_latest_calls_are_remembered_however_old_they_are() {
        let mut window = KeyWindow::default();
        let key = |n: u64| CallKey::new(n * 20 * MINUTE, 0);
        let last = KEY_WINDOW_CALLS as u64 + 1;
        (1..last).for_each(|n| push(&mut window, n, key(n)));
        assert_eq!(window.horizon(), None);
        push(&mut window, last, key(last));
        assert_eq!(lookup(&window, key(1)), KeyLookup::Expired { horizon: key(1) });
        assert_eq!(lookup(&window, key(2)), applied(2));
        // Nobody has used it, but nobody could tell any more.
        assert_eq!(lookup(&window, CallKey(5)), KeyLookup::Expired { horizon: key(1) });
        assert_eq!(lookup(&window, CallKey(key(1).0 + 1)), KeyLookup::New);
    }

    #[test]
    fn more_calls_are_remembered_for_ten_minutes() {
        let mut window = KeyWindow::default();
        let count = 3 * KEY_WINDOW_CALLS as u64;
        (1..=count).for_each(|n| push(&mut window, n, CallKey::new(n, 0)));
        assert_eq!(window.calls().count() as u64, count);
        push(&mut window, count + 1, CallKey::new(10 * MINUTE + 1, 0));
        assert_eq!(lookup(&window, CallKey::new(1, 0)), applied(1), "ten minutes are not over");
        push(&mut window, count + 2, CallKey::new(10 * MINUTE + 2, 0));
        let horizon = CallKey::new(1, 0);
        assert_eq!(lookup(&window, horizon), KeyLookup::Expired { horizon });
        assert_eq!(window.calls().count() as u64, count + 1);
    }

    #[test]
    fn a_window_is_bounded_in_calls_and_bytes() {
        let mut window = KeyWindow::default();
        let max = KEY_WINDOW_CALLS_MAX as u64;
        for n in 0..=max {
            // The longest that each part can get on the wire.
            let effect = Effect {
                key: CallKey(u128::MAX - u128::from(n)),
                operation: u64::MAX,
                value: Value::Points(i64::MIN),
            };
            window.push(Seq(u64::MAX), &effect);
        }
        assert_eq!(window.calls().count() as u64, max);
        assert_eq!(window.horizon(), Some(CallKey(u128::MAX - u128::from(max))));
        let wire = postcard::to_stdvec(&window).unwrap();
        assert!(wire.len() <= KEY_WINDOW_BYTES_MAX, "{}", wire.len());
        assert!(wire.len() >= window.bytes());
    }

    #[test]
    fn texts_of_answers_are_bounded_and_the_oldest_go_before_their_keys() {
        let operation = Operation::Points;
        let mut window = KeyWindow::default();
        let key = |n: u64| CallKey::new(n, 0);
        let text = |n: u64| format!("\"{n:0>width$}\"", width = RESULT_BYTES_MAX - 2);
        let last = 2 * (KEY_WINDOW_ANSWERS_BYTES_MAX / RESULT_BYTES_MAX) as u64;
        for n in 1..=last {
            window.push(Seq(n), &Effect::new(key(n), &operation, Value::Wave(text(n))));
        }
        let newest = KeyLookup::Applied { seq: Seq(last), value: Value::Wave(text(last)) };
        assert_eq!(lookup(&window, key(last)), newest);
        assert_eq!(lookup(&window, key(1)), KeyLookup::AnswerGone { seq: Seq(1) });
        assert_eq!(window.calls().count() as u64, last, "the keys stay");
        let kept = window.calls().filter(|(_, _, value)| value.is_some()).count();
        assert_eq!(kept, KEY_WINDOW_ANSWERS_BYTES_MAX / (RESULT_BYTES_MAX + TEXT_HEAD_BYTES_MAX));
        let wire = postcard::to_stdvec(&window).unwrap();
        assert!(wire.len() <= KEY_WINDOW_BYTES_MAX + KEY_WINDOW_ANSWERS_BYTES_MAX);
        assert_eq!(postcard::from_bytes::<KeyWindow>(&wire).unwrap(), window);
        // One that is too long for all of them together is not kept at all.
        let endless = Value::Wave("x".repeat(KEY_WINDOW_ANSWERS_BYTES_MAX));
        window.push(Seq(last + 1), &Effect::new(key(last + 1), &operation, endless));
        assert_eq!(lookup(&window, key(last + 1)), KeyLookup::AnswerGone { seq: Seq(last + 1) });
        assert_eq!(window.texts.bytes, 0);
    }

    #[test]
    fn a_text_is_forgotten_with_its_key_and_never_comes_without() {
        let mut window = KeyWindow::new(KeyBounds { calls: 1, millis: 5, calls_max: 1 });
        let wave = |text: &str| Value::Wave(text.to_owned());
        let effect = |n, value| Effect::new(CallKey::new(n, 0), &Operation::Points, value);
        window.push(Seq(1), &effect(1, wave("\"a\"")));
        let one = window.texts.bytes;
        window.push(Seq(2), &effect(2, wave("\"b\"")));
        assert_eq!((window.texts.bytes, window.texts.by_seq.len()), (one, 1));
        window.push(Seq(3), &effect(3, Value::Nothing));
        assert_eq!(window.texts, Texts::default());
        let found = KeyLookup::Applied { seq: Seq(3), value: Value::Nothing };
        assert_eq!(lookup(&window, CallKey::new(3, 0)), found);
        window.texts.insert(Seq(9), "\"nobody's\"");
        let wire = postcard::to_stdvec(&window).unwrap();
        assert!(postcard::from_bytes::<KeyWindow>(&wire).is_err());
    }

    #[test]
    fn a_key_older_than_all_others_is_forgotten_at_once() {
        let mut window = KeyWindow::new(KeyBounds { calls: 1, millis: 5, calls_max: 3 });
        push(&mut window, 1, CallKey::new(10, 0));
        let late = CallKey::new(2, 0);
        assert_eq!(lookup(&window, late), KeyLookup::New);
        push(&mut window, 2, late);
        assert_eq!(lookup(&window, late), KeyLookup::Expired { horizon: late });
        assert_eq!(lookup(&window, CallKey::new(3, 0)), KeyLookup::New);
    }

    /// A window that forgets nothing, with the rule of the bounds said in another way.
    #[derive(Default)]
    struct Model(Vec<(CallKey, u64)>);

    impl Model {
        /// Returns the oldest key that is still remembered, and those before it.
        fn split(&self, bounds: KeyBounds) -> (Vec<CallKey>, Vec<CallKey>) {
            let mut held: Vec<CallKey> = Vec::new();
            let mut forgotten = Vec::new();
            for (key, _) in &self.0 {
                held.push(*key);
                held.sort();
                let newest = held.last().map_or(0, |key| key.millis());
                let first = held.iter().enumerate().position(|(at, key)| {
                    let left = held.len() - at;
                    let recent = newest - key.millis() <= bounds.millis;
                    left <= bounds.calls_max && (recent || left <= bounds.calls)
                });
                forgotten.extend(held.drain(..first.unwrap_or(held.len())));
            }
            (forgotten, held)
        }
    }

    proptest! {
        /// Whatever keys are used in whatever order: a key that was applied is never new, what is
        /// remembered is remembered right, and the horizon never sinks.
        #[test]
        fn a_window_agrees_with_one_that_forgets_nothing(
            calls in 1usize..6,
            more in 0usize..6,
            millis in 0u64..30,
            keys in vec((0u64..100, 0u128..4), 1..60),
        ) {
            let bounds = KeyBounds { calls, millis, calls_max: calls + more };
            let mut window = KeyWindow::new(bounds);
            let mut model = Model::default();
            for (seq, (millis, random)) in (1..).zip(keys) {
                let key = CallKey::new(millis, random);
                let known = model.0.iter().find(|(known, _)| *known == key).map(|(_, seq)| *seq);
                let (horizon, found) = (window.horizon(), lookup(&window, key));
                match (found, known) {
                    (KeyLookup::New, None) => {
                        push(&mut window, seq, key);
                        model.0.push((key, seq));
                    }
                    (KeyLookup::Applied { seq, .. }, Some(known)) => prop_assert_eq!(seq, Seq(known)),
                    (KeyLookup::Expired { horizon: told }, _) => {
                        prop_assert_eq!(Some(told), horizon);
                        prop_assert!(key <= told);
                    }
                    wrong => prop_assert!(false, "{key}: {wrong:?}"),
                }
                prop_assert!(window.horizon() >= horizon, "it sinks");
                let (forgotten, held) = model.split(bounds);
                prop_assert_eq!(window.horizon(), forgotten.into_iter().max());
                let remembered: Vec<CallKey> = window.calls().map(|(_, key, _)| key).collect();
                prop_assert_eq!(remembered, held);
            }
        }

        /// A keeper that was seeded at any time forgets what the owner forgets.
        #[test]
        fn a_window_survives_the_wire_at_any_time(
            keys in vec((0u64..30 * MINUTE, any::<u128>()), 0..40),
            seeded in 0usize..40,
        ) {
            let (mut owner, mut keeper) = (KeyWindow::default(), KeyWindow::default());
            for (at, (millis, random)) in keys.into_iter().enumerate() {
                let effect = Effect::new(CallKey::new(millis, random), &Operation::Points, -5);
                owner.push(Seq(at as u64), &effect);
                keeper.push(Seq(at as u64), &effect);
                if at == seeded {
                    let wire = postcard::to_stdvec(&owner).unwrap();
                    keeper = postcard::from_bytes(&wire).unwrap();
                }
                prop_assert_eq!(&keeper, &owner);
            }
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(mut window) = postcard::from_bytes::<KeyWindow>(&bytes) {
                let horizon = window.horizon();
                push(&mut window, 1, CallKey::new(0, 0));
                prop_assert!(window.horizon() >= horizon);
            }
        }
    }
}
