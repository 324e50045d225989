//! The default player: points that rewards add to.
//!
//! The rules are here, as ordinary Rust that is tested natively; `shim` exports them to the host.
//! Nothing saves the points from call to call: they are a plain `static`, and the host keeps the
//! memory it lives in. `saved` is asked only when a player goes on with other code, to which that
//! memory would mean nothing.

mod saved;
#[cfg(target_family = "wasm")]
mod shim;

pub use saved::{NotLoaded, Saved};

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

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
        /// The reward.
        reward: i64,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnInteger(text) => write!(f, "not an integer: {text:?}"),
            Self::Overflow { points, reward } => {
                write!(f, "points overflow: {points} + {reward}")
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

    /// Adds a reward and returns the new total.
    ///
    /// # Errors
    ///
    /// `Refused` if the reward is not an integer or the total overflows.
    pub fn reward(&self, reward: Term) -> Result<i64, Refused> {
        let reward = match reward {
            Term::Integer(reward) => reward,
            Term::Text(text) => return Err(Refused::NotAnInteger(text)),
        };
        // A guest has one thread, so nothing is ordered by this.
        let add = |points: i64| points.checked_add(reward);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => Ok(before + reward),
            Err(points) => Err(Refused::Overflow { points, reward }),
        }
    }

    /// Returns the total.
    pub fn total(&self) -> i64 {
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
        self.0.store(points, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_add_up_and_may_be_negative() {
        let points = Points::new();
        assert_eq!(points.reward(Term::Integer(5)), Ok(5));
        assert_eq!(points.reward(Term::Integer(-7)), Ok(-2));
        assert_eq!(points.total(), -2);
    }

    #[test]
    fn a_reward_that_is_not_an_integer_is_refused_and_changes_nothing() {
        let points = Points(AtomicI64::new(3));
        let refused = points.reward(Term::Text("a".into())).unwrap_err();
        assert_eq!(refused.to_string(), r#"not an integer: "a""#);
        assert_eq!(points.total(), 3);
    }

    #[test]
    fn an_overflow_is_refused_in_both_directions_and_changes_nothing() {
        let points = Points(AtomicI64::new(i64::MAX));
        let refused = points.reward(Term::Integer(1)).unwrap_err();
        assert_eq!(refused.to_string(), "points overflow: 9223372036854775807 + 1");
        assert_eq!(points.total(), i64::MAX);
        let points = Points(AtomicI64::new(i64::MIN));
        let refused = points.reward(Term::Integer(-1)).unwrap_err();
        assert_eq!(refused.to_string(), "points overflow: -9223372036854775808 + -1");
    }

    #[test]
    fn what_one_saves_another_goes_on_from() {
        let (old, new) = (Points(AtomicI64::new(-7)), Points::new());
        assert_eq!(new.load(&old.save()), Ok(()));
        assert_eq!(new.reward(Term::Integer(2)), Ok(-5));
        assert_eq!(new.load(&[9]), Err(NotLoaded::UnknownVersion(9)));
        assert_eq!(new.total(), -5, "unchanged");
    }
}
