//! The keeper's task: take what waits, decide, commit in one piece, answer.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::machine::{Copy, Keeper, Tail, Write};
use crate::limits::INBOX_REQUESTS_MAX;
use crate::net::{AskError, Inbound, Links, Responder};
use crate::protocol::{
    Ack, CopyId, Generation, KeeperReply, KeeperRequest, NodeId, PlayerId, PlayerRecord, Refusal,
    Reply, Request, Settings, Writer, sentence,
};
use crate::storage::{Batch, Copies, Damaged, Durability, StoreError, StoredCopy, StoredFloor};

/// Requests from other nodes, and of this node's players, that are decided and committed together at
/// most. Enough for a full pipeline of many
/// players; small enough that the first of them does not wait for milliseconds.
const BATCH_REQUESTS_MAX: usize = 512;

/// Time between two sweeps, and how many players each looks at for copies that can never be named
/// again. Few enough that no request waits for it; a hundred thousand players take ten seconds.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
const SWEPT_AT_ONCE: usize = 1000;

/// One part in so many of the unpacked copies is looked at in each sweep, so each of them every two
/// seconds, and how many bytes are packed then at most: that takes a few milliseconds.
const PACKED_PART: usize = 20;
const PACKED_BYTES: usize = 512 * 1024;

/// A request to the keeper and where its reply goes.
pub type KeeperInbound = Inbound<KeeperRequest, KeeperReply>;

/// A request of this node's own players, and where its reply goes.
#[derive(Debug)]
struct KeeperLocal {
    request: KeeperRequest,
    reply: oneshot::Sender<KeeperReply>,
}

/// The way into a keeper for players of its node. A request is in its place at once, and the keeper
/// looks at it when it is called, or at other requests.
#[derive(Debug, Clone)]
pub struct LocalInbox {
    requests: mpsc::Sender<KeeperLocal>,
    calling: Arc<Calling>,
}

/// How the keeper is called to requests of its node's players.
#[derive(Debug, Default)]
struct Calling {
    called: Notify,
    /// Somebody has a bell that has not rung yet.
    will_ring: AtomicBool,
}

impl LocalInbox {
    /// Returns what calls the keeper to a request that is in its place, unless somebody has a bell
    /// already: that one calls it to all requests that are in their places then.
    fn bell(&self) -> Option<Bell> {
        let will_ring = self.calling.will_ring.swap(true, Ordering::AcqRel);
        (!will_ring).then(|| Bell(self.calling.clone()))
    }

    /// Calls the keeper if somebody has a bell that has not rung.
    fn ring(&self) {
        if self.calling.will_ring.swap(false, Ordering::AcqRel) {
            self.calling.called.notify_one();
        }
    }
}

/// Calls the keeper when it is dropped, and so also for a request whose reply nobody wants.
struct Bell(Arc<Calling>);

impl Drop for Bell {
    fn drop(&mut self) {
        // First: who finds a bell that will ring must be right.
        self.0.will_ring.swap(false, Ordering::AcqRel);
        self.0.called.notify_one();
    }
}

/// Where one reply goes.
enum ReplyTo {
    Peer(Responder<KeeperReply>),
    Here(oneshot::Sender<KeeperReply>),
}

impl ReplyTo {
    fn send(self, reply: KeeperReply) {
        match self {
            Self::Peer(responder) => responder.send(reply),
            // A player that ended meanwhile needs no reply.
            Self::Here(sender) => drop(sender.send(reply)),
        }
    }
}

/// What the keeper asks the directory, to collect copies.
pub trait Naming: Send + 'static {
    /// Returns what the directory says of a player, as far as this node has heard.
    fn player(&self, player: &PlayerId) -> Option<PlayerRecord>;
    /// Whether the directory knows a later start of the writer's node: this one will never write
    /// again. A node that is merely down does not count, for it may come back as it was.
    fn is_over(&self, writer: Writer) -> bool;
}

/// The keeper of one node: owns all its copies.
#[derive(Debug)]
pub struct Service<N> {
    machine: Keeper,
    copies: Copies,
    settings: watch::Receiver<Settings>,
    naming: N,
    inbox: mpsc::Receiver<KeeperInbound>,
    local: mpsc::Receiver<KeeperLocal>,
    /// Says that some of those wait.
    calling: Arc<Calling>,
    /// Where the next sweep goes on.
    swept: Option<PlayerId>,
}

/// The ways into a keeper.
#[derive(Debug)]
pub struct KeeperInboxes {
    /// For requests from other nodes.
    pub remote: mpsc::Sender<KeeperInbound>,
    /// For requests from this node's players.
    pub local: LocalInbox,
}

impl<N: Naming> Service<N> {
    /// Loads all copies and returns the keeper and the ways into it. `settings` says when a request
    /// may be acknowledged.
    ///
    /// # Errors
    ///
    /// When the store cannot be read. Damaged copies are named in the log and left out.
    pub fn load(
        copies: Copies,
        settings: watch::Receiver<Settings>,
        naming: N,
    ) -> Result<(Self, KeeperInboxes), StoreError> {
        let (remote, inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (requests, local) = mpsc::channel(INBOX_REQUESTS_MAX);
        let calling = Arc::<Calling>::default();
        let local_inbox = LocalInbox { requests, calling: calling.clone() };
        let machine = load(&copies)?;
        let swept = None;
        let service = Self { machine, copies, settings, naming, inbox, local, calling, swept };
        Ok((service, KeeperInboxes { remote, local: local_inbox }))
    }

    /// Serves until cancelled, on a runtime of several threads. Run it once the directory here is as new as this start of the node,
    /// for that is where forgotten fences are raised from.
    ///
    /// # Errors
    ///
    /// When the store failed, most likely because the disk is full: it takes nothing more until it is
    /// opened anew. Who asked was refused, and nothing was acknowledged that the store lacks.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), StoreError> {
        self.raise_floors()?;
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut remote = Vec::with_capacity(BATCH_REQUESTS_MAX);
        let mut local = Vec::with_capacity(BATCH_REQUESTS_MAX);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                taken = self.inbox.recv_many(&mut remote, BATCH_REQUESTS_MAX) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    self.serve_all(&mut remote, &mut local)?;
                }
                () = self.calling.called.notified() => self.serve_all(&mut remote, &mut local)?,
                _ = sweep.tick() => {
                    // Whoever has the bell may be held up.
                    self.serve_all(&mut remote, &mut local)?;
                    self.sweep()?;
                }
                Ok(()) = self.settings.changed() => self.follow_settings()?,
            }
        }
    }

    /// From the moment on at which acknowledgements say that the disk has it, it has all before, too.
    fn follow_settings(&self) -> Result<(), StoreError> {
        match self.durability() {
            Durability::Buffered => Ok(()),
            Durability::Synced => {
                tokio::task::block_in_place(|| self.copies.sync())?;
                tracing::debug!("copies are synced from now on");
                Ok(())
            }
        }
    }

    fn durability(&self) -> Durability {
        match self.settings.borrow().ack {
            Ack::Memory => Durability::Buffered,
            Ack::Disk => Durability::Synced,
        }
    }

    /// Serves what was taken and what waits beside it: a commit costs about the same for one and for
    /// many.
    fn serve_all(
        &mut self,
        remote: &mut Vec<KeeperInbound>,
        local: &mut Vec<KeeperLocal>,
    ) -> Result<(), StoreError> {
        while remote.len() < BATCH_REQUESTS_MAX
            && let Ok(inbound) = self.inbox.try_recv()
        {
            remote.push(inbound);
        }
        while local.len() < BATCH_REQUESTS_MAX
            && let Ok(request) = self.local.try_recv()
        {
            local.push(request);
        }
        if !self.local.is_empty() {
            self.calling.called.notify_one();
        }
        let peers = remote
            .drain(..)
            .map(|Inbound { request, responder, .. }| (request, ReplyTo::Peer(responder)));
        let here =
            local.drain(..).map(|KeeperLocal { request, reply }| (request, ReplyTo::Here(reply)));
        self.serve(peers.chain(here).collect())
    }

    fn serve(&mut self, requests: Vec<(KeeperRequest, ReplyTo)>) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        let mut replies: Vec<(ReplyTo, KeeperReply)> = requests
            .into_iter()
            .map(|(request, to)| (to, self.machine.handle(request, &mut writes)))
            .collect();
        let committed = self.commit(writes);
        if let Err(error) = &committed {
            let refusal = Refusal::Disk { reason: sentence(error) };
            for (_, reply) in &mut replies {
                *reply = KeeperReply::Refused(refusal.clone());
            }
        }
        for (to, reply) in replies {
            to.send(reply);
        }
        committed
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        // A base holds the state at the end of this batch, so it stands for the batch's records.
        let based: BTreeSet<CopyId> = writes.iter().filter_map(base_of).collect();
        let mut batch = self.copies.batch();
        for write in writes {
            self.stage(&mut batch, write, &based);
        }
        match self.durability() {
            Durability::Buffered => batch.commit(Durability::Buffered),
            // It takes as long as the disk does; this thread's other tasks go on elsewhere.
            Durability::Synced => tokio::task::block_in_place(|| batch.commit(Durability::Synced)),
        }
    }

    fn stage(&self, batch: &mut Batch, write: Write, based: &BTreeSet<CopyId>) {
        match write {
            Write::Record { copy, .. } if based.contains(&copy) => {}
            // A copy that was seeded and dropped within one batch needs no base.
            Write::Base { player, copy } => {
                if let Some(copy) = self.machine.copy(&player, copy) {
                    let Copy { id, seeded, writer, state, trusted, tail: _ } = copy;
                    batch.put_base(&player, *id, *seeded, *writer, &state.state(), *trusted);
                }
            }
            Write::Record { copy, record } => batch.put_record(copy, &record),
            Write::Floor { player, generation, writer } => {
                batch.put_floor(&player, generation, writer);
            }
            Write::Remove { copy } => batch.remove_copy(copy),
        }
    }

    fn raise_floors(&mut self) -> Result<(), StoreError> {
        let players: Vec<_> = self.machine.copies().map(|(player, _)| player.clone()).collect();
        let mut writes = Vec::new();
        for player in players {
            if let Some(record) = self.naming.player(&player) {
                self.machine.raise_floor(&player, record.generation, record.owner, &mut writes);
            }
        }
        self.commit(writes)
    }

    /// Collects copies that the directory can never name again, and packs those that are not written
    /// to.
    fn sweep(&mut self) -> Result<(), StoreError> {
        let (naming, mut writes) = (&self.naming, Vec::new());
        let is_dead = |player: &PlayerId, copy: &Copy| is_dead(naming, player, copy);
        let after = self.swept.take();
        self.swept = self.machine.collect(after.as_ref(), SWEPT_AT_ONCE, is_dead, &mut writes);
        self.machine.pack(PACKED_PART, PACKED_BYTES);
        if !writes.is_empty() {
            tracing::debug!(copies = writes.len(), "collecting copies that nothing names");
        }
        self.commit(writes)
    }
}

fn is_dead(naming: &impl Naming, player: &PlayerId, copy: &Copy) -> bool {
    match naming.player(player) {
        Some(record) => {
            let named = record.keepers.iter().any(|keeper| keeper.copy == copy.id);
            !named && record.generation > copy.seeded
        }
        // Never claimed: its writer may still do so, until that start of it is over.
        None => copy.seeded == Generation(0) && naming.is_over(copy.writer),
    }
}

fn base_of(write: &Write) -> Option<CopyId> {
    match write {
        Write::Base { copy, .. } => Some(*copy),
        Write::Record { .. } | Write::Floor { .. } | Write::Remove { .. } => None,
    }
}

fn load(copies: &Copies) -> Result<Keeper, StoreError> {
    let mut machine = Keeper::default();
    let loaded = copies.load(|copy| {
        let StoredCopy { player, copy, generation, writer, state, trusted } = copy;
        let (state, tail) = (Kept::packed(state), Tail::default());
        let copy = Copy { id: copy, seeded: generation, writer, state, trusted, tail };
        machine.load_copy(player, copy);
    })?;
    for damaged in &loaded.damaged {
        let Damaged { player, copy, reason } = damaged;
        let player = player.as_ref().map_or("unknown", PlayerId::as_str);
        let copy = copy.map_or_else(|| "its fence".to_owned(), |copy| copy.to_string());
        tracing::error!(player, copy, %reason, "a copy in the store is damaged; it is not used");
    }
    for StoredFloor { player, generation, writer } in loaded.floors {
        machine.load_floor(player, generation, writer);
    }
    Ok(machine)
}

/// A reply that is on its way.
pub(super) type PendingReply = Pin<Box<dyn Future<Output = Result<KeeperReply, AskError>> + Send>>;

/// Reaches the keeper of any node, this one included.
#[derive(Debug, Clone)]
pub struct Keepers {
    me: NodeId,
    links: Links,
    local: LocalInbox,
}

impl Keepers {
    /// Returns a way to all keepers; `local` is the inbox of the one on node `me`.
    pub fn new(me: NodeId, links: Links, local: LocalInbox) -> Self {
        Self { me, links, local }
    }

    /// Has the keeper of this node look at what waits for it: a task that was about to say so computes
    /// for long.
    pub fn ring(&self) {
        self.local.ring();
    }

    /// Sends a request. Requests to one node arrive in the order of these calls.
    pub fn ask(&self, node: NodeId, request: KeeperRequest) -> PendingReply {
        if node != self.me {
            let pending = self.links.send(node, Request::Keeper(request));
            return Box::pin(async move { keeper_reply(pending.await?) });
        }
        let (reply, answer) = oneshot::channel();
        if self.local.requests.try_send(KeeperLocal { request, reply }).is_err() {
            return Box::pin(std::future::ready(Err(AskError::Full)));
        }
        let answer = answer.map(|answer| answer.map_err(|_| AskError::Lost));
        match self.local.bell() {
            None => Box::pin(answer),
            Some(bell) => Box::pin(async move {
                // What the player's server has sent to other nodes goes first: they take longer, and
                // a second task that is woken beside the network's wakes another thread.
                yield_now().await;
                drop(bell);
                answer.await
            }),
        }
    }
}

fn keeper_reply(reply: Reply) -> Result<KeeperReply, AskError> {
    match reply {
        Reply::Keeper(reply) => Ok(reply),
        Reply::Busy => Err(AskError::Full),
        // Another kind of reply is a broken peer: whatever it did is not known.
        Reply::Member(_) | Reply::Directory(_) | Reply::Call(_) | Reply::Unrelayed(_) => {
            Err(AskError::Lost)
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
