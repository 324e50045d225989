//! The cluster under load as a client sees it: who owns the players, over which connections calls go.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::BenchError;
use super::call::Way;
use crate::cli::args::Through;
use crate::cli::client::{Client, Dialer, Nodes, Reach};
use crate::gateway::Gateway;
use crate::limits::STEP_DEADLINE;
use crate::net::{Connection, Endpoint, Identity, Secret};
use crate::protocol::{
    CallReply, CallRequest, NodeName, NodeRecord, NodeStatus, Reply, Request, Settings,
    SettingsChange, Traffic,
};

/// A cluster that is called.
#[derive(Debug)]
pub(super) struct Field {
    /// The node that begins the players, and so owns them.
    pub(super) owner: NodeName,
    /// The way to it.
    pub(super) home: Way,
    /// Where calls are sent, in turn: the nodes and a way to each.
    pub(super) ways: Vec<(NodeName, Way)>,
    /// Connections to all nodes that are up.
    pub(super) nodes: Vec<Connection>,
    /// What holds in the cluster.
    pub(super) settings: Settings,
    endpoint: Endpoint,
}

impl Field {
    /// Enters a cluster. The first node that answers owns the players.
    ///
    /// # Errors
    ///
    /// `BenchError`.
    pub(super) async fn enter(
        client: &mut Client<Dialer>,
        reach: &Reach,
        secret: &Secret,
        through: Through,
    ) -> Result<Self, BenchError> {
        let list = client.nodes(reach).await.map_err(BenchError::Unanswered)?;
        let asked = client.set(reach, SettingsChange::default()).await;
        let settings = asked.map_err(BenchError::Unanswered)?.settings;
        let endpoint = Endpoint::client(Identity::client(secret)?)?;
        let (owner, called) = choose(&list, through)?;
        let mut nodes = Vec::new();
        for node in up(&list) {
            nodes.push((node.id, endpoint.dial(node.addr, Some(&node.name)).await?));
        }
        let to = |node: &NodeRecord| {
            let found = nodes.iter().find(|(id, _)| *id == node.id);
            let (_, connection) = found.expect("chosen from those that are up");
            Way::Network(connection.clone())
        };
        let home = to(owner);
        let ways = called.into_iter().map(|node| (node.name.clone(), to(node))).collect();
        let nodes = nodes.into_iter().map(|(_, connection)| connection).collect();
        let owner = owner.name.clone();
        Ok(Self { owner, home, ways, nodes, settings, endpoint })
    }

    /// Has all calls made within the owner's node, which runs in this process.
    pub(super) fn call_inside(&mut self, gateway: &Gateway) {
        self.home = Way::Inside(gateway.clone());
        self.ways = vec![(self.owner.clone(), self.home.clone())];
    }

    /// Returns what this process has exchanged with the nodes as their client, if it is one.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        match self.home {
            Way::Network(_) => Some(self.nodes.iter().map(Connection::traffic).sum()),
            Way::Inside(_) => None,
        }
    }

    /// Returns what the nodes have exchanged with each other, if all of them say so: each counts the
    /// connections that it has dialed.
    pub(super) async fn traffic_of_nodes(&self) -> Option<Traffic> {
        let asked = self.nodes.iter().map(async |connection| {
            let reply = connection.ask(Request::Call(CallRequest::Traffic));
            match timeout(STEP_DEADLINE, reply).await {
                Ok(Ok(Reply::Call(CallReply::Traffic(traffic)))) => Some(traffic),
                Ok(_) | Err(_) => None,
            }
        });
        join_all(asked).await.into_iter().sum()
    }

    /// Lets the nodes know that nobody calls any more.
    pub(super) async fn leave(self) {
        self.endpoint.close().await;
    }
}

fn up(list: &Nodes) -> impl Iterator<Item = &NodeRecord> {
    list.nodes.iter().filter(|node| node.status == NodeStatus::Up)
}

/// Returns the node that shall own the players, and those that are called.
fn choose(list: &Nodes, through: Through) -> Result<(&NodeRecord, Vec<&NodeRecord>), BenchError> {
    let asked = up(list).find(|node| node.name == list.asked);
    let owner = asked.ok_or_else(|| BenchError::Leaving(list.asked.clone()))?;
    let called = match through {
        Through::Owner | Through::Inside => vec![owner],
        Through::Any => up(list).collect(),
        Through::Wrong => {
            let other = up(list).find(|node| node.id != owner.id);
            vec![other.ok_or(BenchError::NoOtherNode)?]
        }
    };
    Ok((owner, called))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::protocol::{Incarnation, NodeId};

    fn list(statuses: &[NodeStatus]) -> Nodes {
        let record = |(number, status): (u64, &NodeStatus)| NodeRecord {
            id: NodeId(number),
            name: format!("app_node{number}").parse().unwrap(),
            addr: SocketAddr::from(([127, 0, 0, 1], 4433)),
            incarnation: Incarnation(1),
            status: *status,
        };
        Nodes {
            nodes: (1..).zip(statuses).map(record).collect(),
            asked: "app_node1".parse().unwrap(),
            leader: None,
            voters: Vec::new(),
        }
    }

    fn chosen(list: &Nodes, through: Through) -> (u64, Vec<u64>) {
        let (owner, called) = choose(list, through).unwrap();
        (owner.id.0, called.iter().map(|node| node.id.0).collect())
    }

    #[test]
    fn calls_go_where_they_should() {
        let three = list(&[NodeStatus::Up, NodeStatus::Down, NodeStatus::Up]);
        assert_eq!(chosen(&three, Through::Owner), (1, vec![1]));
        assert_eq!(chosen(&three, Through::Any), (1, vec![1, 3]));
        assert_eq!(chosen(&three, Through::Wrong), (1, vec![3]), "the second one is down");
    }

    #[test]
    fn a_load_that_fits_no_node_is_refused() {
        let alone = list(&[NodeStatus::Up, NodeStatus::Draining]);
        assert!(matches!(choose(&alone, Through::Wrong), Err(BenchError::NoOtherNode)));
        let leaving = list(&[NodeStatus::Draining, NodeStatus::Up]);
        let error = choose(&leaving, Through::Owner).unwrap_err();
        assert_eq!(error.to_string(), "app_node1 is going to leave, so it takes no players");
    }
}
