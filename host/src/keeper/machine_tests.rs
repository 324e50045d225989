//! One test for each rule of the keeper, and a random walk over all of them.

use proptest::prelude::*;

use super::*;
use crate::protocol::{CallKey, CodeHash, Effect, Incarnation, NodeId, Operation};
use crate::snapshot::{Delta, Snapshot};

const A: Writer = Writer { node: NodeId(1), incarnation: Incarnation(1) };
const B: Writer = Writer { node: NodeId(2), incarnation: Incarnation(1) };

fn player() -> PlayerId {
    "player1".parse().unwrap()
}

fn state(seq: u64) -> PlayerState {
    let mut state = PlayerState::new(CodeHash([0; 32]), Snapshot::initial([]));
    for n in 1..=seq {
        state.apply(&record(n)).unwrap();
    }
    state
}

fn record(seq: u64) -> Record {
    let effect = Effect::new(CallKey(seq.into()), &Operation::Points, 0);
    Record { seq: Seq(seq), effect, delta: Delta::default() }
}

fn seed(copy: u64, generation: u64, writer: Writer, seq: u64) -> KeeperRequest {
    let generation = Generation(generation);
    let state = state(seq);
    KeeperRequest::Seed(Seed { player: player(), copy: CopyId(copy), generation, writer, state })
}

fn append(copy: u64, generation: u64, writer: Writer, seq: u64) -> KeeperRequest {
    let generation = Generation(generation);
    let record = record(seq);
    KeeperRequest::Append(Append {
        player: player(),
        copy: CopyId(copy),
        generation,
        writer,
        record,
    })
}

fn fetch(copy: u64, generation: u64, writer: Writer) -> KeeperRequest {
    let generation = Generation(generation);
    KeeperRequest::Fetch(Fetch {
        player: player(),
        copy: CopyId(copy),
        generation,
        writer,
        accept: None,
    })
}

fn confirm(copy: u64, generation: u64, writer: Writer, seq: u64) -> KeeperRequest {
    let (generation, seq) = (Generation(generation), Seq(seq));
    KeeperRequest::Confirm(Confirm {
        player: player(),
        copy: CopyId(copy),
        generation,
        writer,
        seq,
    })
}

fn acknowledged(seq: u64) -> KeeperReply {
    KeeperReply::Acknowledged { seq: Seq(seq) }
}

fn fenced(generation: u64) -> KeeperReply {
    KeeperReply::Refused(Refusal::Fenced { generation: Generation(generation) })
}

fn gap(have: Option<u64>) -> KeeperReply {
    KeeperReply::Refused(Refusal::Gap { have: have.map(Seq) })
}

/// Feeds requests and compares each reply.
fn run(keeper: &mut Keeper, steps: &[(KeeperRequest, KeeperReply)]) -> Vec<Write> {
    let mut writes = Vec::new();
    for (step, (request, expected)) in steps.iter().enumerate() {
        assert_eq!(keeper.handle(request.clone(), &mut writes), *expected, "step {step}");
    }
    writes
}

#[test]
fn a_record_must_follow_the_copy_without_a_gap() {
    run(
        &mut Keeper::default(),
        &[
            (append(7, 1, A, 1), gap(None)),
            (seed(7, 0, A, 0), acknowledged(0)),
            (append(7, 1, A, 2), gap(Some(0))),
            (append(7, 1, A, 1), acknowledged(1)),
            (append(7, 1, A, 1), gap(Some(1))),
            (append(7, 1, A, 2), acknowledged(2)),
        ],
    );
}

#[test]
fn an_old_owner_is_fenced_by_the_fetch_of_the_new_one() {
    run(
        &mut Keeper::default(),
        &[
            (seed(7, 0, A, 0), acknowledged(0)),
            (append(7, 1, A, 1), acknowledged(1)),
            (fetch(7, 2, B), KeeperReply::Fetched(Box::new(state(1)))),
            (append(7, 1, A, 2), fenced(2)),
            (confirm(7, 1, A, 1), fenced(2)),
            (seed(8, 1, A, 1), fenced(2)),
            (append(7, 2, B, 2), acknowledged(2)),
        ],
    );
}

#[test]
fn two_writers_of_one_generation_cannot_both_write() {
    run(
        &mut Keeper::default(),
        &[
            (seed(7, 0, A, 0), acknowledged(0)),
            (confirm(7, 1, A, 0), acknowledged(0)),
            (append(7, 1, B, 1), fenced(1)),
        ],
    );
}

#[test]
fn a_fence_holds_even_where_the_copy_is_missing() {
    run(
        &mut Keeper::default(),
        &[
            (seed(7, 0, A, 0), acknowledged(0)),
            (fetch(9, 5, B), gap(None)),
            (append(7, 4, A, 1), fenced(5)),
        ],
    );
}

#[test]
fn rival_seeds_live_side_by_side_until_one_is_named() {
    let mut keeper = Keeper::default();
    let seeds = [(seed(7, 0, A, 0), acknowledged(0)), (seed(8, 0, B, 0), acknowledged(0))];
    run(&mut keeper, &seeds);
    // B won: its first append proves that A's copy was not named.
    let writes = run(&mut keeper, &[(append(8, 1, B, 1), acknowledged(1))]);
    assert!(writes.contains(&Write::Remove { copy: CopyId(7) }), "{writes:?}");
    assert!(keeper.copy(&player(), CopyId(7)).is_none());
}

#[test]
fn a_successor_that_is_not_named_yet_never_replaces_the_named_copy() {
    let mut keeper = Keeper::default();
    run(
        &mut keeper,
        &[
            (seed(7, 0, A, 0), acknowledged(0)),
            (append(7, 1, A, 1), acknowledged(1)),
            (seed(8, 1, A, 1), acknowledged(1)),
            // The owner died before it named copy 8; the directory still names 7.
            (fetch(7, 2, B), KeeperReply::Fetched(Box::new(state(1)))),
        ],
    );
}

#[test]
fn a_copy_that_may_miss_calls_is_not_handed_over_until_its_owner_proves_it() {
    let mut keeper = Keeper::default();
    let copy = Copy {
        id: CopyId(7),
        seeded: Generation(0),
        writer: A,
        state: state(3).into(),
        trusted: false,
        tail: Tail::default(),
    };
    keeper.load_copy(player(), copy.clone());
    let stale = KeeperReply::Refused(Refusal::Stale { seq: Seq(3) });
    run(&mut keeper, &[(fetch(7, 2, B), stale)]);

    let mut keeper = Keeper::default();
    keeper.load_copy(player(), copy);
    let fetched = KeeperReply::Fetched(Box::new(state(4)));
    run(&mut keeper, &[(append(7, 1, A, 4), acknowledged(4)), (fetch(7, 2, B), fetched)]);
}

#[test]
fn a_seed_that_was_overtaken_changes_nothing() {
    let mut keeper = Keeper::default();
    run(&mut keeper, &[(seed(7, 1, A, 5), acknowledged(5)), (seed(7, 1, A, 3), acknowledged(5))]);
    run(&mut keeper, &[(seed(7, 1, A, 8), acknowledged(8)), (append(7, 2, A, 9), acknowledged(9))]);
    run(&mut keeper, &[(append(7, 2, A, 10), acknowledged(10))]);
}

#[test]
fn a_copy_that_an_operator_accepts_counts_from_then_on() {
    let mut keeper = Keeper::default();
    let (seeded, writer, tail) = (Generation(0), A, Tail::default());
    let copy = Copy { id: CopyId(7), seeded, writer, state: state(3).into(), trusted: false, tail };
    keeper.load_copy(player(), copy);
    let accept = |seq| match fetch(7, 2, B) {
        KeeperRequest::Fetch(fetch) => {
            KeeperRequest::Fetch(Fetch { accept: Some(Seq(seq)), ..fetch })
        }
        other => panic!("{other:?}"),
    };
    let stale = || KeeperReply::Refused(Refusal::Stale { seq: Seq(3) });
    let fetched = || KeeperReply::Fetched(Box::new(state(3)));
    run(&mut keeper, &[(accept(4), stale()), (accept(2), stale()), (accept(3), fetched())]);
    run(&mut keeper, &[(fetch(7, 2, B), fetched()), (append(7, 2, B, 4), acknowledged(4))]);
}

#[test]
fn a_fence_that_the_disk_forgot_is_raised_again_from_the_directory() {
    let mut keeper = Keeper::default();
    let seeded = [(seed(7, 0, A, 0), acknowledged(0)), (append(7, 1, A, 1), acknowledged(1))];
    run(&mut keeper, &seeded);
    let mut writes = Vec::new();
    keeper.raise_floor(&player(), Generation(2), B, &mut writes);
    keeper.raise_floor(&player(), Generation(1), A, &mut writes);
    let floor = Write::Floor { player: player(), generation: Generation(2), writer: B };
    assert_eq!(writes, [floor]);
    run(&mut keeper, &[(append(7, 1, A, 2), fenced(2)), (append(7, 2, B, 2), acknowledged(2))]);
}

#[test]
fn a_second_attempt_of_a_seed_replaces_the_first() {
    let mut keeper = Keeper::default();
    run(&mut keeper, &[(seed(7, 1, A, 1), acknowledged(1)), (seed(7, 1, A, 2), acknowledged(2))]);
    assert_eq!(keeper.copy(&player(), CopyId(7)).unwrap().state.seq(), Seq(2));
    // Nobody else can overwrite it.
    run(&mut keeper, &[(seed(7, 1, B, 0), gap(Some(2))), (seed(7, 2, A, 0), gap(Some(2)))]);
}

#[test]
fn many_records_are_folded_into_a_base() {
    let mut keeper = Keeper::default();
    run(&mut keeper, &[(seed(7, 0, A, 0), acknowledged(0))]);
    for seq in 1..RECORDS_PER_BASE {
        let writes = run(&mut keeper, &[(append(7, 1, A, seq), acknowledged(seq))]);
        assert!(writes.iter().any(|write| matches!(write, Write::Record { .. })), "{writes:?}");
    }
    let last = (append(7, 1, A, RECORDS_PER_BASE), acknowledged(RECORDS_PER_BASE));
    assert_eq!(run(&mut keeper, &[last]), [Write::Base { player: player(), copy: CopyId(7) }]);
}

#[test]
fn a_base_is_written_once_the_records_outweigh_memory_and_keys() {
    let mut keeper = Keeper::default();
    let calls = 5 * RECORDS_PER_BASE;
    run(&mut keeper, &[(seed(7, 0, A, calls), acknowledged(calls))]);
    let keys = keeper.copy(&player(), CopyId(7)).unwrap().state.state().window.bytes();
    let mut written = 0;
    for seq in calls + 1.. {
        let writes = run(&mut keeper, &[(append(7, 1, A, seq), acknowledged(seq))]);
        written += RECORD_OVERHEAD_BYTES;
        if writes.iter().any(|write| matches!(write, Write::Base { .. })) {
            break;
        }
        assert!(written < 10 * keys, "no base after {seq}");
    }
    assert!(written >= keys, "{written} bytes of records for {keys} of keys");
}

#[test]
fn copies_of_one_player_are_bounded() {
    let mut keeper = Keeper::default();
    for copy in 0..COPIES_PER_PLAYER_MAX as u64 {
        run(&mut keeper, &[(seed(copy, 0, A, 0), acknowledged(0))]);
    }
    let copies = COPIES_PER_PLAYER_MAX as u64;
    let full = KeeperReply::Refused(Refusal::Full { copies });
    run(&mut keeper, &[(seed(99, 0, A, 0), full), (seed(0, 0, A, 0), acknowledged(0))]);
}

#[test]
fn a_copy_is_packed_while_nobody_writes_to_it() {
    let mut keeper = Keeper::default();
    let packed = |keeper: &Keeper| keeper.copy(&player(), CopyId(7)).unwrap().state.is_packed();
    run(&mut keeper, &[(seed(7, 0, A, 0), acknowledged(0)), (append(7, 1, A, 1), acknowledged(1))]);
    keeper.pack(1, usize::MAX);
    assert!(!packed(&keeper), "it was just written to");
    keeper.pack(1, usize::MAX);
    assert!(packed(&keeper));
    // To read it, or to confirm where it is, is not to write to it.
    let fetched = KeeperReply::Fetched(Box::new(state(1)));
    run(&mut keeper, &[(confirm(7, 1, A, 1), acknowledged(1)), (fetch(7, 1, A), fetched)]);
    assert!(packed(&keeper));
    run(&mut keeper, &[(append(7, 1, A, 2), acknowledged(2))]);
    assert!(!packed(&keeper));
    keeper.pack(1, usize::MAX);
    keeper.pack(1, usize::MAX);
    assert!(packed(&keeper), "also the second time");
}

/// A keeper of one copy of each of some players.
fn with_players(players: u64) -> Keeper {
    let mut keeper = Keeper::default();
    for n in 0..players {
        let (player, state) = (format!("player{n}").parse().unwrap(), state(0));
        let (copy, generation) = (CopyId(n), Generation(0));
        let seed = Seed { player, copy, generation, writer: A, state };
        keeper.handle(KeeperRequest::Seed(seed), &mut Vec::new());
    }
    keeper
}

#[test]
fn packing_is_spread_over_time() {
    let mut keeper = with_players(100);
    let packed = |keeper: &Keeper| keeper.copies().filter(|(_, c)| c.state.is_packed()).count();
    // A tenth of them each time, and each of them twice before it is packed.
    (0..10).for_each(|_| keeper.pack(10, usize::MAX));
    assert_eq!(packed(&keeper), 0);
    keeper.pack(10, usize::MAX);
    assert_eq!(packed(&keeper), 10);
    keeper.pack(10, 1);
    assert_eq!(packed(&keeper), 11, "as many bytes as it may, or the one that is more");
    (0..100).for_each(|_| keeper.pack(10, usize::MAX));
    assert!(packed(&keeper) > 90, "those that are left wait longer");
}

#[test]
fn copies_are_collected_some_players_at_a_time() {
    let mut keeper = with_players(5);
    let (mut writes, mut rounds, mut after) = (Vec::new(), 0, None);
    loop {
        let odd = |_: &PlayerId, copy: &Copy| copy.id.0 % 2 == 1;
        after = keeper.collect(after.as_ref(), 2, odd, &mut writes);
        if after.is_none() {
            break;
        }
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    assert_eq!(writes, [1, 3].map(|n| Write::Remove { copy: CopyId(n) }));
    assert_eq!(keeper.copies().count(), 3);
}

proptest! {
    /// Whatever arrives in whatever order: the floor never sinks, no copy has a gap, and what the
    /// store is told always equals what the machine holds.
    #[test]
    fn no_order_of_requests_breaks_the_invariants(
        requests in proptest::collection::vec(
            (0u8..4, 0u64..3, 0u64..4, any::<bool>(), 0u64..5, any::<bool>()), 1..80,
        ),
    ) {
        let mut keeper = Keeper::default();
        let mut stored = std::collections::BTreeMap::<CopyId, Seq>::new();
        let mut floor = None;
        for (kind, copy, generation, first, seq, packs) in requests {
            let writer = if first { A } else { B };
            let request = match kind {
                0 => seed(copy, generation, writer, seq),
                1 => append(copy, generation, writer, seq + 1),
                2 => confirm(copy, generation, writer, seq),
                _ => fetch(copy, generation, writer),
            };
            let mut writes = Vec::new();
            if packs {
                keeper.pack(1, usize::MAX);
            }
            let reply = keeper.handle(request, &mut writes);
            for write in writes {
                match write {
                    Write::Base { player, copy } => {
                        stored.insert(copy, keeper.copy(&player, copy).unwrap().state.seq());
                    }
                    Write::Record { copy, record } => {
                        prop_assert_eq!(stored.insert(copy, record.seq), Some(Seq(record.seq.0 - 1)));
                    }
                    Write::Floor { generation, writer, .. } => {
                        prop_assert!(floor.is_none_or(|(old, _)| old < generation));
                        floor = Some((generation, writer));
                    }
                    Write::Remove { copy } => {
                        prop_assert!(stored.remove(&copy).is_some());
                    }
                }
            }
            if let KeeperReply::Acknowledged { .. } | KeeperReply::Fetched(_) = reply {
                prop_assert!(floor.is_none_or(|(newest, _)| Generation(generation) >= newest));
            }
            let held: std::collections::BTreeMap<_, _> =
                keeper.copies().map(|(_, copy)| (copy.id, copy.state.seq())).collect();
            prop_assert_eq!(&held, &stored);
        }
    }
}
