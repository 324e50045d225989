//! What the log says about players: a failover reads as a story of some lines.

use super::machine::Story;
use crate::limits::NEWS_TEXT_BYTES_MAX;
use crate::protocol::{Generation, News, NodeName, PlayerId, Seq, at_most};

/// Who speaks: the room, whichever file of it.
const TARGET: &str = "host::player";

/// The fields that every line about a player has.
pub(super) struct Words<'a> {
    pub(super) player: &'a str,
    pub(super) generation: Generation,
    pub(super) seq: Seq,
}

impl Words<'_> {
    /// Tells a story, to all if it is news, or else to those who look for it.
    pub(super) fn tell(&self, story: &Story, news: bool) {
        let Self { player, generation, seq } = self;
        macro_rules! say {
            ($($field:ident = $value:expr,)* $text:literal) => {
                if news {
                    tracing::info!(target: TARGET, player, %generation, %seq, $($field = $value,)* $text)
                } else {
                    tracing::debug!(target: TARGET, player, %generation, %seq, $($field = $value,)* $text)
                }
            };
        }
        match story {
            Story::Claiming { from } => {
                say!(peer = from.as_str(), "claiming from its former owner")
            }
            Story::Claimed => say!("claimed: older owners are fenced"),
            Story::Fetched { from, .. } => say!(peer = from.as_str(), "fetched its state"),
            Story::KeeperLost { keeper, reason } => {
                say!(peer = keeper.as_str(), reason = reason.as_str(), "lost a keeper");
            }
            Story::Seeding { to } => say!(peer = join(to), "seeding a full copy"),
            Story::Trying { node } => {
                say!(peer = node.as_str(), "trying a node that took no copy")
            }
            Story::TookNone { node, reason } => {
                say!(peer = node.as_str(), reason = reason.as_str(), "it took none again");
            }
            Story::Named { keepers } => {
                say!(peer = join(keepers), "the directory names its keepers")
            }
            Story::Alone => say!("no other node can keep a copy"),
            Story::Serving { .. } => say!("serving"),
            Story::Restarted { message, micros, .. } => {
                let cause = message.as_str();
                tracing::info!(target: TARGET, player, %generation, %seq, micros, cause, "trapped and restored");
            }
            Story::Accepted { from, seq: accepted } => {
                let peer = from.as_str();
                tracing::warn!(
                    target: TARGET,
                    player, %generation, peer, %accepted,
                    "an operator accepts a copy that may miss acknowledged calls"
                );
            }
            Story::Migrated { from, to, .. } => say!(
                from = tracing::field::display(from),
                to = tracing::field::display(to),
                "runs other code"
            ),
            Story::NotMigrated { to, deployment, reason } => {
                let reason = reason.as_str();
                tracing::warn!(
                    target: TARGET,
                    player, %generation, %seq, %to, deployment, reason,
                    "did not come to other code, and goes on with the one that it has"
                );
            }
            Story::NotRestored { reason } => {
                let reason = reason.as_str();
                tracing::error!(target: TARGET, player, %generation, %seq, reason, "its state could not be restored");
            }
            Story::Quarantined { times } => {
                tracing::error!(
                    target: TARGET,
                    player, %generation, %seq, times,
                    "in quarantine: its state is kept, and restored no more until it is released"
                );
            }
            Story::LeftInQuarantine => {
                say!("left in quarantine: it has its copies and no instance")
            }
            Story::Released => {
                tracing::warn!(target: TARGET, player, %generation, %seq, "released from quarantine")
            }
            Story::Forgotten => say!("forgotten: its next call begins a new one"),
            Story::Moving { to, .. } => {
                say!(peer = to.as_str(), "somebody wants it on another node")
            }
            Story::HandedOver { to } => say!(peer = to.as_str(), "handed over"),
            Story::Moved => say!("another node owns it now"),
            Story::Unavailable { holders } => {
                let holders = holders.join(", ");
                tracing::warn!(target: TARGET, player, %generation, holders, "no copy can be used");
            }
        }
    }
}

/// Returns what of a player's story people follow.
pub(super) fn news(player: &PlayerId, generation: Generation, story: &Story) -> Option<News> {
    let player = player.clone();
    let text = |text: &str| at_most(text, NEWS_TEXT_BYTES_MAX).to_owned();
    Some(match story {
        Story::Claiming { from } => News::Claimed { player, from: from.clone() },
        Story::Fetched { from, seq } => News::Restored { player, seq: *seq, from: from.clone() },
        Story::Named { keepers } => News::Reseeded { player, keepers: keepers.clone() },
        Story::Restarted { message, seq, micros } => {
            News::Trapped { player, seq: *seq, message: text(message), micros: *micros }
        }
        Story::HandedOver { to } => News::HandedOver { player, to: to.clone() },
        Story::Unavailable { .. } => News::Unavailable { player },
        Story::Quarantined { times } => News::Quarantined { player, times: *times },
        Story::Released => News::Released { player },
        Story::NotMigrated { deployment, reason, .. } => {
            News::NotMigrated { player, deployment: *deployment, reason: text(reason) }
        }
        Story::Forgotten => News::Forgotten { player, generation },
        Story::Claimed
        | Story::Moving { .. }
        | Story::KeeperLost { .. }
        | Story::Seeding { .. }
        | Story::Trying { .. }
        | Story::TookNone { .. }
        | Story::Alone
        | Story::Serving { .. }
        | Story::Accepted { .. }
        | Story::Migrated { .. }
        | Story::NotRestored { .. }
        | Story::LeftInQuarantine
        | Story::Moved => return None,
    })
}

fn join(names: &[NodeName]) -> String {
    names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}
