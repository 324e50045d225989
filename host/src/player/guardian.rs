//! Sees to players that nobody calls, so that they have their copies again.
//!
//! A player that is called heals itself: its next call claims it, and its server replaces what is
//! missing. One that nobody calls would stay with a single copy after its owner died, and lose that
//! with the next machine. So every node looks for such players when nodes have gone, and opens
//! those that fall to it. All nodes see the same directory and choose alike; should two choose
//! differently, the directory lets one of them win.
//!
//! What this does not do: anything about players whose server runs. That one looks after itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::roster::RosterRequest;
use crate::directory::Directory;
use crate::limits::{ADOPT_AFTER, LISTING_PAGE_PLAYERS};
use crate::membership::successor_for;
use crate::protocol::{NodeId, NodeRecord, NodeStatus, PlayerId, PlayerRecord, Writer};

/// Players that are opened at the same time. Enough to fill the directory's entries; few enough that
/// calls to other players hardly notice.
const OPENED_AT_ONCE: usize = 64;

/// Time for one player, most of it for others that wait for the same entry of the directory.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Time after which players that could not be helped are looked at again, unless nodes change.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Opens players that need it, for one node.
#[derive(Debug)]
pub struct Guardian {
    me: Writer,
    directory: Directory,
    roster: mpsc::Sender<RosterRequest>,
    nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
}

impl Guardian {
    /// Returns the guardian of the node whose players `roster` has.
    pub fn new(me: Writer, directory: Directory, roster: mpsc::Sender<RosterRequest>) -> Self {
        let nodes = directory.watch_nodes();
        Self { me, directory, roster, nodes }
    }

    /// Watches until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let watch = async {
            loop {
                // Whoever calls a player meanwhile claims it first.
                tokio::time::sleep(ADOPT_AFTER).await;
                let Seen { helped, left } = self.look().await;
                if helped > 0 {
                    tracing::info!(players = helped, "gave players their copies again");
                }
                let patience = if left > 0 { LOOK_AGAIN } else { Duration::MAX };
                if matches!(timeout(patience, self.nodes.changed()).await, Ok(Err(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = watch => {}
        }
    }

    /// Opens the players that fall to this node.
    async fn look(&mut self) -> Seen {
        let nodes = self.nodes.borrow_and_update().clone();
        let mut seen = Seen::default();
        let mut after = None;
        loop {
            let page = self.directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
            let Some((last, _)) = page.last() else { return seen };
            after = Some(last.clone());
            let due = page.into_iter().filter(|(id, record)| falls_to(self.me, id, record, &nodes));
            let due: Vec<PlayerId> = due.map(|(player, _)| player).collect();
            open_all(&self.roster, due.clone()).await;
            let falls_still = |player: &&PlayerId| {
                let record = self.directory.player(player);
                record.is_some_and(|record| falls_to(self.me, player, &record, &nodes))
            };
            let left = due.iter().filter(falls_still).count();
            seen.helped += due.len() - left;
            seen.left += left;
        }
    }
}

/// What became of the players that fell to this node.
#[derive(Debug, Default)]
struct Seen {
    helped: usize,
    left: usize,
}

/// Has players of this node served, and waits until they are or cannot be.
pub async fn open_all(roster: &mpsc::Sender<RosterRequest>, players: Vec<PlayerId>) {
    let opening = stream::iter(players).for_each_concurrent(OPENED_AT_ONCE, |player| async {
        let (done, opened) = oneshot::channel();
        if roster.send(RosterRequest::Open { player, done }).await.is_ok() {
            // It is dropped, never sent.
            drop(timeout(OPEN_DEADLINE, opened).await);
        }
    });
    opening.await;
}

/// Whether a player needs to be opened, by this node.
fn falls_to(me: Writer, player: &PlayerId, record: &PlayerRecord, nodes: &[NodeRecord]) -> bool {
    let status = |node: NodeId| nodes.iter().find(|known| known.id == node);
    let owner = status(record.owner.node)
        .filter(|node| node.incarnation == record.owner.incarnation && node.status.is_alive());
    if owner.is_none() {
        let keepers: Vec<NodeId> = record.keepers.iter().map(|keeper| keeper.node).collect();
        return successor_for(player, record.owner.node, &keepers, nodes) == Some(me);
    }
    let is_up = |node: NodeId| status(node).is_some_and(|node| node.status == NodeStatus::Up);
    let mut keepers = record.keepers.iter().map(|keeper| keeper.node);
    let is_free = |node: &NodeRecord| {
        let keeps = record.keepers.iter().any(|keeper| keeper.node == node.id);
        node.status == NodeStatus::Up && node.id != me.node && !keeps
    };
    record.owner == me && !keepers.all(is_up) && nodes.iter().any(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CodeHash, CopyId, Generation, Incarnation, KeeperCopy};

    fn node(id: u64, incarnation: u64, status: NodeStatus) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("node{id}").parse().unwrap(),
            addr: ([10, 0, 0, 1], 4433).into(),
            incarnation: Incarnation(incarnation),
            status,
        }
    }

    fn writer(id: u64) -> Writer {
        Writer { node: NodeId(id), incarnation: Incarnation(1) }
    }

    fn falls_to_one(nodes: &[NodeRecord]) -> Vec<u64> {
        let keepers = vec![KeeperCopy { node: NodeId(2), copy: CopyId(7) }];
        let (generation, code) = (Generation(3), CodeHash([0; 32]));
        let record = PlayerRecord { generation, owner: writer(1), keepers, code };
        let player = "player1".parse().unwrap();
        (1..=4).filter(|id| falls_to(writer(*id), &player, &record, nodes)).collect()
    }

    #[test]
    fn a_player_falls_to_one_node_when_its_owner_is_gone() {
        let [up, down] = [NodeStatus::Up, NodeStatus::Down];
        let nodes = |first| vec![first, node(2, 1, up), node(3, 1, up), node(4, 1, up)];
        assert!(falls_to_one(&nodes(node(1, 1, up))).is_empty());
        let heir = falls_to_one(&nodes(node(1, 1, down)));
        assert!(heir == [3] || heir == [4], "not its keeper: {heir:?}");
        assert_eq!(falls_to_one(&nodes(node(1, 2, up))).len(), 1, "another start is another owner");
        // With one other node there would be no place for a copy.
        assert!(falls_to_one(&[node(1, 1, down), node(2, 1, up)]).is_empty());
    }

    #[test]
    fn an_owner_opens_its_own_player_when_a_keeper_goes() {
        let [up, down] = [NodeStatus::Up, NodeStatus::Down];
        for gone in [down, NodeStatus::Draining] {
            let nodes = [node(1, 1, up), node(2, 1, gone), node(3, 1, up)];
            assert_eq!(falls_to_one(&nodes), [1]);
        }
    }
}
