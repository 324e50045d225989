//! The membership task: heartbeats, what they mean, and what the directory's leader does about it.
//!
//! Every node watches all others. Only the leader tells the directory: that a node is down, that
//! one returned, and who votes. It does one thing at a time and looks anew after each.
//!
//! A node that does not answer directly is asked through others, too. If it lives, its link is
//! bypassed, and nobody calls it down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::LOOK_INTERVAL;
use super::founding::Hall;
use crate::chronicle::Chronicle;
use crate::clock;
use crate::directory::{AnnounceError, Directory};
use crate::limits::HEARTBEAT_INTERVAL;
use crate::membership::{Detector, Places, Turn, better_voters};
use crate::net::{AskError, Inbound, Links, PeerIdentity, Pulse, PulseEvent};
use crate::protocol::{
    Announcement, Incarnation, JoinRefusal, MemberReply, MemberRequest, News, NodeId, NodeRecord,
    NodeStatus, Passed, Relayed, Reply, Request, Writer, name_of,
};

/// Time that a node which leaves has to tell the leader.
const LEAVE_DEADLINE: Duration = Duration::from_secs(1);

/// A gap between two looks that means that this node itself stood still.
const PAUSE_NOTICED: Duration = Duration::from_millis(200);

/// Said once for each time that a link is given up.
const CUT_OFF: &str = "lives but does not answer here: asked through others until it does; \
                       check the network between";

type Nodes = watch::Receiver<Arc<Vec<NodeRecord>>>;
type MemberInbound = Inbound<MemberRequest, MemberReply>;
/// An answer to a heartbeat, from which node, and the way that it takes.
type Pong = Pin<Box<dyn Future<Output = (NodeId, Way, Result<Reply, AskError>)> + Send>>;
/// Something that the leader does; whether it was done.
type Duty = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The way of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Around,
}

/// Watches the other nodes for one node.
pub(super) struct Members {
    me: Writer,
    directory: Directory,
    links: Links,
    pulse: Pulse,
    pulse_events: mpsc::Receiver<PulseEvent>,
    inbox: mpsc::Receiver<MemberInbound>,
    nodes: Nodes,
    /// Nodes that were started on another address than the directory knows.
    moved: BTreeMap<NodeId, (Incarnation, SocketAddr)>,
    detector: Detector,
    places: Places,
    looked: Instant,
    leaving: Arc<AtomicBool>,
    hall: Arc<Hall>,
    chronicle: Chronicle,
}

/// Says farewell for a node that stops.
#[derive(Debug)]
pub(super) struct Leaving {
    me: Writer,
    directory: Directory,
    links: Links,
    flag: Arc<AtomicBool>,
}

impl Leaving {
    /// Has the leader say that this node is going to leave. False when it could not be told.
    pub(super) async fn announce(&self) -> bool {
        match self.directory.leader() {
            Some(leader) if leader == self.me.node => {
                self.directory.declare_draining(self.me).await.is_ok()
            }
            Some(leader) => self.tell(leader, MemberRequest::Drain { from: self.me }).await,
            None => false,
        }
    }

    /// Falls silent and has the leader call this node down at once. Without a leader, the others
    /// find out by themselves.
    pub(super) async fn leave(&self) {
        // From here on no heartbeat is sent or answered, or the leader would believe we are back.
        self.flag.store(true, Ordering::SeqCst);
        let told = async {
            match self.directory.leader() {
                Some(leader) if leader == self.me.node => {
                    self.directory.declare_down(self.me).await.is_ok() && self.is_replaced().await
                }
                Some(leader) => self.tell(leader, MemberRequest::Leave { from: self.me }).await,
                None => false,
            }
        };
        if !matches!(tokio::time::timeout(LEAVE_DEADLINE, told).await, Ok(true)) {
            tracing::info!("left without telling: the other nodes will notice");
        }
    }

    /// Waits until the other voters, who learn that this leader is down, have another one.
    async fn is_replaced(&self) -> bool {
        let mut leader = self.directory.watch_leader();
        while self.directory.leader() == Some(self.me.node) {
            if !leader.changed().await {
                return false;
            }
        }
        true
    }

    async fn tell(&self, leader: NodeId, farewell: MemberRequest) -> bool {
        let reply = self.links.send(leader, Request::Member(farewell)).await;
        matches!(reply, Ok(Reply::Member(MemberReply::Noted)))
    }
}

impl Members {
    pub(super) fn new(
        me: Writer,
        directory: Directory,
        links: Links,
        (pulse, pulse_events): (Pulse, mpsc::Receiver<PulseEvent>),
        inbox: mpsc::Receiver<MemberInbound>,
        hall: Arc<Hall>,
        chronicle: Chronicle,
    ) -> (Self, Leaving) {
        let flag = Arc::new(AtomicBool::new(false));
        let leaving =
            Leaving { me, directory: directory.clone(), links: links.clone(), flag: flag.clone() };
        let nodes = directory.watch_nodes();
        let detector = Detector::new(me.node);
        let members = Self {
            me,
            directory,
            links,
            pulse,
            pulse_events,
            inbox,
            nodes,
            moved: BTreeMap::new(),
            detector,
            places: Places::default(),
            looked: clock::now(),
            leaving: flag,
            hall,
            chronicle,
        };
        (members, leaving)
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut pongs = FuturesUnordered::<Pong>::new();
        let mut duty: Option<Duty> = None;
        let mut resting = false;
        let mut answering = JoinSet::new();
        let mut leader = self.directory.watch_leader();
        self.take_over_nodes();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = self.nodes.changed() => self.take_over_nodes(),
                // Who has just become the leader may have something to do at once.
                true = leader.changed() => {}
                Some(event) = self.pulse_events.recv() => self.handle_pulse(event),
                Some(inbound) = self.inbox.recv() => self.handle_request(inbound, &mut answering),
                Some(_) = answering.join_next() => {}
                Some((asked, way, pong)) = pongs.next(), if !pongs.is_empty() => {
                    self.handle_pong(asked, way, pong);
                }
                Some(done) = OptionFuture::from(duty.as_mut()) => {
                    duty = None;
                    resting = !done;
                    // What was just done must be seen before it is judged what to do next.
                    self.take_over_nodes();
                }
                _ = heartbeat.tick() => self.ping(&pongs),
                _ = look.tick() => resting = false,
            }
            self.look();
            // What failed is tried again, but not at once.
            if duty.is_none() && !resting {
                duty = self.next_duty();
            }
        }
    }

    fn take_over_nodes(&mut self) {
        let nodes = self.nodes.borrow_and_update().clone();
        self.reach(&nodes);
        self.detector.handle_nodes(&nodes, clock::now());
        // A leader that left in order has said so itself, and nobody will miss its heartbeats. One
        // that was down before leads again, and has yet to say that it is back.
        let left = self.places.handle_nodes(&nodes, clock::now());
        if let Some(leader) = self.directory.leader().filter(|leader| left.contains(leader)) {
            self.directory.leader_gone(leader);
        }
    }

    /// Links to the other nodes, each where it is.
    fn reach(&mut self, nodes: &[NodeRecord]) {
        let known = |id| nodes.iter().find(|node| node.id == id);
        self.moved
            .retain(|id, (start, _)| known(*id).is_some_and(|node| node.incarnation < *start));
        let mut others: Vec<_> =
            nodes.iter().filter(|node| node.id != self.me.node).cloned().collect();
        for node in &mut others {
            if let Some((incarnation, addr)) = self.moved.get(&node.id) {
                (node.incarnation, node.addr) = (*incarnation, *addr);
            }
        }
        self.links.update(&others);
        self.pulse.update(&others);
    }

    /// Takes what a node that was started again says of its address, and reaches it there, before the
    /// directory knows. When all were started elsewhere at once, there is no leader to say so until
    /// they reach each other. Whose number it announces was held against its certificate.
    fn handle_moved(&mut self, announcement: &Announcement) {
        let Announcement { id, addr, incarnation, .. } = *announcement;
        let nodes = self.nodes.borrow().clone();
        let is_news = |node: &&NodeRecord| {
            node.id == id && node.incarnation < incarnation && node.addr != addr
        };
        let newest = self.moved.get(&id).is_none_or(|(start, _)| *start < incarnation);
        if newest && nodes.iter().any(|node| is_news(&node)) {
            self.moved.insert(id, (incarnation, addr));
            self.reach(&nodes);
        }
    }

    fn handle_pulse(&mut self, event: PulseEvent) {
        let gone = Writer { node: event.node, incarnation: event.incarnation };
        if self.detector.is_cut_off(gone.node) {
            // Whatever breaks the link may have refused in the node's place.
            return tracing::debug!(peer = self.name(gone), "its pulse says nothing: cut off");
        }
        self.detector.handle_gone(gone);
        self.links.drop_connection(gone.node);
        self.directory.leader_gone(gone.node);
    }

    fn ping(&self, pongs: &FuturesUnordered<Pong>) {
        if self.leaving.load(Ordering::SeqCst) {
            return;
        }
        let now = clock::now();
        let ping = || Request::Member(MemberRequest::Ping { from: self.me });
        for node in self.nodes.borrow().iter().filter(|node| node.id != self.me.node) {
            let direct = self.links.send_directly(node.id, ping());
            let asked = node.id;
            pongs.push(Box::pin(async move { (asked, Way::Direct, direct.await) }));
            if self.detector.is_quiet(node.id, now) {
                let around = self.links.send_around(node.id, ping());
                pongs.push(Box::pin(async move { (asked, Way::Around, around.await) }));
            }
        }
    }

    fn handle_pong(&mut self, asked: NodeId, way: Way, pong: Result<Reply, AskError>) {
        // A node answers for itself alone; its link has seen its certificate.
        if let Ok(Reply::Member(MemberReply::Pong { from })) = pong
            && from.node == asked
        {
            match way {
                Way::Direct => self.detector.handle_answered(from, clock::now()),
                Way::Around => self.detector.handle_heard(from, clock::now()),
            }
        }
    }

    fn handle_request(&mut self, inbound: MemberInbound, answering: &mut JoinSet<()>) {
        let Inbound { from: peer, through, request, responder } = inbound;
        match request {
            MemberRequest::Ping { from } => {
                self.detector.handle_heard(from, clock::now());
                let leaving = self.leaving.load(Ordering::SeqCst);
                let pong = MemberReply::Pong { from: self.me };
                responder.send(if leaving { MemberReply::Noted } else { pong });
            }
            MemberRequest::Join(announcement) => {
                self.handle_moved(&announcement);
                let (directory, links) = (self.directory.clone(), self.links.clone());
                let admitting = async move {
                    let passed_on = through.is_some();
                    responder.send(admit(&directory, &links, peer, passed_on, announcement).await);
                };
                answering.spawn(admitting.in_current_span());
            }
            MemberRequest::Muster(muster) => {
                // Of a client it would be a promise to nobody.
                let PeerIdentity::Node(_) = peer else { return };
                match self.hall.answer(&muster) {
                    Ok(mustered) => responder.send(MemberReply::Mustered(mustered)),
                    // Without an answer it is asked again.
                    Err(error) => tracing::error!(%error, "cannot write down a promise"),
                }
            }
            MemberRequest::Leave { from } => {
                let (directory, name) = (self.directory.clone(), self.name(from));
                let noting = async move {
                    if directory.declare_down(from).await.is_ok() {
                        tracing::info!(peer = name, "left");
                    }
                    responder.send(MemberReply::Noted);
                };
                answering.spawn(noting.in_current_span());
            }
            MemberRequest::Drain { from } => {
                let (directory, name) = (self.directory.clone(), self.name(from));
                let noting = async move {
                    // Without an answer it asks again, whoever leads then.
                    if directory.declare_draining(from).await.is_ok() {
                        tracing::info!(peer = name, "is going to leave");
                        responder.send(MemberReply::Noted);
                    }
                };
                answering.spawn(noting.in_current_span());
            }
        }
    }

    /// Tells the log what this node believes of the others now.
    fn look(&mut self) {
        let now = clock::now();
        if now.duration_since(self.looked) >= PAUSE_NOTICED {
            // It was this node that stood still: what the others sent waits to be read.
            self.detector.handle_own_pause(now);
        }
        self.looked = now;
        for turn in self.detector.poll(now) {
            match turn {
                Turn::Alive(peer) => tracing::info!(peer = self.name(peer), "answers again"),
                Turn::Suspect(peer) => {
                    tracing::warn!(peer = self.name(peer), "suspect: silent");
                    let node = name_of(peer.node, &self.nodes.borrow());
                    self.chronicle.tell(News::Suspect { node });
                }
                Turn::Silent(peer) => {
                    tracing::warn!(peer = self.name(peer), "taken for dead");
                    self.directory.leader_gone(peer.node);
                }
                Turn::CutOff(peer) => {
                    if self.links.bypass(peer.node) {
                        let peer = self.name(peer);
                        tracing::warn!(peer, "{CUT_OFF}");
                    }
                }
            }
        }
    }

    fn name(&self, peer: Writer) -> String {
        let nodes = self.nodes.borrow();
        let known = nodes.iter().find(|node| node.id == peer.node);
        known.map_or_else(|| peer.node.to_string(), |node| node.name.to_string())
    }

    /// What the leader must do next, if this node leads.
    fn next_duty(&self) -> Option<Duty> {
        if !self.directory.is_leader() || self.leaving.load(Ordering::SeqCst) {
            return None;
        }
        let directory = self.directory.clone();
        if let Some(dead) = self.detector.silent().first().copied() {
            let name = self.name(dead);
            return Some(Box::pin(async move {
                let done = directory.declare_down(dead).await;
                match &done {
                    Ok(()) => tracing::warn!(peer = name, "down"),
                    Err(error) => tracing::debug!(peer = name, %error, "cannot call it down yet"),
                }
                done.is_ok()
            }));
        }
        let nodes = self.nodes.borrow();
        let returned = self.detector.returned();
        // A leader that an earlier one called down must speak for itself.
        let back = |node: &&NodeRecord| {
            let writer = Writer { node: node.id, incarnation: node.incarnation };
            returned.contains(&writer) || (writer == self.me && node.status == NodeStatus::Down)
        };
        if let Some(node) = nodes.iter().find(back) {
            let NodeRecord { id, name, addr, incarnation, .. } = node.clone();
            let announcement = Announcement { id, name, addr, incarnation };
            return Some(Box::pin(async move {
                let name = announcement.name.to_string();
                let done = directory.announce(announcement).await;
                match &done {
                    Ok(_) => tracing::info!(peer = name, "up again"),
                    Err(error) => tracing::debug!(peer = name, %error, "cannot take it back yet"),
                }
                done.is_ok()
            }));
        }
        let gone = self.places.given_up(clock::now()).filter(|id| directory.keeps_place(*id));
        let gone: Vec<NodeId> = gone.collect();
        if !gone.is_empty() {
            return Some(Box::pin(async move {
                let done = directory.free_places(gone).await;
                if let Err(error) = &done {
                    tracing::debug!(%error, "cannot free places of nodes that left yet");
                }
                done.is_ok()
            }));
        }
        let up = nodes.iter().filter(|node| node.status.is_alive());
        let up: BTreeSet<NodeId> = up.map(|node| node.id).collect();
        // Who has yet to say that it is back would take away its own vote, and when it fell
        // meanwhile, its log could be the longest (databendlabs/openraft#2091).
        if !up.contains(&self.me.node) {
            return None;
        }
        let current: BTreeSet<NodeId> = directory.voters().into_iter().collect();
        let voters = better_voters(&current, &up)?;
        Some(Box::pin(async move {
            let count = voters.len();
            let done = directory.set_voters(voters).await;
            match &done {
                Ok(()) => tracing::info!(voters = count, "the directory has new voters"),
                Err(error) => tracing::debug!(%error, "cannot change the voters yet"),
            }
            done.is_ok()
        }))
    }
}

/// Takes a node in, here or at the leader.
async fn admit(
    directory: &Directory,
    links: &Links,
    peer: PeerIdentity,
    passed_on: bool,
    announcement: Announcement,
) -> MemberReply {
    let not_now = |reason: String| MemberReply::Refused(JoinRefusal::NotNow { reason });
    // Whose name it announces was held against its certificate.
    let PeerIdentity::Node(peer) = peer else {
        return not_now("only nodes can join".to_owned());
    };
    match directory.announce(announcement.clone()).await {
        Ok(nodes) => {
            let Announcement { name, addr, .. } = announcement;
            tracing::info!(peer = name.as_str(), %addr, "joined");
            MemberReply::Joined { nodes }
        }
        Err(AnnounceError::Refused(refusal)) => MemberReply::Refused(refusal),
        Err(AnnounceError::NotLeader(Some(leader))) if !passed_on => {
            let request = Passed { from: peer, request: Relayed::Join(announcement) };
            match links.send(leader, Request::Passed(request)).await {
                Ok(Reply::Member(reply)) => reply,
                Ok(_) | Err(_) => not_now("the directory's leader does not answer".to_owned()),
            }
        }
        Err(AnnounceError::NotLeader(_)) => {
            not_now("the directory has no leader at the moment".to_owned())
        }
    }
}
