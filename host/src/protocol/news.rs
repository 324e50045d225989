//! What happens in a cluster, as people follow it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Generation, NodeName, PlayerId, Seq};

/// Something that happened, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsItem {
    /// Its place among those of its node; larger than all before it, also those of earlier starts.
    pub number: u64,
    /// When, in milliseconds since 1970, by the clock of its node.
    pub millis: u64,
    /// The node that saw it.
    pub node: NodeName,
    /// What happened.
    pub news: News,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// A node is up: it is new, or has come back.
    Joined {
        /// The node.
        node: NodeName,
    },
    /// A node is silent, as another one sees it.
    Suspect {
        /// The node.
        node: NodeName,
    },
    /// A node is down: the directory says so.
    Down {
        /// The node.
        node: NodeName,
    },
    /// A node is going to leave.
    Draining {
        /// The node.
        node: NodeName,
    },
    /// A player has another owner, for its former one is gone.
    Claimed {
        /// The player.
        player: PlayerId,
        /// The owner before.
        from: NodeName,
    },
    /// A player's state was read from a copy.
    Restored {
        /// The player.
        player: PlayerId,
        /// Its position.
        seq: Seq,
        /// The node that had the copy.
        from: NodeName,
    },
    /// The directory names other keepers of a player, and each has its copy.
    Reseeded {
        /// The player.
        player: PlayerId,
        /// Its keepers.
        keepers: Vec<NodeName>,
    },
    /// A guest trapped, and its player was restored.
    Trapped {
        /// The player.
        player: PlayerId,
        /// The position that it was restored to.
        seq: Seq,
        /// Why.
        message: String,
        /// Time from the trap to a player that can be called again, in microseconds.
        micros: u64,
    },
    /// A player was handed over.
    HandedOver {
        /// The player.
        player: PlayerId,
        /// Its owner now.
        to: NodeName,
    },
    /// No copy of a player can be used.
    Unavailable {
        /// The player.
        player: PlayerId,
    },
    /// A player is not restored any more.
    Quarantined {
        /// The player.
        player: PlayerId,
        /// How many restores in a row have failed.
        times: u32,
    },
    /// A player is out of quarantine.
    Released {
        /// The player.
        player: PlayerId,
    },
    /// A player did not come to other code.
    NotMigrated {
        /// The player.
        player: PlayerId,
        /// The deployment that wanted it.
        deployment: u64,
        /// Why.
        reason: String,
    },
    /// A player is no more.
    Forgotten {
        /// The player.
        player: PlayerId,
        /// Its ownership number.
        generation: Generation,
    },
    /// Other code was deployed.
    Deployed {
        /// The deployment.
        deployment: u64,
        /// What people call it.
        name: String,
    },
    /// A deployment was taken back.
    TakenBack {
        /// The deployment.
        deployment: u64,
        /// Why.
        reason: String,
    },
    /// More of a kind happened in a second than anybody wants to read one by one.
    More {
        /// How many more.
        count: u64,
        /// The kind's word.
        kind: String,
    },
}

impl News {
    /// The kinds, by their words.
    pub const KINDS: [&'static str; 17] = [
        "joined",
        "suspect",
        "down",
        "draining",
        "claimed",
        "restored",
        "reseeded",
        "trapped",
        "handed_over",
        "unavailable",
        "quarantined",
        "released",
        "not_migrated",
        "forgotten",
        "deployed",
        "taken_back",
        "more",
    ];

    /// Returns the place of its kind among [`News::KINDS`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Joined { .. } => 0,
            Self::Suspect { .. } => 1,
            Self::Down { .. } => 2,
            Self::Draining { .. } => 3,
            Self::Claimed { .. } => 4,
            Self::Restored { .. } => 5,
            Self::Reseeded { .. } => 6,
            Self::Trapped { .. } => 7,
            Self::HandedOver { .. } => 8,
            Self::Unavailable { .. } => 9,
            Self::Quarantined { .. } => 10,
            Self::Released { .. } => 11,
            Self::NotMigrated { .. } => 12,
            Self::Forgotten { .. } => 13,
            Self::Deployed { .. } => 14,
            Self::TakenBack { .. } => 15,
            Self::More { .. } => 16,
        }
    }

    /// Returns one word for programs, which never changes.
    pub fn word(&self) -> &'static str {
        Self::KINDS[self.kind()]
    }

    /// Whether every node sees it, for it stands in the directory.
    pub fn is_seen_by_all(&self) -> bool {
        match self {
            Self::Joined { .. }
            | Self::Down { .. }
            | Self::Draining { .. }
            | Self::Deployed { .. }
            | Self::TakenBack { .. } => true,
            Self::Suspect { .. }
            | Self::Claimed { .. }
            | Self::Restored { .. }
            | Self::Reseeded { .. }
            | Self::Trapped { .. }
            | Self::HandedOver { .. }
            | Self::Unavailable { .. }
            | Self::Quarantined { .. }
            | Self::Released { .. }
            | Self::NotMigrated { .. }
            | Self::Forgotten { .. }
            | Self::More { .. } => false,
        }
    }

    /// Returns the player that it is about.
    pub fn player(&self) -> Option<&PlayerId> {
        match self {
            Self::Claimed { player, .. }
            | Self::Restored { player, .. }
            | Self::Reseeded { player, .. }
            | Self::Trapped { player, .. }
            | Self::HandedOver { player, .. }
            | Self::Unavailable { player }
            | Self::Quarantined { player, .. }
            | Self::Released { player }
            | Self::NotMigrated { player, .. }
            | Self::Forgotten { player, .. } => Some(player),
            Self::Joined { .. }
            | Self::Suspect { .. }
            | Self::Down { .. }
            | Self::Draining { .. }
            | Self::Deployed { .. }
            | Self::TakenBack { .. }
            | Self::More { .. } => None,
        }
    }
}

impl fmt::Display for NewsItem {
    /// Says it in plain words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = &self.node;
        match &self.news {
            News::Joined { node } => write!(f, "{node} is up"),
            News::Suspect { node } => write!(f, "{node} is silent, {here} says"),
            News::Down { node } => write!(f, "{node} is down"),
            News::Draining { node } => write!(f, "{node} is going to leave, and hands over"),
            News::Claimed { player, from } => {
                write!(f, "{here} takes {player} over from {from}; {from} is fenced")
            }
            News::Restored { player, seq, from } => {
                write!(f, "{player} is restored on {here} at seq {seq}, from its copy on {from}")
            }
            News::Reseeded { player, keepers } => {
                let keepers: Vec<&str> = keepers.iter().map(NodeName::as_str).collect();
                write!(f, "{player} on {here} has its copies on {} now", keepers.join(", "))
            }
            News::Trapped { player, seq, message, micros } => write!(
                f,
                "{player} trapped on {here}: {message}; restored at seq {seq} in {micros} µs"
            ),
            News::HandedOver { player, to } => write!(f, "{here} has handed {player} over to {to}"),
            News::Unavailable { player } => {
                write!(f, "no copy of {player} can be used, {here} says")
            }
            News::Quarantined { player, times } => {
                write!(
                    f,
                    "{player} is in quarantine after {times} failed restores; its state is kept"
                )
            }
            News::Released { player } => write!(f, "{player} is released from quarantine"),
            News::NotMigrated { player, deployment, reason } => {
                write!(f, "{player} does not come to deployment {deployment}: {reason}")
            }
            News::Forgotten { player, .. } => write!(f, "{player} is forgotten"),
            News::Deployed { deployment, name } => {
                write!(f, "{name} is deployed as deployment {deployment}")
            }
            News::TakenBack { deployment, reason } => {
                write!(f, "deployment {deployment} is taken back: {reason}")
            }
            News::More { count, kind } => write!(f, "{count} more on {here}: {kind}"),
        }
    }
}
