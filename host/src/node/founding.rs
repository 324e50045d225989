//! Equals that wait for a cluster to begin: what they ask, and what they answer.
//!
//! The rule is [`Founding`]'s. Here each entry of the list is looked up, its node is asked, and what is
//! promised is written down first. An entry with this node behind it is found by what it answers, for
//! people may name it by another address than the one that it listens on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;

use super::joining::{self, SOMETHING_ELSE};
use crate::directory::Directory;
use crate::membership::Founding;
use crate::net::{Endpoint, resolve};
use crate::protocol::{
    MemberReply, MemberRequest, Muster, Mustered, NodeId, NodeName, Stance, Writer,
};
use crate::storage::{Store, StoreError};

/// What a node is told that is not on its own list.
const NOT_LISTED: &str = "no entry of --join leads to this node, so it begins nothing with the others: \
                          name it, too, and the same on each node";

/// How this node stands to a cluster, and what it has promised. Answers while the node waits, too.
#[derive(Debug)]
pub(super) struct Hall {
    me: NodeId,
    name: NodeName,
    directory: Directory,
    store: Store,
    /// Nothing if it never begins a cluster with others.
    founding: Option<Mutex<Founding>>,
}

/// How one round of asking ended.
#[derive(Debug)]
pub(super) enum Mustering {
    /// This node begins the cluster.
    Begins,
    /// Some node is in a cluster: it is to be joined.
    Exists,
    /// Not yet; what is missing.
    Waits(Vec<String>),
}

/// A node that was reached.
struct Reached {
    addr: SocketAddr,
    name: NodeName,
    stance: Stance,
}

impl Hall {
    /// `expect` is the number of nodes that it waits for before it begins one with them.
    pub(super) fn new(
        me: Writer,
        name: NodeName,
        directory: Directory,
        store: Store,
        list: &[String],
        expect: Option<usize>,
    ) -> Result<Self, StoreError> {
        let founding = match expect {
            Some(expect) => {
                let promised = store.promised()?;
                Some(Mutex::new(Founding::new(me, name.clone(), list, expect, promised)))
            }
            None => None,
        };
        Ok(Self { me: me.node, name, directory, store, founding })
    }

    /// Whether it may begin a cluster with others.
    pub(super) fn is_open(&self) -> bool {
        self.founding.is_some()
    }

    /// Answers another node. What is promised is on disk then.
    pub(super) fn answer(&self, muster: &Muster) -> Result<Mustered, StoreError> {
        let stance = match &self.founding {
            _ if self.directory.is_initialized() => Stance::Member,
            None => Stance::Joins,
            Some(founding) => {
                let mut founding = lock(founding);
                let mut after = founding.clone();
                let stance = after.handle_muster(muster);
                if let Some(promised) = after.promised()
                    && founding.promised() != Some(promised)
                {
                    self.store.promise(promised)?;
                }
                *founding = after;
                stance
            }
        };
        Ok(Mustered { from: self.me, name: self.name.clone(), stance })
    }

    /// Asks all on the list once, and for their promises if it is this node's turn.
    pub(super) async fn round(
        &self,
        endpoint: &Endpoint,
        own: SocketAddr,
        list: &[String],
    ) -> Mustering {
        let Some(founding) = &self.founding else { return Mustering::Exists };
        let muster = lock(founding).muster(false);
        let asked = list.iter().map(|entry| self.ask_entry(endpoint, own, entry, muster));
        let (mut problems, mut reached, mut is_listed) = (Vec::new(), BTreeMap::new(), false);
        for entry in join_all(asked).await {
            match entry {
                Ok((id, None)) => is_listed |= id == self.me,
                Ok((id, Some(one))) => drop(reached.insert(id, one)),
                Err(problem) => problems.push(problem),
            }
        }
        if reached.values().any(|one| matches!(one.stance, Stance::Member)) {
            return Mustering::Exists;
        }
        let waiting = those_that_wait(&mut lock(founding), reached, &mut problems);
        if !is_listed {
            problems.push(NOT_LISTED.to_owned());
            return Mustering::Waits(problems);
        }
        let others: BTreeSet<_> =
            waiting.iter().map(|(id, (_, name))| (name.clone(), *id)).collect();
        if !lock(founding).stand(&others) {
            let names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
            problems.push(match names[..] {
                [] => "no other node waits".to_owned(),
                _ => format!("also waiting: {}", names.join(", ")),
            });
            return Mustering::Waits(problems);
        }
        let muster = lock(founding).muster(true);
        let asked = waiting.into_iter().map(async |(id, (addr, _))| {
            match ask(endpoint, addr, muster).await {
                Ok(Mustered { from, stance: Stance::Waits { promised, .. }, .. }) if from == id => {
                    Some((id, promised))
                }
                Ok(_) | Err(_) => None,
            }
        });
        let promises: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let mut founding = lock(founding);
        if founding.begins(promises) {
            return Mustering::Begins;
        }
        founding.give_up();
        problems.push("not enough of the others let this node begin".to_owned());
        Mustering::Waits(problems)
    }

    /// Asks the node behind an entry. Nothing is returned of it if it is this node.
    async fn ask_entry(
        &self,
        endpoint: &Endpoint,
        own: SocketAddr,
        entry: &str,
        muster: Muster,
    ) -> Result<(NodeId, Option<Reached>), String> {
        let addrs = resolve(entry).await.map_err(|error| format!("{entry}: {error}"))?;
        let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
        for addr in addrs {
            if addr == own {
                found.insert(self.me, None);
                continue;
            }
            match ask(endpoint, addr, muster).await {
                Ok(Mustered { from, .. }) if from == self.me => drop(found.insert(from, None)),
                Ok(Mustered { from, name, stance }) => {
                    found.insert(from, Some(Reached { addr, name, stance }));
                }
                Err(problem) => problems.push(format!("{entry}: {problem}")),
            }
        }
        if found.len() > 1 {
            // Counted as one by this node and as another by that one, two clusters could begin.
            return Err(format!(
                "{entry} leads to {} nodes: each needs an entry of its own",
                found.len()
            ));
        }
        found.pop_first().ok_or_else(|| problems.join("; "))
    }
}

/// Returns those that wait for the same, and says what is wrong with the others.
fn those_that_wait(
    founding: &mut Founding,
    reached: BTreeMap<NodeId, Reached>,
    problems: &mut Vec<String>,
) -> BTreeMap<NodeId, (SocketAddr, NodeName)> {
    let mut waiting = BTreeMap::new();
    for (id, Reached { addr, name, stance }) in reached {
        match stance {
            Stance::Waits { at, list, promised } if founding.is_equal(list) => {
                founding.handle_heard(at);
                if let Some(other) = promised.filter(|promised| promised.node != id) {
                    let other = other.node;
                    problems.push(format!("{name} has let {other} begin, and waits for it"));
                }
                waiting.insert(id, (addr, name));
            }
            Stance::Waits { .. } => problems.push(format!(
                "{name} was started with other --join or another --bootstrap-expect: all must have \
                 the same"
            )),
            Stance::Joins | Stance::Member => problems.push(format!(
                "{name} was started without --bootstrap-expect: it waits to join, too"
            )),
        }
    }
    waiting
}

fn lock(founding: &Mutex<Founding>) -> MutexGuard<'_, Founding> {
    founding.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks a node who it is and how it stands.
pub(super) async fn ask(
    endpoint: &Endpoint,
    addr: SocketAddr,
    muster: Muster,
) -> Result<Mustered, String> {
    match joining::ask(endpoint, addr, MemberRequest::Muster(muster)).await? {
        MemberReply::Mustered(mustered) => Ok(mustered),
        _ => Err(SOMETHING_ELSE.to_owned()),
    }
}
