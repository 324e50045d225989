//! Arguments and results in JSON, beside those in WAVE.

use serde_json::{Value as Json, json};

use super::*;
use crate::guest::in_json;

fn call(function: &str, arguments: &Json) -> Operation {
    let arguments = Arguments::Json(arguments.to_string().into());
    Operation::Call(FunctionCall { function: function.to_owned(), arguments })
}

fn bad_arguments(player: &mut Player, function: &str, arguments: &Json) -> String {
    match player.instance.call(&call(function, arguments), &player.snapshot) {
        CallOutcome::Refused(Misfit::Arguments(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// What [`EVERYTHING`] is.
fn everything() -> Json {
    json!({
        "yes": true, "s8": -8, "u8": 8, "s16": -16, "u16": 16, "s32": -32, "u32": 32,
        "s64": i64::MIN, "u64": u64::MAX, "f32": 1.5, "f64": "-inf", "letter": "ü",
        "words": ["a \"b\"\n", ""], "pair": [1, "x"], "maybe": 7, "nested": { "some": null },
        "done": { "err": "no" }, "plain": { "ok": null },
        "shape": { "square": 4 }, "shade": "none", "rights": ["read", "write"],
    })
}

#[test]
fn values_of_all_kinds_are_the_same_in_json() {
    let mut player = Player::new(&load(&roomy(echo)).unwrap());
    for arguments in [json!([everything()]), json!({ "all": everything() })] {
        let (value, _) = player.call_any(&call("echo", &arguments)).unwrap();
        assert_eq!(value, Value::Wave(EVERYTHING.to_owned()), "as if it were WAVE");
        assert_eq!(in_json(&value), everything());
    }
    let mut fewer = everything();
    for left_out in ["maybe", "nested"] {
        fewer.as_object_mut().unwrap().remove(left_out);
    }
    let (value, _) = player.call_any(&call("echo", &json!([fewer]))).unwrap();
    assert_eq!(in_json(&value), fewer);
    assert_eq!(in_json(&Value::Nothing), Json::Null);
    assert_eq!(in_json(&Value::Points(-3)), json!(-3));
}

#[test]
fn a_wrong_argument_in_json_is_named_with_its_place_and_what_was_wanted() {
    let mut player = Player::new(&load(&roomy(echo)).unwrap());
    let before = player.memories();
    for (field, wrong, expected) in [
        ("s8", json!(-129), "argument 1 (`all`): `s8`: `-129` is no s8"),
        ("u64", json!(-1), "`-1` is no u64"),
        ("s64", json!(u64::MAX), "`18446744073709551615` is no s64"),
        ("u8", json!(1.5), "`1.5` is no u8"),
        ("u8", json!("1"), "`\"1\"` is no u8"),
        ("f64", json!("1"), "`\"1\"` is no f64"),
        ("yes", json!(1), "`yes`: `1` is no bool"),
        ("letter", json!("ab"), "`\"ab\"` is no char"),
        ("pair", json!([1]), "`pair`: `[1]` is no tuple<u8, string>"),
        ("pair", json!([1, 2]), "`pair`: item 2: `2` is no string"),
        ("words", json!(["", 3]), "`words`: item 2: `3` is no string"),
        ("nested", json!(5), "`5` is no option<option<u32>>"),
        ("nested", json!({ "none": 5 }), "is no option<option<u32>>"),
        ("shape", json!("square"), "is no variant { round, square(u32) }"),
        ("shape", json!({ "square": "x" }), "`shape`: `square`: `\"x\"` is no u32"),
        ("shape", json!({ "round": 4 }), "is no variant"),
        ("shape", json!({ "square": 4, "round": 4 }), "is no variant"),
        ("shade", json!("red"), "`\"red\"` is no enum { pale, dark, none }"),
        ("rights", json!(["wipe"]), "is no flags { read, write }"),
        ("done", json!({ "err": null }), "`err`: `null` is no string"),
        ("done", json!({ "ok": 1, "err": "no" }), "is no result<u8, string>"),
        ("plain", json!({ "ok": 1 }), "is no result"),
        ("no", json!(1), "there is no field `no`"),
    ] {
        let mut arguments = everything();
        arguments[field] = wrong;
        let reason = bad_arguments(&mut player, "echo", &json!([arguments]));
        assert!(reason.contains(expected), "{reason}\n{expected}");
        assert!(reason.len() <= MISFIT_BYTES_MAX);
    }
    let mut fewer = everything();
    fewer.as_object_mut().unwrap().remove("u8");
    let reason = bad_arguments(&mut player, "echo", &json!([fewer]));
    assert!(reason.contains("the field `u8` is missing"), "{reason}");
    assert_eq!(player.memories(), before, "nothing was executed");
    assert!(player.call_any(&call("echo", &json!([everything()]))).is_ok(), "the instance lives");
}

#[test]
fn arguments_in_json_stand_in_order_or_by_their_names() {
    let mut player = Player::new(&load(&plain()).unwrap());
    for (arguments, expected) in [
        (json!([5]), json!(5)),
        (json!([5, null]), json!(5)),
        (json!([5, 2]), json!(7)),
        (json!({ "more": 2, "base": 5 }), json!(7)),
        (json!({ "base": 5 }), json!(5)),
    ] {
        let (value, _) = player.call_any(&call("sum", &arguments)).unwrap();
        assert_eq!(in_json(&value), expected, "{arguments}");
    }
    for (arguments, expected) in [
        (json!([]), "it takes 2 arguments, not 0: `base` is missing"),
        (json!([1, 2, 3]), "it takes 2 arguments, not 3"),
        (json!({ "more": 2 }), "it takes 2 arguments: `base` is missing"),
        (json!({ "base": 5, "moar": 2 }), "it has no parameter `moar`"),
        (json!(5), "the arguments must be a JSON array of them in order, or an object"),
    ] {
        let reason = bad_arguments(&mut player, "sum", &arguments);
        assert!(reason.starts_with(expected), "{reason}");
    }
    let torn = Arguments::Json("[5, ".into());
    let torn = Operation::Call(FunctionCall { function: "sum".to_owned(), arguments: torn });
    let torn = player.instance.call(&torn, &player.snapshot);
    let CallOutcome::Refused(Misfit::Arguments(reason)) = torn else { panic!("{torn:?}") };
    assert!(reason.starts_with("the arguments are no JSON: EOF"), "{reason}");
}

#[test]
fn arguments_in_json_are_bounded_as_they_are_written_and_as_they_are_read() {
    let mut player = Player::new(&load(&plain()).unwrap());
    let long = json!(["x".repeat(ARGUMENTS_BYTES_MAX)]);
    let reason = bad_arguments(&mut player, "put", &long);
    assert!(reason.ends_with("bytes, and at most 64 KiB are read"), "{reason}");
    let deep = Arguments::Json("[".repeat(ARGUMENTS_BYTES_MAX / 2).into());
    let deep = Operation::Call(FunctionCall { function: "put".to_owned(), arguments: deep });
    let deep = player.instance.call(&deep, &player.snapshot);
    let CallOutcome::Refused(Misfit::Arguments(reason)) = deep else { panic!("{deep:?}") };
    assert!(reason.contains("recursion limit exceeded"), "{reason}");
}
