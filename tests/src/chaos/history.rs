//! What callers saw, call by call, also as a file that outlives a failed run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::linearizable::Call;

/// What is asked of a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// Add points.
    Reward(i64),
    /// Say the total.
    Points,
    /// Add what is no number: the guest traps.
    Trap,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// With this total.
    Returned { total: i64, seq: u64, node: String },
    /// The guest trapped and said this.
    Trapped { message: String },
    /// No attempt applied it.
    NotApplied,
    /// Some attempt may have applied it.
    Unknown,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    /// The node that was asked, counted from 0.
    pub(super) node: usize,
    /// When it was asked.
    pub(super) at_us: u64,
    /// Why it brought no answer, if it brought none.
    pub(super) failed: Option<Failed>,
}

/// Why an attempt brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failed {
    /// One word.
    pub(super) code: &'static str,
    pub(super) reason: String,
}

/// One call with all its attempts. Times are in microseconds since the beginning of the run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Record {
    pub(super) client: usize,
    pub(super) player: usize,
    pub(super) key: String,
    pub(super) asked: Asked,
    pub(super) began_us: u64,
    pub(super) ended_us: u64,
    pub(super) ended: Ended,
    pub(super) attempts: Vec<Attempt>,
}

impl Record {
    /// Returns what the call says of its player's total, if anything.
    pub(super) fn as_call(&self) -> Option<Call> {
        let points = match self.asked {
            Asked::Reward(points) => points,
            Asked::Points => 0,
            Asked::Trap => return None,
        };
        let told = match self.ended {
            Ended::Returned { total, .. } => Some(total),
            // One that trapped now may have been applied by an earlier attempt.
            Ended::Unknown | Ended::Trapped { .. } => None,
            Ended::NotApplied => return None,
        };
        Some(Call { began: self.began_us, ended: self.ended_us, points, told })
    }

    /// Whether the player answered.
    pub(super) fn is_answered(&self) -> bool {
        match self.ended {
            Ended::Returned { .. } | Ended::Trapped { .. } => true,
            Ended::NotApplied | Ended::Unknown => false,
        }
    }
}

/// The clock of one run and the file of its history.
#[derive(Debug)]
pub(super) struct Journal {
    start: Instant,
    file: Mutex<BufWriter<File>>,
}

impl Journal {
    /// Begins a history.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { start: Instant::now(), file: Mutex::new(BufWriter::new(file)) })
    }

    /// Returns the time since the beginning, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds a line.
    pub(super) fn write(&self, entry: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(entry).context("write a line of the history")?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").context("write a line of the history")
    }
}
