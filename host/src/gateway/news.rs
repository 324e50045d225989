//! Following what happens in the cluster, through any node.
//!
//! Each node tells its own items. A feed asks each node that is alive what is new there, waits for the
//! first that has something, and asks that one again. What every node sees is told by the asked one only.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Gateway;
use crate::chronicle::Chronicle;
use crate::limits::NEWS_IN_REPLY_MAX;
use crate::protocol::{CallReply, CallRequest, NewsItem, NodeId, NodeRecord, Reply, Request};

/// How long a node waits for something to tell.
const WAIT_MS: u64 = 5000;

/// Longest that anybody may have a node wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Time that a node has to say where its news stand.
const BEGIN_WITHIN: Duration = Duration::from_secs(1);

/// Pause before a node that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where a reader is in what each node tells.
pub type Places = BTreeMap<NodeId, u64>;

/// What happens in the cluster from some moment on.
pub struct Feed {
    gateway: Gateway,
    nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
    places: Places,
    asked: FuturesUnordered<Pin<Box<dyn Future<Output = Told> + Send>>>,
    waiting: Vec<NodeId>,
}

/// What a node said, and where to go on; nothing if it did not answer.
struct Told {
    node: NodeId,
    items: Vec<NewsItem>,
    next: Option<u64>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Returns what happens from now on, or from these places on as far as it is remembered.
    pub fn follow(&self, places: Places) -> Feed {
        let (gateway, nodes) = (self.clone(), self.nodes.clone());
        Feed { gateway, nodes, places, asked: FuturesUnordered::new(), waiting: Vec::new() }
    }

    /// What has happened on this node.
    pub fn chronicle(&self) -> &Chronicle {
        &self.chronicle
    }

    /// Tells what is new here after a number, and waits for it if nothing is. Without a number it tells
    /// only where to begin.
    pub(super) async fn news_here(&self, after: Option<u64>, wait_ms: u64) -> CallReply {
        let Some(after) = after else {
            return CallReply::News { items: Vec::new(), next: self.chronicle.now() };
        };
        let mut newest = self.chronicle.watch();
        let wait = Duration::from_millis(wait_ms).min(WAIT_MAX);
        // The sender lives as long as this node does.
        drop(timeout(wait, newest.wait_for(|newest| *newest > after)).await);
        let (items, next) = self.chronicle.after(after, NEWS_IN_REPLY_MAX);
        CallReply::News { items, next }
    }

    async fn news_of(&self, node: NodeId, after: Option<u64>) -> Told {
        let wait_ms = if after.is_none() { 0 } else { WAIT_MS };
        match self.news_from(node, after, wait_ms).await {
            Some((items, next)) => Told { node, items, next: Some(next) },
            None => {
                sleep(ASK_AGAIN).await;
                Told { node, items: Vec::new(), next: None }
            }
        }
    }

    /// Asks a node for what is new there, without what every node sees unless it is this one. `None`: it
    /// does not answer.
    pub(super) async fn news_from(
        &self,
        node: NodeId,
        after: Option<u64>,
        wait_ms: u64,
    ) -> Option<(Vec<NewsItem>, u64)> {
        let here = node == self.me.node;
        let reply = if here {
            Some(self.news_here(after, wait_ms).await)
        } else {
            let request = Request::Call(CallRequest::News { after, wait_ms });
            match timeout(2 * Duration::from_millis(WAIT_MS), self.links.send(node, request)).await
            {
                Ok(Ok(Reply::Call(reply))) => Some(reply),
                Ok(Ok(_) | Err(_)) | Err(_) => None,
            }
        };
        let Some(CallReply::News { mut items, next }) = reply else { return None };
        items.retain(|item| here || !item.news.is_seen_by_all());
        Some((items, next))
    }
}

impl Feed {
    /// Finds out where to begin on each node that is alive, if nobody has said so: what happens from
    /// then on is told.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was found out is lost, and found out again later.
    pub async fn begin(&mut self) {
        if !self.places.is_empty() {
            return;
        }
        let alive = self.nodes.borrow_and_update().clone();
        let alive = alive.iter().filter(|node| node.status.is_alive());
        let asked = alive.map(|node| timeout(BEGIN_WITHIN, self.gateway.news_of(node.id, None)));
        for told in futures_util::future::join_all(asked).await.into_iter().flatten() {
            if let Some(next) = told.next {
                self.places.insert(told.node, next);
            }
        }
    }

    /// Where the reader is in what each node tells.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Returns the next items of one node, in their order.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not returned is told by the next call.
    pub async fn next(&mut self) -> (NodeId, Vec<NewsItem>) {
        loop {
            self.ask_all();
            let told = tokio::select! {
                Some(told) = self.asked.next() => told,
                // Another node may be there now; this one is asked in any case.
                Ok(()) = self.nodes.changed() => continue,
                else => std::future::pending().await,
            };
            let Told { node, items, next } = told;
            self.waiting.retain(|waiting| *waiting != node);
            if let Some(next) = next {
                self.places.insert(node, next);
            }
            if !items.is_empty() {
                return (node, items);
            }
        }
    }

    /// Asks those that are alive and not asked yet. One that comes later is asked for all that it
    /// remembers: that it came is among it.
    fn ask_all(&mut self) {
        let nodes = self.nodes.borrow_and_update().clone();
        for node in nodes.iter().filter(|node| node.status.is_alive()) {
            if self.waiting.contains(&node.id) {
                continue;
            }
            let after = self.places.get(&node.id).copied().unwrap_or(0);
            self.waiting.push(node.id);
            let (gateway, id) = (self.gateway.clone(), node.id);
            self.asked.push(Box::pin(async move { gateway.news_of(id, Some(after)).await }));
        }
    }
}
