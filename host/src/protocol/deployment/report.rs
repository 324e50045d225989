//! What somebody asks of the code that players run, and what a node says about it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Audience, Crossing, DeploymentConflict, DeploymentStatus, cut};
use crate::limits::DEPLOYMENT_NAME_BYTES_MAX;
use crate::protocol::{CodeHash, NodeName, PlayerId};

/// What somebody wants deployed, as a client asks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployRequest {
    /// The component, or a core module with its component type.
    pub component: Vec<u8>,
    /// What people call it.
    #[serde(deserialize_with = "cut::<{ DEPLOYMENT_NAME_BYTES_MAX }, _>")]
    pub name: String,
    /// Which players it is for.
    pub audience: Audience,
    /// How players on other code come to it.
    pub crossing: Crossing,
    /// It is withdrawn when more players than this fail on it.
    pub failures_max: u32,
    /// A player fails on it when more than this of its first calls trap.
    pub traps_max: u32,
    /// Tells this wish from all others.
    pub nonce: u64,
    /// Only say what would happen.
    pub check: bool,
}

/// What becomes of a player when something is deployed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fate {
    /// It runs that code already.
    Has,
    /// Its code saves, the new code loads.
    Migrates,
    /// It begins anew, and what it was is given up.
    Resets,
    /// It stays with the code that it has.
    Pinned,
    /// The deployment is not for it.
    NotMeant,
    /// Its state cannot be restored, so it cannot go anywhere.
    Quarantined,
    /// It should go over and cannot; in words.
    Stranded {
        /// Why.
        reason: String,
    },
}

impl Fate {
    /// Returns one word for programs, which never changes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Has => "has",
            Self::Migrates => "migrates",
            Self::Resets => "resets",
            Self::Pinned => "pinned",
            Self::NotMeant => "not_meant",
            Self::Quarantined => "quarantined",
            Self::Stranded { .. } => "stranded",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Has => f.write_str("each runs it already"),
            Self::Migrates => f.write_str("each goes over with its state"),
            Self::Resets => f.write_str("each begins anew"),
            Self::Pinned => f.write_str("each stays with its code"),
            Self::NotMeant => f.write_str("none is meant"),
            Self::Quarantined => f.write_str("each stays in quarantine"),
            Self::Stranded { reason } => write!(f, "none can go over: {reason}"),
        }
    }
}

/// Players of whom the same becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeClass {
    /// The code that they run.
    pub code: CodeHash,
    /// What people call it, if the directory remembers.
    pub name: Option<String>,
    /// What becomes of them.
    pub fate: Fate,
    /// How many there are.
    pub players: u64,
}

/// What was deployed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployReport {
    /// Its number; `None` when it was only checked.
    pub number: Option<u64>,
    /// The code.
    pub code: CodeHash,
    /// What becomes of the players.
    pub classes: Vec<CodeClass>,
    /// Nodes that do not have it yet, for they are down or have not said so in time. They catch up.
    pub silent: Vec<NodeName>,
}

/// Why nothing was deployed or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum DeployRefusal {
    /// The code cannot be run.
    #[error("the code is refused: {0}")]
    Code(String),
    /// Players should go over to it and cannot.
    #[error("{}", stranded(.0))]
    Stranded(Vec<CodeClass>),
    /// It holds already.
    #[error("nothing to do: deployment {number} is this code, for all players")]
    Current {
        /// That deployment.
        number: u64,
    },
    /// A node that is up cannot run it.
    #[error("{node} cannot run the code: {reason}")]
    Node {
        /// The node.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// This node is about to deploy something else.
    #[error("{node} is about to deploy other code; ask again when it has")]
    Busy {
        /// The node.
        node: NodeName,
    },
    /// The directory says no.
    #[error("{0}")]
    Conflict(DeploymentConflict),
    /// What would be brought back is gone.
    #[error("no reachable node has the code {code} any more; deploy it again: `host deploy FILE`")]
    Gone {
        /// The code.
        code: CodeHash,
    },
}

impl DeployRefusal {
    /// Returns one word for programs, which never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Code(_) => "bad_code",
            Self::Stranded(_) => "stranded",
            Self::Current { .. } => "current",
            Self::Node { .. } => "node_refused",
            Self::Busy { .. } => "busy",
            Self::Conflict(_) => "conflict",
            Self::Gone { .. } => "code_gone",
        }
    }
}

fn stranded(classes: &[CodeClass]) -> String {
    let of = |class: &CodeClass| match &class.fate {
        Fate::Stranded { reason } => {
            let name = class.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            Some(format!("{} on code {}{name}: {reason}", class.players, class.code))
        }
        _ => None,
    };
    let stranded: Vec<String> = classes.iter().filter_map(of).collect();
    format!(
        "players could not come to this code with their state: {}. Choose: `--pin` leaves players that \
         exist on the code that they have, and new ones begin with this; `--reset` has all begin anew, \
         and gives up what they were",
        stranded.join("; ")
    )
}

/// One deployment as people look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentListing {
    /// Its number.
    pub number: u64,
    /// The code.
    pub code: CodeHash,
    /// What people call it.
    pub name: String,
    /// Which players it is for.
    pub audience: Audience,
    /// How players on other code come to it.
    pub crossing: Crossing,
    /// What has become of it.
    pub status: DeploymentStatus,
    /// Players that run its code.
    pub players: u64,
    /// Players that are to come to it and have not yet.
    pub due: u64,
    /// Players that failed on it.
    pub failed: u64,
    /// Some of those, and why.
    pub failures: Vec<(PlayerId, String)>,
}
