//! Which nodes should vote in the directory.
//!
//! At most five, an odd number of nodes that are up. What counts is how many voters may still die
//! before the rest is no majority: a change is made only when it raises that number. So a fourth
//! node that is up replaces a dead voter at once, and two survivors of three stay as they are:
//! shrinking to one would protect against nothing and lose the third when it returns.
//!
//! And a majority of the voters always stays. A change is decided by a majority of the voters
//! before it, so if fewer are up, the directory does not know yet who lives: after a restart of all
//! nodes it calls them down until each has said that it is back. Besides, a voter that has heard
//! that it votes no more does not stand for election, and its log is longer than that of one that
//! has not heard it: if such voters were a majority when the leader fell, nobody could ever be
//! elected.

use std::collections::BTreeSet;

use crate::limits::VOTERS_MAX;
use crate::protocol::NodeId;

/// Returns the voters that should replace `current`, or `None` if `current` is as good.
///
/// `up` are the nodes that are up. Voters that are up stay before others come in.
pub fn better_voters(
    current: &BTreeSet<NodeId>,
    up: &BTreeSet<NodeId>,
) -> Option<BTreeSet<NodeId>> {
    let size = voters_among(up.len());
    let stay = current.intersection(up);
    let better: BTreeSet<NodeId> = stay.chain(up.difference(current)).take(size).copied().collect();
    let majority_stays = better.intersection(current).count() * 2 > current.len();
    (majority_stays && spare(&better, up) > spare(current, up)).then_some(better)
}

/// Returns how many of so many nodes that are up should vote.
pub fn voters_among(up: usize) -> usize {
    let room = up.min(VOTERS_MAX);
    if room.is_multiple_of(2) { room.saturating_sub(1) } else { room }
}

/// How many voters that are up may die before the rest is no majority; negative without one.
fn spare(voters: &BTreeSet<NodeId>, up: &BTreeSet<NodeId>) -> i64 {
    let count = |n: usize| i64::try_from(n).expect("a cluster has at most nine nodes");
    let majority = count(voters.len() / 2 + 1);
    count(voters.intersection(up).count()) - majority
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn better(current: &[u64], up: &[u64]) -> Option<BTreeSet<NodeId>> {
        better_voters(&set(current), &set(up))
    }

    #[test]
    fn a_growing_cluster_votes_with_one_three_five() {
        assert_eq!(better(&[1], &[1]), None);
        assert_eq!(better(&[1], &[1, 2]), None);
        assert_eq!(better(&[1], &[1, 2, 3]), Some(set(&[1, 2, 3])));
        assert_eq!(better(&[1, 2, 3], &[1, 2, 3, 4]), None);
        assert_eq!(better(&[1, 2, 3], &[1, 2, 3, 4, 5]), Some(set(&[1, 2, 3, 4, 5])));
        assert_eq!(better(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7]), None);
    }

    #[test]
    fn a_dead_voter_is_replaced_when_a_node_is_free() {
        assert_eq!(better(&[1, 2, 3], &[1, 2, 4]), Some(set(&[1, 2, 4])));
        assert_eq!(better(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 6]), Some(set(&[1, 2, 3, 4, 6])));
    }

    #[test]
    fn two_survivors_of_three_stay() {
        assert_eq!(better(&[1, 2, 3], &[1, 2]), None);
    }

    #[test]
    fn voters_that_have_not_said_yet_that_they_are_back_stay() {
        assert_eq!(better(&[1, 2, 3], &[]), None);
        assert_eq!(better(&[1, 2, 3], &[2]), None);
        assert_eq!(better(&[1, 2, 3], &[3, 4]), None);
        assert_eq!(better(&[1], &[2]), None);
        assert_eq!(better(&[1], &[2, 3, 4]), None);
    }

    #[test]
    fn a_majority_of_the_voters_stays_in_every_change() {
        let subset = |bits: u8| (0..8).filter(|id| bits >> id & 1 == 1).map(NodeId).collect();
        for (current, up) in (0..=u8::MAX).flat_map(|c| (0..=u8::MAX).map(move |up| (c, up))) {
            let (current, up): (BTreeSet<NodeId>, BTreeSet<NodeId>) = (subset(current), subset(up));
            let Some(better) = better_voters(&current, &up) else { continue };
            let stay = better.intersection(&current).count();
            assert!(stay * 2 > current.len(), "{current:?} with {up:?} up: {better:?}");
            assert!(better.is_subset(&up), "{current:?} with {up:?} up: {better:?}");
        }
    }

    #[test]
    fn three_survivors_of_five_vote_alone() {
        assert_eq!(better(&[1, 2, 3, 4, 5], &[1, 2, 3]), Some(set(&[1, 2, 3])));
        assert_eq!(better(&[1, 2, 3, 4, 5], &[1, 2, 3, 4]), None);
    }
}
