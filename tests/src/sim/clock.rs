//! The clocks of machines: monotonic ones that begin anywhere and run fast or slow, and times of day
//! that are off and are set.

use std::time::{Duration, Instant};

use super::client::EPOCH_MS;
use super::happening::{Happening, MS, SECOND, Slot, Time, What};
use super::rng::Rng;
use super::world::World;

/// A clock that runs as fast as the world's goes through so many microseconds in a second.
const EXACT: u64 = SECOND;

/// How far a clock that is off by much is set, at most: beyond what a node tolerates of a key.
const SET_WRONG_MAX: Time = 90 * SECOND;

/// The clocks of one machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// What the monotonic one shows when the world begins.
    start: Time,
    /// How far the monotonic one goes in a second of the world's time.
    rate: u64,
    /// How far the time of day is ahead of the slowest clock that anybody looks after.
    day: i64,
}

impl Clock {
    /// Draws clocks whose time of day is off by `skew_max` at most.
    pub(super) fn draw(rng: &mut Rng, skew_max: Time) -> Self {
        // Half a hundredth to two of them: far more than real ones, and runs are short.
        let off = EXACT / 1000 * rng.between(5, 20);
        let rate = match rng.index(3) {
            0 => EXACT,
            1 => EXACT + off,
            _ => EXACT - off,
        };
        let mut clock = Self { start: 0, rate, day: 0 };
        clock.begin_anew(rng);
        clock.set_right(rng, skew_max);
        clock
    }

    /// The machine reboots: its monotonic clock begins anywhere.
    pub(super) fn begin_anew(&mut self, rng: &mut Rng) {
        self.start = rng.between(0, 1000) * SECOND;
    }

    /// The time of day is one of those that are looked after.
    pub(super) fn set_right(&mut self, rng: &mut Rng, skew_max: Time) {
        self.day = signed(rng.between(0, 2 * skew_max));
    }

    /// The time of day jumps, either way.
    fn set_wrong(&mut self, rng: &mut Rng) {
        self.day = signed(rng.between(0, 2 * SET_WRONG_MAX)) - signed(SET_WRONG_MAX);
    }

    /// Returns what the monotonic clock shows.
    fn shows(&self, now: Time) -> Time {
        self.start + scaled(now, self.rate, EXACT)
    }

    /// Returns when the monotonic clock shows a time, or has shown it.
    fn when(&self, shows: Time) -> Time {
        // Never a moment too early: who is woken looks at the clock.
        scaled(shows.saturating_sub(self.start), EXACT, self.rate) + 1
    }

    /// Returns how long it takes in the world until a time has passed on this clock.
    fn lasts(&self, wait: Time) -> Time {
        scaled(wait, EXACT, self.rate)
    }
}

fn scaled(time: Time, by: u64, of: u64) -> Time {
    let scaled = u128::from(time) * u128::from(by) / u128::from(of);
    Time::try_from(scaled).unwrap_or(Time::MAX)
}

fn signed(time: Time) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

impl World {
    /// What the monotonic clock of a machine shows, in microseconds.
    pub(super) fn clock(&self, slot: Slot) -> Time {
        self.machines[slot].clock.shows(self.now)
    }

    /// The time as the machine's process takes it.
    pub(super) fn instant(&self, slot: Slot) -> Instant {
        self.began + Duration::from_micros(self.clock(slot))
    }

    /// When a machine's clock shows a time that its process has named, in the world's words.
    pub(super) fn time_of(&self, slot: Slot, instant: Instant) -> Time {
        let shows = instant.saturating_duration_since(self.began).as_micros();
        self.machines[slot].clock.when(Time::try_from(shows).unwrap_or(Time::MAX))
    }

    /// The time of day on a machine, in milliseconds since 1970.
    pub(super) fn unix_millis(&self, slot: Slot) -> u64 {
        let day = signed(self.now) + self.machines[slot].clock.day;
        EPOCH_MS.saturating_add_signed(day / signed(MS))
    }

    /// A process is woken when its own clock has gone on for so long.
    pub(super) fn wake_after(&mut self, wait: Time, slot: Slot, what: What) {
        let wait = self.machines[slot].clock.lasts(wait);
        self.after_to(wait, slot, what);
    }

    /// Somebody sets the time of day of a machine wrong, and right again later.
    pub(super) fn step_clock(&mut self, slot: Slot) {
        self.coverage.clock_steps += 1;
        self.machines[slot].clock.set_wrong(&mut self.rng);
        let day = self.machines[slot].clock.day / signed(SECOND);
        self.tell(|| format!("the clock of {slot} is set to {day} s"));
        let lasts = self.some_time(100, 4000);
        self.after(lasts, Happening::ClockRight { slot });
    }

    pub(super) fn clock_right(&mut self, slot: Slot) {
        let skew_max = self.skew_max;
        self.machines[slot].clock.set_right(&mut self.rng, skew_max);
    }
}
