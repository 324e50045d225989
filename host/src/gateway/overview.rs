//! The whole cluster at one look: one node asks the others, so that whoever watches asks only one.

use std::time::Duration;

use futures_util::future;
use tokio::time::timeout;

use super::{Gateway, Listing, ListingPage, Places};
use crate::limits::{NEWS_IN_REPLY_MAX, NEWS_KEPT_MAX, PLAYERS_LOOKED_AT_MAX};
use crate::protocol::{NewsItem, NodeId, NodeName, Overview, PlayerId, PlayersPage};

/// Time that a node has to tell its news.
const NEWS_WITHIN: Duration = Duration::from_secs(1);

/// Replies with news that are asked of one node for one look: all that it remembers, and one for what
/// has happened meanwhile.
const REPLIES_MAX: usize = NEWS_KEPT_MAX / NEWS_IN_REPLY_MAX + 1;

impl Gateway {
    /// Returns how the cluster stands, with what has happened since these places; without any, with
    /// what is remembered.
    pub(super) async fn overview(&self, after: Vec<(NodeId, u64)>) -> Overview {
        let ((stats, silent), (news, places)) =
            future::join(self.stats_everywhere(), self.news_everywhere(after)).await;
        let mut nodes = self.nodes.borrow().to_vec();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let (asked, leader) = (self.name.clone(), self.directory.leader());
        Overview { asked, nodes, leader, stats, silent, news, places }
    }

    /// Returns what has happened on each node that is alive, and where to go on.
    async fn news_everywhere(
        &self,
        after: Vec<(NodeId, u64)>,
    ) -> (Vec<NewsItem>, Vec<(NodeId, u64)>) {
        let mut places: Places = after.into_iter().collect();
        let nodes = self.nodes.borrow().clone();
        // Places of nodes that were never here are nobody's.
        places.retain(|place, _| nodes.iter().any(|node| node.id == *place));
        let alive = nodes.iter().filter(|node| node.status.is_alive());
        let parts = alive.map(|node| {
            let place = places.get(&node.id).copied().unwrap_or(0);
            self.news_since(node.id, place)
        });
        let mut news = Vec::new();
        for (node, items, place) in future::join_all(parts).await {
            news.extend(items);
            places.insert(node, place);
        }
        news.sort_by_key(|item| item.millis);
        let old = news.len().saturating_sub(NEWS_IN_REPLY_MAX);
        (news.split_off(old), places.into_iter().collect())
    }

    /// Returns the newest of what has happened on a node since a place, and where to go on. A node that
    /// does not answer is asked from there the next time.
    async fn news_since(&self, node: NodeId, mut place: u64) -> (NodeId, Vec<NewsItem>, u64) {
        let mut news = Vec::new();
        let asking = async {
            for _ in 0..REPLIES_MAX {
                let Some((items, next)) = self.news_from(node, Some(place), 0).await else { break };
                let is_all = next == place;
                place = next;
                news.extend(items);
                if is_all {
                    break;
                }
            }
        };
        // What was told until then counts.
        drop(timeout(NEWS_WITHIN, asking).await);
        (node, news, place)
    }

    /// Lists players that a node owns, with their points and positions where they run.
    ///
    /// # Errors
    ///
    /// The names of the nodes that there are, when there is none of that name.
    pub(super) async fn players_of(
        &self,
        node: NodeName,
        after: Option<PlayerId>,
        limit: u16,
    ) -> Result<PlayersPage, Vec<NodeName>> {
        let limit = usize::from(limit).min(PLAYERS_LOOKED_AT_MAX);
        let ListingPage { players, next, .. } =
            self.list_players(&Listing { on: Some(node), after, limit }).await?;
        Ok(PlayersPage { players, next })
    }
}
