//! The rules of a player's server as dialogues: what happened, and all that it does about it.

mod answers;
mod drill;
mod exporting;
mod keepers;
mod mending;
mod migrating;
mod moving;
mod own_copy;
mod quarantine;
mod trial;
mod waking;

use std::time::Duration;

use super::*;
use crate::limits::IDLE_AFTER;
use crate::protocol::{
    CallKey, CodeHash, CopyId, Effect, Fetch, Incarnation, KeeperRequest, KeyBounds, KeyWindow,
    Operation, PlayerChange, Record, Recovery, Refusal, Seq, Term,
};
use crate::snapshot::{Delta, MemoryDelta, Run, Snapshot};

const ME: Writer = Writer { node: NodeId(1), incarnation: Incarnation(1) };

fn node(id: u64, up: bool) -> NodeRecord {
    NodeRecord {
        id: NodeId(id),
        name: format!("node{id}").parse().unwrap(),
        // Machines of their own, so that placement depends on the ids alone.
        addr: ([10, 0, 0, u8::try_from(id).unwrap()], 4433).into(),
        incarnation: Incarnation(1),
        status: if up { NodeStatus::Up } else { NodeStatus::Down },
    }
}

fn fresh() -> PlayerState {
    PlayerState::new(CodeHash([0; 32]), Snapshot::initial([64]))
}

/// A machine, its surroundings, and the copies it has made.
struct World {
    machine: Machine,
    nodes: Vec<NodeRecord>,
    wanted: usize,
    now: Instant,
    shunned: Shunned,
    rollout: Rollout,
    has_leader: bool,
    copies: Vec<KeeperCopy>,
    change: Option<PlayerChange>,
    total: i64,
    /// Whether this node's own copy is taken, acknowledged at once, and not mentioned.
    quiet: bool,
}

impl World {
    fn new(origin: Origin, up: &[u64]) -> Self {
        let machine = Machine::new("player1".parse().unwrap(), ME, origin, 7, IDLE_AFTER);
        let nodes = (1..=4).map(|id| node(id, up.contains(&id))).collect();
        let (copies, change) = (Vec::new(), None);
        let now = crate::clock::now();
        let (shunned, rollout) = Default::default();
        let (wanted, total, quiet, has_leader) = (1, 0, true, true);
        Self {
            machine,
            nodes,
            wanted,
            now,
            shunned,
            rollout,
            has_leader,
            copies,
            change,
            total,
            quiet,
        }
    }

    /// A player that is served with one keeper, node 2.
    fn serving() -> Self {
        let mut world = Self::new(Origin::New(fresh()), &[1, 2]);
        world.call(1, 0);
        world.seeded(Ok(()));
        world.changed(1);
        assert_eq!(world.restored(), ["serving 0", "execute"]);
        assert_eq!(world.returned(), ["append 2 #1 seq1"]);
        assert_eq!(world.acknowledged(1), ["answer 1: 0"]);
        world.set_up(&[1, 2, 3]);
        world
    }

    /// A new player's first call, which is answered as soon as node 2 keeps a copy.
    fn begins_with_one_keeper(&mut self) {
        assert_eq!(self.call(1, 5), ["seed 2 at 0 under 0"]);
        assert_eq!(self.seeded(Ok(())), ["change 0 -> [2]"]);
        assert_eq!(self.changed(1), ["restore"]);
        assert_eq!(self.restored(), ["serving 0", "execute"]);
        self.returned();
        assert_eq!(self.acknowledged_by(2, 1), ["answer 1: 5"]);
    }

    fn set_up(&mut self, up: &[u64]) {
        self.nodes = (1..=4).map(|id| node(id, up.contains(&id))).collect();
    }

    fn set_draining(&mut self, id: u64) {
        let node = self.nodes.iter_mut().find(|node| node.id == NodeId(id)).unwrap();
        node.status = NodeStatus::Draining;
    }

    fn feed(&mut self, event: Event) -> Vec<String> {
        let mut out = Vec::new();
        let (now, nodes, keepers_wanted) = (self.now, &self.nodes[..], self.wanted);
        let (shunned, rollout) = (&self.shunned, &self.rollout);
        let has_leader = self.has_leader;
        let view = View { now, nodes, keepers_wanted, shunned, rollout, has_leader };
        self.machine.handle(event, view, &mut out);
        let mut told = Vec::new();
        for action in out {
            match action {
                Action::Shun(node) => self.shunned.shun(node, self.now),
                Action::Trust(node) if self.shunned.trust(node) => {
                    told.extend(self.feed(Event::Nodes));
                }
                _ => {}
            }
            match self.own_reply(&action) {
                Some(reply) => told.extend(self.feed(reply)),
                None => told.extend(self.note(action)),
            }
        }
        told
    }

    /// Returns what this node's own keeper says at once, if it goes without saying.
    fn own_reply(&self, action: &Action) -> Option<Event> {
        let Action::Ask { copy, number, request } = action else { return None };
        let seq = match request {
            KeeperRequest::Seed(seed) => seed.state.seq,
            KeeperRequest::Append(append) => append.record.seq,
            KeeperRequest::Confirm(confirm) => confirm.seq,
            KeeperRequest::Release(_) => Seq(0),
            KeeperRequest::Fetch(_) => return None,
        };
        let reply = Ok(KeeperReply::Acknowledged { seq });
        let own = self.quiet && copy.node == ME.node;
        own.then_some(Event::Kept { copy: *copy, number: *number, reply })
    }

    /// Shortens an action to a few words and remembers what the replies need.
    fn note(&mut self, action: Action) -> Option<String> {
        Some(match action {
            Action::Execute(call) => {
                if let Operation::Reward(Term::Integer(points)) = call.operation {
                    self.total += points;
                }
                "execute".to_owned()
            }
            Action::Restore => "restore".to_owned(),
            Action::Migrate(step) => format!("migrate {}", step.code.0[0]),
            Action::Report { deployment, reason } => format!("report {deployment}: {reason}"),
            Action::GiveUp => "give up".to_owned(),
            Action::Rest(Rested { generation, seq, .. }) => {
                format!("rest at {seq} under {generation}")
            }
            Action::Change(change) => {
                let spoken = |node: &u64| !self.quiet || *node != ME.node.0;
                let keepers = change.keepers.iter().map(|k| k.node.0);
                let keepers: Vec<_> = keepers.filter(spoken).collect();
                let failed =
                    change.failed.as_ref().map(|failed| format!(" failed {}", failed.times));
                let failed = failed.unwrap_or_default();
                let text = format!("change {} -> {keepers:?}{failed}", change.expect);
                self.change = Some(change);
                text
            }
            Action::Ask { copy, number, request } => {
                let node = copy.node.0;
                match request {
                    KeeperRequest::Seed(seed) => {
                        self.copies.push(copy);
                        format!("seed {node} at {} under {}", seed.state.seq, seed.generation)
                    }
                    KeeperRequest::Append(append) => {
                        format!("append {node} #{number} seq{}", append.record.seq)
                    }
                    KeeperRequest::Confirm(_) => format!("confirm {node} #{number}"),
                    KeeperRequest::Fetch(Fetch { accept: Some(seq), .. }) => {
                        format!("fetch {node} doubtful at {seq}")
                    }
                    KeeperRequest::Fetch(fetch) => {
                        self.copies.push(copy);
                        format!("fetch {node} under {}", fetch.generation)
                    }
                    KeeperRequest::Release(_) => format!("release {node}"),
                }
            }
            Action::Answer { ticket, result } => {
                format!("answer {ticket}: {}", answers::in_words(result))
            }
            Action::Tell(Story::Serving { seq }) => format!("serving {seq}"),
            Action::Tell(_) | Action::Shun(_) | Action::Trust(_) => return None,
            Action::Close => "close".to_owned(),
        })
    }

    fn call(&mut self, ticket: Ticket, points: i64) -> Vec<String> {
        self.call_with_key(ticket, points, u128::from(ticket))
    }

    fn call_with_key(&mut self, ticket: Ticket, points: i64, key: u128) -> Vec<String> {
        let operation = Operation::Reward(Term::Integer(points));
        self.ask(ticket, operation, key)
    }

    fn ask(&mut self, ticket: Ticket, operation: Operation, key: u128) -> Vec<String> {
        let player = "player1".parse().unwrap();
        let call = Call { player, key: CallKey(key), operation };
        let deadline = self.now + Duration::from_secs(10);
        self.feed(Event::Call { ticket, call, deadline, counts: true })
    }

    fn returned(&mut self) -> Vec<String> {
        let value = self.total;
        let runs = vec![Run { offset: 0, bytes: value.to_le_bytes().to_vec() }];
        let delta = Delta { memories: vec![MemoryDelta { len: 64, runs }] };
        self.feed(Event::Returned { value: value.into(), delta })
    }

    fn restored(&mut self) -> Vec<String> {
        self.feed(Event::Restored { micros: 1 })
    }

    fn kept(&mut self, number: u64, reply: Result<KeeperReply, AskError>) -> Vec<String> {
        let copy = *self.copies.last().unwrap();
        self.feed(Event::Kept { copy, number, reply })
    }

    fn seeded(&mut self, reply: Result<(), AskError>) -> Vec<String> {
        let seq = self.machine.state().map_or(Seq(0), |state| state.seq);
        self.kept(0, reply.map(|()| KeeperReply::Acknowledged { seq }))
    }

    fn acknowledged(&mut self, number: u64) -> Vec<String> {
        self.kept(number, Ok(KeeperReply::Acknowledged { seq: Seq(number) }))
    }

    fn acknowledged_by(&mut self, node: u64, number: u64) -> Vec<String> {
        let copy = self.copy_on(node);
        let reply = Ok(KeeperReply::Acknowledged { seq: Seq(number) });
        self.feed(Event::Kept { copy, number, reply })
    }

    fn seed_ends(&mut self, node: u64, reply: Result<KeeperReply, AskError>) -> Vec<String> {
        let copy = self.copy_on(node);
        self.feed(Event::Kept { copy, number: 0, reply })
    }

    fn copy_on(&self, node: u64) -> KeeperCopy {
        *self.copies.iter().rev().find(|copy| copy.node.0 == node).unwrap()
    }

    /// The copy that was asked for last comes, and holds a new player.
    fn fetched(&mut self) -> Vec<String> {
        self.kept(0, Ok(KeeperReply::Fetched(Box::new(fresh()))))
    }

    fn refused(&mut self, number: u64, refusal: Refusal) -> Vec<String> {
        self.kept(number, Ok(KeeperReply::Refused(refusal)))
    }

    fn changed(&mut self, generation: u64) -> Vec<String> {
        self.feed(Event::Changed(Some(ChangeOutcome::Changed(Generation(generation)))))
    }

    fn wait(&mut self) -> Vec<String> {
        self.now = self.machine.next_wake().expect("something is waited for");
        self.feed(Event::Tick)
    }
}

/// A record of a player that node `owner` ran, with its copy on node `keeper`.
fn record(owner: u64, keeper: u64) -> PlayerRecord {
    let owner = Writer { node: NodeId(owner), incarnation: Incarnation(1) };
    let keepers = vec![KeeperCopy { node: NodeId(keeper), copy: CopyId(99) }];
    let (generation, code) = (Generation(5), CodeHash([0; 32]));
    PlayerRecord { generation, owner, keepers, code, failed: None }
}

#[test]
fn a_new_player_is_seeded_before_it_is_named_and_serves_after() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    assert_eq!(world.call(1, 5), ["seed 2 at 0 under 0"]);
    assert_eq!(world.seeded(Ok(())), ["change 0 -> [2]"]);
    assert_eq!(world.changed(1), ["restore"]);
    assert_eq!(world.restored(), ["serving 0", "execute"]);
    assert_eq!(world.returned(), ["append 2 #1 seq1"]);
    assert_eq!(world.acknowledged(1), ["answer 1: 5"]);
}

#[test]
fn one_node_alone_refuses_and_leaves_nothing() {
    let mut world = World::new(Origin::New(fresh()), &[1]);
    assert_eq!(world.call(1, 5), ["answer 1: error single_node", "close"]);
}

#[test]
fn answers_leave_in_order_each_after_its_own_acknowledgement() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 1), ["execute"]);
    assert_eq!(world.call(3, 1), Vec::<String>::new());
    assert_eq!(world.returned(), ["append 2 #2 seq2", "execute"]);
    assert_eq!(world.returned(), ["append 2 #3 seq3"]);
    assert_eq!(world.acknowledged(2), ["answer 2: 1"]);
    assert_eq!(world.acknowledged(3), ["answer 3: 2"]);
}

#[test]
fn a_trap_restores_the_state_before_and_answers_after_the_keeper_confirmed() {
    let mut world = World::serving();
    world.call(2, 0);
    let message = "not an integer".to_owned();
    assert_eq!(world.feed(Event::Trapped { message, lacked: false }), ["restore"]);
    assert_eq!(world.call(3, 2), Vec::<String>::new());
    assert_eq!(world.restored(), ["confirm 2 #2", "execute"]);
    assert_eq!(world.acknowledged(2), ["answer 2: crash at 1"]);
    assert_eq!(world.returned(), ["append 2 #3 seq2"]);
}

#[test]
fn a_read_waits_for_the_keeper_too() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, Operation::Points, 2), ["execute"]);
    let unchanged = Event::Returned { value: 0.into(), delta: Delta::default() };
    assert_eq!(world.feed(unchanged), ["confirm 2 #2"]);
    assert_eq!(world.acknowledged(2), ["answer 2: 0"]);
}

#[test]
fn a_key_that_was_used_gets_the_recorded_answer_and_executes_nothing() {
    let mut world = World::serving();
    world.call_with_key(2, 5, 42);
    world.returned();
    assert_eq!(world.acknowledged(2), ["answer 2: 5"]);
    assert_eq!(world.call_with_key(3, 5, 42), ["confirm 2 #3"]);
    assert_eq!(world.acknowledged(3), ["answer 3: 5"]);
    assert_eq!(world.call_with_key(4, 6, 42), ["answer 4: error key_reused"]);
}

#[test]
fn a_key_that_is_not_remembered_any_more_executes_nothing() {
    let mut forgetful = fresh();
    forgetful.window = KeyWindow::new(KeyBounds { calls: 1, millis: 0, calls_max: 1 });
    let mut world = World::new(Origin::New(forgetful), &[1, 2]);
    let key = |millis| CallKey::new(millis, 0).0;
    world.call_with_key(1, 5, key(1));
    world.seeded(Ok(()));
    world.changed(1);
    world.restored();
    world.returned();
    assert_eq!(world.acknowledged(1), ["answer 1: 5"]);
    assert_eq!(world.call_with_key(2, 5, key(2)), ["execute"]);
    world.returned();
    assert_eq!(world.acknowledged(2), ["answer 2: 10"]);
    assert_eq!(world.call_with_key(3, 5, key(1)), ["answer 3: error key_expired"]);
    assert_eq!(world.call_with_key(4, 5, key(2)), ["confirm 2 #3"]);
    assert_eq!(world.acknowledged(3), ["answer 4: 10"]);
}

#[test]
fn a_player_of_a_dead_owner_is_claimed_then_read_from_its_keeper() {
    let mut world = World::new(Origin::Known(record(3, 2)), &[1, 2]);
    assert_eq!(world.call(1, 5), ["change 5 -> [2]"]);
    assert_eq!(world.changed(6), ["fetch 2 under 6"]);
    // Only its own copy is new, in the place of the dead owner's.
    assert_eq!(world.fetched(), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["restore"]);
    assert_eq!(world.restored(), ["serving 0", "execute"]);
}

#[test]
fn the_keeper_that_becomes_owner_seeds_another_before_it_serves() {
    let mut world = World::new(Origin::Known(record(3, 1)), &[1, 2]);
    world.call(1, 5);
    assert_eq!(world.changed(6), ["fetch 1 under 6"]);
    assert_eq!(world.fetched(), ["seed 2 at 0 under 6"]);
    assert_eq!(world.seeded(Ok(())), ["change 6 -> [2]"]);
    // The copy on this node stays, as its own.
    assert_eq!(world.changed(7), ["restore"]);
}

#[test]
fn a_dead_keeper_is_replaced_without_a_call() {
    let mut world = World::serving();
    world.set_up(&[1, 3]);
    assert_eq!(world.feed(Event::Nodes), ["seed 3 at 1 under 1"]);
    // A call that comes meanwhile waits.
    assert_eq!(world.call(2, 5), Vec::<String>::new());
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [3]"]);
    assert_eq!(world.changed(2), ["release 2", "execute"]);
    assert_eq!(world.returned(), ["append 3 #2 seq2"]);
}

#[test]
fn what_was_on_its_way_to_a_dead_keeper_is_answered_once_its_successor_is_named() {
    let mut world = World::serving();
    world.call(2, 5);
    world.returned();
    assert_eq!(world.kept(2, Err(AskError::Lost)), ["seed 3 at 2 under 1"]);
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [3]"]);
    assert_eq!(world.changed(2), ["release 2", "answer 2: 5"]);
}

#[test]
fn a_silent_keeper_is_replaced_whatever_the_cluster_thinks_of_it() {
    let mut world = World::serving();
    world.call(2, 5);
    world.returned();
    assert_eq!(world.wait(), ["seed 3 at 2 under 1"]);
}

#[test]
fn a_gap_is_closed_by_a_full_copy() {
    let mut world = World::serving();
    world.set_up(&[1, 2]);
    world.call(2, 5);
    world.returned();
    let gap = Refusal::Gap { have: Some(Seq(0)) };
    assert_eq!(world.refused(2, gap), ["seed 2 at 2 under 1"]);
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [2]"]);
    assert_eq!(world.changed(2), ["release 2", "answer 2: 5"]);
}

#[test]
fn a_fenced_owner_answers_nothing_and_ends() {
    let mut world = World::serving();
    world.call(2, 5);
    world.returned();
    world.call(3, 5);
    let fenced = Refusal::Fenced { generation: Generation(2) };
    let told = world.refused(2, fenced);
    assert_eq!(told, ["answer 3: error moved", "answer 2: error unknown", "close"]);
}

#[test]
fn a_rival_that_was_faster_keeps_the_player_and_gets_no_copy_of_ours() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2, 3]);
    world.call(1, 5);
    world.seeded(Ok(()));
    let conflict = ChangeOutcome::Conflict(Some(record(3, 2)));
    let told = world.feed(Event::Changed(Some(conflict)));
    let keeper = world.copies[0].node;
    assert_eq!(told, [format!("release {}", keeper.0).as_str(), "answer 1: error moved", "close"]);
}

#[test]
fn a_change_whose_outcome_is_unknown_is_asked_for_again_as_it_was() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    world.call(1, 5);
    world.seeded(Ok(()));
    let first = world.change.clone();
    assert_eq!(world.feed(Event::Changed(None)), Vec::<String>::new());
    assert_eq!(world.wait(), ["change 0 -> [2]"]);
    assert_eq!(world.change, first);
}

#[test]
fn a_player_without_a_reachable_copy_is_refused_and_not_reset() {
    let mut world = World::new(Origin::Known(record(3, 2)), &[1, 4]);
    assert_eq!(world.call(1, 5), ["answer 1: error unavailable", "close"]);

    let mut world = World::new(Origin::Known(record(3, 2)), &[1, 2]);
    world.call(1, 5);
    world.changed(6);
    let stale = Refusal::Stale { seq: Seq(3) };
    assert_eq!(world.refused(0, stale), ["answer 1: error unavailable", "close"]);
}

#[test]
fn an_owner_whose_last_peer_died_refuses_calls_and_serves_when_one_joins() {
    let mut world = World::serving();
    world.call(2, 5);
    world.returned();
    world.set_up(&[1]);
    assert_eq!(world.feed(Event::Nodes), Vec::<String>::new(), "a caller waits");
    assert_eq!(world.call(3, 5), ["answer 3: error single_node"]);
    world.set_up(&[1, 4]);
    assert_eq!(world.feed(Event::Nodes), ["seed 4 at 2 under 1"]);
    world.seeded(Ok(()));
    assert_eq!(world.changed(2), ["release 2", "answer 2: 5"]);
    assert_eq!(world.call(4, 5), ["execute"]);
}

#[test]
fn a_caller_whose_time_is_over_before_execution_is_told_that_nothing_happened() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    world.call(1, 5);
    world.now += Duration::from_secs(20);
    let told = world.feed(Event::Tick);
    assert!(told.contains(&"answer 1: error timed".to_owned()), "{told:?}");
}

#[test]
fn a_stopping_server_answers_what_it_executed_and_ends() {
    let mut world = World::serving();
    world.call(2, 5);
    world.returned();
    assert_eq!(world.feed(Event::Stop), Vec::<String>::new());
    assert_eq!(world.call(3, 1), ["answer 3: error stopping"]);
    assert_eq!(world.acknowledged(2), ["answer 2: 5", "close"]);
}

#[test]
fn a_node_that_leaves_hands_over_after_the_last_acknowledgement() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 5), ["execute"]);
    assert_eq!(world.returned(), ["append 2 #2 seq2"]);
    world.set_draining(1);
    assert!(world.feed(Event::Nodes).is_empty());
    assert!(world.call(3, 5).is_empty(), "nothing new is executed");
    assert_eq!(world.acknowledged(2), ["answer 2: 5", "change 1 -> [2]"]);
    let change = world.change.clone().unwrap();
    assert_eq!((change.by, change.owner.node), (ME, NodeId(3)), "to one that keeps no copy");
    assert_eq!(world.changed(2), ["answer 3: error moved", "close"]);
}

#[test]
fn a_handover_whose_end_is_not_known_is_asked_for_again_and_nothing_is_served_meanwhile() {
    let mut world = World::serving();
    world.set_draining(1);
    assert_eq!(world.feed(Event::Nodes), ["change 1 -> [2]"]);
    assert!(world.feed(Event::Changed(None)).is_empty());
    assert!(world.call(2, 5).is_empty());
    assert_eq!(world.wait(), ["change 1 -> [2]"]);
    assert_eq!(world.changed(2), ["answer 2: error moved", "close"]);
}

#[test]
fn a_player_stays_where_no_other_node_could_keep_its_copies() {
    let mut world = World::serving();
    world.set_up(&[1, 2]);
    world.set_draining(1);
    assert!(world.feed(Event::Nodes).is_empty());
    assert_eq!(world.call(2, 5), ["execute"]);
}

#[test]
fn a_keeper_that_leaves_is_replaced_only_when_another_node_is_there() {
    let mut world = World::serving();
    world.set_up(&[1, 2]);
    world.set_draining(2);
    assert!(world.feed(Event::Nodes).is_empty(), "it is good until then");
    assert_eq!(world.call(2, 5), ["execute"]);
    assert_eq!(world.returned(), ["append 2 #2 seq2"]);
    assert_eq!(world.acknowledged(2), ["answer 2: 5"]);
    world.set_up(&[1, 2, 3]);
    world.set_draining(2);
    assert_eq!(world.feed(Event::Nodes), ["seed 3 at 2 under 1"]);
    let early = KeeperReply::Acknowledged { seq: Seq(1) };
    assert!(world.kept(0, Ok(early)).is_empty(), "an attempt before, which holds less");
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [3]"]);
    assert_eq!(world.changed(2), ["release 2"]);
}

#[test]
fn keepers_that_all_leave_are_kept_even_if_fewer_are_wanted() {
    let mut world = World::serving();
    world.set_up(&[1, 2]);
    world.set_draining(2);
    assert!(world.feed(Event::Nodes).is_empty());
    assert_eq!(world.call(2, 5), ["execute"]);
}

#[test]
fn a_player_that_nobody_calls_gets_its_copies_and_no_instance() {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
    assert_eq!(world.feed(Event::Open), ["change 5 -> [2]"]);
    assert_eq!(world.changed(6), ["fetch 2 under 6"]);
    assert_eq!(world.fetched(), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["serving 0", "rest at 0 under 7"]);

    let mut unknown = World::new(Origin::New(fresh()), &[1, 2, 3]);
    assert_eq!(unknown.feed(Event::Open), ["close"], "nothing is created by that");
}
