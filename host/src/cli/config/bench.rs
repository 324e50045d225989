//! What `host bench` is told, checked.

use std::time::Duration;

use super::{Place, UsageError, check_address, read_guest};
use crate::cli::args::{BenchArgs, Through};
use crate::cli::bench::{BenchSettings, Load, Target};
use crate::cli::client::{Patience, Reach};
use crate::cli::cluster::{ClusterSettings, FirstNode};
use crate::limits::{CALL_DEADLINE, NODES_MAX};
use crate::protocol::{Settings, SettingsChange};

/// What the nodes of a measured cluster log unless somebody says otherwise: lines cost time.
const LOG_OF_NODES: &str = "warn,openraft=off";

pub(super) fn bench(
    args: BenchArgs,
    log: Option<String>,
    place: &Place,
) -> Result<BenchSettings, UsageError> {
    let BenchArgs { players, callers, seconds, hot, payload, rate, through, inside, .. } = args;
    let through = match (inside, through) {
        (false, through) => through,
        (true, Through::Owner | Through::Inside) => Through::Inside,
        (true, Through::Any | Through::Wrong) => return Err(UsageError::InsideOwner),
    };
    let time = Duration::from_secs(seconds.into());
    let load = Load { players, callers, time, hot, payload, rate, through };
    if !args.node.is_empty() {
        if inside {
            return Err(UsageError::InsideRunning);
        }
        let own = [
            ("--nodes", args.nodes.is_some()),
            ("--guest", args.guest.is_some()),
            ("--keepers", args.keepers.is_some()),
            ("--ack", args.ack.is_some()),
        ];
        if let Some((flag, _)) = own.into_iter().find(|(_, given)| *given) {
            return Err(UsageError::RunningCluster { flag });
        }
        args.node.iter().try_for_each(|node| check_address(node))?;
        let (targets, patience) = (args.node, Patience::UntilDeadline);
        let reach = Reach { targets, patience, deadline: CALL_DEADLINE };
        let target = Target::Running { reach, secret: place.secret()? };
        return Ok(BenchSettings { load, target });
    }
    let settings = SettingsChange::parse(args.keepers.as_deref(), args.ack.as_deref())?;
    let keepers = settings.keepers.unwrap_or(Settings::default().keepers).into();
    let nodes = args.nodes.unwrap_or(1 + keepers);
    if !(2..=NODES_MAX).contains(&nodes) {
        return Err(UsageError::BenchNodeCount { given: nodes });
    }
    if keepers >= nodes {
        return Err(UsageError::KeeperCount { nodes, keepers });
    }
    args.guest.as_deref().map(read_guest).transpose()?;
    let log = log.or_else(|| Some(LOG_OF_NODES.to_owned()));
    let first = if inside { FirstNode::Here } else { FirstNode::Child };
    let target =
        Target::Own(ClusterSettings { nodes, first, guest: args.guest, settings, http: None, log });
    Ok(BenchSettings { load, target })
}
