//! A node dies that owned many players; the figures for very many are measured by hand.

use std::time::Duration;

use tests::measure::{Exodus, ExodusSettings, exodus};

#[test]
fn all_players_of_a_dead_owner_have_two_copies_again_and_no_call_of_others_fails() {
    let before = Duration::from_millis(500);
    let result = exodus(ExodusSettings { players: 300, before });
    // It says itself what was lost, doubled, left with one copy, or not answered.
    let Exodus { players, before, meanwhile, .. } = result.unwrap();
    assert_eq!(players, 300);
    assert!(before.calls > 0 && meanwhile.calls > 0, "{before:?}, {meanwhile:?}");
}
