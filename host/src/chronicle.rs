//! What has happened on this node lately, for people who follow it and for counters.
//!
//! A ring of the last items, bounded: a reader that is too slow misses the oldest. When very much of one
//! kind happens in a second, as when a node with a hundred thousand players dies, some are told one by
//! one and the rest as a number.
//!
//! What this room does not do: say anything that decides something. Who misses it misses words.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock;
use crate::limits::{NEWS_A_SECOND_MAX, NEWS_KEPT_MAX};
use crate::protocol::{News, NewsItem, NodeName};

const KINDS: usize = News::KINDS.len();

/// What has happened on one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chronicle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: NodeName,
    told: Mutex<Told>,
    /// The number of the newest item.
    newest: watch::Sender<u64>,
    counts: [AtomicU64; KINDS],
    /// Bytes of players' states that went to other nodes.
    replicated: AtomicU64,
}

#[derive(Debug)]
struct Told {
    items: VecDeque<NewsItem>,
    next: u64,
    /// The second that is counted in.
    second: u64,
    /// How many of each kind happened in it.
    seen: [u64; KINDS],
}

impl Chronicle {
    /// Returns an empty one. Numbers go on from the time, so that those of the next start are larger.
    pub fn new(node: NodeName) -> Self {
        let next = clock::unix_millis() * 1000;
        let (items, second, seen) = (VecDeque::new(), 0, [0; KINDS]);
        let told = Mutex::new(Told { items, next, second, seen });
        let (newest, counts) = (watch::Sender::new(next), [const { AtomicU64::new(0) }; KINDS]);
        let replicated = AtomicU64::new(0);
        Self(Arc::new(Inner { node, told, newest, counts, replicated }))
    }

    /// Tells what has happened.
    pub fn tell(&self, news: News) {
        self.tell_at(news, clock::unix_millis());
    }

    fn tell_at(&self, news: News, millis: u64) {
        let Inner { node, newest, counts, .. } = &*self.0;
        let kind = news.kind();
        counts[kind].fetch_add(1, Ordering::Relaxed);
        let mut told = self.told();
        told.settle(node, millis);
        told.seen[kind] += 1;
        if told.seen[kind] <= NEWS_A_SECOND_MAX {
            told.push(node, millis, news);
        }
        let next = told.next;
        drop(told);
        newest.send_replace(next);
    }

    /// Returns what has happened after that number, so many items at most, and the number to ask for
    /// next.
    pub fn after(&self, number: u64, most: usize) -> (Vec<NewsItem>, u64) {
        let mut told = self.told();
        told.settle(&self.0.node, clock::unix_millis());
        let from = told.items.partition_point(|item| item.number < number);
        let mut items = told.items.range(from..);
        let some = items.by_ref().take(most).cloned().collect();
        (some, items.next().map_or(told.next, |more| more.number))
    }

    /// Returns the number to ask for to learn what happens from now on.
    pub fn now(&self) -> u64 {
        self.told().next
    }

    /// Says when something has happened.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Returns how often each kind has happened since the node started, by the kinds' words.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        News::KINDS.into_iter().zip(counts)
    }

    /// Counts bytes of players' states that go to another node.
    pub fn replicated(&self, bytes: usize) {
        self.0.replicated.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns how many bytes of players' states have gone to other nodes since the node started.
    pub fn replicated_bytes(&self) -> u64 {
        self.0.replicated.load(Ordering::Relaxed)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Sums up the seconds that are over.
    fn settle(&mut self, node: &NodeName, millis: u64) {
        let second = millis / 1000;
        if second == self.second {
            return;
        }
        self.second = second;
        let seen = std::mem::replace(&mut self.seen, [0; KINDS]);
        for (kind, seen) in seen.into_iter().enumerate() {
            if let Some(count) = seen.checked_sub(NEWS_A_SECOND_MAX).filter(|count| *count > 0) {
                let kind = News::KINDS[kind].to_owned();
                self.push(node, millis, News::More { count, kind });
            }
        }
    }

    fn push(&mut self, node: &NodeName, millis: u64, news: News) {
        if self.items.len() == NEWS_KEPT_MAX {
            self.items.pop_front();
        }
        let number = self.next;
        self.next += 1;
        self.items.push_back(NewsItem { number, millis, node: node.clone(), news });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chronicle() -> Chronicle {
        Chronicle::new("app_node1".parse().unwrap())
    }

    fn released(player: usize) -> News {
        News::Released { player: format!("player{player}").parse().unwrap() }
    }

    #[test]
    fn a_reader_hears_of_everything_once_and_in_order() {
        let chronicle = chronicle();
        let start = chronicle.now();
        assert_eq!(chronicle.after(start, NEWS_KEPT_MAX), (Vec::new(), start));
        (0..3).for_each(|player| chronicle.tell_at(released(player), 5));
        let (items, next) = chronicle.after(start, NEWS_KEPT_MAX);
        let news: Vec<News> = items.into_iter().map(|item| item.news).collect();
        assert_eq!(news, [released(0), released(1), released(2)]);
        chronicle.tell_at(released(3), 6);
        let (items, after) = chronicle.after(next, NEWS_KEPT_MAX);
        assert_eq!((items.len(), items[0].number, after), (1, next, next + 1));
    }

    #[test]
    fn too_many_of_a_kind_are_a_number() {
        let chronicle = chronicle();
        let start = chronicle.now();
        let many = usize::try_from(NEWS_A_SECOND_MAX).unwrap() + 7;
        (0..many).for_each(|player| chronicle.tell_at(released(player), 5000));
        let of_another_kind = News::Down { node: "app_node2".parse().unwrap() };
        chronicle.tell_at(of_another_kind.clone(), 5999);
        let (items, _) = chronicle.after(start, NEWS_KEPT_MAX);
        let news: Vec<News> = items.into_iter().map(|item| item.news).collect();
        // Whoever asks sees the second that is over summed up.
        let (more, told) = (&news[news.len() - 1], &news[..news.len() - 2]);
        assert_eq!(told.len() as u64, NEWS_A_SECOND_MAX);
        assert_eq!(news[news.len() - 2], of_another_kind);
        assert_eq!(*more, News::More { count: 7, kind: "released".to_owned() });
        let counted: Vec<_> = chronicle.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("down", 1), ("released", many as u64)]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let chronicle = chronicle();
        let start = chronicle.now();
        let seconds = NEWS_KEPT_MAX as u64 + 10;
        (0..seconds).for_each(|second| chronicle.tell_at(released(1), second * 1000));
        let (items, next) = chronicle.after(start, NEWS_KEPT_MAX);
        assert_eq!((items.len(), next), (NEWS_KEPT_MAX, start + seconds));
        assert_eq!(items[0].number, start + 10);
    }

    #[test]
    fn who_takes_some_goes_on_with_the_rest() {
        let chronicle = chronicle();
        let start = chronicle.now();
        (0..3).for_each(|player| chronicle.tell_at(released(player), 5));
        let (items, next) = chronicle.after(start, 2);
        assert_eq!((items.len(), next), (2, start + 2));
        let (items, next) = chronicle.after(next, 2);
        assert_eq!((items[0].number, items.len(), next), (start + 2, 1, start + 3));
    }

    #[test]
    fn each_kind_has_its_word() {
        let node: NodeName = "app_node1".parse().unwrap();
        assert_eq!(News::Joined { node }.word(), "joined");
        assert_eq!(released(1).word(), "released");
        assert_eq!(News::More { count: 1, kind: "down".to_owned() }.word(), "more");
        let deployed = News::Deployed { deployment: 1, name: "n".to_owned() };
        assert_eq!((deployed.word(), deployed.is_seen_by_all()), ("deployed", true));
    }
}
