//! What who writes a guest wants to run, checked.

use std::net::SocketAddr;

use super::{UsageError, read_guest};
use crate::cli::args::DevArgs;
use crate::cli::cluster::{ClusterSettings, FirstNode};
use crate::cli::dev::DevSettings;
use crate::cli::workshop::Workshop;
use crate::limits::NODES_MAX;
use crate::protocol::SettingsChange;

/// Checks a cluster to be run here.
///
/// # Errors
///
/// `UsageError`.
pub(super) fn dev(args: DevArgs, log: Option<String>) -> Result<DevSettings, UsageError> {
    let DevArgs { nodes, guest, http, watch: watches } = args;
    if !(1..=NODES_MAX).contains(&nodes) {
        return Err(UsageError::NodeCount { given: nodes });
    }
    let folder = guest.as_deref().filter(|guest| guest.is_dir());
    let workshop = folder.map(Workshop::open).transpose()?;
    let guest = guest.filter(|_| workshop.is_none());
    if watches && workshop.is_none() {
        return Err(UsageError::NothingToWatch);
    }
    // Read here only to say at once what each node would say later.
    guest.as_deref().map(read_guest).transpose()?;
    let (first, settings) = (FirstNode::Child, SettingsChange::default());
    let http = http.map(|given| http_of_all(given, nodes)).transpose()?;
    let cluster = ClusterSettings { nodes, first, guest, settings, http, log };
    Ok(DevSettings { cluster, workshop, watches })
}

/// Where the nodes of a throw-away cluster speak HTTP: the first one here, the others on the ports that
/// follow. Nobody has a token for it, so it is for this machine only.
fn http_of_all(given: String, nodes: usize) -> Result<SocketAddr, UsageError> {
    let first: Option<SocketAddr> =
        given.parse().ok().filter(|it: &SocketAddr| it.ip().is_loopback());
    let last = |it: &SocketAddr| usize::from(it.port()) + nodes - 1;
    first.filter(|it| last(it) <= usize::from(u16::MAX)).ok_or(UsageError::DevHttp { given, nodes })
}
