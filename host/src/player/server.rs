//! The task of one player: select what happened, let the machine decide, carry it out.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::codes::{CodeError, Codes};
use super::crossing::cross;
use super::machine::{Action, Event, Machine, Origin, Rested, RestoreFailure, Story, Ticket, View};
use super::reports::Reports;
use super::rollout::Rollout;
use super::roster::Reply;
use super::sabotage;
use super::shunned::Shunned;
use super::traps::{LastTraps, TrappedCall};
use super::words::{Words, news};
use crate::chronicle::Chronicle;
use crate::clock;
use crate::directory::Directory;
use crate::guest::{CallOutcome, Code, Instance};
use crate::keeper::Keepers;
use crate::limits::THREAD_HELD;
use crate::net::AskError;
use crate::protocol::{
    Call, CallError, ChangeOutcome, Generation, KeeperCopy, KeeperReply, NodeId, NodeName,
    NodeRecord, PlayerId, PlayerRecord, PlayerState, Seq, Settings, Step, Writer, digest,
    others_alive, sentence,
};

/// What every player server of a node shares.
#[derive(Debug)]
pub struct Context {
    /// This start of this node.
    pub me: Writer,
    /// This node's name.
    pub name: NodeName,
    /// The directory.
    pub directory: Directory,
    /// All nodes' keepers.
    pub keepers: Keepers,
    /// The components.
    pub codes: Arc<Codes>,
    /// The directory's nodes.
    pub nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
    /// What holds for the whole cluster.
    pub settings: watch::Receiver<Settings>,
    /// Which code players should run.
    pub rollout: watch::Receiver<Arc<Rollout>>,
    /// Nodes that take no copies. Only that one of them takes some again is told to those who watch.
    pub shunned: watch::Sender<Shunned>,
    /// Time without a call after which a player rests.
    pub idle_after: Duration,
    /// How many players run at the same time before others rest for them.
    pub instances_max: usize,
    /// What is remembered of traps.
    pub traps: LastTraps,
    /// Tells of players that failed on a deployment.
    pub reports: Reports,
    /// What has happened on this node.
    pub chronicle: Chronicle,
}

/// One call in a mailbox.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) call: Call,
    pub(super) deadline: Instant,
    pub(super) reply: Reply,
}

/// What a mailbox takes.
#[derive(Debug)]
pub(super) enum Mail {
    /// A call.
    Call(Letter),
    /// A call by one who looks at all players: it neither wakes one up nor keeps it from resting.
    Look(Letter),
    /// The wish that the player be served; told once it is, dropped when it cannot be.
    Open(oneshot::Sender<()>),
    /// The wish that it rest, for others need the memory.
    Rest,
}

impl Mail {
    /// Says that it did not reach the player.
    pub(super) fn refuse(self, error: CallError) {
        match self {
            // A caller that gave up asks again with its key, or not at all.
            Self::Call(letter) | Self::Look(letter) => drop(letter.reply.send(Err(error))),
            Self::Open(done) => drop(done),
            Self::Rest => {}
        }
    }
}

/// What a server waits for besides its mailbox and the time.
enum Happening {
    /// A keeper replied, or not, to a request with this copy and this number.
    Kept(KeeperCopy, u64, Result<KeeperReply, AskError>),
    /// The directory decided, or did not answer.
    Changed(Option<ChangeOutcome>),
    /// The component was looked for.
    Found(Result<Arc<Code>, CodeError>),
    /// The nodes, the settings or the code that players should run changed.
    Around,
    /// The directory has heard what it was told.
    Reported,
    /// The node stops.
    Stopping,
}

struct Server {
    context: Arc<Context>,
    player: PlayerId,
    machine: Machine,
    nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
    settings: watch::Receiver<Settings>,
    rollout: watch::Receiver<Arc<Rollout>>,
    shunned: watch::Receiver<Shunned>,
    instance: Option<Instance>,
    /// Whether the last call needed long, on whichever instance.
    takes_long: bool,
    callers: HashMap<Ticket, Reply>,
    /// A trap on the present state that is not remembered yet.
    trapped: Option<TrappedCall>,
    /// Those that wait until the player is served.
    openers: Vec<oneshot::Sender<()>>,
    last_ticket: Ticket,
    /// What will happen. Only what is about to happen is looked at, however much there is.
    awaited: FuturesUnordered<Pin<Box<dyn Future<Output = Happening> + Send>>>,
    /// For how long its guest has computed since others had their turn.
    computed: Duration,
    /// Creating a player is no news; everything that happens to an old one is.
    was_known: bool,
    /// Whether it rested until now. To wake up is no news.
    woken: bool,
    /// Whether anybody has called it. What becomes of a player that nobody calls is told for all of
    /// them together.
    called: bool,
    /// Where it has stopped to rest.
    rested: Option<Rested>,
    closed: bool,
}

/// Serves one player until another node owns it, it cannot be brought to life, it rests, or `cancel`.
///
/// `rested` is where it had stopped to rest. If it rests again, returns where, and its mailbox.
pub(super) async fn serve(
    context: Arc<Context>,
    player: PlayerId,
    rested: Option<Rested>,
    mut mailbox: mpsc::Receiver<Mail>,
    cancel: CancellationToken,
) -> Option<(Rested, mpsc::Receiver<Mail>)> {
    let known = match Known::find(&context, &player).await {
        Ok(known) => known,
        Err(error) => {
            mailbox.close();
            while let Some(mail) = mailbox.recv().await {
                mail.refuse(error.clone());
            }
            return None;
        }
    };
    let mut server = Server::open(context, player, known, rested);
    server.awaited.push(Box::pin(async move {
        cancel.cancelled_owned().await;
        Happening::Stopping
    }));
    server.look_out();
    let mut alarm = Alarm::default();
    while !server.closed {
        alarm.set_for(server.machine.next_wake());
        let event = tokio::select! {
            Some(happening) = server.awaited.next() => server.handle(happening),
            Some(mail) = mailbox.recv(), if server.machine.has_room() => server.take_in(mail),
            () = alarm.ring() => Event::Tick,
        };
        server.apply(event).await;
    }
    if let Some(rested) = server.rested {
        return Some((rested, mailbox));
    }
    mailbox.close();
    while let Some(mail) = mailbox.recv().await {
        let player = server.player.clone();
        mail.refuse(CallError::Moved { player });
    }
    None
}

/// What the directory knows of a player, with the state in which it begins if it does.
enum Known {
    Yes(PlayerRecord),
    Forgotten(PlayerRecord, PlayerState),
    No(PlayerState),
}

impl Known {
    /// Looks a player up. Code that a new one begins with and that is not here yet is looked for.
    async fn find(context: &Context, player: &PlayerId) -> Result<Self, CallError> {
        let record = context.directory.player(player);
        if let Some(record) = record.as_ref().filter(|record| !record.is_forgotten()) {
            return Ok(Self::Yes(record.clone()));
        }
        let missing = |code: String| CallError::NoCode { player: player.clone(), code };
        let hash = context.directory.deployments().code_for(player);
        let hash = hash.ok_or_else(|| missing("(nothing is deployed)".to_owned()))?;
        let code = match context.codes.loaded(hash) {
            Some(code) => code,
            None => {
                let found = context.codes.find(hash, &context.others()).await;
                found.map_err(|error| missing(format!("{hash} ({})", sentence(&error))))?
            }
        };
        let fresh = PlayerState::new(hash, code.initial());
        Ok(match record {
            Some(record) => Self::Forgotten(record, fresh),
            None => Self::No(fresh),
        })
    }
}

impl Context {
    /// Returns the other nodes that are alive.
    fn others(&self) -> Vec<NodeId> {
        others_alive(self.me.node, &self.nodes.borrow())
    }
}

impl Server {
    fn open(context: Arc<Context>, player: PlayerId, known: Known, rested: Option<Rested>) -> Self {
        let was_known = !matches!(known, Known::No(_));
        let origin = match (known, rested) {
            (Known::No(fresh), _) => Origin::New(fresh),
            (Known::Forgotten(record, fresh), _) => Origin::Again(record, fresh),
            (Known::Yes(record), Some(rested)) => Origin::Rested(record, rested),
            (Known::Yes(record), None) => Origin::Known(record),
        };
        let (me, idle_after) = (context.me, context.idle_after);
        let seed = copy_seed(&player, me);
        let machine = Machine::new(player.clone(), me, origin, seed, idle_after);
        let (nodes, settings) = (context.nodes.clone(), context.settings.clone());
        let (rollout, shunned) = (context.rollout.clone(), context.shunned.subscribe());
        Self {
            context,
            player,
            machine,
            nodes,
            settings,
            rollout,
            shunned,
            instance: None,
            takes_long: false,
            callers: HashMap::new(),
            trapped: None,
            openers: Vec::new(),
            last_ticket: 0,
            awaited: FuturesUnordered::new(),
            computed: Duration::ZERO,
            was_known,
            woken: rested.is_some(),
            called: false,
            rested: None,
            closed: false,
        }
    }

    fn take_in(&mut self, mail: Mail) -> Event {
        match mail {
            Mail::Call(letter) => {
                self.called = true;
                self.take_in_call(letter, true)
            }
            Mail::Look(letter) => self.take_in_call(letter, false),
            Mail::Open(done) => {
                self.openers.push(done);
                Event::Open
            }
            Mail::Rest => Event::Rest,
        }
    }

    fn take_in_call(&mut self, letter: Letter, counts: bool) -> Event {
        let Letter { call, deadline, reply } = letter;
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.callers.insert(ticket, reply);
        Event::Call { ticket, call, deadline, counts }
    }

    fn handle(&mut self, happening: Happening) -> Event {
        match happening {
            Happening::Kept(copy, number, reply) => Event::Kept { copy, number, reply },
            Happening::Changed(outcome) => Event::Changed(outcome),
            Happening::Found(found) => self.handle_found(found),
            Happening::Around => {
                self.nodes.mark_unchanged();
                self.settings.mark_unchanged();
                self.rollout.mark_unchanged();
                self.shunned.mark_unchanged();
                self.look_out();
                self.look_around()
            }
            Happening::Reported => Event::Reported,
            Happening::Stopping => Event::Stop,
        }
    }

    /// Waits for a change of the nodes, the settings, the code that players should run or the shunned
    /// nodes after those that were seen.
    fn look_out(&mut self) {
        let (mut nodes, mut settings) = (self.nodes.clone(), self.settings.clone());
        let (mut rollout, mut shunned) = (self.rollout.clone(), self.shunned.clone());
        self.awaited.push(Box::pin(async move {
            tokio::select! {
                Ok(()) = nodes.changed() => {}
                Ok(()) = settings.changed() => {}
                Ok(()) = rollout.changed() => {}
                Ok(()) = shunned.changed() => {}
                // The directory is closing with this node, which stops its players.
                else => std::future::pending().await,
            }
            Happening::Around
        }));
    }

    /// Something around changed: this node may have been called down and have lost the player
    /// meanwhile.
    fn look_around(&self) -> Event {
        let held = self.machine.generation();
        let lost = self
            .context
            .directory
            .player(&self.player)
            .is_some_and(|record| record.generation > held && record.owner != self.context.me);
        if lost && held > Generation(0) { Event::Superseded } else { Event::Nodes }
    }

    /// Lets the machine decide and carries out what it says, until it has nothing more to say.
    async fn apply(&mut self, event: Event) {
        // Not marked as seen: whoever looks while something else happens must still be told.
        let nodes = self.nodes.borrow().clone();
        let mut todo = VecDeque::from(self.decide(event, &nodes));
        while let Some(action) = todo.pop_front() {
            // Many calls that wait are as good as a long one.
            if self.computed >= THREAD_HELD {
                self.computed = Duration::ZERO;
                tokio::task::yield_now().await;
            }
            if let Some(event) = self.perform(action) {
                todo.extend(self.decide(event, &nodes));
            }
        }
        self.remember_trap();
        if self.machine.is_active() || self.rested.is_some() {
            for done in self.openers.drain(..) {
                // Who waited for long enough does not want to know.
                done.send(()).ok();
            }
        }
    }

    fn decide(&mut self, event: Event, nodes: &[NodeRecord]) -> Vec<Action> {
        let keepers_wanted = usize::from(self.settings.borrow().keepers);
        let (shunned, rollout) = (self.context.shunned.borrow(), self.rollout.borrow());
        let (now, shunned, rollout) = (clock::now(), &*shunned, &**rollout);
        let has_leader = self.context.directory.leader().is_some();
        let view = View { now, nodes, keepers_wanted, shunned, rollout, has_leader };
        let mut actions = Vec::new();
        self.machine.handle(event, view, &mut actions);
        actions
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Execute(call) => return Some(self.execute(call)),
            Action::Restore => return self.restore(),
            Action::Migrate(step) => return self.migrate(step),
            Action::Report { deployment, reason } => self.report(deployment, reason),
            Action::GiveUp => self.instance = None,
            Action::Rest(rested) => {
                self.instance = None;
                self.rested = Some(rested);
                self.closed = true;
            }
            Action::Change(change) => {
                let directory = self.context.directory.clone();
                self.awaited.push(Box::pin(async move {
                    Happening::Changed(directory.change(change).await.ok())
                }));
            }
            Action::Ask { copy, number, request } => {
                if copy.node != self.context.me.node {
                    self.context.chronicle.replicated(request.state_bytes());
                }
                let pending = self.context.keepers.ask(copy.node, request);
                self.awaited
                    .push(Box::pin(async move { Happening::Kept(copy, number, pending.await) }));
            }
            Action::Answer { ticket, result } => {
                if let Some(reply) = self.callers.remove(&ticket) {
                    // A caller that gave up asks again with its key, or not at all.
                    drop(reply.send(result));
                }
            }
            Action::Shun(node) => {
                self.context.shunned.send_if_modified(|shunned| {
                    shunned.shun(node, clock::now());
                    false
                });
            }
            Action::Trust(node) => {
                self.context.shunned.send_if_modified(|shunned| shunned.trust(node));
            }
            Action::Tell(story) => self.tell(&story),
            Action::Close => self.closed = true,
        }
        None
    }

    fn execute(&mut self, call: Call) -> Event {
        // The state is about to change.
        self.remember_trap();
        let (Some(instance), Some(state)) = (&mut self.instance, self.machine.state()) else {
            let (message, lacked) = ("the instance is gone".to_owned(), true);
            return Event::Trapped { message, lacked };
        };
        let began = clock::now();
        let outcome = instance.call(&call.operation, &state.snapshot);
        self.takes_long = instance.takes_long();
        self.computed += clock::now().duration_since(began);
        match outcome {
            CallOutcome::Returned { value, delta } => Event::Returned { value, delta },
            CallOutcome::Refused(misfit) => Event::Refused { error: misfit.into() },
            CallOutcome::Trapped { message } => {
                let lacked = self.instance.take().is_some_and(|mut instance| instance.lacked());
                self.trapped = Some(TrappedCall { call, message: message.clone() });
                Event::Trapped { message, lacked }
            }
        }
    }

    /// Makes an instance of other code that holds what this one does.
    fn migrate(&mut self, step: Step) -> Option<Event> {
        self.remember_trap();
        let state = self.machine.state()?;
        let began = clock::now();
        let crossed = cross(&self.context.codes, state, step);
        self.computed += clock::now().duration_since(began);
        Some(match crossed {
            Ok((instance, snapshot)) => {
                self.instance = Some(instance);
                Event::Migrated { snapshot }
            }
            Err(failure) => Event::NotMigrated(failure),
        })
    }

    /// Tells the directory that the player failed on a deployment, until it has heard.
    fn report(&mut self, number: u64, reason: String) {
        let (context, player) = (self.context.clone(), self.player.clone());
        self.awaited.push(Box::pin(async move {
            context.reports.tell(number, player, reason).await;
            Happening::Reported
        }));
    }

    /// Remembers a trap with the state before it. It waits until nobody waits for it.
    fn remember_trap(&mut self) {
        if let Some((trap, state)) = self.trapped.take().zip(self.machine.state()) {
            self.context.traps.keep(trap, self.machine.generation(), state);
        }
    }

    /// Makes an instance now if its component is in memory, and looks for the component otherwise.
    fn restore(&mut self) -> Option<Event> {
        let hash = self.machine.state()?.code;
        if let Some(code) = self.context.codes.loaded(hash) {
            return Some(self.instantiate(&code));
        }
        let (codes, others) = (self.context.codes.clone(), self.context.others());
        self.awaited
            .push(Box::pin(async move { Happening::Found(codes.find(hash, &others).await) }));
        None
    }

    fn handle_found(&mut self, found: Result<Arc<Code>, CodeError>) -> Event {
        let player = self.player.clone();
        match found {
            Ok(code) => self.instantiate(&code),
            Err(CodeError::Missing) => {
                let code = self.machine.state().map(|state| state.code.to_string());
                let code = code.unwrap_or_default();
                let error = CallError::NoCode { player, code };
                Event::RestoreFailed(RestoreFailure::Here(error))
            }
            Err(error @ (CodeError::Load(_) | CodeError::Crashed | CodeError::Folder { .. })) => {
                let broken = CallError::Broken { player, reason: sentence(&error) };
                Event::RestoreFailed(RestoreFailure::Here(broken))
            }
        }
    }

    fn instantiate(&mut self, code: &Arc<Code>) -> Event {
        let started = clock::now();
        let player = self.player.clone();
        let Some(state) = self.machine.state() else {
            let broken = CallError::Broken { player, reason: "its state is not known".to_owned() };
            return Event::RestoreFailed(RestoreFailure::Here(broken));
        };
        if let Some(reason) = sabotage::of(&player) {
            return Event::RestoreFailed(RestoreFailure::State(reason));
        }
        match code.instantiate(&state.snapshot) {
            Ok(mut instance) => {
                instance.expect_long(self.takes_long);
                self.instance = Some(instance);
                let micros = clock::now().duration_since(started).as_micros();
                Event::Restored { micros: u64::try_from(micros).unwrap_or(u64::MAX) }
            }
            Err(error) if error.is_of_snapshot() => {
                Event::RestoreFailed(RestoreFailure::State(sentence(&error)))
            }
            Err(error) => {
                let broken = CallError::Broken { player, reason: sentence(&error) };
                Event::RestoreFailed(RestoreFailure::Here(broken))
            }
        }
    }

    fn tell(&mut self, story: &Story) {
        // What was remembered is of a player that is no more, or goes on without this node.
        if matches!(
            story,
            Story::Forgotten | Story::Moved | Story::HandedOver { .. } | Story::Claimed
        ) {
            self.context.traps.forget(&self.player);
        }
        let player = self.player.as_str();
        let generation = self.machine.generation();
        let seq = self.machine.state().map_or(Seq(0), |state| state.seq);
        let words = Words { player, generation, seq };
        let old = self.was_known || generation > Generation(1);
        // That a player begins is no news, nor that one wakes up.
        let begins = !old && matches!(story, Story::Named { .. });
        if !begins
            && !self.woken
            && let Some(item) = news(&self.player, generation, story)
        {
            self.context.chronicle.tell(item);
        }
        let serves = matches!(story, Story::Serving { .. });
        let wakes = serves && std::mem::take(&mut self.woken);
        words.tell(story, old && self.called && !wakes);
    }
}

/// The same number for one player on one start of a node, and for no other.
fn copy_seed(player: &PlayerId, me: Writer) -> u64 {
    let (node, start) = (me.node.0.to_le_bytes(), me.incarnation.0.to_le_bytes());
    digest(&[&node, &start, player.as_str().as_bytes()])
}
