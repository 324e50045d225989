//! State that is taken over by other code.

use super::super::{MigrateError, Side, built_in};
use super::*;

/// What a component exports so that its state can be taken over. `core` defines the core functions
/// `$save` and `$load`.
fn exports(core: &str) -> String {
    format!(
        r#"{core}
        (func $save (result (list u8))
            (canon lift (core func $save) (memory (core memory $memory))))
        (func $load (param "state" (list u8)) (result (result (error string)))
            (canon lift (core func $load) (memory (core memory $memory))
                (realloc (core func $realloc))))
        (instance $migrate (export "save" (func $save)) (export "load" (func $load)))
        (export "player:host/migrate@0.1.0" (instance $migrate))"#
    )
}

/// A counter that hands over its total in eight bytes, after `save`, and takes it over, after `load`.
/// It keeps how often it was called in a global, and answers that instead of its points.
fn migrating(save: &str, load: &str) -> Vec<u8> {
    let module = format!(
        r#"(memory (export "memory") 1100) {COMMON} {ADD}
        (global $calls (mut i64) (i64.const 0))
        (func (export "reward") (param i32 i64 i32) (result i64)
            (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
            (drop (call $add (local.get 0) (local.get 1)))
            (global.get $calls))
        (func (export "save") (result i32)
            (i32.store (i32.const 32) (i32.const 16))
            (i32.store (i32.const 36) (i32.const 8))
            {save}
            (i32.const 32))
        (func (export "load") (param i32 i32) (result i32)
            (i64.store (i32.const 16) (i64.load (local.get 0)))
            (global.set $calls (i64.const 100))
            (i32.store (i32.const 32) (i32.const 0))
            {load}
            (i32.const 32))"#
    );
    component(&format!(
        r#"(core module $m {module})
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))
        {}"#,
        exports(
            r#"(alias core export $i "save" (core func $save))
            (alias core export $i "load" (core func $load))"#
        )
    ))
}

fn good() -> Arc<Code> {
    load(&migrating("", "")).unwrap()
}

impl Player {
    /// The same player with other code, or why it has none.
    fn crosses(&self, code: &Arc<Code>) -> Result<Player, MigrateError> {
        let saved = self.code.save(&self.snapshot)?;
        let (instance, snapshot) = code.take_over(&saved)?;
        Ok(Player { code: code.clone(), instance, snapshot })
    }
}

#[test]
fn state_goes_to_other_code_and_is_restored_there_like_any_other() {
    let mut old = Player::new(&good());
    assert_eq!((old.call(&reward(5)), old.call(&reward(-7))), (Ok(1), Ok(2)));
    let mut new = old.crosses(&good()).unwrap();
    assert_eq!(new.call(&Operation::Points), Ok(-2));
    let mut restored = Player::new(&new.code);
    restored.snapshot = new.snapshot.clone();
    restored.restore();
    assert_eq!(restored.memories(), new.memories());
    assert_eq!(restored.call(&reward(1)), Ok(101), "also what is not in its memory");
    assert_eq!(new.call(&reward(1)), Ok(101));
    assert_eq!(old.call(&reward(1)), Ok(3), "the old instance goes on as if nothing had been");
}

#[test]
fn the_built_in_player_takes_over_what_it_saved_and_nothing_else() {
    let code = load(built_in()).unwrap();
    assert!(code.migrates());
    let mut old = Player::new(&code);
    assert_eq!(old.call(&reward(1_000_000)), Ok(1_000_000));
    let mut new = old.crosses(&code).unwrap();
    assert_eq!(new.call(&reward(-1)), Ok(999_999));
    for (saved, words) in [(&[7_u8, 0][..], "version 7"), (&[0], "cut off"), (&[], "cut off")] {
        let error = code.take_over(saved).unwrap_err().to_string();
        assert!(
            error.contains("`load` of the new code refused") && error.contains(words),
            "{error}"
        );
    }
}

#[test]
fn a_save_that_changes_something_changes_nothing() {
    let wild = load(&migrating("(i64.store (i32.const 64) (i64.const -1))", "")).unwrap();
    let mut old = Player::new(&wild);
    assert_eq!(old.call(&reward(5)), Ok(1));
    let before = old.memories();
    old.crosses(&good()).unwrap();
    assert_eq!(old.memories(), before);
}

#[test]
fn whatever_fails_says_whose_function_it_was() {
    let endless = "(loop $again (br $again))";
    let long = "(i32.store (i32.const 36) (i32.const 68000000))";
    let outside = "(i32.store (i32.const 36) (i32.const -1))";
    for (save, words) in [
        ("unreachable", "`save` of the old code trapped: unreachable"),
        (endless, "`save` of the old code trapped: ran longer than 1000 ms"),
        (long, "returned 68000000 bytes"),
        (outside, "`save` of the old code trapped"),
    ] {
        let old = Player::new(&load(&migrating(save, "")).unwrap());
        let error = old.crosses(&good()).err().expect(save).to_string();
        assert!(error.contains(words), "{save}: {error}");
    }
    let old = Player::new(&good());
    let refuses = r#"(i32.store (i32.const 32) (i32.const 1))
        (i32.store (i32.const 36) (i32.const 16)) (i32.store (i32.const 40) (i32.const 1))"#;
    for (takes, words) in [
        ("unreachable", "`load` of the new code trapped: unreachable"),
        (endless, "`load` of the new code trapped: ran longer than 1000 ms"),
        (refuses, "`load` of the new code refused: "),
        ("(memory.fill (i32.const 4096) (i32.const 1) (i32.const 68000000))", "may keep"),
    ] {
        let new = load(&migrating("", takes)).unwrap();
        let error = old.crosses(&new).err().expect(takes);
        assert!(!error.is_of_machine());
        let error = error.to_string();
        assert!(error.contains(words), "{takes}: {error}");
    }
}

#[test]
fn code_without_a_way_says_on_which_side_it_is_missing() {
    let plain = load(&counter()).unwrap();
    assert!(!plain.migrates() && good().migrates());
    for (old, new, missing) in [(&plain, &good(), Side::Old), (&good(), &plain, Side::New)] {
        let error = Player::new(old).crosses(new).err().expect("no way");
        assert!(matches!(error, MigrateError::NoInterface(side) if side == missing), "{error}");
    }
}
