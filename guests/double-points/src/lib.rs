//! The default player on a generous day: each reward counts twice.
//!
//! It saves and loads the same bytes as the default player, so it can take over from it, and it from
//! this one, without a point lost.

mod saved;
#[cfg(target_family = "wasm")]
mod shim;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

pub use saved::{NotLoaded, Saved};

/// What a reward may be, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A whole number of points, which may be negative.
    Integer(i64),
    /// Anything else.
    Text(String),
}

/// Why a reward was refused. The points are unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The reward is not a whole number.
    NotAnInteger(String),
    /// The new total does not fit 64 bits.
    Overflow {
        /// The total before the reward.
        points: i64,
        /// The reward, which would have counted twice.
        reward: i64,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnInteger(text) => write!(f, "not an integer: {text:?}"),
            Self::Overflow { points, reward } => {
                write!(f, "points overflow: {points} + 2 * {reward}")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The points of one player, fit for a `static`.
#[derive(Debug, Default)]
pub struct Points(AtomicI64);

impl Points {
    /// Returns the points of a player that was never rewarded.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds a reward twice and returns the new total.
    ///
    /// # Errors
    ///
    /// `Refused` if the reward is not an integer or the total overflows.
    pub fn reward(&self, reward: Term) -> Result<i64, Refused> {
        let reward = match reward {
            Term::Integer(reward) => reward,
            Term::Text(text) => return Err(Refused::NotAnInteger(text)),
        };
        let points = self.total();
        let doubled = reward.checked_mul(2).and_then(|twice| points.checked_add(twice));
        let total = doubled.ok_or(Refused::Overflow { points, reward })?;
        self.set(total);
        Ok(total)
    }

    /// Returns the total.
    pub fn total(&self) -> i64 {
        // A guest has one thread, so nothing is ordered by this.
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the state, for other code of this player.
    pub fn save(&self) -> Vec<u8> {
        Saved::V1 { points: self.total() }.to_bytes()
    }

    /// Takes over what other code of this player has saved.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if it cannot be read. The points are unchanged.
    pub fn load(&self, saved: &[u8]) -> Result<(), NotLoaded> {
        let Saved::V1 { points } = Saved::from_bytes(saved)?;
        self.set(points);
        Ok(())
    }

    fn set(&self, points: i64) {
        self.0.store(points, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_count_twice() {
        let points = Points::new();
        assert_eq!(points.reward(Term::Integer(5)), Ok(10));
        assert_eq!(points.reward(Term::Integer(-1)), Ok(8));
        let refused = points.reward(Term::Text("a".into())).unwrap_err();
        assert_eq!(refused.to_string(), r#"not an integer: "a""#);
        assert_eq!(points.total(), 8);
    }

    #[test]
    fn an_overflow_is_refused_and_changes_nothing() {
        for (before, reward) in [(0, i64::MAX), (i64::MAX - 1, 1), (i64::MIN + 1, -1)] {
            let points = Points(AtomicI64::new(before));
            let refused = points.reward(Term::Integer(reward)).unwrap_err();
            assert_eq!(refused, Refused::Overflow { points: before, reward });
            assert_eq!(points.total(), before);
        }
    }

    #[test]
    fn what_another_player_has_saved_is_gone_on_from() {
        let points = Points::new();
        assert_eq!(points.load(&[0, 10]), Ok(()));
        assert_eq!(points.reward(Term::Integer(1)), Ok(7));
        assert_eq!(points.save(), [0, 14]);
        assert_eq!(points.load(&[1]), Err(NotLoaded::UnknownVersion(1)));
        assert_eq!(points.total(), 7, "unchanged");
    }
}
