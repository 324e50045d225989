//! Lists of players and nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Gateway;
use crate::clock;
use crate::limits::LISTING_PAGE_PLAYERS;
use crate::protocol::{
    Answer, Call, CallKey, CallReply, CallRequest, NodeName, NodeRecord, Operation, PlayerId,
    PlayerListing, PlayerRecord, Quarantine, Reply, Request,
};

/// Players asked for their points at the same time.
const ASKED_AT_ONCE: usize = 64;

/// Time a player or a node has to add its part to a list.
const PART_DEADLINE: Duration = Duration::from_secs(2);

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
        let Some((last, _)) = page.last().cloned() else {
            return CallReply::Players { players: Vec::new(), more: false, silent: Vec::new() };
        };
        let mut players: BTreeMap<PlayerId, PlayerListing> = page
            .iter()
            .map(|(id, record)| (id.clone(), self.listing(id.clone(), record)))
            .collect();
        let nodes = self.nodes.borrow().clone();
        let up = nodes.iter().filter(|node| node.status.is_alive());
        let parts = up.map(|node| async {
            let part = self.running_on(node, after.clone(), &last);
            (node.name.clone(), timeout(PART_DEADLINE, part).await.ok().flatten())
        });
        let mut silent = Vec::new();
        for (name, part) in futures_util::future::join_all(parts).await {
            match part {
                Some(running) => players.extend(
                    running.into_iter().filter(|r| r.player <= last).map(|r| (r.player.clone(), r)),
                ),
                None => silent.push(name),
            }
        }
        CallReply::Players { players: players.into_values().collect(), more, silent }
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
