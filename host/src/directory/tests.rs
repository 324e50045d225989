//! The directory as its callers see it: several nodes in one process, over links that can be cut.

mod conformance;
mod world;

use std::collections::BTreeSet;

use openraft::Vote;
use openraft::error::RPCError;
use openraft::network::{RPCOption, RaftNetwork as _};
use openraft::raft::VoteRequest;
use tokio::task::JoinSet;

use super::*;
use crate::limits::CHANGES_PER_ENTRY_MAX;
use crate::protocol::{CodeHash, Generation, Incarnation, JoinRefusal, KeeperCopy, NodeStatus};
use world::{World, founding};

fn player(name: &str) -> PlayerId {
    name.parse().unwrap()
}

/// A change by `owner`, kept by `keeper`.
fn change(name: &str, expect: u64, owner: Writer, keeper: NodeId) -> PlayerChange {
    PlayerChange {
        player: player(name),
        expect: Generation(expect),
        by: owner,
        owner,
        keepers: vec![KeeperCopy { node: keeper, copy: CopyId(expect + 1) }],
        code: CodeHash([1; 32]),
        failed: None,
    }
}

fn generation_at(directory: &Directory, name: &str) -> Option<u64> {
    directory.player(&player(name)).map(|record| record.generation.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_through_any_node_is_seen_there_at_once_and_elsewhere_after_a_barrier() {
    let world = World::with_voters(3).await;
    for (nth, node) in world.nodes.iter().enumerate() {
        let name = format!("player{nth}");
        let keeper = world.nodes[(nth + 1) % 3].id;
        let asked = change(&name, 0, node.writer(), keeper);
        let outcome = node.directory.change(asked.clone()).await.unwrap();
        assert_eq!(outcome, ChangeOutcome::Changed(Generation(1)));
        assert_eq!(generation_at(&node.directory, &name), Some(1));
        assert!(node.directory.copy_is_named(&player(&name), CopyId(1)));
        for other in &world.nodes {
            other.directory.barrier().await.unwrap();
            assert_eq!(generation_at(&other.directory, &name), Some(1));
        }
        // Asked again, it was done already; asked by another, it conflicts.
        let again = node.directory.change(asked).await.unwrap();
        assert_eq!(again, ChangeOutcome::Changed(Generation(1)));
        let thief = world.nodes[(nth + 2) % 3].writer();
        let stolen = node.directory.change(change(&name, 0, thief, keeper)).await.unwrap();
        let current = node.directory.player(&player(&name));
        assert_eq!(stolen, ChangeOutcome::Conflict(current));
    }
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_without_a_majority_changes_nothing_and_follows_when_it_is_back() {
    let world = World::with_voters(3).await;
    let leader = world.leader();
    let others: Vec<_> = world.nodes.iter().filter(|node| node.id != leader.id).collect();
    world.isolate(leader.id);
    others.iter().for_each(|node| node.directory.leader_gone(leader.id));

    let owner = others[0].writer();
    let majority = others[0].directory.change(change("player1", 0, owner, others[1].id));
    let minority = leader.directory.change(change("player1", 0, leader.writer(), others[1].id));
    let cut_off_read = leader.directory.barrier();
    let (majority, minority, read) = tokio::join!(majority, minority, cut_off_read);
    assert_eq!(majority.unwrap(), ChangeOutcome::Changed(Generation(1)));
    assert!(matches!(minority, Err(DirectoryError::Late)));
    assert!(matches!(read, Err(DirectoryError::Late)));
    assert_eq!(leader.directory.player(&player("player1")), None);

    world.heal();
    leader.until(|directory| directory.player(&player("player1")).is_some()).await;
    let record = leader.directory.player(&player("player1")).unwrap();
    assert_eq!((record.owner, record.generation), (owner, Generation(1)));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_voters_replace_a_leader_that_is_gone_at_once() {
    let world = World::with_voters(5).await;
    let gone = world.leader().id;
    world.isolate(gone);
    let others: Vec<_> = world.nodes.iter().filter(|node| node.id != gone).collect();
    others.iter().for_each(|node| node.directory.leader_gone(gone));
    for node in &others {
        node.until(|directory| directory.leader().is_some_and(|leader| leader != gone)).await;
    }
    let owner = others[0];
    let asked = change("player1", 0, owner.writer(), others[1].id);
    let outcome = owner.directory.change(asked).await.unwrap();
    assert_eq!(outcome, ChangeOutcome::Changed(Generation(1)));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_report_costs_no_change() {
    let world = World::with_voters(3).await;
    let leader = world.leader().id;
    let node = world.nodes.iter().find(|node| node.id != leader).unwrap();
    node.directory.leader_gone(leader);
    let owner = node.writer();
    let outcome = node.directory.change(change("player1", 0, owner, leader)).await.unwrap();
    assert_eq!(outcome, ChangeOutcome::Changed(Generation(1)));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_together_share_entries() {
    const CHANGES: u64 = 1000;
    let world = World::with_voters(3).await;
    let leader = world.leader();
    let follower = world.nodes.iter().find(|node| node.id != leader.id).unwrap();
    follower.directory.barrier().await.unwrap();
    let before = *follower.directory.0.view.watch_index().borrow();

    let mut waiting = JoinSet::new();
    for nth in 0..CHANGES {
        let directory = follower.directory.clone();
        let change = change(&format!("player{nth}"), 0, follower.writer(), leader.id);
        waiting.spawn(async move { directory.change(change).await.unwrap() });
    }
    while let Some(outcome) = waiting.join_next().await {
        assert_eq!(outcome.unwrap(), ChangeOutcome::Changed(Generation(1)));
    }
    let entries = *follower.directory.0.view.watch_index().borrow() - before;
    assert!(entries <= CHANGES / 10, "{entries} entries");
    let page = follower.directory.players_after(None, CHANGES_PER_ENTRY_MAX);
    assert_eq!(page.len() as u64, CHANGES);
    let rest = follower.directory.players_after(Some(&page[989].0), 100);
    assert_eq!(rest, page[990..]);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_stopped_and_started_again_know_what_they_knew() {
    let mut world = World::with_voters(3).await;
    let owner = world.nodes[0].writer();
    let keeper = world.nodes[1].id;
    world.nodes[0].directory.change(change("player1", 0, owner, keeper)).await.unwrap();
    for nth in 0..3 {
        world.stop(nth).await;
    }
    for nth in 0..3 {
        world.start(nth).await;
        assert!(world.nodes[nth].directory.is_initialized());
        assert_eq!(world.nodes[nth].incarnation, Incarnation(2));
    }
    for node in &world.nodes {
        node.until(|directory| directory.leader().is_some()).await;
        node.directory.barrier().await.unwrap();
        assert_eq!(generation_at(&node.directory, "player1"), Some(1));
        assert_eq!(node.directory.nodes().len(), 3);
        assert_eq!(node.directory.voters().len(), 3);
    }
    // The owner's start is another one now, so it takes its player anew.
    for node in &world.nodes {
        world.announce(node).await.unwrap();
    }
    let owner = &world.nodes[0];
    let outcome = owner.directory.change(change("player1", 1, owner.writer(), keeper)).await;
    assert_eq!(outcome.unwrap(), ChangeOutcome::Changed(Generation(2)));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_late_is_brought_up_by_a_snapshot_and_changes_what_it_likes() {
    let mut world = World::with_voters(1).await;
    let first = &world.nodes[0];
    let second = world.spare("n2").await;
    world.announce(&second).await.unwrap();
    let change_1 = change("player1", 0, first.writer(), second.id);
    first.directory.change(change_1).await.unwrap();
    let raft = &first.directory.0.raft;
    raft.trigger().snapshot().await.unwrap();
    let mut metrics = raft.metrics();
    let snapshot = metrics.wait_for(|now| now.snapshot.is_some()).await.unwrap().snapshot;
    raft.trigger().purge_log(snapshot.unwrap().index).await.unwrap();
    metrics.wait_for(|now| now.purged == snapshot).await.unwrap();
    drop(metrics);

    let third = world.spare("n3").await;
    world.announce(&third).await.unwrap();
    assert!(!world.nodes[0].directory.voters().contains(&third.id));
    third.until(|directory| directory.player(&player("player1")).is_some()).await;
    let outcome = third.directory.change(change("player2", 0, third.writer(), second.id)).await;
    assert_eq!(outcome.unwrap(), ChangeOutcome::Changed(Generation(1)));
    world.nodes.extend([second, third]);

    // What it got that way survives its restart.
    world.stop(2).await;
    world.start(2).await;
    assert_eq!(generation_at(&world.nodes[2].directory, "player1"), Some(1));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_takes_its_own_place() {
    let mut world = World::with_voters(3).await;
    let lost = world.nodes.iter().position(|node| node.id != world.leader().id).unwrap();
    let old = world.nodes[lost].id;
    let name = world.nodes[lost].name.clone();
    let taken = world.spare(name.as_str()).await;
    let refused = world.announce(&taken).await;
    assert!(matches!(refused, Err(AnnounceError::Refused(JoinRefusal::NameTaken { .. }))));

    world.stop(lost).await;
    let leader = world.leader();
    leader.directory.declare_down(world.nodes[lost].writer()).await.unwrap();
    assert_eq!(leader.directory.node(old).unwrap().status, NodeStatus::Down);
    let nodes = world.announce(&taken).await.unwrap();
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node.id != old));
    let mut voters: BTreeSet<_> = leader.directory.voters().into_iter().collect();
    assert!(voters.remove(&old) && voters.insert(taken.id));
    leader.directory.set_voters(voters.clone()).await.unwrap();
    leader.until(|directory| directory.voters().iter().eq(&voters)).await;
    let members = leader.directory.0.metrics.borrow().membership_config.nodes().count();
    assert_eq!(members, 3);
    world.nodes[lost] = taken;
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_does_not_answer_for_the_one_it_was() {
    let mut world = World::with_voters(3).await;
    let lost = world.nodes.iter().position(|node| node.id != world.leader().id).unwrap();
    let old = world.nodes[lost].id;
    let name = world.nodes[lost].name.clone();
    world.stop(lost).await;
    let new = world.spare(name.as_str()).await;
    world.stand_in(&new, old);

    // A term that every log is older than, so that the vote would be granted.
    let candidate = world.leader().id.0;
    let vote = || VoteRequest::new(Vote::new(99, candidate), None);
    let option = || RPCOption::new(Duration::from_secs(1));
    let asked = world.peer(old).await.vote(vote(), option()).await;
    assert!(matches!(asked, Err(RPCError::Unreachable(_))), "{asked:?}");
    let asked = world.peer(new.id).await.vote(vote(), option()).await;
    assert!(asked.is_ok_and(|reply| reply.vote_granted), "the one it is may vote");

    // The leader goes on with the majority that is left.
    let leader = world.leader();
    let change = change("player1", 0, leader.writer(), world.nodes[lost].id);
    let outcome = leader.directory.change(change).await.unwrap();
    assert_eq!(outcome, ChangeOutcome::Changed(Generation(1)));
    world.nodes[lost] = new;
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_takes_nodes_in_and_says_who_it_is() {
    let world = World::with_voters(3).await;
    let leader = world.leader().id;
    let node = world.nodes.iter().find(|node| node.id != leader).unwrap();
    let refused = node.directory.announce(node.announcement()).await;
    assert!(matches!(refused, Err(AnnounceError::NotLeader(Some(to))) if to == leader));
    let refused = node.directory.declare_down(node.writer()).await;
    assert!(matches!(refused, Err(DirectoryError::NotLeader(Some(to))) if to == leader));
    let refused =
        node.directory.initialize(node.announcement(), SettingsChange::default(), founding()).await;
    assert!(matches!(refused, Err(DirectoryError::Initialized)));
    let nobody = world.leader().directory.set_voters(BTreeSet::new()).await;
    assert!(matches!(nobody, Err(DirectoryError::NoVoters)));
    let unknown = world.leader().directory.set_voters(BTreeSet::from([leader, NodeId(7)])).await;
    assert!(matches!(unknown, Err(DirectoryError::UnknownNode(NodeId(7)))));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_a_peer_is_answered() {
    let world = World::with_voters(1).await;
    let directory = &world.nodes[0].directory;
    for request in [
        DirectoryRequest::AppendEntries(vec![0xff; 9]),
        DirectoryRequest::Vote(vec![]),
        DirectoryRequest::InstallSnapshot(vec![1, 2, 3]),
    ] {
        assert!(matches!(directory.handle(request, |_| true).await, DirectoryReply::Raft(_)));
    }
    directory.barrier().await.unwrap();
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leads_or_votes_in_another_nodes_name() {
    let world = World::with_voters(3).await;
    let leader = world.leader().id;
    let node = world.nodes.iter().find(|node| node.id != leader).unwrap();
    let term = 1_000;
    // A vote that would make it forget its leader.
    let vote = openraft::Vote::<u64>::new(term, leader.0);
    let rpc = openraft::raft::VoteRequest::new(vote, None);
    let bytes = postcard::to_stdvec(&(node.id, &rpc)).unwrap();
    let ask = |is_leader: bool| {
        let request = DirectoryRequest::Vote(bytes.clone());
        async move {
            let DirectoryReply::Raft(reply) =
                node.directory.handle(request, |id| is_leader && id == leader).await
            else {
                panic!("expected Raft's reply");
            };
            postcard::from_bytes::<Result<openraft::raft::VoteResponse<u64>, network::Declined>>(
                &reply,
            )
            .unwrap()
        }
    };
    assert!(matches!(ask(false).await, Err(network::Declined::OtherSender)));
    let answered = ask(true).await.unwrap();
    assert!(answered.vote.leader_id().term < term, "it was asked for the first time");
    world.shutdown().await;
}
