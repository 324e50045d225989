//! A cluster whose nodes each have a machine of their own, so that links between them can be cut.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::cluster::path;
use crate::command::host;
use crate::netns::{Cut, Net};
use crate::node::Node;
use crate::slots::Slot;
use crate::via::Via;
use crate::wait::{PATIENCE, eventually, not_tested};

/// The port of every node; each has an address to itself.
const PORT: u16 = 4433;

/// A cluster of nodes `app_node1`, `app_node2` and so on. Dropping it kills them; if that is
/// because a test failed, it shows the end of each node's log and keeps the folder.
#[derive(Debug)]
pub struct Islands {
    // Nodes end before their machines, their folder and their slot go.
    nodes: Vec<Node>,
    net: Net,
    secret: PathBuf,
    folder: TempDir,
    _slot: Slot,
}

impl Islands {
    /// Starts a cluster and waits until as many of its nodes vote as should. `None`, and a line
    /// that says why, if this system has no network namespaces for it.
    ///
    /// # Panics
    ///
    /// When a node does not come up.
    #[track_caller]
    pub fn start(nodes: usize) -> Option<Self> {
        let slot = Slot::take();
        let net = match Net::try_new(nodes) {
            Ok(net) => net,
            Err(reason) => {
                not_tested(&format!("links cannot be cut on this machine: {reason}"));
                return None;
            }
        };
        let folder = TempDir::with_prefix("islands-").expect("create the cluster's folder");
        let secret = folder.path().join("secret");
        let made = host(&["secret", "new", path(&secret)]);
        assert!(made.status.success(), "{}", made.all());
        let mut islands = Self { nodes: Vec::new(), net, secret, folder, _slot: slot };
        for machine in 0..nodes {
            islands.add_node(machine);
        }
        islands.await_voters();
        Some(islands)
    }

    fn add_node(&mut self, machine: usize) {
        let name = format!("app_node{}", machine + 1);
        let members: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        let mut args = vec!["--secret-file", path(&self.secret)];
        args.extend(members.iter().flat_map(|addr| ["--join", addr]));
        let addr = SocketAddr::new(self.net.addr(machine), PORT);
        let mut node = Node::new(&name, self.folder.path(), &args).at(addr);
        self.net.on(machine, || node.restart());
        self.nodes.push(node);
    }

    fn await_voters(&self) {
        let nodes = self.nodes.len();
        let expected = nodes - usize::from(nodes.is_multiple_of(2));
        for name in self.names() {
            eventually(PATIENCE, || {
                let seen = self.ask(&name, Via::try_nodes)?;
                let voters = seen.iter().filter(|node| node.voter).count();
                let leaders = seen.iter().filter(|node| node.leader).count();
                let settled = (seen.len(), voters, leaders) == (nodes, expected, 1);
                if settled { Ok(()) } else { Err(format!("{name}: {seen:?}")) }
            });
        }
    }

    /// Asks a node, on its own machine: no cut is in the way.
    ///
    /// # Panics
    ///
    /// As `ask` does.
    pub fn ask<T: Send>(&self, name: &str, ask: impl FnOnce(&Via) -> T + Send) -> T {
        let machine = self.machine(name);
        let via = Via::new(vec![self.nodes[machine].addr()], self.secret.clone());
        self.net.on(machine, || ask(&via))
    }

    /// Kills a node, as `kill -9` does.
    ///
    /// # Panics
    ///
    /// When it had ended before.
    pub fn kill(&mut self, name: &str) {
        let machine = self.machine(name);
        self.nodes[machine].kill();
    }

    /// Starts a killed node again and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it runs, or does not come up.
    pub fn restart(&mut self, name: &str) {
        let machine = self.machine(name);
        let node = &mut self.nodes[machine];
        self.net.on(machine, || node.restart());
    }

    /// Cuts the link between two nodes, silently.
    ///
    /// # Panics
    ///
    /// When it is cut already.
    pub fn cut(&self, from: &str, to: &str, cut: Cut) {
        self.net.cut(self.machine(from), self.machine(to), cut);
    }

    /// Heals what [`Islands::cut`] has cut.
    ///
    /// # Panics
    ///
    /// When it was not cut.
    pub fn heal(&self, from: &str, to: &str, cut: Cut) {
        self.net.heal(self.machine(from), self.machine(to), cut);
    }

    /// Returns the names of all nodes, running or not.
    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    /// Returns the names of all nodes but these.
    pub fn names_without(&self, without: &[&str]) -> Vec<String> {
        self.names().into_iter().filter(|name| !without.contains(&name.as_str())).collect()
    }

    /// Returns all that a node logged so far.
    pub fn log(&self, name: &str) -> String {
        self.nodes[self.machine(name)].log()
    }

    fn machine(&self, name: &str) -> usize {
        let machine = self.nodes.iter().position(|node| node.name() == name);
        machine.unwrap_or_else(|| panic!("there is no {name}"))
    }
}

impl Drop for Islands {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            self.nodes.iter().for_each(|node| eprintln!("{}", node.log_tail()));
        }
    }
}
