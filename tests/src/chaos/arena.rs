//! The cluster that faults are brought upon, and how it gets well again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::deploys::Deploys;
use super::network::{Network, Way};
use super::plan::{Aim, Kind, Planned};
use crate::answers::Listed;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::sim::rng::Rng;
use crate::wait::{PATIENCE, pause};

/// Time in which a cluster gets well after its faults have ended.
const WELL_WITHIN: Duration = PATIENCE.saturating_mul(2);
/// Has players rest all the time, for want of room and for want of calls, so that faults meet some
/// that fall asleep or wake up.
const RESTING: [&str; 4] = ["--instances-max", "3", "--idle-after", "100ms"];
/// Time between two looks at it: each is a process or more, on the cores that the nodes need.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// A fault that lasts.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The nodes it hits, counted from 0.
    pub(super) nodes: Vec<usize>,
    begins: Instant,
    ends: Instant,
    is_begun: bool,
}

/// The cluster and its network.
#[derive(Debug)]
pub(super) struct Arena {
    // Nodes end before their namespaces.
    pub(super) cluster: Cluster,
    network: Network,
    players: usize,
    cut: Vec<(Kind, Vec<usize>)>,
    /// Nodes that ended by themselves because their disk was full.
    pub(super) gave_up: usize,
    pub(super) deploys: Deploys,
}

impl Arena {
    /// Starts a cluster. The current thread is moved to where its callers are.
    pub(super) fn start(nodes: usize, players: usize) -> Result<Self> {
        let network = Network::build(nodes)?;
        network.hub().enter()?;
        let cluster = Cluster::start_at(network.nodes().collect(), &RESTING);
        let (cut, gave_up, deploys) = (Vec::new(), 0, Deploys::default());
        Ok(Self { cluster, network, players, cut, gave_up, deploys })
    }

    /// Brings an episode upon the cluster and waits until it has ended. Returns what it was.
    pub(super) fn suffer(&mut self, episode: &[Planned]) -> Result<Vec<Fault>> {
        let mut faults = self.choose(episode)?;
        let mut moments: Vec<Instant> = faults.iter().flat_map(|f| [f.begins, f.ends]).collect();
        moments.sort();
        for moment in moments {
            wait_until(moment);
            for fault in &mut faults {
                if !fault.is_begun && fault.begins <= moment {
                    fault.is_begun = true;
                    // The fault meets it when the code is spread, or when players go over.
                    self.deploys.begin(&self.cluster)?;
                    self.begin(fault.kind, &fault.nodes)?;
                } else if fault.is_begun && fault.ends == moment {
                    self.end(fault.kind, &fault.nodes)?;
                }
            }
        }
        Ok(faults)
    }

    /// Says whom each planned fault hits; no node is hit twice.
    fn choose(&self, episode: &[Planned]) -> Result<Vec<Fault>> {
        let now = Instant::now();
        let mut well: BTreeSet<usize> = (0..self.cluster.names().len()).collect();
        let mut faults = Vec::new();
        for planned in episode {
            let mut wanted = self.aimed_at(planned.aim)?;
            wanted.retain(|node| well.contains(node));
            let mut dice = Rng::new(planned.dice);
            let mut nodes = Vec::new();
            for _ in 0..planned.kind.nodes() {
                let rest: Vec<usize> = well.iter().copied().collect();
                let any = rest[dice.index(rest.len())];
                let node = if wanted.is_empty() { any } else { wanted.remove(0) };
                well.remove(&node);
                nodes.push(node);
            }
            let begins = now + planned.after;
            let ends = begins + planned.lasts;
            faults.push(Fault { kind: planned.kind, nodes, begins, ends, is_begun: false });
        }
        Ok(faults)
    }

    /// Returns the nodes that are meant, the most wanted first.
    fn aimed_at(&self, aim: Aim) -> Result<Vec<usize>> {
        let names = self.cluster.names();
        let index = |name: &String| names.iter().position(|other| other == name);
        let player = |player: usize| self.listed().map(|mut all| all.swap_remove(player));
        let wanted: Vec<String> = match aim {
            Aim::Any => Vec::new(),
            Aim::Leader => {
                let nodes = self.cluster.via(&names[0]).try_nodes().map_err(anyhow::Error::msg)?;
                nodes.into_iter().filter(|node| node.leader).map(|node| node.name).collect()
            }
            Aim::Owner(at) => {
                let Listed { owner, keepers, .. } = player(at)?;
                [vec![owner], keepers].concat()
            }
            Aim::Keeper(at) => {
                let Listed { owner, keepers, .. } = player(at)?;
                [keepers, vec![owner]].concat()
            }
        };
        Ok(wanted.iter().filter_map(index).collect())
    }

    fn begin(&mut self, kind: Kind, nodes: &[usize]) -> Result<()> {
        match kind {
            Kind::Kill | Kind::KillTwo => nodes.iter().for_each(|at| self.node(*at).kill()),
            Kind::Stop => self.node(nodes[0]).stop(),
            Kind::LinkDown => self.network.set_link(nodes[0], false)?,
            Kind::OneWay | Kind::Isolate | Kind::CutPair => {
                self.cut.push((kind, nodes.to_vec()));
                self.network.cut(self.cut_ways())?;
            }
            Kind::DiskFull => self.disk_of(nodes[0], |node| node.fill())?,
            Kind::DiskLost => {
                self.node(nodes[0]).kill();
                self.disk_of(nodes[0], |disk| disk.wipe())?;
            }
        }
        Ok(())
    }

    fn end(&mut self, kind: Kind, nodes: &[usize]) -> Result<()> {
        match kind {
            Kind::Kill | Kind::KillTwo | Kind::DiskLost => {
                nodes.iter().for_each(|at| self.node(*at).spawn());
            }
            Kind::Stop => self.node(nodes[0]).cont(),
            Kind::LinkDown => self.network.set_link(nodes[0], true)?,
            Kind::OneWay | Kind::Isolate | Kind::CutPair => {
                self.cut.retain(|cut| *cut != (kind, nodes.to_vec()));
                self.network.cut(self.cut_ways())?;
            }
            Kind::DiskFull => self.disk_of(nodes[0], |disk| disk.make_room())?,
        }
        Ok(())
    }

    /// All ways that no packet passes.
    fn cut_ways(&self) -> BTreeSet<Way> {
        let others = 0..self.cluster.names().len();
        let both = |a: usize, b: usize| [Way { from: a, to: b }, Way { from: b, to: a }];
        let mut ways = BTreeSet::new();
        for (kind, nodes) in &self.cut {
            match kind {
                Kind::OneWay => drop(ways.insert(Way { from: nodes[0], to: nodes[1] })),
                Kind::CutPair => ways.extend(both(nodes[0], nodes[1])),
                Kind::Isolate => {
                    let others = others.clone().filter(|other| *other != nodes[0]);
                    ways.extend(others.flat_map(|other| both(nodes[0], other)));
                }
                Kind::Kill
                | Kind::KillTwo
                | Kind::Stop
                | Kind::LinkDown
                | Kind::DiskFull
                | Kind::DiskLost => {}
            }
        }
        ways
    }

    /// Waits until every node is up and every player runs and has its copies on nodes that are.
    /// Players that were on a disk that is lost must have left it.
    ///
    /// # Errors
    ///
    /// When a node has ended that had no reason to, or when the cluster does not get well in time.
    pub(super) fn settle(&mut self, faults: &[Fault], before: &[Listed]) -> Result<()> {
        let moved = self.moved_from(faults, before);
        let was_full = |at: usize| {
            let mut faults = faults.iter().filter(|fault| fault.nodes.contains(&at));
            faults.any(|fault| fault.kind == Kind::DiskFull)
        };
        let start = Instant::now();
        loop {
            // A node whose disk was full may take its time to give up.
            self.revive(was_full)?;
            self.deploys.finish();
            let settled = self.cluster.try_settled().and_then(|()| self.try_protected(&moved));
            match settled.and_then(|()| self.deploys.try_arrived(&self.cluster)) {
                Ok(()) => return Ok(()),
                Err(reason) if start.elapsed() > WELL_WITHIN => {
                    bail!("the cluster is not well {WELL_WITHIN:?} after all has healed: {reason}");
                }
                Err(_) => wait_until(Instant::now() + LOOK_PAUSE),
            }
        }
    }

    fn revive(&mut self, may_end: impl Fn(usize) -> bool) -> Result<()> {
        for at in 0..self.cluster.names().len() {
            let node = self.node(at);
            let Some(status) = node.collect() else { continue };
            if !may_end(at) {
                bail!("{} ended by itself: {status}\n{}", node.name(), node.log_tail());
            }
            node.spawn();
            self.gave_up += 1;
        }
        Ok(())
    }

    /// The players that had something on a disk that was lost, with their generation before.
    fn moved_from(&self, faults: &[Fault], before: &[Listed]) -> BTreeMap<String, u64> {
        let names = self.cluster.names();
        let lost = faults.iter().filter(|fault| fault.kind == Kind::DiskLost);
        let lost: Vec<&String> = lost.flat_map(|f| f.nodes.iter().map(|at| &names[*at])).collect();
        let was_there = |listed: &&Listed| {
            lost.contains(&&listed.owner) || listed.keepers.iter().any(|name| lost.contains(&name))
        };
        let moved = before.iter().filter(was_there);
        moved.map(|listed| (listed.player.clone(), listed.generation)).collect()
    }

    fn try_protected(&self, moved: &BTreeMap<String, u64>) -> Result<(), String> {
        let names = self.cluster.names();
        let all = self.listed().map_err(|error| format!("{error:#}"))?;
        let is_protected = |listed: &Listed| {
            let has_copy = listed.keepers.iter().any(|name| names.contains(name));
            let left = moved.get(&listed.player).is_none_or(|before| *before < listed.generation);
            has_copy && left
        };
        if let Some(listed) = all.iter().find(|listed| !is_protected(listed)) {
            return Err(format!("not protected: {listed:?}"));
        }
        // Whoever answers has the copies that are named; one that rests is woken up to say so.
        let mut silent = all.iter().filter(|listed| listed.points.is_none());
        silent
            .try_for_each(|listed| self.cluster.via(&names[0]).try_points(&listed.player).map(drop))
    }

    /// Returns all players in their order.
    pub(super) fn listed(&self) -> Result<Vec<Listed>> {
        let names = self.cluster.names();
        let all = self.cluster.via(&names[0]).try_all_players().map_err(anyhow::Error::msg)?;
        let by_name: BTreeMap<String, Listed> =
            all.into_iter().map(|listed| (listed.player.clone(), listed)).collect();
        let find = |at| by_name.get(&super::load::Load::player(at)).cloned();
        let found: Option<Vec<Listed>> = (0..self.players).map(find).collect();
        found.with_context(|| format!("{} players of {}", by_name.len(), self.players))
    }

    fn node(&mut self, at: usize) -> &mut Node {
        let name = self.cluster.names().swap_remove(at);
        self.cluster.node_mut(&name)
    }

    fn disk_of(
        &mut self,
        at: usize,
        action: impl Fn(&crate::chaos::Disk) -> Result<()>,
    ) -> Result<()> {
        let node = self.node(at);
        action(node.disk().context("the node has no disk of its own")?)
    }
}

/// Waits until a moment. Nothing that happens meanwhile could end it.
pub(super) fn wait_until(moment: Instant) {
    while moment.saturating_duration_since(Instant::now()) > Duration::ZERO {
        pause();
    }
}
