//! Clients: one call after the other, each with a key, tried again with the same key.
//!
//! Some bring keys of their own. Others let `host`'s client make them, which takes another one if the
//! player calls the first too old before anything can have been applied: the rule of `host::cli`.

use host::protocol::{Answer, Call, CallError, CallKey, Operation, Outcome, Term};

use super::Bug;

use super::guest::amount;
use super::happening::{Called, Happening, MS, Pid, SECOND, Slot, Time, What};
use super::rng::Rng;
use super::world::World;

const ATTEMPTS_MAX: u64 = 6;

/// As in `host::cli`.
const RENEWALS_MAX: u64 = 3;
const RENEWAL_LEAD_MS: u64 = 1000;

/// The time of day at which a world begins for the slowest clock, in milliseconds since 1970.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

/// Returns the key of a call, made by a clock that shows `now`.
fn key_of(op: usize, now: Time) -> CallKey {
    CallKey::new(EPOCH_MS + now / MS, op as u128)
}

/// Returns the call that a key was made for.
pub(super) fn op_of(key: CallKey) -> usize {
    // What a key has besides its time and the bits that say that it is one.
    usize::try_from(key.0 & ((1 << 62) - 1)).expect("a call's number")
}

/// One caller.
#[derive(Debug)]
pub(super) struct Client {
    /// The node that it likes to ask.
    home: Slot,
    /// The call that it waits for.
    op: Option<usize>,
    /// The player that it keeps asking once the faults have stopped, until it answers.
    pub(super) probes: Option<usize>,
    pub(super) is_done: bool,
    /// The player whose last call was told that it is unavailable.
    unavailable: Option<usize>,
    /// The player whose last call was told that it is in quarantine.
    quarantined: Option<usize>,
    /// The one player that it asks, and how often it will begin a call.
    visits: Option<(usize, u64)>,
    /// What its clock shows when the world begins, after the epoch.
    clock: Time,
    /// Whether it makes its keys for itself.
    makes_keys: bool,
}

impl Client {
    /// A client whose clock is off by `skew_max` at most.
    pub(super) fn new(home: Slot, skew_max: Time, rng: &mut Rng) -> Self {
        let clock = rng.between(0, 2 * skew_max);
        let makes_keys = rng.percent(60);
        Self {
            home,
            op: None,
            probes: None,
            is_done: false,
            unavailable: None,
            quarantined: None,
            visits: None,
            clock,
            makes_keys,
        }
    }
}

/// How a call ended, as its client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    Not,
    Returned(i64),
    Trapped,
    NotApplied,
    Unknown,
}

/// One call, with all its attempts.
#[derive(Debug)]
pub(super) struct Op {
    client: usize,
    pub(super) player: usize,
    pub(super) key: CallKey,
    pub(super) operation: Operation,
    pub(super) began: Time,
    pub(super) ended_at: Time,
    pub(super) ended: Ended,
    attempt: u64,
    /// How often its key was replaced.
    renewals: u64,
    /// Where the attempt under way is.
    at: Option<(Slot, Pid)>,
    pub(super) may_be_applied: bool,
}

impl Op {
    pub(super) fn is_over(&self) -> bool {
        self.ended != Ended::Not
    }
}

impl World {
    pub(super) fn client_turn(&mut self, client: usize) {
        if let Some(op) = self.clients[client].op {
            return self.try_op(op);
        }
        let probe = self.clients[client].probes;
        if self.healed.is_some() && (probe.is_none() || self.clients[client].is_done) {
            return;
        }
        if let Some((_, until)) = self.plan.calm.filter(|_| self.is_calm()) {
            let wait = until - self.now + self.rng.between(0, 300 * MS);
            return self.after(wait, Happening::Client { client });
        }
        let visited = match &mut self.clients[client].visits {
            Some((_, 0)) => return,
            Some((player, left)) => {
                *left -= 1;
                Some(*player)
            }
            None => None,
        };
        let unavailable = self.clients[client].unavailable.take();
        let quarantined = self.clients[client].quarantined.take();
        let player = probe.or(visited).or(unavailable).or(quarantined);
        let player = player.unwrap_or_else(|| self.rng.index(self.players.len()));
        let decided = if quarantined == Some(player) {
            self.release_of_operator()
        } else {
            self.operation_of_operator(player, unavailable == Some(player))
        };
        let operation = match self.rng.index(10) {
            _ if decided.is_some() => decided.unwrap_or(Operation::Points),
            _ if probe.is_some() => Operation::Reward(Term::Integer(1)),
            0 => Operation::Reward(Term::Text("a".to_owned())),
            1..=2 => Operation::Points,
            // Amounts that say which rewards a total is made of.
            _ => {
                let points = i64::try_from(self.rng.between(0, 1_000_000_000)).expect("small");
                let large = self.rng.percent(self.plan.large);
                Operation::Reward(Term::Integer(amount(points - 200_000_000, large)))
            }
        };
        let op = self.ops.len();
        self.ops.push(Op {
            client,
            player,
            key: key_of(op, self.now + self.clients[client].clock),
            operation,
            began: self.now,
            ended_at: 0,
            ended: Ended::Not,
            attempt: 0,
            renewals: 0,
            at: None,
            may_be_applied: false,
        });
        self.coverage.calls += 1;
        self.clients[client].op = Some(op);
        self.try_op(op);
    }

    /// Some who have not called before ask a player through this machine, a few times each.
    pub(super) fn send_visitors(&mut self, slot: Slot, player: usize, within: Time) {
        for _ in 0..self.rng.between(2, 3) {
            let client = self.clients.len();
            let mut visitor = Client::new(slot, self.skew_max, &mut self.rng);
            visitor.visits = Some((player, self.rng.between(1, 3)));
            self.clients.push(visitor);
            let wait = self.rng.between(0, within);
            self.after(wait, Happening::Client { client });
        }
    }

    fn try_op(&mut self, id: usize) {
        let (client, player) = (self.ops[id].client, self.ops[id].player);
        let first = self.ops[id].attempt == 0;
        let home = self.clients[client].home;
        let slot = match self.rng.index(10) {
            _ if first && self.clients[client].visits.is_some() => home,
            0..=5 if first => home,
            6 => self.owner_slot(&self.players[player]).unwrap_or(home),
            _ => self.rng.index(self.machines.len()),
        };
        let pid = self.pid(slot);
        let op = &mut self.ops[id];
        op.attempt += 1;
        op.at = pid.map(|pid| (slot, pid));
        let (attempt, key) = (op.attempt, op.key);
        let call =
            Call { player: self.players[player].clone(), key, operation: op.operation.clone() };
        self.coverage.retries += u64::from(!first);
        let left = self.rng.between(1, 8) * SECOND;
        let Some(pid) = pid else {
            let reason = "nobody listens".to_owned();
            let called = Err(CallError::Late { reason });
            return self.after(5 * MS, Happening::Answer { op: id, attempt, called });
        };
        self.tell(|| format!("client {client}: {key} attempt {attempt} through {slot}"));
        let wait = self.delay();
        let what = What::Call { op: id, attempt, call, left };
        self.after(wait, Happening::Process { slot, pid, what });
        // Some do not wait as long as they said.
        let patience = if self.rng.percent(15) { left / 4 } else { left + SECOND / 2 };
        self.after(patience, Happening::Impatient { op: id, attempt });
    }

    /// A node answers a client; the answer may get lost.
    pub(super) fn answer_client(&mut self, slot: Slot, op: usize, attempt: u64, called: Called) {
        let lost = self.healed.is_none() && self.rng.percent(3);
        if lost || self.ops[op].at.is_none_or(|(at, _)| at != slot) {
            return;
        }
        let wait = self.delay();
        self.after(wait, Happening::Answer { op, attempt, called });
    }

    /// A process is gone, and with it what it did for clients.
    pub(super) fn clients_lose(&mut self, slot: Slot, pid: Pid) {
        let lost: Vec<usize> = self.clients.iter().filter_map(|client| client.op).collect();
        for op in lost {
            let Op { at, attempt, key, .. } = self.ops[op];
            if at == Some((slot, pid)) {
                let reason = "the node was lost during the call".to_owned();
                let called = Err(CallError::Unknown { reason, key });
                let wait = self.rng.between(1, 20) * MS;
                self.after(wait, Happening::Answer { op, attempt, called });
            }
        }
    }

    pub(super) fn client_impatient(&mut self, op: usize, attempt: u64) {
        let reason = "the client gave up".to_owned();
        let key = self.ops[op].key;
        self.client_answered(op, attempt, Err(CallError::Unknown { reason, key }));
    }

    pub(super) fn client_answered(&mut self, id: usize, attempt: u64, called: Called) {
        let op = &mut self.ops[id];
        if op.is_over() || op.attempt != attempt {
            return;
        }
        // One answer an attempt: what comes later belongs to no attempt.
        op.attempt += u64::from(called.is_err());
        op.at = None;
        let (client, key) = (op.client, op.key);
        self.tell(|| format!("client {client}: {key} {called:?}"));
        let ended = match called {
            Ok(Answer::Returned { value, .. }) => {
                Ended::Returned(value.points().expect("only points are asked for"))
            }
            Ok(
                Answer::Trapped(_)
                | Answer::Forgotten { .. }
                | Answer::Released { .. }
                | Answer::Bundled(_)
                | Answer::HandedOver(_)
                | Answer::Exported(_)
                | Answer::Imported { .. },
            ) => Ended::Trapped,
            Err(CallError::KeyExpired { horizon, .. }) if self.renews(id) => {
                return self.renew(id, horizon);
            }
            Err(error) => {
                // Nobody can say more of it, now or later. Whoever gives a key may have used it
                // before, but these clients know that they have not.
                let expired = matches!(error, CallError::KeyExpired { .. });
                let unknown = error.outcome() == Outcome::Unknown && !expired;
                let op = &mut self.ops[id];
                op.may_be_applied |= unknown;
                let (tried, may_be_applied) = (op.attempt, op.may_be_applied);
                let again = if unknown { 90 } else { 50 };
                // The next player of this name may be another one.
                let once = unknown && op.operation == Operation::Forget;
                if matches!(error, CallError::Unavailable { .. }) {
                    self.clients[client].unavailable = Some(self.ops[id].player);
                }
                if matches!(error, CallError::Quarantined(_)) {
                    self.clients[client].quarantined = Some(self.ops[id].player);
                }
                if !expired && !once && tried < ATTEMPTS_MAX && self.rng.percent(again) {
                    let wait = self.rng.between(1, 300) * MS;
                    return self.after(wait, Happening::Client { client });
                }
                if may_be_applied { Ended::Unknown } else { Ended::NotApplied }
            }
        };
        self.ops[id].ended = ended;
        self.op_ends(id);
    }

    /// Whether a client takes another key because its first one is too old.
    fn renews(&self, id: usize) -> bool {
        let op = &self.ops[id];
        let unused = !op.may_be_applied || self.has(Bug::RenewUsedKey);
        self.clients[op.client].makes_keys && unused && op.renewals < RENEWALS_MAX
    }

    fn renew(&mut self, id: usize, horizon: CallKey) {
        let op = &mut self.ops[id];
        op.renewals += 1;
        op.key = op.key.moved_to(horizon.millis() + RENEWAL_LEAD_MS);
        let client = op.client;
        self.coverage.renewed += 1;
        self.after(MS, Happening::Client { client });
    }

    fn op_ends(&mut self, id: usize) {
        let op = &mut self.ops[id];
        op.ended_at = self.now;
        let (client, ended) = (op.client, op.ended.clone());
        let rewards = matches!(op.operation, Operation::Reward(_));
        match &ended {
            Ended::Returned(_) => self.coverage.answered += 1,
            Ended::Trapped => self.coverage.traps += 1,
            Ended::NotApplied => self.coverage.not_applied += 1,
            Ended::Unknown => self.coverage.unknown += 1,
            Ended::Not => {}
        }
        self.clients[client].op = None;
        self.clients[client].is_done |=
            self.clients[client].probes.is_some() && rewards && matches!(ended, Ended::Returned(_));
        let wait = if self.rng.percent(30) { 1 } else { self.rng.between(1, 300) };
        self.after(wait * MS, Happening::Client { client });
    }

    /// All faults have stopped: every player is asked until it answers.
    pub(super) fn send_probes(&mut self) {
        for player in 0..self.players.len() {
            let client = self.clients.len();
            let home = self.rng.index(self.machines.len());
            let mut probe = Client::new(home, self.skew_max, &mut self.rng);
            probe.probes = Some(player);
            // One that gets nowhere with its own slow clock would say nothing about the player.
            probe.makes_keys = true;
            self.clients.push(probe);
            self.after(0, Happening::Client { client });
        }
    }

    pub(super) fn probes_are_done(&self) -> bool {
        self.clients.iter().all(|client| client.probes.is_none() || client.is_done)
    }
}
