//! How calls find their player: the rules of `host::gateway`, on a node's own view of the directory.

use host::limits::KEY_AHEAD_MAX;
use host::net::AskError;
use host::protocol::{Call, CallError, NodeId, NodeRecord, Operation, PlayerId, Writer};

use super::happening::{Called, MS, Reply, Request, SECOND, Slot, Time, Waiter, What};
use super::node::name_of;
use super::server::Caller;
use super::world::World;

/// As in `host::gateway`.
const GRACE: Time = 200 * MS;
const PATIENCE: Time = 3 * SECOND;
const RETRY_PAUSE: Time = 20 * MS;

/// A call that this node carries out for a client.
#[derive(Debug)]
pub(super) struct Routed {
    call: Call,
    /// The client's call and attempt.
    op: usize,
    client_attempt: u64,
    /// By the node's own clock.
    deadline: Time,
    impatient: Time,
    may_be_applied: bool,
    attempt: u64,
    /// The owner that it was sent to.
    there: Option<Writer>,
    pausing: bool,
    barrier: bool,
    /// Whether it was sent on from one owner to another.
    sent_on: bool,
}

enum Route {
    Here,
    There(Writer),
}

enum Retry {
    No,
    Yes,
    ForAWhile,
}

impl World {
    pub(super) fn call_arrives(
        &mut self,
        slot: Slot,
        op: usize,
        client_attempt: u64,
        call: Call,
        left: Time,
    ) {
        let id = self.number();
        if let Some(error) = self.key_ahead(slot, &call) {
            self.coverage.ahead += 1;
            return self.answer_client(slot, op, client_attempt, Err(error));
        }
        let asks_directory = matches!(
            call.operation,
            Operation::Forget | Operation::Release | Operation::Move(_) | Operation::Crash
        );
        if asks_directory {
            // A player that this node has not heard of yet must not be taken for one that is not.
            if !self.can_commit(slot) {
                let reason = "the directory's leader does not answer".to_owned();
                let late = Err(CallError::Late { reason });
                return self.answer_client(slot, op, client_attempt, late);
            }
            self.barrier(slot);
        }
        let now = self.clock(slot);
        let deadline = now + left;
        let routed = Routed {
            call,
            op,
            client_attempt,
            deadline,
            impatient: deadline.min(now + PATIENCE),
            may_be_applied: false,
            attempt: 0,
            there: None,
            pausing: false,
            barrier: false,
            sent_on: false,
        };
        if let Some(process) = &mut self.machines[slot].process {
            process.routed.insert(id, routed);
            self.attempt(slot, id);
        }
    }

    /// Refuses a key of the future.
    fn key_ahead(&self, slot: Slot, call: &Call) -> Option<CallError> {
        let ahead_ms = call.key.millis().saturating_sub(self.unix_millis(slot));
        let is_ahead = u128::from(ahead_ms) > KEY_AHEAD_MAX.as_millis();
        let (key, node) = (call.key, name_of(slot));
        is_ahead.then_some(CallError::KeyAhead { key, node, ahead_ms })
    }

    fn attempt(&mut self, slot: Slot, id: u64) {
        let now = self.clock(slot);
        let Some(process) = &mut self.machines[slot].process else { return };
        let me = process.me;
        let Some(routed) = process.routed.get_mut(&id) else { return };
        routed.attempt += 1;
        routed.pausing = false;
        let (call, attempt) = (routed.call.clone(), routed.attempt);
        let left = routed.deadline.saturating_sub(now);
        let record = process.view.player(&call.player).cloned();
        let route = record.map_or(Route::Here, |r| route(r.owner, me.node, &process.nodes));
        routed.there = match route {
            Route::Here => None,
            Route::There(owner) => Some(owner),
        };
        self.wake_after(left + GRACE, slot, What::CallLate { call: id, attempt });
        match route {
            Route::Here => self.call_here(slot, call, left, Caller::Gateway(id, attempt)),
            Route::There(owner) => {
                let waiter = Waiter::Gateway { call: id, attempt };
                self.ask(slot, owner.node, Request::Forward { call, left }, waiter);
            }
        }
    }

    /// A call that another node sent because it believes that this one is the owner.
    fn forwarded(&mut self, slot: Slot, ask: u64, call: Call, left: Time) {
        let Some(process) = &self.machines[slot].process else { return };
        let owner = process.view.player(&call.player).map(|record| record.owner);
        if owner == Some(process.me) {
            return self.call_here(slot, call, left, Caller::Peer(ask));
        }
        let moved = CallError::Moved { player: call.player };
        self.reply(ask, Reply::Called(Err(moved)));
    }

    pub(super) fn asked(&mut self, slot: Slot, ask: u64, request: Request) {
        match request {
            Request::Keeper(request) => self.keeper_asked(slot, ask, request),
            Request::Forward { call, left } => self.forwarded(slot, ask, call, left),
        }
    }

    pub(super) fn answered(&mut self, slot: Slot, waiter: Waiter, reply: Result<Reply, AskError>) {
        match waiter {
            Waiter::Server { player, server, copy, number } => {
                self.server_kept(slot, &player, server, (copy, number), reply);
            }
            Waiter::Gateway { call, attempt } => {
                let Some(key) = self.routed_key(slot, call) else { return };
                let result = match reply {
                    Ok(Reply::Called(result)) => result,
                    Ok(Reply::Keeper(_)) | Err(AskError::Lost) => {
                        let reason = "the owner was lost during the call".to_owned();
                        Err(CallError::Unknown { reason, key })
                    }
                    // What `host::gateway` calls late may be tried again.
                    Err(AskError::Unreachable | AskError::Full | AskError::UnknownNode) => {
                        return self.routed_fails(
                            slot,
                            call,
                            attempt,
                            CallError::Late { reason: "the owner is not reachable".to_owned() },
                            &Retry::Yes,
                        );
                    }
                };
                self.routed_ends(slot, call, attempt, result);
            }
        }
    }

    fn routed_key(&self, slot: Slot, id: u64) -> Option<host::protocol::CallKey> {
        let process = self.machines[slot].process.as_ref()?;
        Some(process.routed.get(&id)?.call.key)
    }

    /// One attempt has an answer.
    pub(super) fn routed_ends(&mut self, slot: Slot, id: u64, attempt: u64, result: Called) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let Some(routed) = process.routed.get(&id) else { return };
        if routed.attempt != attempt || routed.pausing {
            return;
        }
        let there = routed.there.is_some();
        match result {
            Ok(_) => self.routed_done(slot, id, result),
            Err(error) => {
                let retry = match &error {
                    CallError::SingleNode { .. } if there => Retry::ForAWhile,
                    CallError::Stopping { .. } if there => Retry::Yes,
                    CallError::Moved { .. } | CallError::Unknown { .. } => Retry::Yes,
                    CallError::Unavailable { .. } => Retry::ForAWhile,
                    _ => Retry::No,
                };
                self.routed_fails(slot, id, attempt, error, &retry);
            }
        }
    }

    fn routed_fails(&mut self, slot: Slot, id: u64, attempt: u64, error: CallError, retry: &Retry) {
        let now = self.clock(slot);
        let Some(process) = &mut self.machines[slot].process else { return };
        let Some(routed) = process.routed.get_mut(&id) else { return };
        if routed.attempt != attempt || routed.pausing {
            return;
        }
        // An expired key says nothing of this call's own attempts.
        let unknown = matches!(error, CallError::Unknown { .. });
        routed.may_be_applied |= unknown;
        routed.sent_on |= matches!(error, CallError::Moved { .. });
        // A person who decides waits for nothing better; the next player of this name may be another.
        let decided = matches!(routed.call.operation, Operation::Recover(_));
        let forgets = routed.call.operation == Operation::Forget;
        let again = match retry {
            Retry::No => false,
            Retry::Yes if forgets && unknown => false,
            Retry::ForAWhile if decided => false,
            Retry::Yes => now < routed.deadline,
            Retry::ForAWhile => now < routed.impatient,
        };
        if again {
            routed.pausing = true;
            routed.barrier = matches!(error, CallError::Moved { .. });
            return self.wake_after(RETRY_PAUSE, slot, What::CallAgain { call: id, attempt });
        }
        // Only the owner can say what became of a move that was sent on.
        let moves = matches!(routed.call.operation, Operation::Move(_));
        routed.may_be_applied |= moves && routed.sent_on && !error.settles_a_move();
        let error = if routed.may_be_applied && !unknown {
            let reason = format!("an attempt before may have been applied; then {error}");
            CallError::Unknown { reason, key: routed.call.key }
        } else {
            error
        };
        self.routed_done(slot, id, Err(error));
    }

    fn routed_done(&mut self, slot: Slot, id: u64, result: Called) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let Some(routed) = process.routed.remove(&id) else { return };
        let Routed { op, client_attempt, .. } = routed;
        self.answer_client(slot, op, client_attempt, result);
    }

    pub(super) fn call_again(&mut self, slot: Slot, id: u64, attempt: u64) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let Some(routed) = process.routed.get_mut(&id) else { return };
        if !routed.pausing || routed.attempt != attempt {
            return;
        }
        if std::mem::take(&mut routed.barrier) {
            if !self.can_commit(slot) {
                // As long as the leader is waited for.
                return self.wake_after(500 * MS, slot, What::CallAgain { call: id, attempt });
            }
            self.barrier(slot);
        }
        // The barrier may have woken it.
        let pauses = self.machines[slot].process.as_ref().is_some_and(|process| {
            process.routed.get(&id).is_some_and(|r| r.pausing && r.attempt == attempt)
        });
        if pauses {
            self.attempt(slot, id);
        }
    }

    pub(super) fn call_late(&mut self, slot: Slot, id: u64, attempt: u64) {
        if let Some(key) = self.routed_key(slot, id) {
            let reason = "no answer in time".to_owned();
            self.routed_ends(slot, id, attempt, Err(CallError::Unknown { reason, key }));
        }
    }

    /// Calls to an owner that is not up any more end, and those that pause go on.
    pub(super) fn gateway_nodes_changed(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        let mut ended = Vec::new();
        let mut woken = Vec::new();
        for (id, routed) in &process.routed {
            if routed.pausing && !routed.barrier {
                woken.push((*id, routed.attempt));
            } else if let Some(owner) = routed.there
                && !is_alive(owner, &process.nodes)
            {
                ended.push((*id, routed.attempt, routed.call.key));
            }
        }
        for (id, attempt, key) in ended {
            let reason = "the owner went down during the call".to_owned();
            self.routed_ends(slot, id, attempt, Err(CallError::Unknown { reason, key }));
        }
        for (id, attempt) in woken {
            self.after_to(0, slot, What::CallAgain { call: id, attempt });
        }
    }

    /// The owner of a player, as the directory has it.
    pub(super) fn owner_slot(&self, player: &PlayerId) -> Option<Slot> {
        let record = self.log.state.player(player)?;
        self.net.addresses.get(&record.owner.node).copied()
    }
}

pub(super) fn is_alive(owner: Writer, nodes: &[NodeRecord]) -> bool {
    nodes.iter().any(|node| {
        node.id == owner.node && node.incarnation == owner.incarnation && node.status.is_alive()
    })
}

/// The owner if it is up; otherwise this node takes the player over.
fn route(owner: Writer, me: NodeId, nodes: &[NodeRecord]) -> Route {
    if owner.node != me && is_alive(owner, nodes) { Route::There(owner) } else { Route::Here }
}
