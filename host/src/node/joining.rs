//! How a node becomes a member: it begins a cluster, joins one, or comes back to its own.
//!
//! ```text
//!   data folder knows a cluster ──► come back to it: ask the members that are known, and --join
//!   no --join                   ──► begin one
//!   --join                      ──► ask until a member takes this node in
//!   --join, --bootstrap-expect  ──► ask who waits and who is a member, until this node begins one
//!                                   (`membership`'s rule) or a member takes it in
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::StartError;
use super::founding::{self, Hall, Mustering};
use crate::clock;
use crate::directory::{AnnounceError, Directory};
use crate::net::{Endpoint, Links, resolve};
use crate::protocol::{
    Announcement, Candidacy, JoinRefusal, MemberReply, MemberRequest, Muster, NodeRecord, Plan,
    Reply, Request, Settings, SettingsChange,
};

/// Time one member has to answer.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// What is said of one that does not speak of membership.
pub(super) const SOMETHING_ELSE: &str = "it answered something else";
/// Pause between two rounds of asking.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// How often a person is told that the node still waits.
const REMIND_INTERVAL: Duration = Duration::from_secs(2);
/// How long another node of the same name may be one that died a moment ago.
const NAME_PATIENCE: Duration = Duration::from_secs(4);

/// What entering needs.
pub(super) struct Cluster<'a> {
    pub(super) directory: &'a Directory,
    pub(super) links: &'a Links,
    pub(super) endpoint: &'a Endpoint,
    pub(super) hall: &'a Hall,
}

/// How one round of asking ended.
enum Round {
    Joined(Vec<NodeRecord>),
    /// It begins a cluster.
    Begins,
    Refused(JoinRefusal),
    /// Nobody could say yes or no; what each said.
    Nobody(Vec<String>),
}

/// Returns once the directory calls this start of this node up.
pub(super) async fn enter(
    cluster: &Cluster<'_>,
    me: &Announcement,
    joins: &[String],
    settings: SettingsChange,
    founding: Plan,
) -> Result<(), StartError> {
    let directory = cluster.directory;
    let returns = directory.is_initialized();
    let begins = if returns || !joins.is_empty() {
        announce(cluster, me, joins, returns).await?
    } else {
        true
    };
    if begins {
        tracing::info!(addr = %me.addr, "beginning a new cluster");
        directory.initialize(me.clone(), settings, founding).await?;
    }
    let mut nodes = directory.watch_nodes();
    let mine = |node: &NodeRecord| {
        node.id == me.id && node.incarnation == me.incarnation && node.status.is_alive()
    };
    loop {
        if timeout(REMIND_INTERVAL, nodes.wait_for(|nodes| nodes.iter().any(mine))).await.is_ok() {
            break;
        }
        tracing::info!("waiting for the directory to arrive here");
    }
    warn_of_other_settings(directory.settings(), settings);
    if returns {
        warn_of_strangers(cluster, me, joins).await;
    }
    Ok(())
}

/// The cluster's settings were chosen when it began. Says so to a person who asked for others now.
fn warn_of_other_settings(hold: Settings, asked: SettingsChange) {
    let after = asked.applied_to(hold).unwrap_or(hold);
    if after != hold {
        tracing::warn!(
            "this node was started with {after}, but the cluster has {hold}, which holds; \
             `host set {after}` changes it for all nodes"
        );
    }
}

/// A data folder belongs to one cluster. Says so to a person who meant to join another one.
async fn warn_of_strangers(cluster: &Cluster<'_>, me: &Announcement, joins: &[String]) {
    let nodes = cluster.directory.nodes();
    let from = Candidacy { node: me.id, incarnation: me.incarnation, attempt: 0 };
    let who = Muster { from, list: 0, asks: false };
    let looks = joins.iter().map(async |join| {
        let addrs = resolve(join).await.unwrap_or_default();
        if addrs.is_empty() || nodes.iter().any(|node| addrs.contains(&node.addr)) {
            return;
        }
        // A member may be named by another address than the one that it listens on.
        let asked = addrs.iter().map(|addr| founding::ask(cluster.endpoint, *addr, who));
        let mut answers = join_all(asked).await.into_iter().flatten();
        if !answers.any(|answer| nodes.iter().any(|node| node.id == answer.from)) {
            tracing::warn!(
                "{join} is not in the cluster that the data folder belongs to, and was not joined; \
                 to join it, start with another --data-dir"
            );
        }
    });
    // All at once: this node does not serve before.
    join_all(looks).await;
}

/// Asks one member after the other until one takes this node in. Returns whether this node is to begin
/// a cluster instead.
async fn announce(
    cluster: &Cluster<'_>,
    me: &Announcement,
    joins: &[String],
    returns: bool,
) -> Result<bool, StartError> {
    let started = clock::now();
    let mut reminded = None;
    loop {
        let round = if cluster.hall.is_open() && !returns {
            muster(cluster, me, joins).await
        } else {
            ask_all(cluster, me, joins).await
        };
        let problems = match round {
            Round::Begins => return Ok(true),
            Round::Joined(nodes) => {
                let others = nodes.into_iter().filter(|node| node.id != me.id);
                cluster.links.update(&others.collect::<Vec<_>>());
                return Ok(false);
            }
            Round::Refused(refusal @ JoinRefusal::NameTaken { .. })
                if clock::now().duration_since(started) < NAME_PATIENCE =>
            {
                vec![super::refusal(&refusal)]
            }
            Round::Refused(refusal) => return Err(StartError::Refused(refusal)),
            Round::Nobody(problems) => problems,
        };
        let now = clock::now();
        if reminded.is_none_or(|at| now.duration_since(at) >= REMIND_INTERVAL) {
            reminded = Some(now);
            let problems = problems.join("; ");
            tracing::warn!(problems, "not a member yet, asking again");
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// Asks who waits for a cluster, too, and to be taken in as soon as there is one.
async fn muster(cluster: &Cluster<'_>, me: &Announcement, joins: &[String]) -> Round {
    match cluster.hall.round(cluster.endpoint, me.addr, joins).await {
        Mustering::Begins => Round::Begins,
        Mustering::Exists => ask_all(cluster, me, joins).await,
        Mustering::Waits(problems) => Round::Nobody(problems),
    }
}

/// Asks the members that the data folder knows, then those that were named to join through.
async fn ask_all(cluster: &Cluster<'_>, me: &Announcement, joins: &[String]) -> Round {
    let mut problems = Vec::new();
    // A cluster that was stopped as a whole has this node among its voters: it may lead.
    match cluster.directory.announce(me.clone()).await {
        Ok(nodes) => return Round::Joined(nodes),
        Err(AnnounceError::Refused(JoinRefusal::NotNow { .. }) | AnnounceError::NotLeader(_)) => {}
        Err(AnnounceError::Refused(refusal)) => return Round::Refused(refusal),
    }
    let known = cluster.directory.nodes();
    let known = known.iter().filter(|node| node.id != me.id).map(|node| node.addr);
    let mut addrs: Vec<(SocketAddr, String)> = known.map(|addr| (addr, addr.to_string())).collect();
    for join in joins {
        match resolve(join).await {
            Ok(found) => addrs.extend(found.into_iter().map(|addr| (addr, join.clone()))),
            Err(error) => problems.push(format!("{join}: {error}")),
        }
    }
    addrs.retain(|(addr, _)| *addr != me.addr);
    addrs.sort();
    addrs.dedup_by_key(|(addr, _)| *addr);
    for (addr, asked) in addrs {
        match ask(cluster.endpoint, addr, MemberRequest::Join(me.clone())).await {
            Ok(MemberReply::Joined { nodes }) => return Round::Joined(nodes),
            Ok(MemberReply::Refused(JoinRefusal::NotNow { reason })) => {
                problems.push(format!("{asked}: {reason}"));
            }
            Ok(MemberReply::Refused(refusal)) => return Round::Refused(refusal),
            Ok(MemberReply::Pong { .. } | MemberReply::Noted | MemberReply::Mustered(_)) => {
                problems.push(format!("{asked}: {SOMETHING_ELSE}"));
            }
            Err(problem) => problems.push(format!("{asked}: {problem}")),
        }
    }
    if problems.is_empty() {
        problems.push("no other member is known; name one with --join".to_owned());
    }
    Round::Nobody(problems)
}

/// Asks a node that may be a member.
pub(super) async fn ask(
    endpoint: &Endpoint,
    addr: SocketAddr,
    request: MemberRequest,
) -> Result<MemberReply, String> {
    let asked = async {
        let connection = endpoint.dial(addr, None).await.map_err(|error| error.to_string())?;
        let asked = connection.ask(Request::Member(request));
        match asked.await.map_err(|error| error.to_string())? {
            Reply::Member(reply) => Ok(reply),
            Reply::Busy => Err("it is busy".to_owned()),
            Reply::Directory(_) | Reply::Keeper(_) | Reply::Call(_) | Reply::Unrelayed(_) => {
                Err(SOMETHING_ELSE.to_owned())
            }
        }
    };
    let late = |_| Err(format!("no answer within {ASK_DEADLINE:?}"));
    timeout(ASK_DEADLINE, asked).await.unwrap_or_else(late)
}
