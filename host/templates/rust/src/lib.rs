//! The player NAME: its whole state is the `static` below.
//!
//! Nothing saves it from call to call: the host keeps the memory that it lives in.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

wit_bindgen::generate!({
    path: "wit",
    world: "rules",
    generate_all,
    // There are no constructors, and remembering that they ran would change a byte.
    disable_run_ctors_once_workaround: true,
});
export!(Player);

/// How often each point of a reward counts.
const REWARD_COUNTS: i64 = 1;

/// The points. It survives traps and dead machines because its memory does.
static POINTS: AtomicI64 = AtomicI64::new(0);

struct Player;

impl Guest for Player {
    fn reward(points: Term) -> i64 {
        match points {
            Term::Integer(points) => add(points, REWARD_COUNTS),
            Term::Text(text) => refuse(&format!("not an integer: {text:?}")),
        }
    }

    fn points() -> i64 {
        POINTS.load(Ordering::Relaxed)
    }

    fn give_bonus(bonus: Bonus) -> i64 {
        add(bonus.points, bonus.times.into())
    }
}

/// What is saved for other code of this player: one case for each version there ever was.
///
/// A new version gets a case at the end. None is ever taken away or moved, so that `load` goes on
/// reading what older code has saved; the first one is also what the built-in player saves.
#[derive(Serialize, Deserialize)]
enum Saved {
    V0 { points: i64 },
}

impl exports::player::host::migrate::Guest for Player {
    fn save() -> Vec<u8> {
        let saved = Saved::V0 { points: Self::points() };
        postcard::to_allocvec(&saved).expect("numbers are always written")
    }

    fn load(state: Vec<u8>) -> Result<(), String> {
        let version = state.first().copied().unwrap_or_default();
        let saved = postcard::from_bytes(&state);
        match saved.map_err(|why| format!("cannot read a state of version {version}: {why}"))? {
            Saved::V0 { points } => POINTS.store(points, Ordering::Relaxed),
        }
        Ok(())
    }
}

/// Adds points and returns the new total.
fn add(points: i64, times: i64) -> i64 {
    let before = POINTS.load(Ordering::Relaxed);
    let total = points.checked_mul(times).and_then(|more| before.checked_add(more));
    let Some(total) = total else {
        refuse(&format!("points overflow: {before} + {points} * {times}"))
    };
    POINTS.store(total, Ordering::Relaxed);
    total
}

/// Says why, and ends the call: the host drops what it has changed, and the caller reads this.
fn refuse(why: &str) -> ! {
    log(Level::Error, why);
    std::process::abort()
}
