//! A cluster of nodes on this machine, with its secret and data in a folder of its own.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::limits::VOTERS_MAX;
use tempfile::TempDir;

use crate::answers::NodeSeen;
use crate::chaos::{Disk, Namespace};
use crate::command::host;
use crate::node::{Node, SABOTAGE};
use crate::slots::Slot;
use crate::via::Via;
use crate::wait::{PATIENCE, eventually};

/// A cluster. Dropping it kills its nodes; if that is because a test failed, it shows the end of
/// each node's log and keeps the folder.
#[derive(Debug)]
pub struct Cluster {
    // Nodes end before their folder and their slot go.
    nodes: Vec<Node>,
    secret: PathBuf,
    guest: Option<PathBuf>,
    flags: Vec<String>,
    folder: TempDir,
    /// Where the next nodes go; on the loopback, when there is none left.
    places: VecDeque<(Arc<Namespace>, SocketAddr)>,
    _slot: Slot,
}

impl Cluster {
    /// Starts `app_node1` to `app_node{nodes}`, each joined to those before it.
    ///
    /// # Panics
    ///
    /// When one does not come up.
    #[track_caller]
    pub fn start(nodes: usize) -> Self {
        Self::launch(nodes, None, &[], VecDeque::new())
    }

    /// Starts nodes with these flags besides those that every node gets.
    ///
    /// # Panics
    ///
    /// When one does not come up.
    #[track_caller]
    pub fn start_with(nodes: usize, flags: &[&str]) -> Self {
        Self::launch(nodes, None, flags, VecDeque::new())
    }

    /// Starts a node in each of these namespaces, at its address and with a disk of its own.
    #[track_caller]
    pub(crate) fn start_at(places: VecDeque<(Arc<Namespace>, SocketAddr)>, flags: &[&str]) -> Self {
        let mut cluster = Self::launch(places.len(), None, flags, places);
        cluster.join_later_nodes();
        cluster
    }

    /// Lets each node also know those after it. The first one would begin another cluster if it
    /// were started without its data.
    fn join_later_nodes(&mut self) {
        let addrs: Vec<_> = self.nodes.iter().map(Node::addr).collect();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            addrs[at + 1..].iter().for_each(|later| node.add_join(*later));
        }
    }

    /// Starts nodes that run this player code.
    ///
    /// # Panics
    ///
    /// When one does not come up.
    #[track_caller]
    pub fn start_with_guest(nodes: usize, code: &[u8]) -> Self {
        Self::launch(nodes, Some(code), &[], VecDeque::new())
    }

    /// Starts nodes that run this player code, with these flags besides those that every node gets.
    ///
    /// # Panics
    ///
    /// When one does not come up.
    #[track_caller]
    pub fn start_with_guest_and(nodes: usize, code: &[u8], flags: &[&str]) -> Self {
        Self::launch(nodes, Some(code), flags, VecDeque::new())
    }

    /// Describes `app_node1` and so on, one at each address, that are all started with this list of
    /// nodes and wait for so many of them. None is started.
    ///
    /// # Panics
    ///
    /// When there is no place for their files.
    #[track_caller]
    pub fn of_equals(addrs: &[SocketAddr], list: &[String], expect: usize) -> Self {
        let mut cluster = Self::launch(0, None, &[], VecDeque::new());
        let (joins, expect) = (list.join(","), expect.to_string());
        for (at, addr) in addrs.iter().enumerate() {
            let args = ["--secret-file", path(&cluster.secret), "--join", &joins];
            let args = [&args[..], &["--bootstrap-expect", &expect]].concat();
            let name = format!("app_node{}", at + 1);
            cluster.nodes.push(Node::new(&name, cluster.folder.path(), &args).at(*addr));
        }
        cluster
    }

    #[track_caller]
    fn launch(
        nodes: usize,
        code: Option<&[u8]>,
        flags: &[&str],
        places: VecDeque<(Arc<Namespace>, SocketAddr)>,
    ) -> Self {
        let slot = Slot::take();
        let folder = TempDir::with_prefix("cluster-").expect("create the cluster's folder");
        let secret = folder.path().join("secret");
        let made = host(&["secret", "new", path(&secret)]);
        assert!(made.status.success(), "{}", made.all());
        let guest = code.map(|code| {
            let guest = folder.path().join("guest.wasm");
            fs::write(&guest, code).expect("write the guest");
            guest
        });
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let nodes_started = Vec::new();
        let mut cluster =
            Self { nodes: nodes_started, secret, guest, flags, folder, places, _slot: slot };
        for _ in 0..nodes {
            cluster.add_node();
        }
        cluster.await_settled();
        cluster
    }

    /// Adds the next node, joined to all before it, and waits until it serves. Returns its name.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[track_caller]
    pub fn add_node(&mut self) -> String {
        let name = format!("app_node{}", self.nodes.len() + 1);
        let members: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        let mut args = vec!["--secret-file", path(&self.secret)];
        args.extend(members.iter().flat_map(|addr| ["--join", addr]));
        args.extend(self.guest.iter().flat_map(|guest| ["--guest", path(guest)]));
        args.extend(self.flags.iter().map(String::as_str));
        let node = Node::new(&name, self.folder.path(), &args);
        let node = match self.places.pop_front() {
            None => node,
            Some((namespace, addr)) => node.placed(namespace, addr).expect("mount the node's disk"),
        };
        self.nodes.push(node);
        self.node_mut(&name).restart();
        name
    }

    /// Returns a node.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    #[track_caller]
    pub fn node(&self, name: &str) -> &Node {
        let node = self.nodes.iter().find(|node| node.name() == name);
        node.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Returns a node, to do something to it.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    #[track_caller]
    pub fn node_mut(&mut self, name: &str) -> &mut Node {
        let node = self.nodes.iter_mut().find(|node| node.name() == name);
        node.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Returns the names of all nodes, running or not.
    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    /// Returns the names of all nodes but these.
    pub fn names_without(&self, without: &[&str]) -> Vec<String> {
        self.names().into_iter().filter(|name| !without.contains(&name.as_str())).collect()
    }

    /// Returns a way to ask through a node.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    #[track_caller]
    pub fn via(&self, name: &str) -> Via {
        Via::new(vec![self.node(name).addr()], self.secret.clone())
    }

    /// Returns the file with the cluster's secret.
    pub fn secret(&self) -> &Path {
        &self.secret
    }

    /// Returns the cluster's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder, also after a good end, and copies there what is on disks of nodes.
    pub(crate) fn keep_folder(&mut self) -> anyhow::Result<()> {
        self.folder.disable_cleanup(true);
        self.nodes.iter().filter_map(Node::disk).try_for_each(Disk::keep)
    }

    /// Lets every restore of a player's state fail on every node, for this reason, or none any more.
    ///
    /// # Panics
    ///
    /// When the nodes cannot be told.
    #[track_caller]
    pub fn sabotage(&self, player: &str, reason: Option<&str>) {
        let folder = self.folder().join(SABOTAGE);
        let told = match reason {
            Some(reason) => {
                fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(player), reason))
            }
            None => fs::remove_file(folder.join(player)),
        };
        told.expect("tell the nodes what must not be restored");
    }

    /// Kills all nodes at the same time.
    ///
    /// # Panics
    ///
    /// When one had ended before.
    #[track_caller]
    pub fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// Asks all nodes to end at the same time and waits until they have, in good order.
    ///
    /// # Panics
    ///
    /// When one does not end well.
    #[track_caller]
    pub fn terminate_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::ask_to_end);
        for node in &mut self.nodes {
            let status = node.await_end();
            assert!(status.success(), "{} ended with {status}", node.name());
        }
    }

    /// Starts all nodes again at the same time: none of them can wait for another one's majority.
    ///
    /// # Panics
    ///
    /// When one runs, or does not come up.
    #[track_caller]
    pub fn restart_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::spawn);
        self.nodes.iter_mut().for_each(Node::await_ready);
    }

    /// Waits until each running node sees that exactly the running ones are up, and that as many
    /// of them vote as should: from then on the cluster can lose one, if it has three.
    ///
    /// # Panics
    ///
    /// When they do not agree in time.
    #[track_caller]
    pub fn await_settled(&mut self) {
        eventually(PATIENCE, || self.try_settled());
    }

    /// Looks once at what [`Cluster::await_settled`] waits for.
    ///
    /// # Errors
    ///
    /// What some node sees instead.
    pub(crate) fn try_settled(&mut self) -> Result<(), String> {
        let alive = |node: &mut Node| node.is_alive().then(|| node.name().to_owned());
        let mut names: Vec<_> = self.nodes.iter_mut().filter_map(alive).collect();
        names.sort();
        for name in &names {
            let seen = self.via(name).try_nodes()?;
            if !is_settled(&seen, &names) {
                return Err(format!("{name}: {seen:?}"));
            }
        }
        Ok(())
    }
}

/// Whether the nodes of these names, in order, are up and the right number of them votes: odd, so
/// that none votes without making the cluster safer.
fn is_settled(seen: &[NodeSeen], names: &[String]) -> bool {
    let mut up: Vec<_> = seen.iter().filter(|node| node.status == "up").collect();
    up.sort_by(|a, b| a.name.cmp(&b.name));
    let voting = up.iter().filter(|node| node.voter).count();
    let voters = seen.iter().filter(|node| node.voter).count();
    let expected = (up.len() - usize::from(up.len().is_multiple_of(2))).min(VOTERS_MAX);
    let leaders = up.iter().filter(|node| node.leader).count();
    up.iter().map(|node| &node.name).eq(names)
        && (voting, voters, leaders) == (expected, expected, 1)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Err(error) = self.keep_folder() {
                eprintln!("the nodes' data is not kept: {error:#}");
            }
            self.nodes.iter().for_each(|node| eprintln!("{}", node.log_tail()));
        }
    }
}

/// The folder's path has no other characters: the harness made it.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}
