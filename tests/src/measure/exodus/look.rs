//! Looks at the players as the directory says and as they say themselves.
//!
//! To list them all again and again would be a load of its own. The nodes help their players in
//! order: only the last ones are watched, and all are listed once afterwards.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use host::net::Connection;
use host::protocol::{
    CallReply, CallRequest, NodeName, Operation, PlayerId, PlayerListing, Reply, Request,
};
use tokio::time::{sleep, timeout};

use super::player;
use crate::measure::calm::value;
use crate::wait::PATIENCE;

/// Players at the end of the order that are watched: more than the nodes open at the same time.
const WATCHED: usize = 100;
/// Pause between two looks at them.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for all copies: to say when to give up, far above what is wanted.
const HEALED_MAX: Duration = Duration::from_secs(600);

/// Players that are asked at the same time.
const ASKED_AT_ONCE: usize = 256;

/// The many players after the death of their owner.
pub(super) struct Healing<'a> {
    /// To a node that lives.
    pub(super) connection: &'a Connection,
    /// The node that does not.
    pub(super) dead: &'a NodeName,
    /// How many they are.
    pub(super) players: usize,
}

/// What a listing of all players has found.
pub(super) struct Confirmed {
    /// When the last of those was seen complete that were not at the first look.
    pub(super) last_short: Option<Instant>,
    /// When it ended.
    pub(super) at: Instant,
}

impl Healing<'_> {
    /// Waits until the last players in order have two copies.
    pub(super) async fn await_last(&self) -> Result<()> {
        let first = self.players.saturating_sub(WATCHED);
        let after = first.checked_sub(1).map(player);
        let expected = self.players - first;
        let begin = Instant::now();
        loop {
            let (listed, _) = page(self.connection, after.clone()).await?;
            let complete = listed.iter().rev().take(expected).filter(|one| self.is_complete(one));
            if complete.count() == expected {
                return Ok(());
            }
            ensure!(begin.elapsed() < HEALED_MAX, "not all have two copies: {:?}", listed.last());
            sleep(PAUSE).await;
        }
    }

    /// Lists all players, each until it has two copies, and compares their points with what they
    /// should be.
    pub(super) async fn confirm(&self, points: impl Fn(usize) -> i64) -> Result<Confirmed> {
        let (begin, mut after, mut number) = (Instant::now(), None, 0);
        let (mut last_short, mut short) = (None, false);
        let mut resting = Vec::new();
        loop {
            let (listed, more) = page(self.connection, after.clone()).await?;
            let many = || listed.iter().filter(|one| one.player.as_str().starts_with("many-"));
            if let Some(one) = many().find(|one| !self.is_complete(one)) {
                ensure!(begin.elapsed() < HEALED_MAX, "it stays without two copies: {one:?}");
                short = true;
                sleep(PAUSE).await;
                continue;
            }
            if std::mem::take(&mut short) {
                last_short = Some(Instant::now());
            }
            for one in many() {
                ensure!(one.player == player(number), "player {number} is lost: {one:?}");
                match one.points {
                    Some(has) => ensure!(has == points(number), "{one:?} has a wrong total"),
                    None => resting.push(number),
                }
                number += 1;
            }
            after = listed.last().map(|one| one.player.clone());
            if !more {
                break;
            }
        }
        let at = Instant::now();
        ensure!(number == self.players, "only {number} of {} players are left", self.players);
        let asked = stream::iter(resting).map(async |number| {
            let has = value(self.connection, player(number), Operation::Points).await?;
            ensure!(has == points(number), "player {number} has {has} points");
            Ok(())
        });
        asked.buffer_unordered(ASKED_AT_ONCE).try_collect::<()>().await?;
        Ok(Confirmed { last_short, at })
    }

    /// Whether a player has a copy on its owner's node and one on another. One that runs answers
    /// only then, and rests only then.
    fn is_complete(&self, listed: &PlayerListing) -> bool {
        let PlayerListing { owner, keepers, running, points, .. } = listed;
        let kept = !keepers.is_empty() && !keepers.contains(self.dead);
        owner != self.dead && kept && (points.is_some() || !running)
    }
}

/// Lists the players after `after` in order, through a node, once all nodes say something. Returns
/// whether there are more.
pub(super) async fn page(
    connection: &Connection,
    after: Option<PlayerId>,
) -> Result<(Vec<PlayerListing>, bool)> {
    let begin = Instant::now();
    loop {
        let request = CallRequest::Players { all: true, after: after.clone() };
        let reply = timeout(PATIENCE, connection.ask(Request::Call(request))).await??;
        match reply {
            Reply::Call(CallReply::Players { players, more, silent }) if silent.is_empty() => {
                return Ok((players, more));
            }
            // A node that died a moment ago is still taken for alive, or one is busy.
            Reply::Call(CallReply::Players { .. }) if begin.elapsed() < PATIENCE => {
                sleep(PAUSE).await;
            }
            other => bail!("there is no listing: {other:?}"),
        }
    }
}
