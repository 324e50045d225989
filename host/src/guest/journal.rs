//! What a guest says during one call, and the bounds of what it may hold.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};

use super::allowance::Usage;
use super::bindings::Level;
use super::lanes::Turn;
use super::wasi::Wasi;
use crate::limits::{
    CALL_DEADLINE, GUEST_LOG_LINES_MAX, GUEST_MEMORIES_MAX, GUEST_MESSAGE_BYTES_MAX,
};
use crate::protocol::is_plain;

/// Bytes that a process may take during a call although the call takes none: others go on, too.
const TAKEN_UNSEEN: usize = 4 * 1024 * 1024;

/// Core instances of one component. Most have a handful, a Python guest has 46.
const INSTANCES_MAX: usize = 128;
/// Tables of one component.
const TABLES_MAX: usize = 64;
/// Elements of one table: functions whose address is taken. A JavaScript engine has about 10,000.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// The data of one store.
#[derive(Debug)]
pub(super) struct Journal {
    limits: StoreLimits,
    /// What all guests of the node have taken.
    usage: Arc<Usage>,
    /// Memory that the process had when the call began, in bytes.
    began_with: u64,
    /// Ticks of the clock that the call has seen.
    ticks: u128,
    /// Held by a call that needs longer than most, while it computes.
    turn: Option<Turn>,
    /// When it had its first turn.
    long_since: Option<Instant>,
    lines: usize,
    last_error: Option<String>,
    /// Whether the call was ended for what this machine lacks.
    lacked: bool,
    wasi: Wasi,
}

impl Journal {
    pub(super) fn new(usage: Arc<Usage>) -> Self {
        let limits = StoreLimitsBuilder::new()
            .instances(INSTANCES_MAX)
            .memories(GUEST_MEMORIES_MAX)
            .tables(TABLES_MAX)
            .table_elements(TABLE_ELEMENTS_MAX)
            .build();
        let began_with = usage.process_bytes();
        Self {
            limits,
            usage,
            began_with,
            ticks: 0,
            turn: None,
            long_since: None,
            lines: 0,
            last_error: None,
            lacked: false,
            wasi: Wasi::default(),
        }
    }

    pub(super) fn limits(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// Forgets what was said before. Each call begins so.
    pub(super) fn begin(&mut self) {
        self.began_with = self.usage.process_bytes();
        self.ticks = 0;
        self.long_since = None;
        self.lines = 0;
        self.last_error = None;
        self.lacked = false;
        self.wasi.begin();
    }

    /// Notes that the call is ended for what this machine lacks now, memory or time, and says what.
    pub(super) fn end_for_want(&mut self, of_what: String) {
        self.last_error = Some(of_what);
        self.lacked = true;
    }

    /// Whether the call was ended for what this machine lacks: another one, or this one later, would
    /// have gone on.
    pub(super) fn lacked(&self) -> bool {
        self.lacked
    }

    /// What is known of WASI.
    pub(super) fn wasi(&mut self) -> &mut Wasi {
        &mut self.wasi
    }

    /// Counts a tick. Returns how many the call has seen.
    pub(super) fn count_tick(&mut self) -> u128 {
        self.ticks += 1;
        self.ticks
    }

    /// Takes a turn. Returns whether the call may use it: there is nobody any more who waits for a
    /// call that got too few of them in its caller's time.
    pub(super) fn begin_turn(&mut self, turn: Turn, now: Instant) -> bool {
        self.turn = Some(turn);
        let since = *self.long_since.get_or_insert(now);
        let in_time = now.duration_since(since) < CALL_DEADLINE;
        if !in_time {
            let seconds = CALL_DEADLINE.as_secs();
            let message =
                format!("did not get enough time within {seconds} s beside other long calls");
            self.end_for_want(message);
        }
        in_time
    }

    /// Whether the call has its turn among those that need long.
    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// Leaves the turn to another call, if this one has it.
    pub(super) fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Whether the call is to be ended because the node has no memory left. One during which the
    /// process took none may go on.
    pub(super) fn is_refused_more(&mut self) -> bool {
        let taken = self.usage.process_bytes().saturating_sub(self.began_with);
        let taken = usize::try_from(taken).unwrap_or(usize::MAX);
        let refused = self.usage.why_refused(if taken > TAKEN_UNSEEN { taken } else { 0 });
        let is_refused = refused.is_some();
        refused.into_iter().for_each(|why| self.end_for_want(why));
        is_refused
    }

    /// Notes why the call is ended before its time.
    pub(super) fn end_early(&mut self, why: String) {
        self.last_error = Some(why);
    }

    /// Takes the last message of the highest severity: why the guest is about to trap.
    pub(super) fn take_last_error(&mut self) -> Option<String> {
        self.last_error.take()
    }

    /// Counts one message of the guest. Returns whether it is to be read: an error is, however late
    /// it comes, for it may explain the trap.
    pub(super) fn may_say(&mut self, level: Level) -> bool {
        self.lines = self.lines.saturating_add(1);
        level == Level::Error || self.lines <= GUEST_LOG_LINES_MAX
    }

    /// Writes a message that was counted to the host's log.
    pub(super) fn log(&mut self, level: Level, message: String) {
        if self.lines <= GUEST_LOG_LINES_MAX && self.usage.may_log() {
            match level {
                // An error of a guest is no error of the host: nobody has to get up for it.
                Level::Error | Level::Warn => tracing::warn!(target: "host::guest", "{message}"),
                Level::Info => tracing::info!(target: "host::guest", "{message}"),
                Level::Debug => tracing::debug!(target: "host::guest", "{message}"),
            }
        }
        if level == Level::Error {
            self.last_error = Some(message);
        }
    }
}

/// Returns a message that cannot disturb a terminal or a log line, cut to its limit.
pub(super) fn printable(message: &str) -> String {
    let mut result = String::new();
    for c in message.chars() {
        let before = result.len();
        if is_plain(c) {
            result.push(c)
        } else {
            result.extend(c.escape_default())
        }
        if result.len() > GUEST_MESSAGE_BYTES_MAX {
            result.truncate(before);
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::Allowance;
    use super::*;

    #[test]
    fn a_message_is_cut_and_cannot_disturb_a_terminal() {
        assert_eq!(printable(r#"not an integer: "a""#), r#"not an integer: "a""#);
        assert_eq!(printable("a\n\u{1b}[31m\u{202e}b"), "a\\n\\u{1b}[31m\\u{202e}b");
        assert_eq!(printable(&"ü".repeat(2000)), "ü".repeat(GUEST_MESSAGE_BYTES_MAX / 2));
        let cut = printable(&format!("{}\n", "x".repeat(GUEST_MESSAGE_BYTES_MAX - 1)));
        assert_eq!(cut.len(), GUEST_MESSAGE_BYTES_MAX - 1, "no half of an escape");
    }

    #[test]
    fn the_last_error_counts_even_after_the_lines_of_a_call_are_used_up() {
        let mut journal = Journal::new(Arc::new(Usage::new(&Allowance::default())));
        let mut say = |level, message: &str| {
            let heard = journal.may_say(level);
            if heard {
                journal.log(level, message.to_owned());
            }
            heard
        };
        assert!(say(Level::Error, "first"));
        let heard = (0..2 * GUEST_LOG_LINES_MAX).filter(|_| say(Level::Info, "chatter"));
        assert_eq!(heard.count(), GUEST_LOG_LINES_MAX - 1);
        assert!(say(Level::Error, "last"));
        assert!(!say(Level::Warn, "afterwards"));
        assert_eq!(journal.take_last_error().as_deref(), Some("last"));
        journal.begin();
        assert_eq!(journal.take_last_error(), None);
    }
}
