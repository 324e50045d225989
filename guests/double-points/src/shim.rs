//! Exports [`Points`] to the host as a component of the world `migrating-player`. No rules here.

use std::panic;
use std::sync::Once;

use crate::{Points, Term};

#[expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "generated from the contract: it passes strings across the boundary by pointer"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "migrating-player",
        // There are no constructors, and remembering that they ran would change a byte.
        disable_run_ctors_once_workaround: true,
    });
    export!(Player);

    pub(super) use self::exports::player::host::migrate;
    use super::Player;
}

/// The whole state of this player. It survives because its memory does.
static POINTS: Points = Points::new();

struct Player;

impl bindings::Guest for Player {
    fn reward(points: bindings::Term) -> i64 {
        report_panics();
        let reward = match points {
            bindings::Term::Integer(reward) => Term::Integer(reward),
            bindings::Term::Text(text) => Term::Text(text),
        };
        POINTS.reward(reward).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Writes nothing, not even to the part of the stack that is in memory: a read changes no byte.
    fn points() -> i64 {
        POINTS.total()
    }
}

impl bindings::migrate::Guest for Player {
    fn save() -> Vec<u8> {
        POINTS.save()
    }

    fn load(state: Vec<u8>) -> Result<(), String> {
        POINTS.load(&state).map_err(|why| why.to_string())
    }
}

/// Sends the message of a panic to the host before the trap, which carries none.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("panicked without a message");
            bindings::log(bindings::Level::Error, message);
        }));
    });
}
