//! A player with a bag: functions beyond those of the contract, written by hand.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageMetadata, Resolve};

use super::CONTRACT;

const WORLD: &str = r#"
    package tests:bag@1.0.0;

    /// What somebody carries.
    interface bag {
        /// A thing.
        record item { name: string, level: u32 }

        /// What something costs.
        variant price { free, gold(u32) }

        /// Adds an item, and returns how many there are.
        ///
        /// A name may be there twice.
        add-item: func(item: item) -> u32;

        /// Returns all items in the order in which they were added.
        items: func() -> list<item>;

        /// Returns the first item with this name.
        find: func(name: string) -> option<item>;

        /// Takes the last item out of the bag.
        take: func() -> result<item, string>;

        worth: func(level: option<u32>) -> price;

        /// Empties the bag.
        clear: func();

        /// Empties the bag and returns its first bytes, as many as that.
        burn: func(bytes: u32) -> list<u8>;
    }

    world bagged-player {
        include player:host/player@0.1.0;
        export bag;
    }
"#;

/// The total is at 0, the number of items at 8, the end of what was allocated at 12. What is returned is
/// at 512, and the items, twelve bytes each, from 1024 on. Names stay where they were allocated.
const MODULE: &str = r#"
    (module
      (memory (export "memory") 4)
      (data (i32.const 12) "\00\00\01\00")
      (data (i32.const 256) "the bag is empty")
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (if (local.get $is_text) (then unreachable))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get $points)))
        (i64.load (i32.const 0)))
      (func (export "points") (result i64) (i64.load (i32.const 0)))
      (func (export "cabi_realloc") (param i32 i32 i32) (param $bytes i32) (result i32)
        (local $at i32)
        (local.set $at (i32.load (i32.const 12)))
        (i32.store (i32.const 12) (i32.and
          (i32.add (i32.add (local.get $at) (local.get $bytes)) (i32.const 7)) (i32.const -8)))
        (local.get $at))
      (func $item (param $number i32) (result i32)
        (i32.add (i32.const 1024) (i32.mul (local.get $number) (i32.const 12))))
      (func $show (param $item i32) (result i32)
        (memory.copy (i32.const 516) (local.get $item) (i32.const 12))
        (i32.const 512))
      (func (export "tests:bag/bag@1.0.0#add-item")
        (param $name i32) (param $len i32) (param $level i32) (result i32)
        (local $item i32)
        (local.set $item (call $item (i32.load (i32.const 8))))
        (i32.store (local.get $item) (local.get $name))
        (i32.store offset=4 (local.get $item) (local.get $len))
        (i32.store offset=8 (local.get $item) (local.get $level))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (i32.load (i32.const 8)))
      (func (export "tests:bag/bag@1.0.0#items") (result i32)
        (i32.store (i32.const 512) (i32.const 1024))
        (i32.store (i32.const 516) (i32.load (i32.const 8)))
        (i32.const 512))
      (func $alike (param $item i32) (param $name i32) (param $len i32) (result i32)
        (local $at i32)
        (if (i32.ne (i32.load offset=4 (local.get $item)) (local.get $len))
          (then (return (i32.const 0))))
        (loop $again
          (if (i32.eq (local.get $at) (local.get $len)) (then (return (i32.const 1))))
          (if (i32.ne
              (i32.load8_u (i32.add (i32.load (local.get $item)) (local.get $at)))
              (i32.load8_u (i32.add (local.get $name) (local.get $at))))
            (then (return (i32.const 0))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $again))
        unreachable)
      (func (export "tests:bag/bag@1.0.0#find") (param $name i32) (param $len i32) (result i32)
        (local $number i32)
        (i32.store8 (i32.const 512) (i32.const 0))
        (loop $again
          (if (i32.eq (local.get $number) (i32.load (i32.const 8)))
            (then (return (i32.const 512))))
          (if (call $alike (call $item (local.get $number)) (local.get $name) (local.get $len))
            (then
              (i32.store8 (i32.const 512) (i32.const 1))
              (return (call $show (call $item (local.get $number))))))
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (br $again))
        unreachable)
      (func (export "tests:bag/bag@1.0.0#take") (result i32)
        (if (i32.eqz (i32.load (i32.const 8))) (then
          (i32.store8 (i32.const 512) (i32.const 1))
          (i32.store (i32.const 516) (i32.const 256))
          (i32.store (i32.const 520) (i32.const 16))
          (return (i32.const 512))))
        (i32.store (i32.const 8) (i32.sub (i32.load (i32.const 8)) (i32.const 1)))
        (i32.store8 (i32.const 512) (i32.const 0))
        (call $show (call $item (i32.load (i32.const 8)))))
      (func (export "tests:bag/bag@1.0.0#worth") (param $is_some i32) (param $level i32) (result i32)
        (i32.store8 (i32.const 512) (local.get $is_some))
        (i32.store (i32.const 516) (i32.mul (local.get $level) (i32.const 10)))
        (i32.const 512))
      (func (export "tests:bag/bag@1.0.0#clear") (i32.store (i32.const 8) (i32.const 0)))
      (func (export "tests:bag/bag@1.0.0#burn") (param $bytes i32) (result i32)
        (i32.store (i32.const 8) (i32.const 0))
        (i32.store (i32.const 512) (i32.const 0))
        (i32.store (i32.const 516) (local.get $bytes))
        (i32.const 512)))
"#;

/// Returns a player with a bag as a component, which carries what its author says of its functions.
///
/// # Panics
///
/// When it does not fit its world any more.
pub fn bag_component() -> Vec<u8> {
    let mut module = wat::parse_str(MODULE).expect("the guest is valid WAT");
    let mut resolve = Resolve::default();
    resolve.push_str("player.wit", CONTRACT).expect("the contract is valid WIT");
    let package = resolve.push_str("bag.wit", WORLD).expect("the world is valid WIT");
    let world = resolve.select_world(&[package], Some("bagged-player")).expect("it is there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world can be embedded");
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    let component = encoder.and_then(|mut encoder| encoder.encode());
    let mut component = component.expect("the guest fits its world");
    let docs = PackageMetadata::extract(&resolve, package).encode().expect("comments are JSON");
    append_section(&mut component, PackageMetadata::SECTION_NAME, &docs);
    component
}

/// Adds a custom section at the end.
fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut section = Vec::new();
    number(&mut section, name.len());
    section.extend([name.as_bytes(), data].concat());
    component.push(0);
    number(component, section.len());
    component.extend(section);
}

/// Adds a number in LEB128.
fn number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number % 0x80).expect("below 128") | 0x80);
        number /= 0x80;
    }
    bytes.push(u8::try_from(number).expect("below 128"));
}
