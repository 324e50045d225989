//! What a person can ask a cluster, typed at a shell or at a prompt.

use std::path::PathBuf;

use crate::protocol::{
    Arguments, DeployRequest, Exhibit, FunctionCall, NodeName, Operation, PlayerId, Recovery, Seq,
    SettingsChange, Subject, Term,
};

/// A question that some node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A call to a player.
    Call {
        /// The player.
        player: PlayerId,
        /// What is asked of it.
        operation: Operation,
    },
    /// The players of the asked node, or of all nodes.
    Players {
        /// All of the cluster.
        all: bool,
    },
    /// The functions of a code.
    Describe(Subject),
    /// The nodes.
    Nodes,
    /// The players in quarantine.
    Quarantined,
    /// What is needed to look at a failure of a player.
    Bundle {
        /// The player.
        player: PlayerId,
        /// Which failure.
        exhibit: Exhibit,
    },
    /// That the asked node hand over what it has, and stop.
    Drain,
    /// A change of what holds for the whole cluster; an empty one asks for it.
    Set(SettingsChange),
    /// That other code be deployed.
    Deploy {
        /// What is wanted.
        request: Box<DeployRequest>,
        /// Whether the answer waits for the players to come to it.
        waits: bool,
    },
    /// That a deployment be taken back.
    RollBack {
        /// Which one; `None` is the newest.
        number: Option<u64>,
        /// Whether the answer waits for the players to go back.
        waits: bool,
    },
    /// The deployments.
    Deployments,
    /// That a node's process end at once.
    CrashNode(NodeName),
    /// A player, looked at until somebody interrupts.
    Watch(PlayerId),
    /// A player's state.
    Export {
        /// The player.
        player: PlayerId,
        /// The file that it is written to; `None` is standard output.
        to: Option<PathBuf>,
    },
    /// That a player begin with the state in a file.
    Import {
        /// The player.
        player: PlayerId,
        /// The file; `None` is standard input.
        from: Option<PathBuf>,
    },
}

impl Question {
    /// Returns the call that adds `points`, a word as it was typed.
    pub(super) fn reward(player: PlayerId, points: &str) -> Self {
        Self::Call { player, operation: Operation::Reward(Term::from_word(points)) }
    }

    /// Returns the call of any function.
    pub(super) fn call(player: PlayerId, function: String, arguments: Vec<String>) -> Self {
        let arguments = Arguments::Wave(arguments);
        Self::Call { player, operation: Operation::Call(FunctionCall { function, arguments }) }
    }

    /// Returns the question for the functions of a player's code, or of the code of new players.
    pub(super) fn describe(player: Option<PlayerId>) -> Self {
        Self::Describe(player.map_or(Subject::New, Subject::Player))
    }

    /// Returns the call that takes the copy of node `from`, which must be at `accept`.
    pub(super) fn recover(player: PlayerId, from: NodeName, accept: u64) -> Self {
        let recovery = Recovery { from, accept: Seq(accept) };
        Self::Call { player, operation: Operation::Recover(recovery) }
    }

    /// Returns the call that ends a player.
    pub(super) fn forget(player: PlayerId) -> Self {
        Self::Call { player, operation: Operation::Forget }
    }

    /// Whether its answer is no text.
    pub(super) fn is_for_a_file(&self) -> bool {
        matches!(self, Self::Bundle { .. } | Self::Export { to: None, .. })
    }

    /// Returns the call that ends a player's quarantine.
    pub(super) fn release(player: PlayerId) -> Self {
        Self::Call { player, operation: Operation::Release }
    }

    /// Gives a deployment what it lacks: the component and its name.
    pub(super) fn fill_in(&mut self, name: String, code: Vec<u8>) {
        if let Self::Deploy { request, .. } = self {
            request.name = name;
            request.component = code;
        }
    }

    /// Returns the call that has another node own a player.
    pub(super) fn move_to(player: PlayerId, to: NodeName) -> Self {
        Self::Call { player, operation: Operation::Move(to) }
    }

    /// Returns the call that throws a player's instance away.
    pub(super) fn crash(player: PlayerId) -> Self {
        Self::Call { player, operation: Operation::Crash }
    }

    /// Returns the question for a failure of a player.
    pub(super) fn bundle(player: PlayerId, exhibit: Exhibit) -> Self {
        Self::Bundle { player, exhibit }
    }

    /// Returns the call that asks for the points.
    pub(super) fn points(player: PlayerId) -> Self {
        Self::Call { player, operation: Operation::Points }
    }
}
