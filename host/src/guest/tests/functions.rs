//! Calls of any function: values of all kinds there and back, and what does not fit.

mod json;

use super::super::Misfit;
use super::*;
use crate::limits::{
    ARGUMENTS_BYTES_MAX, DESCRIPTION_BYTES_MAX, FUNCTIONS_MAX, MISFIT_BYTES_MAX, RESULT_BYTES_MAX,
};
use crate::protocol::{Arguments, FunctionCall};

/// A guest that adds points and has other functions, too: `exports` are those, of the core module in
/// which `functions` are.
fn with_functions(functions: &str, exports: &str) -> Vec<u8> {
    let core = format!(
        r#"(core module $m (memory (export "memory") 2) {COMMON} {ADD} {functions}
            (func (export "reward") (param i32 i64 i32) (result i64)
                (call $add (local.get 0) (local.get 1))))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))
        {exports}"#
    );
    component(&core)
}

/// Lifts and exports a core function; `shape` is its type without what it is made of.
fn lifted(name: &str, shape: &str) -> String {
    let id = name.replace(['#', '/', ':', '@', '.'], "-");
    format!(
        r#"(alias core export $i "{name}" (core func $core-{id}))
        (func $lifted-{id} {shape} (canon lift (core func $core-{id})
            (memory $memory) (realloc (core func $realloc))))
        (export "{name}" (func $lifted-{id}))"#
    )
}

/// Gives back what it gets. A record of so many values travels through memory, so that its address is
/// all that the guest sees of it.
const ECHO: &str = r#"(func (export "echo") (param i32) (result i32) (local.get 0))"#;

/// A type of every kind. It has more than 16 flat values.
const ALL: &str = r#"
    (type $shade' (enum "pale" "dark" "none"))
    (export $shade "shade" (type $shade'))
    (type $rights' (flags "read" "write"))
    (export $rights "rights" (type $rights'))
    (type $shape' (variant (case "round") (case "square" u32)))
    (export $shape "shape" (type $shape'))
    (type $all' (record
        (field "yes" bool) (field "s8" s8) (field "u8" u8) (field "s16" s16) (field "u16" u16)
        (field "s32" s32) (field "u32" u32) (field "s64" s64) (field "u64" u64)
        (field "f32" float32) (field "f64" float64) (field "letter" char)
        (field "words" (list string)) (field "pair" (tuple u8 string))
        (field "maybe" (option u32)) (field "nested" (option (option u32)))
        (field "done" (result u8 (error string))) (field "plain" (result))
        (field "shape" $shape) (field "shade" $shade) (field "rights" $rights)))
    (export $all "all" (type $all'))"#;

fn echo() -> Vec<u8> {
    let shape = r#"(param "all" $all) (result $all)"#;
    with_functions(&echo_with_room(), &format!("{ALL} {}", lifted("echo", shape)))
}

/// Its arguments have several parts, so `realloc` must give out more than one place.
fn echo_with_room() -> String {
    format!(
        r#"{ECHO}
        (func (export "room") (param i32 i32 i32 i32) (result i32)
            (i32.store (i32.const 8) (i32.and
                (i32.add (i32.add (i32.load (i32.const 8)) (local.get 3)) (i32.const 7))
                (i32.const -8)))
            (i32.sub (i32.load (i32.const 8)) (i32.and
                (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
        (data (i32.const 8) "\00\10\00\00")"#
    )
}

/// The same, with the allocator that does not give out one place again and again.
fn roomy(bytes_of: impl Fn() -> Vec<u8>) -> Vec<u8> {
    let text = wasmprinter::print_bytes(bytes_of()).unwrap();
    let text =
        text.replace(r#"(alias core export $i "realloc""#, r#"(alias core export $i "room""#);
    wat::parse_str(text).unwrap()
}

fn call(function: &str, arguments: &[&str]) -> Operation {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let arguments = Arguments::Wave(arguments);
    Operation::Call(FunctionCall { function: function.to_owned(), arguments })
}

fn misfit(player: &mut Player, function: &str, arguments: &[&str]) -> Misfit {
    match player.instance.call(&call(function, arguments), &player.snapshot) {
        CallOutcome::Refused(misfit) => misfit,
        other => panic!("{other:?}"),
    }
}

fn bad_arguments(player: &mut Player, function: &str, arguments: &[&str]) -> String {
    match misfit(player, function, arguments) {
        Misfit::Arguments(reason) => reason,
        other => panic!("{other:?}"),
    }
}

const EVERYTHING: &str = "{yes: true, s8: -8, u8: 8, s16: -16, u16: 16, s32: -32, u32: 32, \
    s64: -9223372036854775808, u64: 18446744073709551615, f32: 1.5, f64: -inf, letter: 'ü', \
    words: [\"a \\\"b\\\"\\n\", \"\"], pair: (1, \"x\"), maybe: some(7), nested: some(none), \
    done: err(\"no\"), plain: ok, shape: square(4), shade: %none, rights: {read, write}}";

#[test]
fn values_of_all_kinds_go_there_and_back() {
    let mut player = Player::new(&load(&roomy(echo)).unwrap());
    let (value, _) = player.call_any(&call("echo", &[EVERYTHING])).unwrap();
    assert_eq!(value, Value::Wave(EVERYTHING.to_owned()));
    // In another order, and with options that are left out or written without `some`.
    let other = EVERYTHING
        .replace("maybe: some(7), nested: some(none), ", "")
        .replace("f64: -inf", "f64: nan")
        .replace("{yes: true, ", "{maybe: 7, yes: false, ");
    let (value, _) = player.call_any(&call("echo", &[&other])).unwrap();
    let expected = EVERYTHING
        .replace("nested: some(none), ", "")
        .replace("f64: -inf", "f64: nan")
        .replace("yes: true", "yes: false");
    assert_eq!(value, Value::Wave(expected));
}

#[test]
fn a_wrong_argument_is_named_with_its_place_and_what_was_wanted() {
    let mut player = Player::new(&load(&roomy(echo)).unwrap());
    let before = player.memories();
    for (from, to, expected) in [
        ("s8: -8", "s8: -129", "argument 1 (`all`): `s8`: `-129` is no s8"),
        ("u8: 8,", "", "the field `u8` is missing"),
        ("yes: true", "yes: true, no: 1", "there is no field `no`"),
        ("yes: true", "yes: 1", "`yes`: `1` is no bool"),
        ("(1, \"x\")", "(1)", "`pair`: `(1)` is no tuple<u8, string>"),
        (
            "(1, \"x\")",
            "(1, x)",
            "item 2: `x` is no string; a string is written in quotation marks",
        ),
        ("\"\"]", "3]", "`words`: item 2: `3` is no string"),
        ("square(4)", "square", "`shape`: `square` is no variant { round, square(u32) }"),
        ("square(4)", "square(x)", "`shape`: `square`: `x` is no u32"),
        ("square(4)", "round(4)", "`round(4)` is no variant"),
        ("%none,", "none,", "`shade`: `none` is no enum { pale, dark, none }"),
        ("%none,", "red,", "`red` is no enum"),
        ("write}", "wipe}", "is no flags { read, write }"),
        ("err(\"no\")", "err", "`err` is no result<u8, string>"),
        ("plain: ok", "plain: ok(1)", "`ok(1)` is no result"),
        ("{yes", "{yes: true, yes", "this is no WAVE: duplicate field at `yes: true, s8: -8"),
        ("write}}", "write}", "this is no WAVE: unexpected end of input at its end"),
        ("write}}", "write}} 5", "this is no WAVE: trailing characters after value at `5`"),
    ] {
        assert!(EVERYTHING.contains(from), "{from}");
        let reason = bad_arguments(&mut player, "echo", &[&EVERYTHING.replacen(from, to, 1)]);
        assert!(reason.contains(expected), "{reason}\n{expected}");
        assert!(reason.contains("; it is `echo: func(all: record { yes: bool, s8: s8"), "{reason}");
        assert!(reason.len() <= MISFIT_BYTES_MAX);
    }
    assert_eq!(player.memories(), before, "nothing was executed");
    assert!(player.call_any(&call("echo", &[EVERYTHING])).is_ok(), "the instance lives");
}

/// Functions with plain arguments. `put` keeps its argument at 16, where the points are.
fn plain() -> Vec<u8> {
    let functions = r#"
        (func (export "put") (param i64) (i64.store (i32.const 16) (local.get 0)))
        (func (export "sum") (param i32 i32 i32) (result i32)
            (i32.add (local.get 0) (i32.mul (local.get 1) (local.get 2))))
        (func (export "bytes") (param i32) (result i32)
            (i32.store (i32.const 32) (i32.const 64))
            (i32.store (i32.const 36) (local.get 0))
            (i64.store (i32.const 16) (i64.const 99))
            (i32.const 32))
        (func (export "text") (param i32) (result i32)
            (i32.store (i32.const 32) (i32.const 64))
            (i32.store (i32.const 36) (local.get 0))
            (i32.const 32))"#;
    let sum = r#"(param "base" u32) (param "more" (option u32)) (result u32)"#;
    let exports = [
        lifted("put", r#"(param "points" s64)"#),
        lifted("sum", sum),
        lifted("bytes", r#"(param "len" u32) (result (list u8))"#),
        lifted("text", r#"(param "len" u32) (result string)"#),
    ];
    with_functions(functions, &exports.concat())
}

#[test]
fn a_function_without_a_result_answers_nothing_and_changes_the_state() {
    let mut player = Player::new(&load(&plain()).unwrap());
    let (value, delta) = player.call_any(&call("put", &["-7"])).unwrap();
    assert_eq!(value, Value::Nothing);
    assert!(!delta.is_empty());
    assert_eq!(player.call(&Operation::Points), Ok(-7));
    let by_name = player.call_any(&call("points", &[])).unwrap();
    assert_eq!(by_name, (Value::Wave("-7".to_owned()), Delta::default()));
    let (value, _) = player.call_any(&call("reward", &["integer(5)"])).unwrap();
    assert_eq!(value, Value::Wave("-2".to_owned()));
}

#[test]
fn the_last_arguments_may_be_left_out_if_they_are_options() {
    let mut player = Player::new(&load(&plain()).unwrap());
    let mut sum = |arguments: &[&str]| match player.call_any(&call("sum", arguments)) {
        Ok((Value::Wave(sum), _)) => sum,
        other => panic!("{other:?}"),
    };
    assert_eq!(sum(&["5"]), "5");
    assert_eq!(sum(&["5", "none"]), "5");
    assert_eq!(sum(&["5", "some(2)"]), "7");
    assert_eq!(sum(&["5", "2"]), "7");
    let none = bad_arguments(&mut player, "sum", &[]);
    assert!(none.starts_with("it takes 2 arguments, not 0: `base` is missing"), "{none}");
    let many = bad_arguments(&mut player, "put", &["1", "2"]);
    assert_eq!(many, "it takes one argument, not 2; it is `put: func(points: s64)`");
}

#[test]
fn a_result_that_is_too_long_is_a_trap_and_changes_nothing() {
    let mut player = Player::new(&load(&plain()).unwrap());
    let longest = (RESULT_BYTES_MAX - 2).to_string();
    let zeros = "\\u{0}".repeat(2);
    let (value, _) = player.call_any(&call("text", &["2"])).unwrap();
    assert_eq!(value, Value::Wave(format!("\"{zeros}\"")));
    for (function, len) in [
        // As a text it is six times as long; as values it takes forty times as much.
        ("text", longest.as_str()),
        ("bytes", &longest),
        ("text", "131000"),
        ("bytes", "131000"),
    ] {
        player.restore();
        let trapped = player.call_any(&call(function, &[len])).unwrap_err();
        assert!(trapped.starts_with("returned more than 16 KiB of text"), "{trapped}");
    }
    player.restore();
    assert_eq!(player.call(&Operation::Points), Ok(0));
}

#[test]
fn a_function_that_is_not_there_is_told_with_those_that_are() {
    let mut player = Player::new(&load(&plain()).unwrap());
    let Misfit::Function(reason) = misfit(&mut player, "putt", &["1"]) else { panic!() };
    let expected = "the code exports no function `putt`; did you mean `put`? It exports `bytes`, \
                    `points`, `put`, `reward`, `sum`, `text`";
    assert_eq!(reason, expected);
    // What only the host calls is none, nor is a part of a name.
    for function in ["player-host-note", "", "#put", "put\u{1b}[2J"] {
        let Misfit::Function(reason) = misfit(&mut player, function, &[]) else { panic!() };
        assert!(!reason.contains('\u{1b}'), "{reason}");
    }
}

/// Two interfaces, which share a function's name, and the contract's own.
fn interfaces() -> Vec<u8> {
    let functions = r#"
        (func (export "one") (result i32) (i32.const 1))
        (func (export "two") (result i32) (i32.const 2))
        (func (export "save") (result i32) (i32.const 32))
        (func (export "load") (param i32 i32) (result i32) (i32.const 48))"#;
    let lift = |name: &str| {
        format!(
            r#"(alias core export $i "{name}" (core func $core-{name}))
            (func ${name} (result u32) (canon lift (core func $core-{name})))"#
        )
    };
    let exports = ["one", "two"].map(lift).concat()
        + r#"
        (alias core export $i "save" (core func $core-save))
        (func $save (result (list u8)) (canon lift (core func $core-save) (memory $memory)))
        (alias core export $i "load" (core func $core-load))
        (func $load (param "state" (list u8)) (result (result (error string)))
            (canon lift (core func $core-load) (memory $memory) (realloc (core func $realloc))))
        (instance $first (export "get" (func $one)) (export "only" (func $one)))
        (instance $second (export "get" (func $two)))
        (instance $migrate (export "save" (func $save)) (export "load" (func $load)))
        (export "tests:calls/first@1.0.0" (instance $first))
        (export "tests:calls/second@1.0.0" (instance $second))
        (export "player:host/migrate@0.1.0" (instance $migrate))"#;
    with_functions(functions, &exports)
}

#[test]
fn functions_of_interfaces_are_called_by_their_names_in_full_or_bare() {
    let mut player = Player::new(&load(&interfaces()).unwrap());
    let mut get = |function: &str| player.call_any(&call(function, &[])).map(|(value, _)| value);
    let wave = |text: &str| Ok(Value::Wave(text.to_owned()));
    assert_eq!(get("tests:calls/first@1.0.0#get"), wave("1"));
    assert_eq!(get("tests:calls/second@1.0.0#get"), wave("2"));
    assert_eq!(get("only"), wave("1"));
    let Misfit::Function(reason) = misfit(&mut player, "get", &[]) else { panic!() };
    let expected = "several functions are named `get`, say which one: \
                    `tests:calls/first@1.0.0#get`, `tests:calls/second@1.0.0#get`";
    assert_eq!(reason, expected);
    for function in ["save", "player:host/migrate@0.1.0#save"] {
        let Misfit::Function(reason) = misfit(&mut player, function, &[]) else { panic!() };
        assert!(!reason.contains("migrate@0.1.0#save`,") && !reason.contains("mean"), "{reason}");
    }
}

/// A function that gives away a resource, beside a plain one.
fn with_a_resource() -> Vec<u8> {
    let functions = r#"
        (func (export "open") (result i32) (i32.const 1))
        (func (export "plain") (param i32) (result i32) (local.get 0))"#;
    let exports = r#"
        (type $r' (resource (rep i32)))
        (export $r "thing" (type $r'))
        (alias core export $i "open" (core func $open'))
        (func $open (result (own $r)) (canon lift (core func $open')))
        (export "open" (func $open))"#;
    let plain = lifted("plain", r#"(param "letter" char) (result char)"#);
    with_functions(functions, &format!("{exports} {plain}"))
}

#[test]
fn a_function_with_a_resource_is_refused_when_it_is_called_and_shown_so() {
    let code = load(&with_a_resource()).unwrap();
    let mut player = Player::new(&code);
    let Misfit::Function(reason) = misfit(&mut player, "open", &[]) else { panic!() };
    let expected = "`open` cannot be called from outside: its type has a resource, which no text \
                    stands for";
    assert_eq!(reason, expected);
    let (value, _) = player.call_any(&call("plain", &["'x'"])).unwrap();
    assert_eq!(value, Value::Wave("'x'".to_owned()));
    let description = code.describe();
    assert_eq!((description.code, description.left_out), (code.hash(), 0));
    let refused = |name: &str| {
        let found = description.functions.iter().find(|function| function.name == name).unwrap();
        (found.shape.clone(), found.refused.is_some())
    };
    assert_eq!(refused("open"), ("func() -> resource".to_owned(), true));
    assert_eq!(refused("plain"), ("func(letter: char) -> char".to_owned(), false));
    assert_eq!(refused("reward").0, "func(points: variant { integer(s64), text(string) }) -> s64");
}

/// A type that is a tuple of two of the one before, and so on.
fn doubled(times: usize) -> Vec<u8> {
    let mut types = r#"(type $t0 (tuple u8 u8))"#.to_owned();
    for at in 1..=times {
        let before = at - 1;
        types += &format!("(type $t{at} (tuple $t{before} $t{before}))");
    }
    let shape = format!(r#"(param "all" $t{times})"#);
    let functions = r#"(func (export "f") (param i32))"#;
    with_functions(functions, &format!("{types} {}", lifted("f", &shape)))
}

#[test]
fn a_type_that_is_hostile_is_not_looked_through() {
    let code = load(&doubled(16)).unwrap();
    let mut player = Player::new(&code);
    let Misfit::Function(reason) = misfit(&mut player, "f", &["1"]) else { panic!() };
    assert!(reason.contains("made of more than 4096 types"), "{reason}");
    let description = code.describe();
    let f = description.functions.iter().find(|function| function.name == "f").unwrap();
    assert!(f.shape.ends_with('…') && f.shape.len() <= 4096, "{}", f.shape.len());
    // What may be called is named in an error as far as there is room.
    let mut player = Player::new(&load(&doubled(9)).unwrap());
    let reason = bad_arguments(&mut player, "f", &["1"]);
    assert!(reason.len() <= MISFIT_BYTES_MAX && reason.ends_with('…'), "{reason}");
}

/// A record of 900 fields that may all be left out, in a list.
fn expanding() -> Vec<u8> {
    let fields: String = (0..900).map(|n| format!(r#"(field "f{n}" (option u8))"#)).collect();
    let types = format!(r#"(type $r' (record {fields})) (export $r "r" (type $r'))"#);
    let functions = r#"(func (export "f") (param i32 i32) (result i32) (local.get 1))"#;
    let shape = r#"(param "all" (list $r)) (result u32)"#;
    with_functions(functions, &format!("{types} {}", lifted("f", shape)))
}

#[test]
fn arguments_are_bounded_as_they_are_written_and_as_they_are_read() {
    let mut player = Player::new(&load(&expanding()).unwrap());
    let list = |count: usize| format!("[{}]", "{:},".repeat(count));
    let (value, _) = player.call_any(&call("f", &[&list(20)])).unwrap();
    assert_eq!(value, Value::Wave("20".to_owned()));
    let dear = bad_arguments(&mut player, "f", &[&list(10_000)]);
    assert!(dear.contains("would take more than 4 MiB of memory"), "{dear}");
    let long = bad_arguments(&mut player, "f", &[&" ".repeat(ARGUMENTS_BYTES_MAX + 1)]);
    assert!(long.contains("at most 64 KiB are read"), "{long}");
    // The longest of all kinds: no parser goes deeper than it may, or needs more stack.
    let depth = ARGUMENTS_BYTES_MAX / 8;
    for text in [
        "[".repeat(depth),
        "some(".repeat(depth),
        format!("\"{}\"", "\\n".repeat(depth * 3)),
        format!("\"{}\"", "ü\\u{fc}".repeat(depth / 4)),
        format!("'{}", "\\".repeat(depth)),
        "a-".repeat(depth * 3),
        "9".repeat(depth * 7),
        format!("\"\"\"{}", "\"".repeat(depth * 3)),
        format!("//{}", "x".repeat(depth * 7)),
        "-".repeat(depth),
        "{a:".repeat(depth),
    ] {
        let reason = bad_arguments(&mut player, "f", &[&text]);
        assert!(reason.len() <= MISFIT_BYTES_MAX, "{reason}");
    }
}

#[test]
fn a_description_is_bounded_and_so_is_the_number_of_functions() {
    let functions = |count: usize| {
        let name = |n: usize| format!("a-function{}-{n}", "-with-a-name-of-some-length".repeat(5));
        let exports: String =
            (0..count).map(|n| format!(r#"(export "{}" (func $one))"#, name(n))).collect();
        let one = r#"(alias core export $i "one" (core func $one'))
            (func $one (param "points" u32) (result u32) (canon lift (core func $one')))"#;
        let core = r#"(func (export "one") (param i32) (result i32) (local.get 0))"#;
        with_functions(core, &format!("{one} {exports}"))
    };
    let code = load(&functions(FUNCTIONS_MAX - 2)).unwrap();
    let description = code.describe();
    let told = description.functions.len() as u64;
    assert_eq!(told + description.left_out, FUNCTIONS_MAX as u64);
    assert!(description.left_out > 0);
    assert!(postcard::to_stdvec(&description).unwrap().len() < DESCRIPTION_BYTES_MAX * 5 / 4);
    let refused = load(&functions(FUNCTIONS_MAX - 1)).unwrap_err();
    assert_eq!(refused.to_string(), "the component exports more than 1024 functions");
}

#[test]
fn what_an_author_says_of_functions_is_told_where_the_code_carries_it() {
    let with_docs = |json: &str| {
        let mut code = interfaces();
        let section = [&[1], json.as_bytes()].concat();
        let custom =
            wasm_encoder::CustomSection { name: "package-docs".into(), data: section.into() };
        wasm_encoder::ComponentSection::append_to_component(&custom, &mut code);
        load(&code).unwrap().describe()
    };
    let json = r#"{"worlds": {"w": {"funcs": {"points": {"docs": "The total."}},
        "func_exports": {"reward": "Adds."}}},
        "interfaces": {"first": {"docs": "Of it.", "funcs": {"get": {"docs": "One."}}}}}"#;
    let description = with_docs(json);
    let docs: Vec<_> = description.functions.iter().map(|f| f.docs.as_deref()).collect();
    let names: Vec<_> = description.functions.iter().map(|f| f.name.as_str()).collect();
    let expected = [
        ("points", Some("The total.")),
        ("reward", Some("Adds.")),
        ("tests:calls/first@1.0.0#get", Some("One.")),
        ("tests:calls/first@1.0.0#only", None),
        ("tests:calls/second@1.0.0#get", None),
    ];
    assert_eq!(names.into_iter().zip(docs).collect::<Vec<_>>(), expected);
    for broken in ["{", "[]", r#"{"worlds": 3}"#, r#"{"worlds": {"w": {"funcs": ["points"]}}}"#] {
        let functions = with_docs(broken).functions;
        let reward = functions.iter().find(|function| function.name == "reward").unwrap();
        let of_contract = reward.docs.as_ref().unwrap();
        assert!(of_contract.starts_with("Adds points, which may be negative"), "{of_contract}");
        assert!(functions.iter().skip(2).all(|function| function.docs.is_none()));
    }
}
