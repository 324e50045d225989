//! The network: connections between processes, with an order on the keeper's lane.
//!
//! A cut link delivers nothing in its direction; what is sent waits for the link to heal or for the
//! connection to end. Where two machines do not reach each other and a third one reaches both, a new
//! connection goes through that one, as relays do. When a connection ends, some of what was on its way still arrives, in order,
//! and everybody who waits for a reply learns that it is lost.

use std::collections::{BTreeMap, BTreeSet};

use host::limits::FRAME_BYTES_MAX;
use host::net::AskError;
use host::protocol::{KeeperRequest, NodeId};

use super::happening::{Happening, MS, Pid, Reply, Request, SECOND, Slot, Time, Waiter, What};
use super::world::World;

#[derive(Debug)]
struct Connection {
    from: (Slot, Pid),
    to: (Slot, Pid),
    /// The process that passes on, if it does not go directly.
    via: Option<(Slot, Pid)>,
    /// When the last request of the ordered lane arrives.
    last: Time,
    /// Closed; what arrives later than this does not.
    closed: Option<Time>,
    /// Requests that wait for the link, in order.
    held: Vec<(u64, Request)>,
    held_replies: Vec<(u64, Reply)>,
}

impl Connection {
    /// The links that a request passes, in order.
    fn hops(&self) -> Vec<(Slot, Slot)> {
        let ((from, _), (to, _)) = (self.from, self.to);
        match self.via {
            None => vec![(from, to)],
            Some((via, _)) => vec![(from, via), (via, to)],
        }
    }

    fn passes(&self, from: Slot, to: Slot) -> bool {
        self.hops().contains(&(from, to))
    }
}

#[derive(Debug)]
struct Ask {
    connection: u64,
    waiter: Waiter,
}

#[derive(Debug, Default)]
pub(super) struct Net {
    /// Which machine a node's address leads to, also that of a node whose disk was lost.
    pub(super) addresses: BTreeMap<NodeId, Slot>,
    cuts: BTreeSet<(Slot, Slot)>,
    /// Owners that reach nobody but the keepers of a player.
    pub(super) stranded: BTreeMap<Slot, (usize, Vec<Slot>)>,
    /// Of the cuts, those of owners to keepers that last until a new owner has read there.
    pub(super) late: BTreeSet<(Slot, Slot)>,
    open: BTreeMap<(Slot, Slot), u64>,
    connections: BTreeMap<u64, Connection>,
    asks: BTreeMap<u64, Ask>,
}

impl Net {
    /// Whether messages get from one machine to the other and back.
    pub(super) fn both_ways(&self, a: Slot, b: Slot) -> bool {
        self.one_way(a, b) && self.one_way(b, a)
    }

    pub(super) fn one_way(&self, from: Slot, to: Slot) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Whether a request on this connection would get through, and whether a reply would.
    fn open_ways(&self, connection: &Connection) -> (bool, bool) {
        let hops = connection.hops();
        let there = hops.iter().all(|(from, to)| self.one_way(*from, *to));
        let back = hops.iter().all(|(from, to)| self.one_way(*to, *from));
        (there, back)
    }

    fn of(&self, ends: impl Fn(&Connection) -> bool) -> Vec<u64> {
        let open = self.connections.iter().filter(|(_, connection)| connection.closed.is_none());
        open.filter(|(_, connection)| ends(connection)).map(|(id, _)| *id).collect()
    }
}

/// Whether a message to a keeper does not fit in a frame.
pub(super) fn has_own_stream(request: &KeeperRequest) -> bool {
    match request {
        KeeperRequest::Append(append) => append.record.delta.changed_bytes() >= FRAME_BYTES_MAX,
        KeeperRequest::Seed(_) | KeeperRequest::Fetch(_) => true,
        KeeperRequest::Confirm(_) | KeeperRequest::Release(_) => false,
    }
}

fn is_ordered(request: &Request) -> bool {
    match request {
        Request::Keeper(request) => !has_own_stream(request),
        Request::Forward { .. } => false,
    }
}

impl World {
    /// Time that a message travels.
    pub(super) fn delay(&mut self) -> Time {
        if self.healed.is_none() && self.rng.percent(3) {
            self.rng.between(20, 600) * MS
        } else {
            self.rng.between(50, 3 * MS)
        }
    }

    /// Sends a request from the process of a machine.
    pub(super) fn ask(&mut self, from: Slot, to: NodeId, request: Request, waiter: Waiter) {
        let Some(connection) = self.connection(from, to) else {
            let wait = self.rng.between(MS, 300 * MS);
            let reply = Err(AskError::Unreachable);
            return self.after_to(wait, from, What::Answered { waiter, reply });
        };
        let ask = self.number();
        self.net.asks.insert(ask, Ask { connection, waiter });
        if let Some(to) = self.net.connections.get(&connection).map(|connection| connection.to) {
            self.perhaps_repeat(from, to, ask, &request);
        }
        self.travel(connection, ask, request);
    }

    /// The reply to a request that is on its way will not come.
    pub(super) fn lose_reply(&mut self, from: Slot, ask: u64) {
        if let Some(Ask { waiter, .. }) = self.net.asks.remove(&ask) {
            let wait = self.rng.between(0, 50 * MS);
            let reply = Err(AskError::Lost);
            self.after_to(wait, from, What::Answered { waiter, reply });
        }
    }

    fn travel(&mut self, id: u64, ask: u64, request: Request) {
        let mut arrives = self.now + self.delay();
        if matches!(&request, Request::Keeper(KeeperRequest::Append(_))) && !is_ordered(&request) {
            // Many bytes, which yield to what is small.
            arrives += self.rng.between(0, 40 * MS);
        }
        let Some(connection) = self.net.connections.get_mut(&id) else { return };
        if is_ordered(&request) {
            arrives = arrives.max(connection.last + 1);
            connection.last = arrives;
        }
        self.after(arrives - self.now, Happening::Arrival { connection: id, ask, request });
    }

    fn connection(&mut self, from: Slot, to: NodeId) -> Option<u64> {
        let to = *self.net.addresses.get(&to)?;
        let pids = (self.pid(from)?, self.pid(to)?);
        if let Some(id) = self.net.open.get(&(from, to))
            && let Some(connection) = self.net.connections.get(id)
            && connection.closed.is_none()
            && (connection.from.1, connection.to.1) == pids
            && (connection.via.is_none() || !self.net.both_ways(from, to))
        {
            return Some(*id);
        }
        let via = if self.net.both_ways(from, to) {
            None
        } else {
            let relay = self.relay_between(from, to)?;
            self.coverage.relays += 1;
            Some((relay, self.pid(relay)?))
        };
        let id = self.number();
        let connection = Connection {
            from: (from, pids.0),
            to: (to, pids.1),
            via,
            last: self.now,
            closed: None,
            held: Vec::new(),
            held_replies: Vec::new(),
        };
        self.net.connections.insert(id, connection);
        self.net.open.insert((from, to), id);
        Some(id)
    }

    /// A machine whose process reaches both others, if they do not reach each other.
    pub(super) fn relay_between(&self, a: Slot, b: Slot) -> Option<Slot> {
        let reaches = |slot: &Slot| self.net.both_ways(a, *slot) && self.net.both_ways(*slot, b);
        self.running().into_iter().filter(|slot| *slot != a && *slot != b).find(reaches)
    }

    /// Whether the processes of two machines reach each other, directly or not.
    pub(super) fn reach(&self, a: Slot, b: Slot) -> bool {
        self.net.both_ways(a, b) || self.relay_between(a, b).is_some()
    }

    pub(super) fn pid(&self, slot: Slot) -> Option<Pid> {
        self.machines[slot].process.as_ref().map(|process| process.pid)
    }

    pub(super) fn arrive(&mut self, id: u64, ask: u64, request: Request) {
        let now = self.now;
        let Some(connection) = self.net.connections.get_mut(&id) else { return };
        let (to, pid) = connection.to;
        if connection.closed.is_some_and(|until| now > until) {
            return;
        }
        let waits = is_ordered(&request) && !connection.held.is_empty();
        let cut = connection.hops().iter().any(|hop| self.net.cuts.contains(hop));
        if cut || waits {
            connection.held.push((ask, request));
            return;
        }
        let what = What::Asked { ask, request };
        self.after(0, Happening::Process { slot: to, pid, what });
    }

    /// Sends a reply from a process that was asked.
    pub(super) fn reply(&mut self, ask: u64, reply: Reply) {
        let wait = self.delay();
        self.after(wait, Happening::Reply { ask, reply });
    }

    pub(super) fn reply_arrives(&mut self, ask: u64, reply: Reply) {
        let Some(Ask { connection, .. }) = self.net.asks.get(&ask) else { return };
        let Some(connection) = self.net.connections.get_mut(connection) else { return };
        let (slot, pid) = connection.from;
        if connection.hops().iter().any(|(from, to)| self.net.cuts.contains(&(*to, *from))) {
            connection.held_replies.push((ask, reply));
            return;
        }
        let Some(Ask { waiter, .. }) = self.net.asks.remove(&ask) else { return };
        let what = What::Answered { waiter, reply: Ok(reply) };
        self.after(0, Happening::Process { slot, pid, what });
    }

    /// Ends a connection: whoever waits learns that the reply is lost.
    pub(super) fn break_connection(&mut self, id: u64) {
        let still = self.rng.between(0, 4 * MS);
        let until = self.now + still;
        let Some(connection) = self.net.connections.get_mut(&id) else { return };
        if connection.closed.is_some() {
            return;
        }
        connection.closed = Some(until);
        connection.held.clear();
        let (slot, pid) = connection.from;
        let lost: Vec<u64> = self
            .net
            .asks
            .iter()
            .filter(|(_, ask)| ask.connection == id)
            .map(|(ask, _)| *ask)
            .collect();
        for ask in lost {
            if let Some(Ask { waiter, .. }) = self.net.asks.remove(&ask) {
                let what = What::Answered { waiter, reply: Err(AskError::Lost) };
                let wait = self.rng.between(0, MS);
                self.after(wait, Happening::Process { slot, pid, what });
            }
        }
    }

    /// Some connection of these machines ends.
    pub(super) fn break_link(&mut self, a: Slot, b: Slot) {
        for id in self.net.of(|c| c.passes(a, b)) {
            self.break_connection(id);
        }
    }

    /// A node gives up its connections to one that lives and does not answer on them.
    pub(super) fn bypass(&mut self, from: Slot, to: Slot) {
        for id in self.net.of(|c| c.via.is_none() && (c.from.0, c.to.0) == (from, to)) {
            if self.net.open_ways(&self.net.connections[&id]) != (true, true) {
                self.break_connection(id);
            }
        }
    }

    /// A process is gone: the kernel tells the others, where the link allows it.
    pub(super) fn break_all_of(&mut self, slot: Slot, pid: Pid) {
        for id in self.net.of(|c| c.from == (slot, pid)) {
            self.break_connection(id);
        }
        for id in self.net.of(|c| c.to == (slot, pid) || c.via == Some((slot, pid))) {
            let connection = &self.net.connections[&id];
            let quick = self.net.open_ways(connection).1 && self.rng.percent(80);
            let wait = if quick { 5 * MS } else { 3 * SECOND };
            let wait = self.rng.between(0, wait);
            self.after(wait, Happening::Break { connection: id });
        }
    }

    /// Cuts one direction of a link for a while.
    pub(super) fn cut(&mut self, from: Slot, to: Slot, lasts: Time) {
        if from == to || !self.net.cuts.insert((from, to)) {
            return;
        }
        self.coverage.cuts += 1;
        self.tell(|| format!("cut {from}->{to}"));
        self.after(lasts, Happening::Uncut { from, to });
        for connection in self.net.of(|c| c.passes(from, to) || c.passes(to, from)) {
            let wait = self.rng.between(SECOND, 3 * SECOND);
            self.after(wait, Happening::Idle { connection });
        }
    }

    pub(super) fn idle_out(&mut self, id: u64) {
        let Some(connection) = self.net.connections.get(&id) else { return };
        if self.net.open_ways(connection) != (true, true) {
            self.break_connection(id);
        }
    }

    pub(super) fn uncut(&mut self, from: Slot, to: Slot) {
        self.net.late.remove(&(from, to));
        if !self.net.cuts.remove(&(from, to)) {
            return;
        }
        self.tell(|| format!("uncut {from}->{to}"));
        for id in self.net.of(|c| c.passes(from, to)) {
            let held = self.net.connections.get_mut(&id).map(|c| std::mem::take(&mut c.held));
            for (ask, request) in held.into_iter().flatten() {
                self.travel(id, ask, request);
            }
        }
        for id in self.net.of(|c| c.passes(to, from)) {
            let held = self.net.connections.get_mut(&id);
            let held = held.map(|c| std::mem::take(&mut c.held_replies));
            for (ask, reply) in held.into_iter().flatten() {
                self.reply(ask, reply);
            }
        }
    }

    pub(super) fn uncut_all(&mut self) {
        for (from, to) in self.net.cuts.clone() {
            self.uncut(from, to);
        }
    }
}
