//! Players other than the built-in one, written by hand.

mod bag;
mod migrating;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata, metadata};
use wit_parser::{PackageId, Resolve, WorldId};

pub use self::bag::bag_component;
pub use self::migrating::{Flaw, migrating_module, padded, renamed};

const CONTRACT: &str = include_str!("../../wit/player.wit");

/// A player that counts each reward twice. Its total is at address 0; a text traps.
const DOUBLING: &str = r#"
    (module
      (memory (export "memory") 2)
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (if (local.get $is_text) (then unreachable))
        (i64.store (i32.const 0)
          (i64.add (i64.load (i32.const 0)) (i64.mul (local.get $points) (i64.const 2))))
        (i64.load (i32.const 0)))
      (func (export "points") (result i64) (i64.load (i32.const 0)))
      ;; A call has one text at most and nothing outlives it, so there is one place for it.
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
"#;

/// A player that never returns from a text. Its total is at address 0.
const ENDLESS: &str = r#"
    (module
      (memory (export "memory") 1)
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (if (local.get $is_text) (then (loop $again (br $again))))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get $points)))
        (i64.load (i32.const 0)))
      (func (export "points") (result i64) (i64.load (i32.const 0)))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
"#;

/// Returns the doubling player as a core module that carries its component type.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn doubling_module() -> Vec<u8> {
    module(DOUBLING)
}

/// Returns a player that counts rewards, and whose every call with a text never ends, as a core
/// module that carries its component type.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn endless_module() -> Vec<u8> {
    module(ENDLESS)
}

/// Returns a player that counts rewards, whose memory has `memory_mib` MiB, of which it writes the
/// first `image_mib` before its first call, as a core module that carries its component type.
///
/// Its total is at the end of what it has written; a text traps.
///
/// # Panics
///
/// When it does not fit the contract any more, or no page of its memory would be written.
pub fn large_module(image_mib: u32, memory_mib: u32) -> Vec<u8> {
    let written = image_mib * 1024 * 1024;
    let (total, pages) = (written - 8, memory_mib * 16);
    module(&format!(
        r#"
    (module
      (memory (export "memory") {pages})
      (func $start
        (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const {written}))
        (i64.store (i32.const {total}) (i64.const 0)))
      (start $start)
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (if (local.get $is_text) (then unreachable))
        (i64.store (i32.const {total})
          (i64.add (i64.load (i32.const {total})) (local.get $points)))
        (i64.load (i32.const {total})))
      (func (export "points") (result i64) (i64.load (i32.const {total})))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
"#
    ))
}

/// A player that counts rewards. A text makes it do its worst, by its first letter: `l`oop, take all
/// `m`emory, use up the `s`tack, let a `t`able grow, `c`hange more than it may keep, `g`rumble into
/// the log; any other one traps.
const HOSTILE: &str = r#"
    (module
      (import "$root" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 2)
      (table $table 1 1000000 funcref)
      (func $sink (param i32) (result i32)
        (i32.add (call $sink (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
      (func $fill (param $from i32) (param $to i32)
        (loop $again
          (i32.store (local.get $from) (i32.const -1))
          (local.set $from (i32.add (local.get $from) (i32.const 4)))
          (br_if $again (i32.lt_u (local.get $from) (local.get $to)))))
      (func $worst (param $letter i32)
        (if (i32.eq (local.get $letter) (i32.const 0x6c)) (then (loop $again (br $again))))
        (if (i32.eq (local.get $letter) (i32.const 0x6d)) (then
          (loop $again
            (br_if $again (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
          (call $fill (i32.const 2048) (i32.mul (memory.size) (i32.const 65536)))))
        (if (i32.eq (local.get $letter) (i32.const 0x73)) (then
          (drop (call $sink (i32.const 0)))))
        (if (i32.eq (local.get $letter) (i32.const 0x74)) (then
          (drop (table.grow $table (ref.null func) (i32.const 1000)))))
        (if (i32.eq (local.get $letter) (i32.const 0x63)) (then
          (drop (memory.grow (i32.const 1100)))
          (memory.fill (i32.const 131072) (i32.const 7) (i32.const 72089600))
          (return)))
        (if (i32.eq (local.get $letter) (i32.const 0x67)) (then
          (loop $again
            (call $log (i32.const 1) (i32.const 0) (i32.const 131072))
            (br $again))))
        unreachable)
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (if (local.get $is_text) (then
          (call $worst (i32.load8_u (i32.wrap_i64 (local.get $points))))
          (return (i64.const 0))))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get $points)))
        (i64.load (i32.const 0)))
      (func (export "points") (result i64) (i64.load (i32.const 0)))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
"#;

/// Returns a player that counts rewards, and whom a text makes do its worst, as a core module that
/// carries its component type.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn hostile_module() -> Vec<u8> {
    module(HOSTILE)
}

/// Returns the C source that says which world a player in C is for: what `wit-bindgen c` would write
/// as an object file.
///
/// # Panics
///
/// When the contract, or the world of new guests, is not valid any more.
pub fn component_type_in_c(world: WorldInC) -> String {
    let (file, (resolve, world)) = match world {
        WorldInC::Contract => ("wit/player.wit", contract("migrating-player")),
        WorldInC::Template => ("wit/rules.wit", world_of_new_guests()),
    };
    let name = &resolve.worlds[world].name;
    let mut source = format!(
        "// Generated from {file}: the world `{name}` in binary, which makes a core module\n\
         // say for which world it is.\n\n\
         __asm__(\".section \\\".custom_section.component-type\\\",\\\"\\\",@\\n\"\n",
    );
    let encoded = metadata::encode(&resolve, world, StringEncoding::UTF8, None);
    let encoded = encoded.expect("the world can be encoded");
    for line in encoded.chunks(20) {
        let bytes: Vec<_> = line.iter().map(u8::to_string).collect();
        source += &format!("        \".byte {}\\n\"\n", bytes.join(","));
    }
    source.truncate(source.trim_end().len());
    source + ");\n"
}

/// Worlds of players in C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorldInC {
    /// The one of the contract, for the player in `guests`.
    Contract,
    /// The one that `host new` writes.
    Template,
}

/// A player that counts rewards, and says to a text what time it is, in seconds since 1970, after it
/// has written the text to standard error.
const TIMELY: &str = r#"
    (module
      (import "wasi:clocks/wall-clock@0.2.0" "now" (func $now (param i32)))
      (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
      (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))
      (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop (param i32)))
      (memory (export "memory") 1)
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (local $stream i32)
        (if (local.get $is_text) (then
          (local.set $stream (call $stderr))
          (call $write (local.get $stream)
            (i32.wrap_i64 (local.get $points)) (local.get $len) (i32.const 64))
          (call $drop (local.get $stream))
          (call $now (i32.const 32))
          (return (i64.load (i32.const 32)))))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get $points)))
        (i64.load (i32.const 0)))
      (func (export "points") (result i64) (i64.load (i32.const 0)))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
"#;

/// What `TIMELY` uses of WASI, and something of the network.
const WASI: &str = r#"
    package test:guests;
    package wasi:io@0.2.0 {
        interface error { resource error; }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream {
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }
    }
    package wasi:cli@0.2.0 {
        interface stderr {
            use wasi:io/streams@0.2.0.{output-stream};
            get-stderr: func() -> output-stream;
        }
    }
    package wasi:clocks@0.2.0 {
        interface wall-clock {
            record datetime { seconds: u64, nanoseconds: u32 }
            now: func() -> datetime;
        }
    }
    package wasi:sockets@0.2.0 {
        interface instance-network { instance-network: func() -> u32; }
    }
    world timely {
        include player:host/player@0.1.0;
        import wasi:clocks/wall-clock@0.2.0;
        import wasi:cli/stderr@0.2.0;
    }
    world networked {
        include player:host/player@0.1.0;
        import wasi:sockets/instance-network@0.2.0;
    }
"#;

/// Returns a player that counts rewards; to a text, it says the time in seconds since 1970, and writes
/// the text to standard error.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn timely_module() -> Vec<u8> {
    importing_wasi(TIMELY, "timely")
}

/// Returns a player that asks for the network.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn networked_module() -> Vec<u8> {
    let import = r#"(module
        (import "wasi:sockets/instance-network@0.2.0" "instance-network" (func (result i32)))"#;
    importing_wasi(&DOUBLING.replace("(module", import), "networked")
}

fn importing_wasi(text: &str, world: &str) -> Vec<u8> {
    let (mut resolve, _) = contract("player");
    let package = resolve.push_str("wasi.wit", WASI).expect("this is valid WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
    for_world(text, &resolve, world)
}

fn contract(world: &str) -> (Resolve, WorldId) {
    let (resolve, package) = resolved_contract();
    let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
    (resolve, world)
}

fn world_of_new_guests() -> (Resolve, WorldId) {
    let (mut resolve, _) = resolved_contract();
    let rules = include_str!("../../host/templates/wit/rules.wit");
    let package = resolve.push_str("rules.wit", rules).expect("the template is valid WIT");
    let world = resolve.select_world(&[package], Some("rules")).expect("the world is there");
    (resolve, world)
}

fn resolved_contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let contract = resolve.push_str("player.wit", CONTRACT);
    let package = contract.expect("the contract is valid WIT");
    (resolve, package)
}

fn module(text: &str) -> Vec<u8> {
    module_of("player", text)
}

/// Returns a module of this world of the contract.
fn module_of(world: &str, text: &str) -> Vec<u8> {
    let (resolve, world) = contract(world);
    for_world(text, &resolve, world)
}

fn for_world(text: &str, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the guest is valid WAT");
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
        .expect("the contract can be embedded");
    module
}

/// Returns the doubling player as a component.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn doubling_component() -> Vec<u8> {
    let encoder = ComponentEncoder::default().validate(true).module(&doubling_module());
    let component = encoder.and_then(|mut encoder| encoder.encode());
    component.expect("the guest fits the contract")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_fits_the_contract_in_both_forms() {
        assert_eq!(&doubling_module()[..8], b"\0asm\x01\0\0\0");
        assert_eq!(&doubling_component()[..8], b"\0asm\x0d\0\x01\0");
    }
}
