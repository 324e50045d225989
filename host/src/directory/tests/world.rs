//! Nodes in one process and what lies between them.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use openraft::EmptyNode;
use openraft::network::RaftNetworkFactory as _;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::network::{Network, Peer, Peers};
use super::super::*;
use crate::protocol::{Announcement, CodeHash, Incarnation, NodeName, Plan};
use crate::storage::StoreError;

/// What lies between the nodes. Requests to a node that is stopped fail; those to and from an
/// isolated one vanish.
#[derive(Debug, Clone, Default)]
struct Net(Arc<Mutex<Routes>>);

#[derive(Debug, Default)]
struct Routes {
    directories: HashMap<NodeId, Directory>,
    isolated: BTreeSet<NodeId>,
}

#[derive(Debug, Clone)]
struct Link {
    net: Net,
    from: NodeId,
}

impl Link {
    fn is_cut(&self, to: NodeId) -> bool {
        let isolated = &self.net.0.lock().unwrap().isolated;
        isolated.contains(&self.from) || isolated.contains(&to)
    }
}

impl Transport for Link {
    async fn ask(
        &self,
        to: NodeId,
        request: DirectoryRequest,
    ) -> Result<DirectoryReply, TransportError> {
        if self.is_cut(to) {
            std::future::pending::<()>().await;
        }
        let target = self.net.0.lock().unwrap().directories.get(&to).cloned();
        let reply = target.ok_or(TransportError::Unreachable)?;
        let reply = reply.handle(request, |id| id == self.from).await;
        if self.is_cut(to) {
            std::future::pending::<()>().await;
        }
        Ok(reply)
    }
}

/// What a cluster begins with.
pub(super) fn founding() -> Plan {
    Plan::founding(CodeHash([0; 32]), "player.wasm")
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) name: NodeName,
    pub(super) incarnation: Incarnation,
    pub(super) directory: Directory,
    dir: TempDir,
    driver: JoinSet<Result<(), DirectoryError>>,
}

impl Node {
    async fn open(net: &Net, name: NodeName, dir: TempDir) -> Self {
        // The tasks of a former start may still be about to let go of the folder.
        let store = loop {
            match Store::open(dir.path()) {
                Ok(store) => break store,
                Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let (id, incarnation) = (store.node_id(), store.incarnation());
        let link = Link { net: net.clone(), from: id };
        let (directory, runner) = Directory::open(&store, link).await.unwrap();
        net.0.lock().unwrap().directories.insert(id, directory.clone());
        let mut driver = JoinSet::new();
        driver.spawn(runner.run());
        Self { id, name, incarnation, directory, dir, driver }
    }

    async fn close(&mut self, net: &Net) {
        net.0.lock().unwrap().directories.remove(&self.id);
        self.directory.shutdown().await;
        while let Some(ended) = self.driver.join_next().await {
            ended.unwrap().unwrap();
        }
    }

    pub(super) fn writer(&self) -> Writer {
        Writer { node: self.id, incarnation: self.incarnation }
    }

    pub(super) fn announcement(&self) -> Announcement {
        let addr = SocketAddr::from(([127, 0, 0, 1], 4433));
        Announcement { id: self.id, name: self.name.clone(), addr, incarnation: self.incarnation }
    }

    /// Waits until the node's directory is as the condition says.
    pub(super) async fn until(&self, condition: impl Fn(&Directory) -> bool) {
        let mut leader = self.directory.watch_leader();
        let mut index = self.directory.0.view.watch_index();
        while !condition(&self.directory) {
            tokio::select! {
                running = leader.changed() => assert!(running),
                applied = index.changed() => applied.unwrap(),
            }
        }
    }
}

pub(super) struct World {
    net: Net,
    pub(super) nodes: Vec<Node>,
}

impl World {
    /// A cluster of this many nodes, all of them voters.
    pub(super) async fn with_voters(count: usize) -> Self {
        let mut world = Self { net: Net::default(), nodes: Vec::new() };
        let first = world.spare("n0").await;
        assert!(!first.directory.is_initialized());
        first
            .directory
            .initialize(first.announcement(), SettingsChange::default(), founding())
            .await
            .unwrap();
        assert!(first.directory.is_initialized());
        world.nodes.push(first);
        for nth in 1..count {
            let node = world.spare(&format!("n{nth}")).await;
            world.announce(&node).await.unwrap();
            world.nodes.push(node);
        }
        let voters: BTreeSet<_> = world.nodes.iter().map(|node| node.id).collect();
        if count > 1 {
            world.nodes[0].directory.set_voters(voters.clone()).await.unwrap();
        }
        for node in &world.nodes {
            node.until(|directory| {
                directory.leader().is_some() && directory.voters().iter().eq(&voters)
            })
            .await;
        }
        world
    }

    /// A node that belongs to no cluster yet.
    pub(super) async fn spare(&self, name: &str) -> Node {
        Node::open(&self.net, name.parse().unwrap(), TempDir::new().unwrap()).await
    }

    /// Announces a node to whoever leads.
    pub(super) async fn announce(&self, node: &Node) -> Result<Vec<NodeRecord>, AnnounceError> {
        self.leader().directory.announce(node.announcement()).await
    }

    /// The node that leads, as those that it leads see it.
    pub(super) fn leader(&self) -> &Node {
        self.nodes.iter().find(|node| node.directory.is_leader()).unwrap()
    }

    /// Raft on a node, as the leader asks it.
    pub(super) async fn peer(&self, target: NodeId) -> Peer {
        let link = Link { net: self.net.clone(), from: self.leader().id };
        let mut network = Network { peers: Peers::new(link) };
        network.new_client(target.0, &EmptyNode::new()).await
    }

    /// Lets a node get what is meant for another one, as the address that both have does.
    pub(super) fn stand_in(&self, node: &Node, stands_for: NodeId) {
        let directory = node.directory.clone();
        self.net.0.lock().unwrap().directories.insert(stands_for, directory);
    }

    pub(super) fn isolate(&self, node: NodeId) {
        self.net.0.lock().unwrap().isolated.insert(node);
    }

    pub(super) fn heal(&self) {
        self.net.0.lock().unwrap().isolated.clear();
    }

    pub(super) async fn stop(&mut self, nth: usize) {
        self.nodes[nth].close(&self.net).await;
    }

    /// Starts a node that was stopped.
    pub(super) async fn start(&mut self, nth: usize) {
        let Node { name, dir, .. } = self.nodes.remove(nth);
        let node = Node::open(&self.net, name, dir).await;
        self.nodes.insert(nth, node);
    }

    pub(super) async fn shutdown(mut self) {
        for node in &mut self.nodes {
            node.close(&self.net).await;
        }
    }
}
