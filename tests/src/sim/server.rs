//! What drives a player's machine: `host::player` without its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use host::limits::IDLE_AFTER;
use host::net::AskError;
use host::player::{Action, Around, Event, Machine, Origin, Story, Ticket, View};
use host::protocol::{
    Answer, Call, CallError, CallKey, ChangeOutcome, DeploymentChange, FailedRestores, Generation,
    KeeperCopy, KeeperReply, KeyWindow, NodeId, NodeStatus, PlayerChange, PlayerId, Seq, Value,
};

use super::Bug;
use super::client::op_of;
use super::guest::{call_guest, code_of, fresh, mark_in, memory_of, number_of};
use super::happening::{Called, Job, MS, Reply, Request, Slot, Time, Waiter, What};
use super::invariants::Flight;
use super::node::name_of;
use super::world::World;

/// Where an answer of a player goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller {
    /// A call of this node's gateway, and its attempt.
    Gateway(u64, u64),
    /// A request of another node.
    Peer(u64),
}

/// The server of one player on one node.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: u64,
    pub(super) machine: Machine,
    /// What the instance's memory holds, while there is one.
    pub(super) memory: Option<Vec<u8>>,
    callers: BTreeMap<Ticket, (Caller, CallKey)>,
    wake: Option<Time>,
    /// Generations that this server hides from its machine ([`Bug::KeepGeneration`]).
    hidden: u64,
    /// The last message to each copy.
    sent: BTreeMap<KeeperCopy, u64>,
    /// What is on its way.
    pub(super) flight: Flight,
    /// Whether the player rested when this was opened.
    woken: bool,
    /// The key of the move that was begun.
    moving: Option<CallKey>,
}

impl World {
    /// A call reaches the player's server here, which is opened if there is none.
    pub(super) fn call_here(&mut self, slot: Slot, call: Call, left: Time, caller: Caller) {
        let deadline = self.instant(slot) + std::time::Duration::from_micros(left);
        let ticket = self.number();
        let player = call.player.clone();
        let Some(process) = &mut self.machines[slot].process else { return };
        if process.leaving && !process.servers.contains_key(&player) {
            let result = Err(CallError::Stopping { node: name_of(slot) });
            return self.answer_caller(slot, caller, result);
        }
        let key = call.key;
        let Some(server) = self.open(slot, &player) else { return };
        server.callers.insert(ticket, (caller, key));
        let id = server.id;
        self.server_event(slot, &player, id, Event::Call { ticket, call, deadline, counts: true });
    }

    /// Opens the players that fall to this node although nobody calls them.
    pub(super) fn adopt(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        if !process.serving || process.leaving {
            return;
        }
        let (me, nodes) = (process.me, &process.nodes[..]);
        let returned = process.attended.returned(nodes);
        let keepers = usize::from(process.view.settings().keepers);
        let rollout = &process.rollout;
        let around = Around { me, nodes, keepers, returned: &returned, rollout };
        let due: Vec<PlayerId> = process
            .view
            .players_after(None)
            .filter(|(player, record)| {
                !process.servers.contains_key(*player) && around.falls_to_me(player, record)
            })
            .map(|(player, _)| player.clone())
            .collect();
        process.attended.note(nodes);
        for player in due {
            if let Some(Server { id, .. }) = self.open(slot, &player) {
                let id = *id;
                self.coverage.adoptions += 1;
                self.server_event(slot, &player, id, Event::Open);
            }
        }
    }

    /// Asks a player that runs to rest, as a node does that has no room for another one.
    pub(super) fn make_room(&mut self, slot: Slot) {
        let player = self.rng.index(self.players.len());
        let player = self.players[player].clone();
        let Some(process) = &self.machines[slot].process else { return };
        if let Some(server) = process.servers.get(&player) {
            let id = server.id;
            self.server_event(slot, &player, id, Event::Rest);
        }
    }

    /// Returns the player's server on a node, a new one if there is none.
    pub(super) fn open(&mut self, slot: Slot, player: &PlayerId) -> Option<&mut Server> {
        let (id, bounds) = (self.number(), self.bounds);
        // Now and then soon enough to be in the middle of something.
        let soon = self.rng.percent(30).then(|| self.rng.between(20, 500));
        let idle_after = soon.map_or(IDLE_AFTER, std::time::Duration::from_millis);
        let was = self.state_before(player).filter(|_| self.has(Bug::ReturnEnded));
        let was = was.cloned();
        let process = self.machines[slot].process.as_mut()?;
        let code = process.rollout.deployments.code_for(player).unwrap_or(code_of(0));
        let fresh = was.unwrap_or_else(|| fresh(bounds, code));
        Some(process.servers.entry(player.clone()).or_insert_with(|| {
            let record = process.view.player(player).cloned();
            let rested = process.resting.remove(player);
            let woken = rested.is_some();
            let origin = match record {
                None => Origin::New(fresh),
                Some(record) if record.is_forgotten() => Origin::Again(record, fresh),
                Some(record) => match rested {
                    Some(rested) => Origin::Rested(record, rested),
                    None => Origin::Known(record),
                },
            };
            // As in the product: the same for one player and one start of a node.
            let mut seed = DefaultHasher::new();
            (player, process.me).hash(&mut seed);
            let (me, seed) = (process.me, seed.finish());
            let machine = Machine::new(player.clone(), me, origin, seed, idle_after);
            let callers = BTreeMap::new();
            Server {
                id,
                machine,
                memory: None,
                callers,
                wake: None,
                hidden: 0,
                sent: BTreeMap::new(),
                flight: Flight::default(),
                woken,
                moving: None,
            }
        }))
    }

    /// Lets a machine decide and carries out what it says, until it has nothing more to say.
    pub(super) fn server_event(&mut self, slot: Slot, player: &PlayerId, id: u64, event: Event) {
        let mut todo = VecDeque::new();
        self.handle(slot, player, id, event, &mut todo);
        while let Some(action) = todo.pop_front() {
            if let Some(event) = self.perform(slot, player, id, action) {
                self.handle(slot, player, id, event, &mut todo);
            }
        }
        self.rewake(slot, player, id);
    }

    fn handle(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        id: u64,
        mut event: Event,
        todo: &mut VecDeque<Action>,
    ) {
        let now = self.instant(slot);
        self.mislead(slot, player, id, &mut event);
        let Some(process) = &mut self.machines[slot].process else { return };
        let Some(server) = process.servers.get_mut(player).filter(|s| s.id == id) else { return };
        let mut out = Vec::new();
        let keepers_wanted = usize::from(process.view.settings().keepers);
        let (nodes, shunned, rollout) = (&process.nodes[..], &process.shunned, &process.rollout);
        let has_leader = self.log.leader.is_some();
        let view = View { now, nodes, keepers_wanted, shunned, rollout, has_leader };
        server.machine.handle(event, view, &mut out);
        // What is told before it, is told of the position after it.
        let begun = out.iter().any(|action| matches!(action, Action::Tell(Story::Moving { .. })));
        if let Some(state) = server.machine.state().filter(|_| begun) {
            self.watch.steps.insert((player.clone(), state.seq.0));
        }
        todo.extend(out);
    }

    /// What some bugs make of an event.
    fn mislead(&mut self, slot: Slot, player: &PlayerId, id: u64, event: &mut Event) {
        match (self.settings.bug, event) {
            (Some(Bug::LoseKeys), Event::Kept { reply: Ok(KeeperReply::Fetched(state)), .. }) => {
                state.window = KeyWindow::new(self.bounds);
            }
            (
                Some(Bug::KeepGeneration),
                Event::Changed(Some(ChangeOutcome::Changed(generation))),
            ) => {
                let claims = self.server(slot, player, id).is_some_and(|server| {
                    server.machine.state().is_none() && server.machine.generation() < *generation
                });
                if let Some(server) = self.server(slot, player, id) {
                    server.hidden += u64::from(claims);
                    generation.0 -= server.hidden;
                }
            }
            _ => {}
        }
    }

    pub(super) fn server(&mut self, slot: Slot, player: &PlayerId, id: u64) -> Option<&mut Server> {
        let process = self.machines[slot].process.as_mut()?;
        process.servers.get_mut(player).filter(|server| server.id == id)
    }

    fn rewake(&mut self, slot: Slot, player: &PlayerId, id: u64) {
        let next = self.server(slot, player, id).and_then(|server| server.machine.next_wake());
        let next = next.map(|at| self.time_of(slot, at).max(self.now));
        let Some(server) = self.server(slot, player, id) else { return };
        if server.wake != next {
            server.wake = next;
            if let Some(at) = next {
                let what = What::Tick { player: player.clone(), server: id };
                self.after_to(at - self.now, slot, what);
            }
        }
    }

    pub(super) fn tick(&mut self, slot: Slot, player: &PlayerId, id: u64) {
        let now = self.now;
        let Some(server) = self.server(slot, player, id) else { return };
        if server.wake.is_some_and(|at| at <= now) {
            server.wake = None;
            self.server_event(slot, player, id, Event::Tick);
        }
    }

    fn perform(&mut self, slot: Slot, player: &PlayerId, id: u64, action: Action) -> Option<Event> {
        match action {
            Action::Execute(call) => return self.execute(slot, player, id, &call),
            Action::Restore => {
                return self.restore(slot, player, id);
            }
            Action::Migrate(step) => return self.migrate(slot, player, id, step),
            Action::Report { deployment: number, reason } => {
                let player = player.clone();
                let change = DeploymentChange::Failed { number, player: player.clone(), reason };
                self.report(slot, player, id, change);
            }
            Action::GiveUp => self.server(slot, player, id)?.memory = None,
            Action::Rest(rested) => {
                let process = self.machines[slot].process.as_mut()?;
                process.servers.remove(player);
                process.resting.insert(player.clone(), rested);
                self.coverage.rests += 1;
            }
            Action::Change(mut change) => {
                change.expect.0 += self.server(slot, player, id)?.hidden;
                if self.has(Bug::ForgetFailures) {
                    self.forget_failures(&mut change);
                }
                let job = Job { id: self.number(), player: player.clone(), server: id, change };
                self.change(slot, job);
            }
            Action::Ask { copy, number, request } => {
                self.server(slot, player, id)?.sent.insert(copy, number);
                self.watch_order(slot, player, id, (copy, number), &request);
                let waiter = Waiter::Server { player: player.clone(), server: id, copy, number };
                self.ask(slot, copy.node, Request::Keeper(request), waiter);
            }
            Action::Answer { ticket, result } => {
                if let Err(CallError::KeyExpired { key, horizon, .. }) = &result {
                    let (key, horizon) = (*key, *horizon);
                    self.coverage.expired += 1;
                    if self.has(Bug::ForgetHorizon) {
                        return Some(self.as_if_new(slot, player, ticket, key, horizon));
                    }
                }
                self.answer(slot, player, id, ticket, result);
            }
            Action::Shun(node) => {
                let now = self.instant(slot);
                self.machines[slot].process.as_mut()?.shunned.shun(node, now);
                self.coverage.shunned += 1;
            }
            Action::Trust(node) => {
                if self.machines[slot].process.as_mut()?.shunned.trust(node) {
                    self.coverage.trusted += 1;
                    self.after_to(0, slot, What::Trusted);
                }
            }
            Action::Tell(story) => self.told(slot, player, id, &story),
            Action::Close => {
                if let Some(process) = &mut self.machines[slot].process {
                    process.servers.remove(player);
                }
            }
        }
        None
    }

    fn execute(&mut self, slot: Slot, player: &PlayerId, id: u64, call: &Call) -> Option<Event> {
        let bug = self.has(Bug::AnswerBeforeAcknowledgement);
        let server = self.server(slot, player, id)?;
        let code = server.machine.state()?.code;
        let traps = self.traps(code);
        let server = self.server(slot, player, id)?;
        let (memory, state) = (server.memory.as_mut()?, server.machine.state()?);
        let same = *memory == memory_of(state);
        let seq = state.seq.next();
        let strange = mark_in(memory).filter(|mark| *mark != number_of(code));
        let mut event = call_guest(memory, call, code);
        if traps {
            event = Event::Trapped { message: "bad code".to_owned(), lacked: false };
        }
        if matches!(event, Event::Trapped { .. }) {
            server.memory = None;
        }
        let generation = server.machine.generation();
        if let Some(mark) = strange {
            let detail = format!("{player} on {slot} at {seq}: {code} has memory of {mark}");
            self.broken("no code gets the memory of other code", detail);
        }
        if !same {
            self.broken("the instance holds the state", format!("{player} on {slot} at {seq}"));
        }
        if let Event::Returned { value, .. } = &event {
            let value = value.clone();
            self.watch_execution(player, call.key, generation);
            self.tell(|| {
                format!("server {slot}: {player} g{generation} {} -> {value} at {seq}", call.key)
            });
            if bug {
                self.answer_early(slot, player, id, call, value, seq);
            }
        }
        Some(event)
    }

    /// [`Bug::AnswerBeforeAcknowledgement`].
    fn answer_early(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        id: u64,
        call: &Call,
        value: Value,
        seq: Seq,
    ) {
        let Some(server) = self.server(slot, player, id) else { return };
        let ticket = server.callers.iter().rev().find(|(_, (_, key))| *key == call.key);
        if let Some((ticket, _)) = ticket.map(|(ticket, caller)| (*ticket, *caller)) {
            let result = Ok(Answer::Returned { value, seq, node: name_of(slot) });
            self.answer(slot, player, id, ticket, result);
        }
    }

    /// [`Bug::ForgetFailures`]: one that counts is as it should be.
    fn forget_failures(&self, change: &mut PlayerChange) {
        let record = self.log.state.player(&change.player);
        let repeats = record.is_some_and(|record| {
            let times = |failed: &Option<Box<FailedRestores>>| failed.as_ref().map(|f| f.times);
            record.owner == change.owner && times(&record.failed) == times(&change.failed)
        });
        if repeats {
            change.failed = None;
        }
    }

    /// [`Bug::ForgetHorizon`].
    fn as_if_new(
        &self,
        slot: Slot,
        player: &PlayerId,
        ticket: Ticket,
        key: CallKey,
        horizon: CallKey,
    ) -> Event {
        let operation = self.ops[op_of(key)].operation.clone();
        let key = key.moved_to(horizon.millis() + 1);
        let call = Call { player: player.clone(), key, operation };
        let deadline = self.instant(slot) + std::time::Duration::from_secs(1);
        Event::Call { ticket, call, deadline, counts: true }
    }

    /// Makes an instance, at once or after the component was looked for.
    fn restore(&mut self, slot: Slot, player: &PlayerId, id: u64) -> Option<Event> {
        if self.rng.percent(15) {
            let wait = self.rng.between(1, 50) * MS;
            let what = What::Restored { player: player.clone(), server: id };
            self.after_to(wait, slot, what);
            return None;
        }
        self.instantiate(slot, player, id)
    }

    fn instantiate(&mut self, slot: Slot, player: &PlayerId, id: u64) -> Option<Event> {
        self.watch_restore(slot, player, id);
        if let Some(failed) = self.restore_fails(slot, player) {
            return Some(failed);
        }
        let server = self.server(slot, player, id)?;
        let state = server.machine.state()?;
        server.memory = Some(memory_of(state));
        Some(Event::Restored { micros: 20 })
    }

    pub(super) fn restored(&mut self, slot: Slot, player: &PlayerId, id: u64) {
        if let Some(event) = self.instantiate(slot, player, id) {
            self.server_event(slot, player, id, event);
        }
    }

    fn answer(&mut self, slot: Slot, player: &PlayerId, id: u64, ticket: Ticket, result: Called) {
        let Some(server) = self.server(slot, player, id) else { return };
        let generation = Generation(server.machine.generation().0 + server.hidden);
        let Some((caller, key)) = server.callers.remove(&ticket) else { return };
        if let Ok(answer) = &result {
            self.watch_answer(slot, player, generation, key, answer);
        }
        self.answer_caller(slot, caller, result);
    }

    pub(super) fn answer_caller(&mut self, slot: Slot, caller: Caller, result: Called) {
        match caller {
            Caller::Gateway(call, attempt) => self.routed_ends(slot, call, attempt, result),
            Caller::Peer(ask) => self.reply(ask, Reply::Called(result)),
        }
    }

    fn told(&mut self, slot: Slot, player: &PlayerId, id: u64, story: &Story) {
        let Some(server) = self.server(slot, player, id) else { return };
        let generation = server.machine.generation();
        let state = server.machine.state().cloned();
        if let Story::Moving { key, .. } = story {
            server.moving = Some(*key);
        }
        let moved = server.moving;
        let serves = matches!(story, Story::Serving { .. });
        let wakes = serves && std::mem::take(&mut server.woken);
        self.coverage.wakes += u64::from(wakes);
        let seq = state.as_ref().map_or(Seq(0), |state| state.seq);
        self.tell(|| format!("server {slot}: {player} g{generation} seq {seq} {story:?}"));
        match (story, state) {
            (Story::Serving { .. }, Some(state)) => {
                self.watch_restored(slot, player, generation, &state);
            }
            (Story::Restarted { message, .. }, _) => {
                self.coverage.drills += u64::from(message == "crash drill");
            }
            (Story::Fetched { .. }, _) => self.coverage.failovers += 1,
            (Story::HandedOver { .. }, _) => {
                self.coverage.handovers += 1;
                if let Some(key) = moved {
                    self.watch_move(player, key);
                }
                self.die_after_handover(slot);
            }
            (Story::Seeding { .. }, _) if seq > Seq(0) => self.coverage.reseeds += 1,
            _ => {}
        }
    }

    /// A keeper replied to a server, or did not.
    pub(super) fn server_kept(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        server: u64,
        (copy, number): (KeeperCopy, u64),
        reply: Result<Reply, AskError>,
    ) {
        let reply = match reply {
            Ok(Reply::Keeper(reply)) => Ok(reply),
            Ok(Reply::Called(_)) => Err(AskError::Lost),
            Err(error) => Err(error),
        };
        if let Some(server) = self.server(slot, player, server) {
            server.flight.ended(copy, number);
        }
        self.server_event(slot, player, server, Event::Kept { copy, number, reply });
    }

    /// The directory's nodes or settings changed: all servers look whether they still own their players.
    pub(super) fn servers_look_around(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        let servers: Vec<(PlayerId, u64, bool)> = process
            .servers
            .iter()
            .map(|(player, server)| {
                let held = server.machine.generation();
                let lost = process
                    .view
                    .player(player)
                    .is_some_and(|record| record.generation > held && record.owner != process.me);
                (player.clone(), server.id, lost && held > Generation(0))
            })
            .collect();
        for (player, id, lost) in servers {
            if self.has(Bug::HandOverUnacknowledged) {
                self.hand_over_early(slot, &player, id);
            }
            let event = if lost { Event::Superseded } else { Event::Nodes };
            self.server_event(slot, &player, id, event);
        }
    }

    /// [`Bug::HandOverUnacknowledged`].
    fn hand_over_early(&mut self, slot: Slot, player: &PlayerId, id: u64) {
        let Some(process) = &self.machines[slot].process else { return };
        let me = process.me.node;
        let draining = process.nodes.iter().any(|n| n.id == me && n.status == NodeStatus::Draining);
        let Some(server) = process.servers.get(player).filter(|_| draining) else { return };
        let seq = server.machine.state().map_or(Seq(0), |state| state.seq);
        for (copy, number) in server.sent.clone() {
            let reply = Ok(KeeperReply::Acknowledged { seq });
            self.server_event(slot, player, id, Event::Kept { copy, number, reply });
        }
    }

    pub(super) fn stop_servers(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        let servers: Vec<(PlayerId, u64)> =
            process.servers.iter().map(|(player, server)| (player.clone(), server.id)).collect();
        for (player, id) in servers {
            self.server_event(slot, &player, id, Event::Stop);
        }
    }
}

/// Returns the slot's node for those who only know its number.
pub(super) fn keeper_slot(world: &World, node: NodeId) -> Option<Slot> {
    let slot = *world.net.addresses.get(&node)?;
    (world.machines[slot].disk.node == node).then_some(slot)
}
