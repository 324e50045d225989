//! The player that every host carries.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::built_in;
use super::*;

#[test]
fn a_reward_that_is_no_integer_traps_and_the_points_are_kept() {
    let mut player = Player::new(&load(built_in()).unwrap());
    assert_eq!(player.call(&reward(5)), Ok(5));
    assert_eq!(player.call(&text("a")), Err(r#"not an integer: "a""#.into()));
    player.restore();
    assert_eq!(player.call(&reward(2)), Ok(7));
    let overflow = format!("points overflow: {} + 1", i64::MAX);
    assert_eq!(player.call(&reward(i64::MAX - 7)), Ok(i64::MAX));
    assert_eq!(player.call(&reward(1)), Err(overflow));
    player.restore();
    assert_eq!(player.call(&Operation::Points), Ok(i64::MAX));
}

#[test]
fn a_reward_changes_few_bytes() {
    let mut player = Player::new(&load(built_in()).unwrap());
    player.call(&reward(1)).unwrap();
    let (_, delta) = player.call_with_delta(&reward(1)).unwrap();
    assert!(delta.changed_bytes() <= 128, "{} bytes", delta.changed_bytes());
}

#[test]
fn a_read_changes_nothing_not_even_the_first() {
    let mut player = Player::new(&load(built_in()).unwrap());
    assert_eq!(player.call_with_delta(&Operation::Points), Ok((0, Delta::default())));
    player.call(&reward(3)).unwrap();
    assert_eq!(player.call_with_delta(&Operation::Points), Ok((3, Delta::default())));
}

#[test]
fn two_engines_on_the_same_calls_hold_the_same_bytes() {
    let mut one = Player::new(&load(built_in()).unwrap());
    let mut other = Player::new(&load(built_in()).unwrap());
    for points in [5, -7, 1 << 40] {
        assert_eq!(one.call_with_delta(&reward(points)), other.call_with_delta(&reward(points)));
    }
    assert_eq!(one.memories(), other.memories());
}

#[derive(Debug, Clone)]
enum Step {
    Reward(i64),
    Text(String),
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<i64>().prop_map(|points| Step::Reward(points >> 8)),
        // A long text makes the guest's allocator grow its memory.
        1 => "[a-z]{1,4}".prop_map(|word| Step::Text(word.repeat(16_000))),
        2 => Just(Step::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn points_survive_any_order_of_rewards_traps_and_restores(steps in vec(step(), 1..40)) {
        let mut player = Player::new(&load(built_in()).unwrap());
        let mut points = 0i64;
        for step in steps {
            match step {
                Step::Reward(more) => {
                    // Forty of them do not overflow.
                    points += more;
                    prop_assert_eq!(player.call(&reward(more)), Ok(points));
                    let mut restored = Player::new(&player.code);
                    restored.snapshot = player.snapshot.clone();
                    restored.restore();
                    prop_assert_eq!(restored.memories(), player.memories());
                }
                Step::Text(word) => {
                    prop_assert!(player.call(&text(&word)).is_err());
                    player.restore();
                }
                Step::Restore => player.restore(),
            }
            prop_assert_eq!(player.call(&Operation::Points), Ok(points));
        }
    }
}
