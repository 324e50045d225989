//! A network of its own for each cluster: one namespace a node, all on one bridge.
//!
//! ```text
//!   ph-<pid>-<n>-hub   callers, 10.77.0.254
//!        │ bridge
//!        ├── port1 ─── eth0 ─ ph-<pid>-<n>-1   app_node1, 10.77.0.1; nft set `deaf_to`
//!        ├── port2 ─── eth0 ─ ph-<pid>-<n>-2   app_node2, 10.77.0.2
//!        …
//! ```
//!
//! The bridge is in a namespace too, so nothing of the machine's own network is touched. What a run
//! leaves behind that was killed itself is removed by the next one, by the process in the name.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::disk;

/// What each name begins with.
const PREFIX: &str = "ph-";
/// Port of each node; addresses differ.
const PORT: u16 = 4433;

static NETWORKS: AtomicUsize = AtomicUsize::new(0);

/// Runs a program to its end and returns what it printed.
pub(super) fn run(program: &str, args: &[&str]) -> Result<String> {
    let words = args.join(" ");
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("cannot run `{program} {words}`"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program} {words}`: {}", stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns what this machine lacks to make networks and small disks, if it lacks anything.
pub fn obstacle() -> Option<String> {
    if !geteuid().is_root() {
        return Some("network namespaces and mounts need root".to_owned());
    }
    for (program, question) in [("ip", "-V"), ("nft", "-v"), ("mount", "-V")] {
        if let Err(error) = run(program, &[question]) {
            return Some(format!("{error:#}; Debian has it in iproute2, nftables or mount"));
        }
    }
    // A container may refuse what its root may do elsewhere. Whatever else goes wrong is no
    // obstacle but a failure.
    let refused = |error: &anyhow::Error| {
        let words = format!("{error:#}").to_lowercase();
        let signs = ["not permitted", "permission denied", "not supported", "unknown device"];
        signs.iter().any(|sign| words.contains(sign))
    };
    let tried = Network::build(1).and_then(|_| disk::probe());
    tried.err().filter(refused).map(|error| format!("{error:#}"))
}

/// One network namespace. Dropping it removes it; what runs in it keeps it alive.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    fn add(name: String) -> Result<Self> {
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Moves the current thread into it: its sockets and what it starts are there from now on.
    pub(crate) fn enter(&self) -> Result<()> {
        let path = PathBuf::from("/run/netns").join(&self.name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("enter {}", self.name))
    }

    /// Runs `inside` on a thread that is in it, and waits for its end.
    ///
    /// # Panics
    ///
    /// When there is no way in.
    #[track_caller]
    pub(crate) fn within<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().expect("enter the node's namespace");
            inside()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).expect("a thread in the namespace")
    }

    fn ip(&self, words: &str) -> Result<String> {
        let mut args = vec!["-n", &self.name];
        args.extend(words.split(' '));
        run("ip", &args)
    }

    fn nft(&self, commands: &str) -> Result<String> {
        run("ip", &["netns", "exec", &self.name, "nft", commands])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run("ip", &["netns", "del", &self.name]) {
            eprintln!("{} is left behind: {error:#}", self.name);
        }
    }
}

/// A direction of traffic between two nodes, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The network of one cluster.
#[derive(Debug)]
pub(super) struct Network {
    hub: Namespace,
    nodes: Vec<Arc<Namespace>>,
    cut: BTreeSet<Way>,
}

impl Network {
    /// Builds a network for so many nodes.
    pub(super) fn build(nodes: usize) -> Result<Self> {
        remove_stale();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = |part: String| format!("{}-{number}-{part}", label());
        let hub = Namespace::add(name("hub".to_owned()))?;
        hub.ip("link add bridge type bridge")?;
        hub.ip("addr add 10.77.0.254/24 dev bridge")?;
        hub.ip("link set bridge up")?;
        let mut network = Self { hub, nodes: Vec::new(), cut: BTreeSet::new() };
        for node in 0..nodes {
            network.add_node(node, name((node + 1).to_string()))?;
        }
        Ok(network)
    }

    fn add_node(&mut self, node: usize, name: String) -> Result<()> {
        let namespace = Namespace::add(name)?;
        let (hub, port) = (&self.hub, node + 1);
        hub.ip(&format!("link add port{port} type veth peer name eth0 netns {}", namespace.name))?;
        hub.ip(&format!("link set port{port} master bridge up"))?;
        namespace.ip(&format!("addr add {}/24 dev eth0", ip(node)))?;
        namespace.ip("link set eth0 up")?;
        namespace.nft(
            "table ip chaos { set deaf_to { type ipv4_addr; }; chain input { type filter hook \
             input priority 0; policy accept; ip saddr @deaf_to drop; }; }",
        )?;
        self.nodes.push(Arc::new(namespace));
        Ok(())
    }

    /// The namespace of whoever calls the nodes.
    pub(super) fn hub(&self) -> &Namespace {
        &self.hub
    }

    /// The namespaces of the nodes, with the address of each.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (Arc<Namespace>, SocketAddr)> {
        let addr = |node| SocketAddr::from((ip(node), PORT));
        self.nodes
            .iter()
            .enumerate()
            .map(move |(node, namespace)| (Arc::clone(namespace), addr(node)))
    }

    /// Takes a node's interface down or up again, as when somebody pulls its cable.
    pub(super) fn set_link(&self, node: usize, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.nodes[node].ip(&format!("link set eth0 {state}")).map(drop)
    }

    /// Drops packets on these ways and on no others, without telling anybody.
    pub(super) fn cut(&mut self, ways: BTreeSet<Way>) -> Result<()> {
        for (node, namespace) in self.nodes.iter().enumerate() {
            let into = |ways: &BTreeSet<Way>| -> Vec<String> {
                let into = ways.iter().filter(|way| way.to == node);
                into.map(|way| ip(way.from).to_string()).collect()
            };
            let sources = into(&ways);
            if sources == into(&self.cut) {
                continue;
            }
            // One transaction: no packet passes in between.
            let mut commands = "flush set ip chaos deaf_to".to_owned();
            if !sources.is_empty() {
                let sources = sources.join(", ");
                commands += &format!("; add element ip chaos deaf_to {{ {sources} }}");
            }
            namespace.nft(&commands)?;
        }
        self.cut = ways;
        Ok(())
    }
}

fn ip(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(node + 1).expect("a cluster has at most nine nodes"))
}

/// What the names of this process's namespaces and disks begin with.
pub(super) fn label() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Whether a name was given by a process that has ended.
pub(super) fn is_stale(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
}

/// Removes what killed runs have left behind, as far as it can be.
fn remove_stale() {
    let listed = run("ip", &["netns", "list"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| is_stale(name)) {
        drop(Namespace { name: name.to_owned() });
    }
    disk::unmount_stale();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ended_processes_are_stale() {
        assert!(!is_stale(&format!("{}-0-hub", label())));
        assert!(is_stale("ph-4294967295-0-hub"));
        assert!(!is_stale("docker0"));
        assert!(!is_stale("ph-mine"));
    }
}
