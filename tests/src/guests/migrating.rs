//! Players whose state other code takes over, good ones and bad ones.

use super::module_of;

/// What a player does besides counting rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Every reward traps.
    TrapsInCalls,
    /// It takes over no state, and says so.
    RefusesState,
    /// It traps when it should take over a state.
    TrapsInLoad,
    /// It never returns from taking over a state.
    NeverLoads,
    /// It traps when it should hand its state over.
    TrapsInSave,
}

/// Returns a player that counts each reward so many times, and whose state goes to and comes from
/// other code in the bytes of the built-in player, as a core module that carries its component type.
///
/// Its total is at address 0; a text traps.
///
/// # Panics
///
/// When it does not fit the contract any more.
pub fn migrating_module(times: i64, flaw: Flaw) -> Vec<u8> {
    let when = |found: Flaw, code: &'static str| if flaw == found { code } else { "" };
    let call = when(Flaw::TrapsInCalls, "unreachable");
    let save = when(Flaw::TrapsInSave, "unreachable");
    let trap = when(Flaw::TrapsInLoad, "unreachable");
    let hang = when(Flaw::NeverLoads, "(loop $again (br $again))");
    let refuse = when(Flaw::RefusesState, "(return (call $refuse))");
    module_of(
        "migrating-player",
        &format!(
            r#"
    (module
      (memory (export "memory") 2)
      (data (i32.const 900) "not a state of mine")
      (func $refuse (result i32)
        (i32.store8 (i32.const 496) (i32.const 1))
        (i32.store (i32.const 500) (i32.const 900))
        (i32.store (i32.const 504) (i32.const 19))
        (i32.const 496))
      (func (export "reward") (param $is_text i32) (param $points i64) (param $len i32) (result i64)
        (if (local.get $is_text) (then unreachable))
        {call}
        (i64.store (i32.const 0)
          (i64.add (i64.load (i32.const 0)) (i64.mul (local.get $points) (i64.const {times}))))
        (i64.load (i32.const 0)))
      (func (export "points") (result i64) (i64.load (i32.const 0)))
      ;; A call has one text or state at most and nothing outlives it, so there is one place for it.
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      ;; Version 0, then the total as a varint of its zigzag form.
      (func (export "player:host/migrate@0.1.0#save") (result i32)
        (local $left i64) (local $at i32)
        {save}
        (local.set $left (i64.xor
          (i64.shl (i64.load (i32.const 0)) (i64.const 1))
          (i64.shr_s (i64.load (i32.const 0)) (i64.const 63))))
        (local.set $at (i32.const 513))
        (i32.store8 (i32.const 512) (i32.const 0))
        (loop $more
          (i64.store8 (local.get $at) (i64.or
            (i64.and (local.get $left) (i64.const 127))
            (i64.shl (i64.extend_i32_u (i64.gt_u (local.get $left) (i64.const 127))) (i64.const 7))))
          (local.set $left (i64.shr_u (local.get $left) (i64.const 7)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $more (i64.ne (local.get $left) (i64.const 0))))
        (i32.store (i32.const 496) (i32.const 512))
        (i32.store (i32.const 500) (i32.sub (local.get $at) (i32.const 512)))
        (i32.const 496))
      (func (export "player:host/migrate@0.1.0#load") (param $at i32) (param $len i32) (result i32)
        (local $all i64) (local $shift i64) (local $byte i64)
        {trap} {hang} {refuse}
        (if (i32.or (i32.lt_u (local.get $len) (i32.const 2)) (i32.load8_u (local.get $at)))
          (then (return (call $refuse))))
        (loop $more
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $byte (i64.load8_u (local.get $at)))
          (local.set $all (i64.or (local.get $all)
            (i64.shl (i64.and (local.get $byte) (i64.const 127)) (local.get $shift))))
          (local.set $shift (i64.add (local.get $shift) (i64.const 7)))
          (br_if $more (i64.ge_u (local.get $byte) (i64.const 128))))
        (i64.store (i32.const 0) (i64.xor
          (i64.shr_u (local.get $all) (i64.const 1))
          (i64.sub (i64.const 0) (i64.and (local.get $all) (i64.const 1)))))
        (i32.store8 (i32.const 496) (i32.const 0))
        (i32.const 496)))
"#
        ),
    )
}

/// Returns the same code with so many bytes more, which mean nothing.
pub fn padded(code: &[u8], bytes: usize) -> Vec<u8> {
    let padding = vec![7; bytes];
    let mut section = vec![3];
    section.extend_from_slice(b"pad");
    section.extend_from_slice(&padding);
    // Its length as a varint.
    let (mut len, mut header) = (section.len(), vec![0]);
    while len > 127 {
        header.push(u8::try_from(len % 128).expect("seven bits") | 128);
        len /= 128;
    }
    header.push(u8::try_from(len).expect("seven bits"));
    [code, &header, &section].concat()
}

/// Returns the same code under another hash.
pub fn renamed(code: &[u8], name: &str) -> Vec<u8> {
    // A custom section changes nothing of what code does.
    let len = u8::try_from(name.len()).expect("a short name");
    [code, &[0, len + 1, len], name.as_bytes()].concat()
}
