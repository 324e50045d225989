//! Guests that ask for what WASI offers, and for what it does not.

use super::*;
use crate::clock;

/// Standard output, as far as these guests use it, and what drops a handle to it.
const OUTPUT: &str = r#"
    (import "wasi:io/error@0.2.4" (instance $errors (export "error" (type (sub resource)))))
    (alias export $errors "error" (type $error))
    (import "wasi:io/streams@0.2.4" (instance $streams
        (alias outer 1 $error (type $e))
        (export "error" (type $error (eq $e)))
        (export "output-stream" (type $output (sub resource)))
        (type $failed (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $failed)))
        (export "[method]output-stream.blocking-write-and-flush" (func
            (param "self" (borrow $output)) (param "contents" (list u8))
            (result (result (error $stream-error)))))))
    (alias export $streams "output-stream" (type $output))
    (import "wasi:cli/stdout@0.2.4" (instance $stdout
        (alias outer 1 $output (type $o))
        (export "output-stream" (type $output (eq $o)))
        (export "get-stdout" (func (result (own $output))))))
    (core func $get (canon lower (func $stdout "get-stdout")))
    (core func $drop (canon resource.drop $output))"#;

/// Around a module that imports `wasi`: its functions, lowered with a memory of their own.
fn importing(imports: &str, lowered: &str, instance: &str, module: &str) -> Vec<u8> {
    component(&format!(
        r#"{imports}
        (core module $memories (memory (export "memory") 3)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
        (core instance $shared (instantiate $memories))
        (alias core export $shared "memory" (core memory $memory))
        (alias core export $shared "realloc" (core func $realloc))
        {lowered}
        (core module $m
            (import "shared" "memory" (memory 1))
            {module})
        (core instance $i (instantiate $m
            (with "shared" (instance $shared)) (with "wasi" (instance {instance}))))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#
    ))
}

/// Writes `points` characters from 256 to standard output, and keeps the handle if there are none.
fn writer() -> Vec<u8> {
    importing(
        OUTPUT,
        r#"(core func $write (canon lower
            (func $streams "[method]output-stream.blocking-write-and-flush")
            (memory (core memory $memory)) (realloc (core func $realloc))))"#,
        r#"(export "get" (func $get)) (export "drop" (func $drop)) (export "write" (func $write))"#,
        r#"(import "wasi" "get" (func $get (result i32)))
        (import "wasi" "drop" (func $drop (param i32)))
        (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
        (func (export "points") (result i64) (i64.load (i32.const 16)))
        (func (export "reward") (param i32 i64 i32) (result i64) (local $stream i32)
            (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (local.get 1)))
            (local.set $stream (call $get))
            (call $write (local.get $stream) (i32.const 256) (i32.wrap_i64 (local.get 1))
                (i32.const 64))
            (if (i64.ne (local.get 1) (i64.const 0)) (then (call $drop (local.get $stream))))
            (i64.load (i32.const 16)))"#,
    )
}

#[test]
fn a_guest_writes_to_standard_output_and_a_call_that_keeps_a_handle_is_undone() {
    let mut player = Player::new(&load(&writer()).unwrap());
    assert_eq!(player.call(&reward(5)), Ok(5));
    assert_eq!(player.call(&reward(7)), Ok(12), "each call may have a handle");
    let kept = player.call(&reward(0)).unwrap_err();
    assert!(kept.starts_with("keeps 1 of the host's handles"), "{kept}");
    player.restore();
    assert_eq!(player.call(&reward(1)), Ok(13), "what was acknowledged is kept");
    let long = player.call(&reward(65_537)).unwrap_err();
    assert_eq!(long, "wrote 65537 bytes at once: 65536 are the most");
}

/// Adds up what the clocks and the random numbers are, at the start and in each call: the steady time
/// at 32, the day's time at 40, a random number at 56; at the start 64 bytes further.
fn timely() -> Vec<u8> {
    importing(
        r#"(import "wasi:clocks/monotonic-clock@0.2.10" (instance $steady
            (export "now" (func (result u64)))))
        (import "wasi:clocks/wall-clock@0.2.0" (instance $wall
            (type $t (record (field "seconds" u64) (field "nanoseconds" u32)))
            (export "datetime" (type $datetime (eq $t)))
            (export "now" (func (result $datetime)))))
        (import "wasi:random/random@0.2.6" (instance $random
            (export "get-random-u64" (func (result u64)))
            (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))"#,
        r#"(core func $steady (canon lower (func $steady "now")))
        (core func $wall (canon lower (func $wall "now") (memory (core memory $memory))))
        (core func $random (canon lower (func $random "get-random-u64")))
        (core func $bytes (canon lower (func $random "get-random-bytes")
            (memory (core memory $memory)) (realloc (core func $realloc))))"#,
        r#"(export "steady" (func $steady)) (export "wall" (func $wall))
        (export "random" (func $random)) (export "bytes" (func $bytes))"#,
        r#"(import "wasi" "steady" (func $steady (result i64)))
        (import "wasi" "wall" (func $wall (param i32)))
        (import "wasi" "random" (func $random (result i64)))
        (import "wasi" "bytes" (func $bytes (param i64 i32)))
        (func $look (param $at i32)
            (i64.store (local.get $at) (call $steady))
            (call $wall (i32.add (local.get $at) (i32.const 8)))
            (i64.store (i32.add (local.get $at) (i32.const 24)) (call $random)))
        (func $start (call $look (i32.const 96)) (call $bytes (i64.const 10) (i32.const 200)))
        (start $start)
        (func (export "points") (result i64) (i64.load (i32.const 56)))
        (func (export "reward") (param i32 i64 i32) (result i64)
            (call $look (i32.const 32))
            (call $bytes (local.get 1) (i32.const 200))
            (i64.load (i32.const 32)))"#,
    )
}

fn number(memory: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(memory[at..at + 8].try_into().unwrap())
}

#[test]
fn time_and_chance_stand_still_at_the_start_and_are_real_in_calls() {
    let code = load(&timely()).expect("two starts are alike");
    let mut player = Player::new(&code);
    let at_start = player.memories().remove(0);
    assert_eq!((number(&at_start, 96), number(&at_start, 104)), (0, 0));
    assert_ne!(number(&at_start, 120), 0, "a random number");
    let elsewhere = Player::new(&load(&timely()).unwrap()).memories().remove(0);
    assert!(at_start == elsewhere, "all nodes begin with one image");

    let before = clock::unix_time().as_secs();
    let first = player.call(&reward(16)).unwrap();
    let memory = player.memories().remove(0);
    assert!(number(&memory, 40) >= before && number(&memory, 32) / 1_000_000_000 >= before - 1);
    let (chance, drawn) = (number(&memory, 56), number(&memory, 4096));
    player.restore();
    assert!(player.call(&reward(16)).unwrap() >= first, "it does not go back");
    let memory = player.memories().remove(0);
    assert_ne!((number(&memory, 56), number(&memory, 4096)), (chance, drawn), "by chance");
    let many = player.call(&reward(65_537)).unwrap_err();
    assert_eq!(many, "drew 65537 random bytes at once: 65536 are the most");
}

#[test]
fn what_a_player_does_not_do_traps_in_plain_words() {
    let ended = |import: &str, function: &str, core_type: &str, call: &str| {
        let component = importing(
            import,
            &format!(r#"(core func $f (canon lower (func $asked "{function}")))"#),
            r#"(export "f" (func $f))"#,
            &format!(
                r#"(import "wasi" "f" (func $f {core_type}))
                (func (export "points") (result i64) (i64.const 0))
                (func (export "reward") (param i32 i64 i32) (result i64)
                    {call} (i64.const 0))"#
            ),
        );
        Player::new(&load(&component).unwrap()).call(&reward(1)).unwrap_err()
    };
    let exit = r#"(import "wasi:cli/exit@0.2.0" (instance $asked
        (export "exit" (func (param "status" (result))))))"#;
    let words = "ended itself with `exit`, as a failure: a player returns from its calls";
    assert_eq!(ended(exit, "exit", "(param i32)", "(call $f (i32.const 1))"), words);
    let wait = r#"(import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type (sub resource)))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $asked
            (alias outer 1 $pollable (type $p))
            (export "pollable" (type $pollable (eq $p)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))"#;
    let words = "called `subscribe-duration` of `wasi:clocks/monotonic-clock`, which does nothing \
                 for a player";
    let waited = ended(
        wait,
        "subscribe-duration",
        "(param i64) (result i32)",
        "(drop (call $f (i64.const 1)))",
    );
    assert_eq!(waited, words);
}

#[test]
fn files_are_nowhere_and_the_network_is_refused_by_name() {
    let folders = importing(
        r#"(import "wasi:filesystem/types@0.2.4" (instance $files
            (export "descriptor" (type (sub resource)))
            (export "[method]descriptor.sync" (func (param "self" (borrow 0))))))
        (alias export $files "descriptor" (type $descriptor))
        (import "wasi:filesystem/preopens@0.2.4" (instance $preopens
            (alias outer 1 $descriptor (type $d))
            (export "descriptor" (type $descriptor (eq $d)))
            (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))"#,
        r#"(core func $folders (canon lower (func $preopens "get-directories")
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core func $sync (canon lower (func $files "[method]descriptor.sync")))"#,
        r#"(export "folders" (func $folders)) (export "sync" (func $sync))"#,
        r#"(import "wasi" "folders" (func $folders (param i32)))
        (import "wasi" "sync" (func $sync (param i32)))
        (func (export "points") (result i64) (call $sync (i32.const 3)) (i64.const 0))
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.store (i32.const 32) (i64.const -1))
            (call $folders (i32.const 32))
            (i64.load32_u (i32.const 36)))"#,
    );
    let mut player = Player::new(&load(&folders).unwrap());
    assert_eq!(player.call(&reward(1)), Ok(0), "no folder");
    let forged = player.call(&Operation::Points).unwrap_err();
    assert!(forged.contains("unknown handle index 3"), "{forged}");

    let nothing = r#"(func (export "points") (result i64) (i64.const 0))
        (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))"#;
    for (import, is_refused) in [
        ("wasi:sockets/tcp@0.2.0", true),
        ("wasi:http/outgoing-handler@0.2.10", true),
        ("wasi:clocks/monotonic-clock@0.3.0", false),
        ("wasi:clocks/timezone@0.2.0", false),
    ] {
        let import = format!(r#"(import "{import}" (instance (export "f" (func))))"#);
        let refusal = load(&importing(&import, "", "", nothing)).unwrap_err();
        match refusal {
            LoadError::Network(_) => {
                assert!(is_refused && refusal.to_string().contains("--stub-wasi"))
            }
            LoadError::UnknownImport(_) => assert!(!is_refused),
            other => panic!("another refusal: {other:?}"),
        }
    }
}
