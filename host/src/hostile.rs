//! What bytes that nobody vouches for may do to a node: be refused, and nothing else.
//!
//! Each [`Target`] gives any bytes to one decoder, as a peer, a disk or a person with a component
//! would, and then does with what was decoded what its room does. It panics when a promise is broken:
//!
//! - nothing panics, whatever the bytes, and nothing goes on without an end;
//! - what was decoded encodes to no more bytes than it came from, and those decode to the same;
//! - what does not fit is refused and changes nothing; what fits leaves something sound.
//!
//! Compiled for tests and for fuzzing only. The fuzzers in `host/fuzz` run these functions on bytes
//! that they choose, the tests below on the seeds there and on mutations of them; `docs/testing.md`
//! says how. Here are the names; each room has its own decoders in a file of this name.

#[cfg(test)]
mod recorder;
#[cfg(test)]
mod tests;

use crate::keeper::Keeper;
use crate::protocol::hostile::survives;
use crate::protocol::{KeeperRequest, PlayerId};

/// One decoder and what is done with what it yields, as a function of the bytes.
pub type Target = fn(&[u8]);

/// All of them by the names of their fuzzers and of the folders of their seeds.
pub const TARGETS: [(&str, Target); 12] = [
    ("frames", frames),
    ("requests", requests),
    ("replies", replies),
    ("deltas", deltas),
    ("states", states),
    ("keeper", keeper),
    ("raft", raft),
    ("journal", journal),
    ("values", values),
    ("store", store),
    ("component", component),
    ("wave", wave),
];

/// A stream of frames in pieces, as a peer may send them.
pub fn frames(bytes: &[u8]) {
    crate::net::hostile::frames(bytes);
}

/// One request.
pub fn requests(bytes: &[u8]) {
    crate::protocol::hostile::requests(bytes);
}

/// One reply.
pub fn replies(bytes: &[u8]) {
    crate::protocol::hostile::replies(bytes);
}

/// A snapshot and the deltas that are applied to it.
pub fn deltas(bytes: &[u8]) {
    crate::protocol::hostile::deltas(bytes);
}

/// A player's state and the records that are applied to it.
pub fn states(bytes: &[u8]) {
    crate::protocol::hostile::states(bytes);
}

/// What a keeper is asked, one request after the other, by nodes that need not be owners.
pub fn keeper(bytes: &[u8]) {
    let Some(requests) = survives::<Vec<KeeperRequest>>(bytes) else { return };
    let (mut keeper, mut writes) = (Keeper::default(), Vec::new());
    for request in requests {
        let reply = keeper.handle(request, &mut writes);
        assert!(survives::<crate::protocol::KeeperReply>(&encoded(&reply)).is_some());
        keeper.pack(1, usize::MAX);
    }
    let players: Vec<PlayerId> = keeper.copies().map(|(player, _)| player.clone()).collect();
    let copies = keeper.copies().map(|(_, copy)| copy);
    copies.for_each(|copy| assert_eq!(copy.state.state().seq, copy.state.seq()));
    assert!(players.is_sorted());
}

/// What Raft says, on the wire and in its log, and the directory that comes of it.
pub fn raft(bytes: &[u8]) {
    crate::directory::hostile::raft(bytes);
}

/// A journal of the store's engine, before the engine takes it.
pub fn journal(bytes: &[u8]) {
    crate::storage::hostile::journal(bytes);
}

/// A value of the store, its key and its checksum.
pub fn values(bytes: &[u8]) {
    crate::storage::hostile::values(bytes);
}

/// A data folder in which some files are not what they were.
pub fn store(bytes: &[u8]) {
    crate::storage::hostile::store(bytes);
}

/// A component, as far as it is looked at before it is compiled.
pub fn component(bytes: &[u8]) {
    crate::guest::hostile::component(bytes);
}

/// An argument of a call, as a person or a program wrote it.
pub fn wave(bytes: &[u8]) {
    crate::guest::hostile::wave(bytes);
}

fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("messages encode into memory")
}
