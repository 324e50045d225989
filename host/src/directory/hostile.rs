//! What Raft says, made of any bytes: see [`crate::hostile`] for what is promised of it.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{Entry, LogId, Vote};

use super::TypeConfig;
use super::machine::{Command, DirectoryState};
use super::network::Declined;
use super::sound::Sound;
use super::state_machine::{Meta, View};
use crate::protocol::hostile::survives;
use crate::protocol::{NodeId, NodeStatus};

/// The first byte says what the rest is.
pub(crate) fn raft(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 10 {
        0 => {
            let asked = survives::<(NodeId, AppendEntriesRequest<TypeConfig>)>(bytes);
            if let Some((_, rpc)) = asked.filter(|(_, rpc)| rpc.is_sound()) {
                apply(rpc.entries);
            }
        }
        1 => drop(survives::<(NodeId, VoteRequest<u64>)>(bytes)),
        2 => drop(survives::<(NodeId, InstallSnapshotRequest<TypeConfig>)>(bytes)),
        3 => drop(survives::<Result<AppendEntriesResponse<u64>, Declined>>(bytes)),
        4 => drop(survives::<Result<VoteResponse<u64>, Declined>>(bytes)),
        5 => drop(survives::<Result<InstallSnapshotResponse<u64>, Declined>>(bytes)),
        // As they are on disk.
        6 => apply(survives::<Entry<TypeConfig>>(bytes).filter(Sound::is_sound)),
        7 => drop(survives::<(Meta, DirectoryState)>(bytes)),
        8 => drop(survives::<(Vote<u64>, Option<LogId<u64>>)>(bytes)),
        _ => {
            if let Some((state, commands)) = survives::<(DirectoryState, Vec<Command>)>(bytes) {
                command(state, &commands);
            }
        }
    }
}

fn apply(entries: impl IntoIterator<Item = Entry<TypeConfig>>) {
    let view = View::empty();
    view.apply(entries);
    let index = *view.watch_index().borrow();
    view.look(|state| state.nodes().for_each(|node| assert!(state.node(node.id).is_some())));
    assert!(index < u64::MAX);
}

/// Whatever the state, a command changes it by the rules.
fn command(mut state: DirectoryState, commands: &[Command]) {
    for command in commands {
        let generations = generations(&state);
        let alike = same_names(&state);
        state.apply(command);
        let bytes = postcard::to_stdvec(&state).expect("a state encodes into memory");
        assert!(survives::<DirectoryState>(&bytes) == Some(state.clone()));
        for (player, generation) in generations {
            let record = state.player(&player).expect("a player's number stays");
            assert!(record.generation >= generation, "{player} fell");
        }
        assert!(same_names(&state) <= alike, "two nodes of a name are up");
    }
}

fn generations(
    state: &DirectoryState,
) -> BTreeMap<crate::protocol::PlayerId, crate::protocol::Generation> {
    let players = state.players_after(None);
    players.map(|(player, record)| (player.clone(), record.generation)).collect()
}

/// Returns how many nodes that are alive have the name of another one that is: none, unless the bytes
/// said so from the start.
fn same_names(state: &DirectoryState) -> usize {
    let alive = state.nodes().filter(|node| node.status != NodeStatus::Down);
    let names: Vec<_> = alive.map(|node| &node.name).collect();
    names.len() - names.iter().collect::<BTreeSet<_>>().len()
}

/// The entries of a log, and the directories that come of them, as bytes for [`raft`].
#[cfg(test)]
pub(crate) fn seeds(log: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let (mut state, mut commands) = (DirectoryState::default(), Vec::new());
    for bytes in log {
        seeds.push([&[6], &bytes[..]].concat());
        let entry: Entry<TypeConfig> = postcard::from_bytes(bytes).unwrap();
        if let openraft::EntryPayload::Normal(command) = entry.payload {
            commands.push(command);
        }
    }
    for commands in commands.chunks(6) {
        let seed = postcard::to_stdvec(&(&state, commands)).unwrap();
        seeds.push([&[9], &seed[..]].concat());
        commands.iter().for_each(|command| drop(state.apply(command)));
    }
    let snapshot = postcard::to_stdvec(&(Meta::default(), &state)).unwrap();
    seeds.push([&[7], &snapshot[..]].concat());
    seeds.reverse();
    seeds
}
