//! Whether what Raft on another node says can be true.
//!
//! The library believes its peers: it adds one to the terms and positions that it is told, expects
//! entries to follow each other and members to be named, and where that is wrong it panics, which is
//! the end of this node. So what no working node says is declined before the library sees it. That a
//! member does not lie where a lie could be true is what Raft rests on, and is not checked.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, Entry, EntryPayload, LogId, Membership, Vote};

use super::TypeConfig;
use super::state_machine::Meta;
use crate::limits::{COUNT_MAX, DIRECTORY_SNAPSHOT_BYTES_MAX};

/// What another node may say or a disk may hold.
pub(super) trait Sound {
    /// Whether it can be true.
    fn is_sound(&self) -> bool;
}

impl Sound for Vote<u64> {
    fn is_sound(&self) -> bool {
        self.leader_id.term <= COUNT_MAX
    }
}

impl Sound for LogId<u64> {
    fn is_sound(&self) -> bool {
        self.leader_id.term <= COUNT_MAX && self.index <= COUNT_MAX
    }
}

impl<T: Sound> Sound for Option<T> {
    fn is_sound(&self) -> bool {
        self.as_ref().is_none_or(Sound::is_sound)
    }
}

impl Sound for Membership<u64, EmptyNode> {
    fn is_sound(&self) -> bool {
        // Before and after a change of the voters, and all of them are members.
        let configs = self.get_joint_config();
        (1..=2).contains(&configs.len())
            && configs.iter().all(|voters| !voters.is_empty())
            && self.voter_ids().all(|voter| self.get_node(&voter).is_some())
    }
}

impl Sound for Entry<TypeConfig> {
    fn is_sound(&self) -> bool {
        self.log_id.is_sound()
            && match &self.payload {
                EntryPayload::Membership(membership) => membership.is_sound(),
                EntryPayload::Blank | EntryPayload::Normal(_) => true,
            }
    }
}

impl Sound for Meta {
    fn is_sound(&self) -> bool {
        self.last_log_id.is_sound() && self.last_membership.log_id().is_sound()
    }
}

impl Sound for AppendEntriesRequest<TypeConfig> {
    fn is_sound(&self) -> bool {
        let mut before = self.prev_log_id;
        let follows = |entry: &Entry<TypeConfig>| {
            let index = before.map_or(0, |before| before.index + 1);
            let follows = entry.log_id.index == index && Some(entry.log_id) > before;
            before = Some(entry.log_id);
            follows && entry.is_sound()
        };
        self.vote.is_sound()
            && self.prev_log_id.is_sound()
            && self.leader_commit.is_sound()
            && self.entries.iter().all(follows)
    }
}

impl Sound for VoteRequest<u64> {
    fn is_sound(&self) -> bool {
        self.vote.is_sound() && self.last_log_id.is_sound()
    }
}

impl Sound for InstallSnapshotRequest<TypeConfig> {
    fn is_sound(&self) -> bool {
        let end = self.offset.checked_add(self.data.len() as u64);
        self.vote.is_sound()
            && self.meta.is_sound()
            && self.meta.last_membership.membership().is_sound()
            && end.is_some_and(|end| end <= DIRECTORY_SNAPSHOT_BYTES_MAX)
    }
}

impl Sound for AppendEntriesResponse<u64> {
    fn is_sound(&self) -> bool {
        match self {
            Self::Success | Self::Conflict => true,
            Self::PartialSuccess(matching) => matching.is_sound(),
            Self::HigherVote(vote) => vote.is_sound(),
        }
    }
}

impl Sound for VoteResponse<u64> {
    fn is_sound(&self) -> bool {
        self.vote.is_sound() && self.last_log_id.is_sound()
    }
}

impl Sound for InstallSnapshotResponse<u64> {
    fn is_sound(&self) -> bool {
        self.vote.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::CommittedLeaderId;

    use super::*;

    fn id(term: u64, index: u64) -> LogId<u64> {
        LogId::new(CommittedLeaderId::new(term, 1), index)
    }

    fn blank(term: u64, index: u64) -> Entry<TypeConfig> {
        Entry { log_id: id(term, index), payload: EntryPayload::Blank }
    }

    fn append(
        before: Option<LogId<u64>>,
        entries: Vec<Entry<TypeConfig>>,
    ) -> AppendEntriesRequest<TypeConfig> {
        let vote = Vote::new_committed(7, 1);
        AppendEntriesRequest { vote, prev_log_id: before, entries, leader_commit: None }
    }

    #[test]
    fn entries_follow_each_other() {
        assert!(append(None, vec![blank(1, 0), blank(1, 1), blank(2, 2)]).is_sound());
        assert!(append(Some(id(1, 4)), vec![blank(1, 5)]).is_sound());
        assert!(append(Some(id(1, 4)), vec![]).is_sound());
        assert!(!append(None, vec![blank(1, 1)]).is_sound(), "a gap at the beginning");
        assert!(!append(Some(id(1, 4)), vec![blank(1, 6)]).is_sound(), "a gap");
        assert!(!append(Some(id(2, 4)), vec![blank(1, 5)]).is_sound(), "a term that falls");
    }

    #[test]
    fn nobody_has_counted_to_the_end() {
        assert!(!append(Some(id(1, u64::MAX)), vec![]).is_sound());
        assert!(!append(None, vec![blank(u64::MAX, 0)]).is_sound());
        let vote = Vote::new(u64::MAX, 1);
        assert!(!VoteRequest { vote, last_log_id: None }.is_sound());
        assert!(!AppendEntriesResponse::HigherVote(vote).is_sound());
        assert!(!AppendEntriesResponse::PartialSuccess(Some(id(1, u64::MAX))).is_sound());
    }

    #[test]
    fn voters_are_members_and_there_are_some() {
        let nodes = BTreeMap::from([(1u64, EmptyNode::new()), (2, EmptyNode::new())]);
        let of = |configs: Vec<Vec<u64>>| {
            let configs: Vec<_> = configs.into_iter().map(|c| c.into_iter().collect()).collect();
            // As it would come from the wire: nothing has looked at it.
            let bytes = postcard::to_stdvec::<(Vec<std::collections::BTreeSet<u64>>, _)>(&(
                configs, &nodes,
            ));
            let read = postcard::from_bytes::<Membership<u64, EmptyNode>>(&bytes.unwrap());
            read.unwrap().is_sound()
        };
        assert!(of(vec![vec![1, 2]]));
        assert!(of(vec![vec![1], vec![1, 2]]));
        assert!(!of(vec![]));
        assert!(!of(vec![vec![]]));
        assert!(!of(vec![vec![1, 3]]));
    }
}
