//! Lists of players and nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Gateway;
use crate::clock;
use crate::limits::{LISTING_PAGE_PLAYERS, PLAYERS_LOOKED_AT_MAX};
use crate::protocol::{
    Answer, Call, CallError, CallKey, CallReply, CallRequest, CodeHash, NodeId, NodeName,
    NodeRecord, NodeStatus, Operation, PlayerId, PlayerListing, PlayerRecord, Quarantine, Reply,
    Request,
};

/// Players asked for their points at the same time.
const ASKED_AT_ONCE: usize = 64;

/// Time a player or a node has to add its part to a list.
const PART_DEADLINE: Duration = Duration::from_secs(2);

/// Pages of the directory that are looked at for one page of a listing.
const LOOKS_MAX: usize = 10;

/// Which players somebody wants listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Only those that this node owns.
    pub on: Option<NodeName>,
    /// Only those after this one in order.
    pub after: Option<PlayerId>,
    /// This many at most.
    pub limit: usize,
}

/// Some players, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingPage {
    /// The players.
    pub players: Vec<PlayerListing>,
    /// After which one the next page begins; `None` when there is none.
    pub next: Option<PlayerId>,
    /// Nodes that did not say in time what runs on them.
    pub silent: Vec<NodeName>,
}

/// Whether calls should be sent to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// It is going to leave.
    Draining,
    /// The directory does not call this start of it up.
    Down,
    /// It knows of no leader: it serves the players that it has, and can take over none.
    Leaderless,
}

/// What is known of one player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The code that it runs.
    pub code: CodeHash,
    /// The rest.
    pub listing: PlayerListing,
}

impl Gateway {
    /// Lists the players that run here, after `after` in order.
    pub(super) async fn players_here(&self, after: Option<PlayerId>) -> CallReply {
        let running = self.players.running(after.as_ref(), LISTING_PAGE_PLAYERS);
        let more = running.len() == LISTING_PAGE_PLAYERS;
        let players = stream::iter(running)
            .map(|player| self.player_here(player))
            .buffered(ASKED_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        CallReply::Players { players, more, silent: Vec::new() }
    }

    /// Looks at one player. One that rests is not woken by that.
    pub(super) async fn look(&self, player: PlayerId, everywhere: bool) -> CallReply {
        let record = self.directory.player(&player).filter(|record| !record.is_forgotten());
        let Some(record) = record else { return CallReply::Looked(None) };
        let seen = if everywhere || record.owner == self.me {
            self.seen(player, record).await.0
        } else {
            self.listing(player, &record)
        };
        CallReply::Looked(Some(Box::new(seen)))
    }

    /// What is known of a player, with what its owner says of it, and whether that has answered, if it
    /// should.
    async fn seen(&self, player: PlayerId, record: PlayerRecord) -> (PlayerListing, bool) {
        let known = self.listing(player.clone(), &record);
        if record.owner == self.me {
            let seen = self.player_here(player).await;
            // One that rests says nothing.
            let seen = seen.map(|seen| PlayerListing { running: seen.seq.is_some(), ..seen });
            return (seen.unwrap_or(known), true);
        }
        let owner = record.owner.node;
        if owner == self.me.node || !self.is_alive(owner) {
            return (known, true);
        }
        let request = CallRequest::Look { player, everywhere: false };
        let pending = self.links.send(owner, Request::Call(request));
        match timeout(PART_DEADLINE, pending).await {
            Ok(Ok(Reply::Call(CallReply::Looked(seen)))) => (seen.map_or(known, |it| *it), true),
            Ok(Ok(_) | Err(_)) | Err(_) => (known, false),
        }
    }

    /// A player that runs here; `None` if another node owns it meanwhile.
    async fn player_here(&self, player: PlayerId) -> Option<PlayerListing> {
        let key = CallKey::random(clock::unix_millis());
        let call = Call { player: player.clone(), key, operation: Operation::Points };
        let (reply, answer) = oneshot::channel();
        self.players.look(call, clock::now() + PART_DEADLINE, reply);
        let answer = timeout(PART_DEADLINE, answer).await;
        let record = self.directory.player(&player)?;
        if record.owner != self.me {
            return None;
        }
        let mut listing = self.listing(player, &record);
        listing.running = true;
        if let Ok(Ok(Ok(Answer::Returned { value, seq, .. }))) = answer {
            listing.points = value.points();
            listing.seq = Some(seq);
        }
        Some(listing)
    }

    /// Lists the cluster's players after `after` in order. Those that run say their points.
    pub(super) async fn players_everywhere(&self, after: Option<PlayerId>) -> CallReply {
        let page = self.directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
        let more = page.len() == LISTING_PAGE_PLAYERS;
        let nodes = self.nodes.borrow().clone();
        let (players, silent) = self.with_points(after, &page, &nodes).await;
        CallReply::Players { players, more, silent }
    }

    /// Lists players, of one owner if that is asked for. A page looks at so many players at most that
    /// others get their turn, and may have none although there are more.
    ///
    /// # Errors
    ///
    /// The names of the nodes that there are, when there is none of that name.
    pub async fn list_players(&self, wanted: &Listing) -> Result<ListingPage, Vec<NodeName>> {
        let owner = wanted.on.as_ref().map(|name| self.number_of(name)).transpose()?;
        let limit = wanted.limit.clamp(1, LISTING_PAGE_PLAYERS);
        let (page, next) = self.page_of(owner, wanted.after.clone(), limit);
        let (players, silent) = if page.len() <= PLAYERS_LOOKED_AT_MAX {
            self.look_at_each(page).await
        } else {
            let nodes = self.nodes.borrow().clone();
            let asked = nodes.iter().filter(|node| owner.is_none_or(|owner| node.id == owner));
            let asked: Vec<NodeRecord> = asked.cloned().collect();
            self.with_points(wanted.after.clone(), &page, &asked).await
        };
        Ok(ListingPage { players, next, silent })
    }

    /// Returns the number of the node of a name.
    ///
    /// # Errors
    ///
    /// The names of the nodes that there are, when there is none of that name.
    fn number_of(&self, name: &NodeName) -> Result<NodeId, Vec<NodeName>> {
        let nodes = self.nodes.borrow();
        if let Some(node) = nodes.iter().find(|node| node.name == *name) {
            return Ok(node.id);
        }
        let mut known: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
        known.sort();
        Err(known)
    }

    /// Returns players as the directory has them, of one owner or of all, and after which one the next
    /// page begins.
    fn page_of(
        &self,
        owner: Option<NodeId>,
        after: Option<PlayerId>,
        limit: usize,
    ) -> (Vec<(PlayerId, PlayerRecord)>, Option<PlayerId>) {
        let mut page = Vec::new();
        let mut seen = after;
        let mut next = None;
        for look in 1..=LOOKS_MAX {
            let players = self.directory.players_after(seen.as_ref(), LISTING_PAGE_PLAYERS);
            let is_last = players.len() < LISTING_PAGE_PLAYERS;
            let mut left_out = false;
            for (player, record) in players {
                if page.len() == limit {
                    left_out = true;
                    break;
                }
                seen = Some(player.clone());
                if owner.is_none_or(|owner| record.owner.node == owner) {
                    page.push((player, record));
                }
            }
            if left_out || (!is_last && look == LOOKS_MAX) {
                next = seen;
                break;
            }
            if is_last {
                break;
            }
        }
        (page, next)
    }

    /// Looks at some players, each alone: those that run beside them cost nothing. Returns the nodes that
    /// said nothing, too.
    async fn look_at_each(
        &self,
        page: Vec<(PlayerId, PlayerRecord)>,
    ) -> (Vec<PlayerListing>, Vec<NodeName>) {
        let looks = stream::iter(page).map(|(player, record)| self.seen(player, record));
        let seen: Vec<_> = looks.buffered(PLAYERS_LOOKED_AT_MAX).collect().await;
        let silent = seen.iter().filter(|(_, answered)| !answered);
        let silent: BTreeSet<NodeName> = silent.map(|(seen, _)| seen.owner.clone()).collect();
        (seen.into_iter().map(|(seen, _)| seen).collect(), silent.into_iter().collect())
    }

    /// Adds what those of these players say that run on these nodes. Returns the nodes that said
    /// nothing, too.
    async fn with_points(
        &self,
        after: Option<PlayerId>,
        page: &[(PlayerId, PlayerRecord)],
        nodes: &[NodeRecord],
    ) -> (Vec<PlayerListing>, Vec<NodeName>) {
        let Some((last, _)) = page.last() else { return (Vec::new(), Vec::new()) };
        let mut players: BTreeMap<PlayerId, PlayerListing> = page
            .iter()
            .map(|(id, record)| (id.clone(), self.listing(id.clone(), record)))
            .collect();
        let up = nodes.iter().filter(|node| node.status.is_alive());
        let parts = up.map(|node| async {
            let part = self.running_on(node, after.clone(), last);
            (node.name.clone(), timeout(PART_DEADLINE, part).await.ok().flatten())
        });
        let mut silent = Vec::new();
        for (name, part) in futures_util::future::join_all(parts).await {
            match part {
                Some(running) => players.extend(
                    running
                        .into_iter()
                        .filter(|r| r.player <= *last)
                        .map(|r| (r.player.clone(), r)),
                ),
                None => silent.push(name),
            }
        }
        (players.into_values().collect(), silent)
    }

    /// Says what is known of one player: what the directory has, and what the player itself answers,
    /// if it can.
    ///
    /// # Errors
    ///
    /// `NoPlayer`, or why it does not answer.
    pub async fn inspect(&self, player: PlayerId, deadline: Instant) -> Result<Look, CallError> {
        // One that began through another node a moment ago must not be called none.
        self.catch_up().await;
        let known = |record: &PlayerRecord| !record.is_forgotten();
        let Some(record) = self.directory.player(&player).filter(known) else {
            return Err(CallError::NoPlayer { player });
        };
        if record.quarantine().is_some() {
            return Ok(Look { code: record.code, listing: self.listing(player, &record) });
        }
        let key = CallKey::random(clock::unix_millis());
        let call = Call { player: player.clone(), key, operation: Operation::Points };
        let answer = self.call(call, deadline).await?;
        // It may have moved meanwhile, or gone over to other code.
        let record = self.directory.player(&player).filter(known).unwrap_or(record);
        let mut listing = self.listing(player, &record);
        if let Answer::Returned { value, seq, node } = answer {
            (listing.running, listing.owner) = (true, node);
            (listing.points, listing.seq) = (value.points(), Some(seq));
        }
        Ok(Look { code: record.code, listing })
    }

    /// The players that run on a node, up to `last`; `None` if it does not answer.
    async fn running_on(
        &self,
        node: &NodeRecord,
        mut after: Option<PlayerId>,
        last: &PlayerId,
    ) -> Option<Vec<PlayerListing>> {
        let mut running = Vec::new();
        loop {
            let reply = if node.id == self.me.node {
                self.players_here(after.clone()).await
            } else {
                let request = CallRequest::Players { all: false, after: after.clone() };
                match self.links.send(node.id, Request::Call(request)).await {
                    Ok(Reply::Call(reply)) => reply,
                    Ok(_) | Err(_) => return None,
                }
            };
            let CallReply::Players { players, more, .. } = reply else { return None };
            after = players.last().map(|listing| listing.player.clone());
            running.extend(players);
            if !more || after.as_ref().is_none_or(|after| after >= last) {
                return Some(running);
            }
        }
    }

    fn listing(&self, player: PlayerId, record: &PlayerRecord) -> PlayerListing {
        let keepers: Vec<NodeName> =
            record.remote_keepers().map(|keeper| self.name_of(keeper.node)).collect();
        PlayerListing {
            player,
            owner: self.name_of(record.owner.node),
            running: false,
            quarantined: record.quarantine().is_some(),
            keepers,
            generation: record.generation,
            seq: None,
            points: None,
        }
    }

    /// Lists the players of all nodes that are in quarantine, after `after` in order. One page looks at
    /// so many players at most that others get their turn, and may find none.
    pub(super) async fn list_quarantined(&self, after: Option<PlayerId>) -> CallReply {
        if after.is_none() {
            // One that was just released through another node should not be listed. Without a leader
            // the list is as old as what this node has heard.
            self.catch_up().await;
        }
        let page = self.directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
        let more = page.len() == LISTING_PAGE_PLAYERS;
        let next = page.last().filter(|_| more).map(|(last, _)| last.clone());
        let nodes = self.nodes.borrow();
        let of =
            |(player, record): &(PlayerId, PlayerRecord)| Quarantine::of(player, record, &nodes);
        CallReply::Quarantined { players: page.iter().filter_map(of).collect(), next }
    }

    /// Says whether calls should be sent to this node.
    pub fn readiness(&self) -> Readiness {
        let nodes = self.nodes.borrow();
        let this_start =
            |node: &&NodeRecord| node.id == self.me.node && node.incarnation == self.me.incarnation;
        match nodes.iter().find(this_start).map(|me| me.status) {
            Some(NodeStatus::Up) if self.directory.leader().is_none() => Readiness::Leaderless,
            Some(NodeStatus::Up) => Readiness::Ready,
            Some(NodeStatus::Draining) => Readiness::Draining,
            Some(NodeStatus::Down) | None => Readiness::Down,
        }
    }

    /// Lists the nodes, with the directory's leader and voters.
    pub(super) fn list_nodes(&self) -> CallReply {
        let mut nodes = self.nodes.borrow().to_vec();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        CallReply::Nodes {
            nodes,
            asked: self.name.clone(),
            leader: self.directory.leader(),
            voters: self.directory.voters(),
        }
    }
}
