//! Components of any bytes, up to where they are compiled: see [`crate::hostile`].

use wasmparser::{Validator, WasmFeatures};

use super::{LoadError, ledger, screen, strip, world};

/// A component or a core module, as `Code::load` looks at it.
pub(crate) fn component(bytes: &[u8]) {
    let Ok(encoded) = world::component(bytes) else { return };
    let Ok(screened) = screen::capturable(&encoded) else { return };
    let with_ledgers = match ledger::with_ledgers(&encoded, &screened) {
        Ok(with_ledgers) => with_ledgers,
        Err(LoadError::TooLarge(_)) => return,
        Err(error) => panic!("what was screened is read again: {error}"),
    };
    if let Some(with_ledgers) = &with_ledgers {
        let valid = Validator::new_with_features(WasmFeatures::all()).validate_all(with_ledgers);
        // Only a guest that has the names of the ledgers' own functions may clash with them.
        let clashes = |error: &dyn std::fmt::Display| error.to_string().contains("player-host-");
        assert!(valid.as_ref().err().is_none_or(|error| clashes(error)), "{:?}", valid.err());
        if valid.is_err() {
            return;
        }
    }
    let encoded = with_ledgers.unwrap_or(encoded);
    let stripped = strip::start_of(&encoded).expect("what was screened is read again");
    screen::capturable(&stripped).expect("without its start it is no worse");
    let again = strip::start_of(&stripped).expect("it is read again");
    assert!(again == stripped, "there is nothing left to take away");
}

/// Components and modules that are taken, and such that are refused late.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let built_in = super::built_in().to_vec();
    let stripped = strip::start_of(&built_in).unwrap();
    let texts = [
        "(component)",
        r#"(component (core module (memory 1) (data (i32.const 8) "abc")
            (global $sp (mut i32) (i32.const 1024))
            (func $f (local i32)
                global.get $sp i32.const 16 i32.sub local.tee 0 global.set $sp
                (block (loop local.get 0 br_if 0 local.get 0 br_table 0 1))
                local.get 0 i32.const 16 i32.add global.set $sp)
            (start $f)))"#,
        r#"(component (core module (table 1 funcref) (global (mut i32) (i32.const 0))
            (func (param i32) (result i32) local.get 0
                (if (result i32) (then i32.const 1 global.set 0 i32.const 2)
                    (else i32.const 3)))
            (elem (i32.const 0) func 0)))"#,
        r#"(component (component (core module (memory 1 2) (data "passive"))) (core module))"#,
    ];
    let texts = texts.iter().map(|text| wat::parse_str(text).unwrap());
    [built_in, stripped].into_iter().chain(texts).collect()
}
