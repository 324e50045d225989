//! What holds for the whole cluster: changing it, and who has not heard of the change.
//!
//! A setting counts on a node once that node has applied the entry of the directory's log. So one who
//! changes a setting is answered when all nodes have, and is told of those that have not said so.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Gateway;
use crate::protocol::{
    CallReply, CallRequest, NodeId, NodeName, Reply, Request, SettingsChange, SettingsReport,
};

/// Time for the nodes to hear of a change. The next heartbeat of the directory's leader tells a node
/// that missed it; one that has not heard by then has a problem of its own.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// Pause before a node that has not heard is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

impl Gateway {
    /// Changes what holds for the whole cluster, and waits a moment until every node that is alive
    /// has heard of it; an empty change only asks for it.
    pub(super) async fn configure(&self, change: SettingsChange) -> Result<SettingsReport, String> {
        if change.is_empty() {
            // In this order: the settings are at least as new as what was applied.
            let applied = self.directory.applied_entries();
            let settings = self.directory.settings();
            return Ok(SettingsReport { settings, applied, silent: Vec::new() });
        }
        let before = self.directory.settings();
        let changed = self.directory.configure(change).await.map_err(|error| error.to_string())?;
        let (settings, applied) = changed;
        if settings != before {
            tracing::info!("the cluster's settings are {settings} now, before {before}");
        }
        let silent = self.not_heard(applied).await;
        Ok(SettingsReport { settings, applied, silent })
    }

    /// Waits until all other nodes that are alive have applied that many entries; returns those that
    /// have not said so in time.
    pub(super) async fn not_heard(&self, applied: u64) -> Vec<NodeName> {
        let nodes = self.nodes.borrow().clone();
        let others = nodes.iter().filter(|node| node.status.is_alive() && node.id != self.me.node);
        let heard = others.map(|node| async {
            let heard = timeout(HEARD_WITHIN, self.hears(node.id, applied)).await.is_ok();
            (!heard).then(|| node.name.clone())
        });
        futures_util::future::join_all(heard).await.into_iter().flatten().collect()
    }

    /// Asks a node until it has applied that many entries.
    async fn hears(&self, node: NodeId, applied: u64) {
        loop {
            let ask = CallRequest::Configure(SettingsChange::default());
            if let Ok(Reply::Call(CallReply::Settings(Ok(report)))) =
                self.links.send(node, Request::Call(ask)).await
                && report.applied >= applied
            {
                return;
            }
            sleep(ASK_AGAIN).await;
        }
    }
}
