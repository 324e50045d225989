//! Machines of a test with links between them that can be cut: one network namespace for each, all
//! on one bridge in a namespace of its own, so that the network of this machine stays as it is.
//!
//! A cut drops what arrives, silently, as a broken cable does. It takes root, and the programs
//! `ip` (iproute2) and `nft` (nftables); [`Net::try_new`] says what is missing.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
/// Drops what comes from the addresses in a set, which is empty at first.
const RULES: &str = "table inet links {
    set cut { type ipv4_addr; }
    chain arriving { type filter hook input priority 0; policy accept; ip saddr @cut drop; }
}";

/// Makes the names of this process's networks different.
static NETS: AtomicUsize = AtomicUsize::new(0);

/// What a cut keeps from arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Only what the first machine sends to the second.
    OneWay,
    /// Everything between them.
    BothWays,
}

/// Machines, numbered from 0. Dropping it removes them.
#[derive(Debug)]
pub struct Net {
    prefix: String,
    machines: usize,
}

impl Net {
    /// Builds a network of this many machines that all reach each other.
    ///
    /// # Errors
    ///
    /// Says what this system lacks.
    pub fn try_new(machines: usize) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root makes network namespaces".to_owned());
        }
        let prefix = format!("ph{}x{}", std::process::id(), NETS.fetch_add(1, Ordering::Relaxed));
        // From here on its end removes what there is by then.
        let net = Self { prefix, machines };
        let bridge = net.bridge();
        run("ip", &["netns", "add", &bridge])?;
        run("ip", &["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
        run("ip", &["-n", &bridge, "link", "set", "br0", "up"])?;
        for machine in 0..machines {
            net.add(machine)?;
        }
        Ok(net)
    }

    fn add(&self, machine: usize) -> Result<(), String> {
        let (bridge, name) = (self.bridge(), self.name(machine));
        let (port, addr) = (format!("v{machine}"), format!("{}/24", self.addr(machine)));
        run("ip", &["netns", "add", &name])?;
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &name];
        run("ip", &[&["-n", &bridge, "link", "add", &port][..], &peer].concat())?;
        run("ip", &["-n", &bridge, "link", "set", &port, "master", "br0", "up"])?;
        run("ip", &["-n", &name, "addr", "add", &addr, "dev", "eth0"])?;
        run("ip", &["-n", &name, "link", "set", "eth0", "up"])?;
        run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
        self.nft(machine, RULES)
    }

    /// Returns the address of a machine.
    ///
    /// # Panics
    ///
    /// When there are not that many.
    pub fn addr(&self, machine: usize) -> IpAddr {
        assert!(machine < self.machines, "there is no machine {machine}");
        let host = u8::try_from(machine + 1).expect("a test has a few machines");
        Ipv4Addr::new(10, 77, 0, host).into()
    }

    /// Runs something on a machine: its sockets, and those of the processes it starts, are there.
    ///
    /// # Panics
    ///
    /// As `run` does, or when there is no such machine.
    pub fn on<T: Send>(&self, machine: usize, run: impl FnOnce() -> T + Send) -> T {
        let path = Path::new(NAMESPACES).join(self.name(machine));
        let namespace = File::open(path).expect("open the machine's namespace");
        // A namespace is a thread's; this one does not come back.
        let thread = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("enter the machine's namespace");
            run()
        };
        std::thread::scope(|scope| scope.spawn(thread).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Cuts the link between two machines, from now on.
    ///
    /// # Panics
    ///
    /// When `nft` refuses, or the link is cut already.
    #[track_caller]
    pub fn cut(&self, from: usize, to: usize, cut: Cut) {
        self.change("create", from, to, cut);
    }

    /// Heals what [`Net::cut`] has cut.
    ///
    /// # Panics
    ///
    /// When `nft` refuses, or the link was not cut.
    #[track_caller]
    pub fn heal(&self, from: usize, to: usize, cut: Cut) {
        self.change("delete", from, to, cut);
    }

    #[track_caller]
    fn change(&self, word: &str, from: usize, to: usize, cut: Cut) {
        let ends = [(from, to), (to, from)];
        let count = match cut {
            Cut::OneWay => 1,
            Cut::BothWays => 2,
        };
        for (from, to) in &ends[..count] {
            let element = format!("{word} element inet links cut {{ {} }}", self.addr(*from));
            self.nft(*to, &element).expect("change the rules of a link");
        }
    }

    fn nft(&self, machine: usize, rules: &str) -> Result<(), String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(machine), "nft", "-f", "-"]);
        finish(command, rules)
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    fn name(&self, machine: usize) -> String {
        format!("{}n{machine}", self.prefix)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // What was never made cannot be removed, and says so to nobody.
        drop(run("ip", &["netns", "del", &self.bridge()]));
        for machine in 0..self.machines {
            drop(run("ip", &["netns", "del", &self.name(machine)]));
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(args);
    finish(command, "")
}

fn finish(mut command: Command, input: &str) -> Result<(), String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = command.spawn();
    let mut child = started.map_err(|error| format!("{command:?} cannot run: {error}"))?;
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let ended = child.wait_with_output().and_then(|ended| written.map(|()| ended));
    let ended = ended.map_err(|error| format!("{command:?}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim()))
}
