//! The leader's snapshot, while its pieces arrive.
//!
//! A snapshot that cannot be read must not get as far as Raft, for which it would be a broken disk
//! and the end of this node. Nor may a piece say where in memory it belongs: each follows the one
//! before, so that there is never more than what arrived.

use std::io::Cursor;

use openraft::error::SnapshotMismatch;
use openraft::raft::{InstallSnapshotRequest, InstallSnapshotResponse};
use openraft::{Raft, Snapshot, SnapshotSegmentId};
use tokio::sync::Mutex;

use super::TypeConfig;
use super::machine::DirectoryState;
use super::network::Declined;

/// What has arrived of one snapshot.
#[derive(Debug, Default)]
struct Begun {
    id: String,
    bytes: Vec<u8>,
}

/// The snapshot that arrives.
#[derive(Debug, Default)]
pub(super) struct Arriving(Mutex<Begun>);

impl Arriving {
    /// Takes a piece, and hands the snapshot over to Raft with the last one.
    pub(super) async fn take(
        &self,
        raft: &Raft<TypeConfig>,
        piece: InstallSnapshotRequest<TypeConfig>,
    ) -> Result<InstallSnapshotResponse<u64>, Declined> {
        let known = raft.with_raft_state(|state| *state.vote_ref()).await;
        let vote = known.map_err(|_| Declined::Stopped)?;
        if piece.vote < vote {
            // From one who leads no more.
            return Ok(InstallSnapshotResponse { vote });
        }
        let InstallSnapshotRequest { vote: theirs, meta, offset, data, done } = piece;
        let bytes = {
            let mut begun = self.0.lock().await;
            begun.add(&meta.snapshot_id, offset, data)?;
            if !done {
                return Ok(InstallSnapshotResponse { vote });
            }
            std::mem::take(&mut *begun).bytes
        };
        let bytes = readable(bytes).await?;
        let snapshot = Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) };
        let installed = raft.install_full_snapshot(theirs, snapshot).await;
        let vote = installed.map_err(|_| Declined::Stopped)?.vote;
        Ok(InstallSnapshotResponse { vote })
    }
}

impl Begun {
    fn add(&mut self, id: &str, offset: u64, data: Vec<u8>) -> Result<(), Declined> {
        if offset == 0 {
            *self = Self { id: id.to_owned(), bytes: data };
            return Ok(());
        }
        let have = if self.id == id { self.bytes.len() as u64 } else { 0 };
        if have != offset {
            let at = |offset| SnapshotSegmentId { id: id.to_owned(), offset };
            let (expect, got) = (at(have), at(offset));
            return Err(Declined::SnapshotMismatch(SnapshotMismatch { expect, got }));
        }
        self.bytes.extend_from_slice(&data);
        Ok(())
    }
}

/// Gives the bytes back if they are a directory. With a million players that takes half a second,
/// which is not this thread's to spend.
async fn readable(bytes: Vec<u8>) -> Result<Vec<u8>, Declined> {
    let read = tokio::task::spawn_blocking(move || {
        postcard::from_bytes::<DirectoryState>(&bytes).is_ok().then_some(bytes)
    });
    read.await.map_err(|_| Declined::Stopped)?.ok_or(Declined::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_follows_the_one_before() {
        let mut begun = Begun::default();
        let expected = |error| match error {
            Declined::SnapshotMismatch(mismatch) => mismatch.expect.offset,
            other => panic!("{other:?}"),
        };
        assert_eq!(begun.add("a", 5, vec![1]).map_err(expected), Err(0), "nothing is there yet");
        begun.add("a", 0, vec![1, 2]).unwrap();
        // The memory for a hole would be as large as the hole.
        assert_eq!(begun.add("a", 1 << 40, vec![3]).map_err(expected), Err(2));
        assert_eq!(begun.add("b", 2, vec![3]).map_err(expected), Err(0), "another one's");
        begun.add("a", 2, vec![3]).unwrap();
        assert_eq!(begun.bytes, [1, 2, 3]);
        begun.add("b", 0, vec![9]).unwrap();
        assert_eq!((begun.id.as_str(), &begun.bytes[..]), ("b", &[9][..]));
    }

    #[tokio::test]
    async fn only_a_directory_is_handed_over() {
        let bytes = postcard::to_stdvec(&DirectoryState::default()).unwrap();
        assert_eq!(readable(bytes.clone()).await.unwrap(), bytes);
        assert!(matches!(readable(vec![0xff; 20]).await, Err(Declined::Malformed)));
    }
}
