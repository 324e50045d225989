use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::{Ack, CodeHash, FailedRestores, Incarnation, KeeperCopy, Seq};

const CODE: CodeHash = CodeHash([1; 32]);

fn announcement(id: u64, name: &str, incarnation: u64) -> Announcement {
    Announcement {
        id: NodeId(id),
        name: name.parse().unwrap(),
        addr: ([127, 0, 0, 1], u16::try_from(4000 + id).unwrap()).into(),
        incarnation: Incarnation(incarnation),
    }
}

fn writer(node: u64, incarnation: u64) -> Writer {
    Writer { node: NodeId(node), incarnation: Incarnation(incarnation) }
}

fn keeper(node: u64, copy: u64) -> KeeperCopy {
    KeeperCopy { node: NodeId(node), copy: CopyId(copy) }
}

fn player() -> PlayerId {
    "player1".parse().unwrap()
}

/// Nodes 1 to 4, up in their first incarnation, named `n1` to `n4`.
fn four_nodes() -> DirectoryState {
    let mut state = DirectoryState::default();
    for id in 1..=4 {
        assert_eq!(up(&mut state, announcement(id, &format!("n{id}"), 1)), Ok(()));
    }
    state
}

fn up(state: &mut DirectoryState, announcement: Announcement) -> Result<(), JoinRefusal> {
    match state.apply(&Command::NodeUp(announcement)) {
        Outcome::NodeUp(result) => result,
        outcome => panic!("unexpected {outcome:?}"),
    }
}

fn down(state: &mut DirectoryState, writer: Writer) -> bool {
    state.apply(&Command::NodeDown(writer)) == Outcome::NodeDown(true)
}

fn change(expect: u64, owner: Writer, keepers: &[KeeperCopy]) -> PlayerChange {
    let expect = Generation(expect);
    PlayerChange {
        player: player(),
        expect,
        by: owner,
        owner,
        keepers: keepers.to_vec(),
        code: CODE,
        failed: None,
    }
}

fn failed_times(times: u32) -> FailedRestores {
    FailedRestores { times, seq: Seq(7), reason: "no".to_owned() }
}

/// Applies one change: the new generation, or `None` after a conflict, which must change nothing.
fn apply(state: &mut DirectoryState, change: PlayerChange) -> Option<u64> {
    let before = state.clone();
    match state.apply(&Command::Players(vec![change])) {
        Outcome::Players(outcomes) => match &outcomes[..] {
            [ChangeOutcome::Changed(generation)] => Some(generation.0),
            [ChangeOutcome::Conflict(current)] => {
                assert_eq!(current.as_ref(), before.player(&player()));
                assert_eq!(*state, before);
                None
            }
            outcomes => panic!("unexpected {outcomes:?}"),
        },
        outcome => panic!("unexpected {outcome:?}"),
    }
}

#[test]
fn each_change_raises_the_generation_of_what_its_writer_saw() {
    let mut state = four_nodes();
    assert_eq!(apply(&mut state, change(1, writer(1, 1), &[keeper(2, 20)])), None);
    assert_eq!(apply(&mut state, change(0, writer(1, 1), &[keeper(2, 20)])), Some(1));
    assert_eq!(apply(&mut state, change(0, writer(1, 1), &[keeper(2, 20)])), None);
    assert_eq!(apply(&mut state, change(1, writer(1, 1), &[keeper(3, 30)])), Some(2));
    assert!(state.is_named(&player(), CopyId(30)));
    assert!(!state.is_named(&player(), CopyId(20)));
}

#[test]
fn a_player_is_never_taken_from_a_start_that_is_up() {
    let mut state = four_nodes();
    apply(&mut state, change(0, writer(1, 1), &[keeper(2, 20)])).unwrap();
    assert_eq!(apply(&mut state, change(1, writer(3, 1), &[keeper(2, 20)])), None);
    assert!(down(&mut state, writer(1, 1)));
    assert_eq!(apply(&mut state, change(1, writer(3, 1), &[keeper(2, 20)])), Some(2));
    // The old start cannot take it back, the next one could once the new owner is gone.
    assert_eq!(apply(&mut state, change(2, writer(1, 1), &[keeper(2, 20)])), None);
    up(&mut state, announcement(1, "n1", 2)).unwrap();
    assert_eq!(apply(&mut state, change(2, writer(1, 2), &[keeper(2, 20)])), None);
    up(&mut state, announcement(3, "n3", 2)).unwrap();
    assert_eq!(apply(&mut state, change(2, writer(1, 2), &[keeper(2, 20)])), Some(3));
}

#[test]
fn only_the_owner_hands_a_player_over_and_only_to_a_node_that_is_up() {
    let mut state = four_nodes();
    let copies = [keeper(2, 20)];
    apply(&mut state, change(0, writer(1, 1), &copies)).unwrap();
    let by = |by, owner| PlayerChange { by, ..change(1, owner, &copies) };
    assert_eq!(apply(&mut state, by(writer(3, 1), writer(3, 1))), None, "a thief");
    assert_eq!(apply(&mut state, by(writer(4, 1), writer(3, 1))), None, "for another");
    assert_eq!(apply(&mut state, by(writer(1, 1), writer(3, 2))), None, "a start that is not");
    let drained = state.apply(&Command::NodeDraining(writer(3, 1)));
    assert_eq!(drained, Outcome::NodeDraining(true));
    assert_eq!(apply(&mut state, by(writer(1, 1), writer(3, 1))), None, "one that leaves");
    // One that leaves itself still does what it must for its players.
    state.apply(&Command::NodeDraining(writer(1, 1)));
    assert_eq!(apply(&mut state, change(1, writer(1, 1), &[keeper(4, 40)])), Some(2));
    let handed = PlayerChange { by: writer(1, 1), ..change(2, writer(2, 1), &[keeper(4, 40)]) };
    assert_eq!(apply(&mut state, handed), Some(3));
    assert_eq!(
        apply(&mut state, change(3, writer(1, 1), &[keeper(4, 40)])),
        None,
        "it is given away"
    );
}

#[test]
fn a_node_that_leaves_is_alive_until_it_is_down_and_keeps_its_name() {
    let mut state = four_nodes();
    state.apply(&Command::NodeDraining(writer(1, 1)));
    assert_eq!(state.apply(&Command::NodeDraining(writer(1, 1))), Outcome::NodeDraining(false));
    assert!(up(&mut state, announcement(9, "n1", 1)).is_err());
    assert!(down(&mut state, writer(1, 1)));
    assert_eq!(state.apply(&Command::NodeDraining(writer(1, 1))), Outcome::NodeDraining(false));
    assert_eq!(state.node(NodeId(1)).unwrap().status, NodeStatus::Down);
    up(&mut state, announcement(1, "n1", 2)).unwrap();
    assert_eq!(state.node(NodeId(1)).unwrap().status, NodeStatus::Up);
}

#[test]
fn keepers_are_known_remote_and_distinct() {
    let mut state = four_nodes();
    let owner = writer(1, 1);
    assert!(down(&mut state, writer(4, 1)));
    for (keepers, why) in [
        (vec![], "none"),
        (vec![keeper(1, 10)], "the owner itself"),
        (vec![keeper(9, 90)], "unknown"),
        (vec![keeper(4, 40)], "down"),
        (vec![keeper(2, 20), keeper(2, 21)], "twice the same node"),
    ] {
        assert_eq!(apply(&mut state, change(0, owner, &keepers)), None, "{why}");
    }
    assert_eq!(apply(&mut state, change(0, owner, &[keeper(2, 20), keeper(3, 30)])), Some(1));
}

#[test]
fn a_keeper_that_takes_over_keeps_its_copy_until_it_has_another() {
    let mut state = four_nodes();
    apply(&mut state, change(0, writer(1, 1), &[keeper(2, 20)])).unwrap();
    assert!(down(&mut state, writer(1, 1)));
    let owner = writer(2, 1);
    assert_eq!(apply(&mut state, change(1, owner, &[keeper(2, 21)])), None);
    assert_eq!(apply(&mut state, change(1, owner, &[keeper(2, 20)])), Some(2));
    assert_eq!(apply(&mut state, change(2, owner, &[keeper(3, 30)])), Some(3));
}

#[test]
fn a_keeper_that_is_down_stays_named_until_it_is_replaced() {
    let mut state = four_nodes();
    apply(&mut state, change(0, writer(1, 1), &[keeper(2, 20)])).unwrap();
    assert!(down(&mut state, writer(2, 1)) && down(&mut state, writer(1, 1)));
    assert_eq!(apply(&mut state, change(1, writer(3, 1), &[keeper(2, 20)])), Some(2));
    assert_eq!(apply(&mut state, change(2, writer(3, 1), &[keeper(2, 22)])), None);
}

#[test]
fn a_players_code_changes_only_with_all_its_copies() {
    let mut state = four_nodes();
    let (owner, other) = (writer(1, 1), CodeHash([2; 32]));
    let copies = [keeper(1, 10), keeper(2, 20)];
    assert_eq!(apply(&mut state, change(0, owner, &copies)), Some(1));
    let with = |expect, owner, keepers: &[KeeperCopy]| PlayerChange {
        code: other,
        ..change(expect, owner, keepers)
    };
    for wrong in [
        with(1, owner, &copies),
        with(1, owner, &[keeper(1, 11), keeper(2, 20)]),
        with(1, owner, &[keeper(1, 10), keeper(3, 30)]),
        // Whoever hands a player over, or takes one over, has made no step.
        PlayerChange { by: owner, ..with(1, writer(3, 1), &[keeper(1, 11), keeper(2, 21)]) },
    ] {
        assert_eq!(apply(&mut state, wrong), None);
    }
    let new = [keeper(1, 11), keeper(2, 21)];
    assert_eq!(apply(&mut state, with(1, owner, &new)), Some(2));
    let record = state.player(&player()).unwrap();
    assert_eq!((record.code, &record.keepers[..]), (other, &new[..]));
}

#[test]
fn changes_of_one_entry_see_each_other() {
    let mut state = four_nodes();
    let changes = vec![
        change(0, writer(1, 1), &[keeper(2, 20)]),
        change(0, writer(3, 1), &[keeper(2, 21)]),
        change(1, writer(1, 1), &[keeper(3, 30)]),
    ];
    let Outcome::Players(outcomes) = state.apply(&Command::Players(changes)) else { panic!() };
    assert_eq!(outcomes[0], ChangeOutcome::Changed(Generation(1)));
    assert!(matches!(&outcomes[1], ChangeOutcome::Conflict(Some(r)) if r.owner == writer(1, 1)));
    assert_eq!(outcomes[2], ChangeOutcome::Changed(Generation(2)));
}

#[test]
fn a_name_belongs_to_one_node_at_a_time() {
    let mut state = four_nodes();
    let addr = state.node(NodeId(1)).unwrap().addr;
    let taken = JoinRefusal::NameTaken { name: "n1".parse().unwrap(), addr };
    assert_eq!(up(&mut state, announcement(9, "n1", 1)), Err(taken));
    assert!(down(&mut state, writer(1, 1)));
    assert_eq!(up(&mut state, announcement(9, "n1", 1)), Ok(()));
    assert_eq!(state.node(NodeId(1)), None);
    assert_eq!(state.nodes().len(), 4);
}

#[test]
fn a_start_that_is_over_does_not_come_back() {
    let mut state = four_nodes();
    up(&mut state, announcement(1, "n1", 2)).unwrap();
    let stale = up(&mut state, announcement(1, "n1", 1));
    assert!(matches!(stale, Err(JoinRefusal::NotNow { .. })));
    assert!(!down(&mut state, writer(1, 1)));
    assert_eq!(state.node(NodeId(1)).unwrap().status, NodeStatus::Up);
    assert!(down(&mut state, writer(1, 2)));
    assert!(!down(&mut state, writer(1, 2)));
    assert!(!down(&mut state, writer(77, 1)));
}

/// A cluster with as many nodes as it may have, `n1` and so on, and their number.
fn full() -> (DirectoryState, u64) {
    let mut state = DirectoryState::default();
    let size = NODES_MAX as u64;
    for id in 1..=size {
        up(&mut state, announcement(id, &format!("n{id}"), 1)).unwrap();
    }
    (state, size)
}

#[test]
fn a_cluster_has_a_largest_size() {
    let (mut state, size) = full();
    let one_more = announcement(size + 1, "late", 1);
    let full = Err(JoinRefusal::Full { nodes: size });
    assert_eq!(up(&mut state, one_more.clone()), full);
    apply(&mut state, change(0, writer(2, 1), &[keeper(1, 10)])).unwrap();
    assert!(down(&mut state, writer(1, 1)));
    assert_eq!(up(&mut state, one_more.clone()), full, "the one that is down keeps a copy");
    // A node that lost its disk takes its own place, and a known one may always come back.
    assert_eq!(up(&mut state, announcement(size + 2, "n1", 1)), Ok(()));
    assert_eq!(up(&mut state, announcement(2, "n2", 2)), Ok(()));
    // One that is down and keeps nothing makes room.
    assert!(down(&mut state, writer(3, 1)));
    assert_eq!(up(&mut state, one_more), Ok(()));
    assert_eq!(state.node(NodeId(3)), None);
}

#[test]
fn a_node_that_left_on_purpose_keeps_its_place_until_it_stays_away() {
    let (mut state, size) = full();
    let leave = |state: &mut DirectoryState, start| {
        state.apply(&Command::NodeDraining(start));
        assert!(down(state, start));
    };
    let newcomer = || announcement(size + 1, "late", 1);
    let full = Err(JoinRefusal::Full { nodes: size });
    leave(&mut state, writer(3, 1));
    assert_eq!(up(&mut state, newcomer()), full, "it is only being restarted");
    assert!(state.keeps_place(NodeId(3)));
    // Whether it may be long enough away is asked anew once it was here.
    assert_eq!(up(&mut state, announcement(3, "n3", 2)), Ok(()));
    assert!(!state.keeps_place(NodeId(3)));
    leave(&mut state, writer(3, 2));
    // One that died makes room before it.
    assert!(down(&mut state, writer(5, 1)));
    assert_eq!(up(&mut state, newcomer()), Ok(()));
    assert_eq!((state.node(NodeId(3)).is_some(), state.node(NodeId(5))), (true, None));

    let another = || announcement(size + 2, "later", 1);
    assert_eq!(up(&mut state, another()), full);
    let free = Command::PlacesFree(vec![NodeId(3), NodeId(4)]);
    assert_eq!(state.apply(&free), Outcome::PlacesFree(1));
    assert_eq!(up(&mut state, another()), Ok(()));
    assert_eq!(state.node(NodeId(3)), None);
    // Who bears its name has its place at once.
    leave(&mut state, writer(4, 1));
    assert_eq!(up(&mut state, announcement(size + 3, "n4", 1)), Ok(()));
    assert!(!state.keeps_place(NodeId(4)));
}

#[test]
fn players_are_listed_in_pages() {
    let mut state = four_nodes();
    for name in ["b", "a", "c"] {
        let player = name.parse().unwrap();
        let change = PlayerChange { player, ..change(0, writer(1, 1), &[keeper(2, 20)]) };
        state.apply(&Command::Players(vec![change]));
    }
    let page = |after: Option<&str>| -> Vec<String> {
        let after = after.map(|name| name.parse().unwrap());
        state.players_after(after.as_ref()).map(|(player, _)| player.to_string()).collect()
    };
    assert_eq!(page(None), ["a", "b", "c"]);
    assert_eq!(page(Some("a")), ["b", "c"]);
    assert_eq!(page(Some("bb")), ["c"]);
}

#[test]
fn what_is_known_of_failed_restores_goes_with_the_player() {
    let mut state = four_nodes();
    let copies = [keeper(2, 20)];
    let failed = |times| Some(Box::new(failed_times(times)));
    let says = |expect, owner, failed| PlayerChange { failed, ..change(expect, owner, &copies) };
    assert_eq!(apply(&mut state, says(0, writer(1, 1), failed(1))), None, "it was never restored");
    apply(&mut state, says(0, writer(1, 1), None)).unwrap();
    assert_eq!(apply(&mut state, says(1, writer(1, 1), failed(3))), Some(2), "its owner counts");
    let given = PlayerChange { by: writer(1, 1), ..says(2, writer(4, 1), None) };
    assert_eq!(apply(&mut state, given), None, "it is given away with it");
    assert!(down(&mut state, writer(1, 1)));
    for other in [None, failed(2), failed(4)] {
        assert_eq!(apply(&mut state, says(2, writer(3, 1), other)), None, "a claim repeats it");
    }
    assert_eq!(apply(&mut state, says(2, writer(3, 1), failed(3))), Some(3));
    assert_eq!(state.player(&player()).unwrap().quarantine(), Some(&failed_times(3)));
    let ends = |failed| PlayerChange { failed, ..change(3, writer(3, 1), &[]) };
    assert_eq!(apply(&mut state, ends(failed(3))), None, "nothing of it is left");
    assert_eq!(apply(&mut state, ends(None)), Some(4));
    assert_eq!(apply(&mut state, says(4, writer(3, 1), failed(1))), None);
    assert_eq!(apply(&mut state, says(4, writer(3, 1), None)), Some(5));
}

fn any_command() -> impl Strategy<Value = Command> {
    let node = 1u64..5;
    let incarnation = 1u64..4;
    let name = prop_oneof![Just("n1"), Just("n2"), Just("n3")];
    let announce = (node.clone(), name, incarnation.clone())
        .prop_map(|(id, name, incarnation)| Command::NodeUp(announcement(id, name, incarnation)));
    let down = (node.clone(), incarnation.clone())
        .prop_map(|(node, incarnation)| Command::NodeDown(writer(node, incarnation)));
    let one_change = (
        prop_oneof![Just("p1"), Just("p2")],
        0u64..6,
        ((node.clone(), incarnation.clone()), (node.clone(), incarnation)),
        vec((node, 0u64..6), 0..3),
        prop_oneof![9 => Just(CODE), 1 => Just(CodeHash([2; 32]))],
        prop::option::weighted(0.1, 1u32..3),
    )
        .prop_map(|(player, expect, (by, owner), keepers, code, failed)| PlayerChange {
            player: player.parse().unwrap(),
            expect: Generation(expect),
            by: writer(by.0, by.1),
            owner: writer(owner.0, owner.1),
            keepers: keepers.into_iter().map(|(node, copy)| keeper(node, copy)).collect(),
            code,
            failed: failed.map(|times| Box::new(failed_times(times))),
        });
    prop_oneof![
        2 => announce,
        1 => down.clone(),
        1 => down.prop_map(|command| match command {
            Command::NodeDown(writer) => Command::NodeDraining(writer),
            other => other,
        }),
        1 => vec(1u64..5, 0..3)
            .prop_map(|nodes| Command::PlacesFree(nodes.into_iter().map(NodeId).collect())),
        6 => vec(one_change, 1..4).prop_map(Command::Players),
    ]
}

proptest! {
    #[test]
    fn generations_rise_by_one_and_have_one_owner(commands in vec(any_command(), 0..200)) {
        let mut state = four_nodes();
        let mut owners = BTreeMap::new();
        for command in &commands {
            let before = state.clone();
            let outcome = state.apply(command);
            for (player, old) in before.players_after(None) {
                let new = state.player(player).unwrap();
                prop_assert!(new.generation >= old.generation);
                prop_assert_eq!(new.code, old.code);
            }
            if let (Command::Players(changes), Outcome::Players(outcomes)) = (command, outcome) {
                for (change, outcome) in changes.iter().zip(outcomes) {
                    if let ChangeOutcome::Changed(generation) = outcome {
                        let key = (change.player.clone(), generation);
                        prop_assert_eq!(generation, change.expect.next());
                        prop_assert_eq!(owners.insert(key, change.owner), None);
                    }
                }
            }
            let up = state.nodes().filter(|node| node.status == NodeStatus::Up);
            let names: Vec<_> = up.map(|node| node.name.clone()).collect();
            let is_down = |id| state.node(id).is_some_and(|node| node.status == NodeStatus::Down);
            prop_assert!((1..5).map(NodeId).all(|id| !state.keeps_place(id) || is_down(id)));
            let distinct: BTreeSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
        }
    }

    #[test]
    fn a_snapshot_anywhere_in_the_log_changes_nothing(
        commands in vec(any_command(), 0..100),
        cut: prop::sample::Index,
    ) {
        let mut through = four_nodes();
        let mut restored = four_nodes();
        let cut = cut.index(commands.len() + 1);
        for (at, command) in commands.iter().enumerate() {
            if at == cut {
                let bytes = postcard::to_stdvec(&restored).unwrap();
                restored = postcard::from_bytes(&bytes).unwrap();
            }
            prop_assert_eq!(through.apply(command), restored.apply(command));
        }
        prop_assert_eq!(through, restored);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(command) = postcard::from_bytes::<Command>(&bytes) {
            four_nodes().apply(&command);
        }
        let _ = postcard::from_bytes::<DirectoryState>(&bytes).is_ok();
    }
}

#[test]
fn a_forgotten_player_keeps_its_number_when_it_begins_anew() {
    let mut state = four_nodes();
    assert_eq!(apply(&mut state, change(0, writer(1, 1), &[])), None, "there is nothing to forget");
    apply(&mut state, change(0, writer(1, 1), &[keeper(2, 20)])).unwrap();
    assert_eq!(apply(&mut state, change(1, writer(3, 1), &[])), None, "another's");
    assert_eq!(apply(&mut state, change(1, writer(1, 1), &[])), Some(2));
    assert!(state.player(&player()).unwrap().is_forgotten());
    assert_eq!(state.players_after(None).count(), 0);
    assert!(!state.is_named(&player(), CopyId(20)));
    // The next owner claims the number first. It may be another one, with other code, once the one
    // that has forgotten the player is gone.
    assert_eq!(apply(&mut state, change(2, writer(3, 1), &[])), None);
    assert!(down(&mut state, writer(1, 1)));
    assert_eq!(apply(&mut state, change(2, writer(3, 1), &[])), Some(3));
    let other_code =
        PlayerChange { code: CodeHash([2; 32]), ..change(3, writer(3, 1), &[keeper(4, 40)]) };
    assert_eq!(apply(&mut state, other_code), Some(4));
    assert_eq!(state.players_after(None).count(), 1);
}

#[test]
fn settings_change_one_by_one_and_never_to_what_no_cluster_can_have() {
    let mut state = DirectoryState::default();
    let mut configure = |keepers, ack| {
        let outcome = state.apply(&Command::Configure(SettingsChange { keepers, ack }));
        assert_eq!(outcome, Outcome::Configured(state.settings()));
        let Settings { keepers, ack } = state.settings();
        (keepers, ack)
    };
    assert_eq!(configure(None, None), (1, Ack::Memory));
    assert_eq!(configure(Some(2), None), (2, Ack::Memory));
    assert_eq!(configure(None, Some(Ack::Disk)), (2, Ack::Disk));
    for wrong in [0, 9] {
        assert_eq!(configure(Some(wrong), Some(Ack::Memory)), (2, Ack::Disk));
    }
}
