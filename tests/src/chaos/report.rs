//! What a run was and whether the promises held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::history::{Asked, Ended, Record};
use super::load::Load;
use super::{Fault, Settings};
use crate::linearizable::{Call, Verdict, judge};
use crate::measure::Sample;

/// Faults that came together, with what the cluster needed to get well. Times are in microseconds
/// since the beginning of the run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Episode {
    kinds: Vec<String>,
    /// The nodes that it hits, counted from 0.
    nodes: BTreeSet<usize>,
    /// What happened to whom.
    story: String,
    began_us: u64,
    healed_us: u64,
    settled_us: u64,
}

impl Episode {
    pub(super) fn new(faults: &[Fault], began_us: u64, healed_us: u64, settled_us: u64) -> Self {
        let told = |fault: &Fault| {
            let nodes: Vec<_> =
                fault.nodes.iter().map(|at| format!("app_node{}", at + 1)).collect();
            format!("{} ({})", fault.kind, nodes.join(", "))
        };
        Self {
            kinds: faults.iter().map(|fault| fault.kind.to_string()).collect(),
            nodes: faults.iter().flat_map(|fault| fault.nodes.iter().copied()).collect(),
            story: faults.iter().map(told).collect::<Vec<_>>().join(" + "),
            began_us,
            healed_us,
            settled_us,
        }
    }

    fn meets(&self, from: u64, to: u64) -> bool {
        self.began_us <= to && from <= self.settled_us
    }
}

/// The longest time in which a player was asked, through a node that no fault hit, and nobody got
/// an answer from it. Through one that is dead or cut off, a caller's patience would be measured.
#[derive(Debug, Clone, Serialize)]
struct Unavailable {
    player: String,
    seconds: f64,
    /// When it began, in seconds since the beginning of the run.
    at: f64,
    /// The faults at that time.
    during: String,
}

/// Times of answered calls.
#[derive(Debug, Clone, Serialize)]
struct Times {
    calls: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// What a run was and whether the promises held.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    settings: Settings,
    minutes: f64,
    faults: BTreeMap<String, usize>,
    /// Nodes that stopped themselves because their disk was full.
    gave_up: usize,
    /// Deployments that were made in the middle of faults.
    deployments: usize,
    calls: usize,
    returned: usize,
    trapped: usize,
    not_applied: usize,
    unknown: usize,
    /// Attempts that brought no answer, by what was said.
    attempts_failed: BTreeMap<&'static str, usize>,
    /// Players with an acknowledged reward that their last total lacks.
    lost: usize,
    /// Players with a reward that was applied twice.
    doubled: usize,
    /// What is wrong, one sentence each.
    wrong: Vec<String>,
    unavailable: Vec<Unavailable>,
    calm: Option<Times>,
    under_faults: Option<Times>,
}

impl Report {
    /// Returns what was seen. Of nodes gave up so many, and so much was deployed.
    pub(super) fn new(
        settings: Settings,
        episodes: Vec<Episode>,
        records: Vec<Record>,
        (gave_up, deployments): (usize, usize),
        folder: &Path,
    ) -> Self {
        let count = |is: fn(&Ended) -> bool| records.iter().filter(|r| is(&r.ended)).count();
        let mut faults = BTreeMap::new();
        for kind in episodes.iter().flat_map(|episode| &episode.kinds) {
            *faults.entry(kind.clone()).or_default() += 1;
        }
        let mut attempts_failed = BTreeMap::new();
        let attempts = records.iter().flat_map(|record| &record.attempts);
        for failed in attempts.filter_map(|attempt| attempt.failed.as_ref()) {
            *attempts_failed.entry(failed.code).or_default() += 1;
        }
        let is_hit = |record: &&Record| {
            episodes.iter().any(|episode| episode.meets(record.began_us, record.ended_us))
        };
        let (hit, calm): (Vec<&Record>, Vec<&Record>) = records.iter().partition(is_hit);
        let end_us = records.iter().map(|record| record.ended_us).max().unwrap_or(0);
        let mut report = Self {
            settings,
            minutes: seconds(end_us) / 60.0,
            faults,
            gave_up,
            deployments,
            calls: records.len(),
            returned: count(|ended| matches!(ended, Ended::Returned { .. })),
            trapped: count(|ended| matches!(ended, Ended::Trapped { .. })),
            not_applied: count(|ended| matches!(ended, Ended::NotApplied)),
            unknown: count(|ended| matches!(ended, Ended::Unknown)),
            attempts_failed,
            lost: 0,
            doubled: 0,
            wrong: Vec::new(),
            unavailable: Vec::new(),
            calm: times(&calm),
            under_faults: times(&hit),
        };
        for player in 0..settings.players {
            let of_player: Vec<&Record> = records.iter().filter(|r| r.player == player).collect();
            report.judge(player, &of_player, folder);
            report.unavailable.extend(longest_gap(player, &of_player, &episodes));
        }
        report.unavailable.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        report
    }

    /// Whether every promise held.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// Returns how many deployments were made.
    pub fn deployments(&self) -> usize {
        self.deployments
    }

    /// How many calls returned a total.
    pub fn returned(&self) -> usize {
        self.returned
    }

    fn judge(&mut self, player: usize, records: &[&Record], folder: &Path) {
        let name = Load::player(player);
        if let Some(last) = records.iter().max_by_key(|record| record.began_us)
            && !matches!(last.ended, Ended::Returned { .. })
        {
            self.wrong.push(format!("{name} does not answer after all faults: {last:?}"));
        }
        for record in records {
            if let (Asked::Reward(_), Ended::Trapped { message }) = (record.asked, &record.ended) {
                self.wrong.push(format!("{name} trapped on a number: {message}"));
            }
        }
        self.wrong.extend(shared_position(records).map(|keys| format!("{name}: {keys}")));
        let calls: Vec<Call> = records.iter().filter_map(|record| record.as_call()).collect();
        let verdict = judge(&calls);
        let (how, stuck) = match verdict {
            Verdict::Linearizable => return,
            Verdict::Not(stuck) => ("no order of", stuck),
            Verdict::Undecided(stuck) => ("no order that was tried of", stuck),
        };
        self.wrong.push(format!(
            "{name}: {how} its {} calls explains the totals; the best explains {} and ends at {} ({})",
            calls.len(),
            stuck.explained,
            stuck.total,
            folder.join("history.jsonl").display(),
        ));
        self.find_cause(&name, &calls);
    }

    /// Looks for one reward that, missing or counted twice, explains the last total.
    fn find_cause(&mut self, name: &str, calls: &[Call]) {
        let answered = || calls.iter().filter(|call| call.told.is_some());
        let Some(last) = answered().max_by_key(|call| call.began).and_then(|call| call.told) else {
            return;
        };
        let excess = last - answered().map(|call| call.points).sum::<i64>();
        let unknown: Vec<i64> =
            calls.iter().filter(|call| call.told.is_none()).map(|call| call.points).collect();
        // What one unknown call may have added, or none.
        let explained = |excess: i64| excess == 0 || unknown.contains(&excess);
        for call in answered().filter(|call| call.points != 0) {
            if explained(excess + call.points) {
                self.lost += 1;
                self.wrong.push(format!("{name}: the last total lacks {call:?}"));
                return;
            }
            if explained(excess - call.points) {
                self.doubled += 1;
                self.wrong.push(format!("{name}: the last total has twice {call:?}"));
                return;
            }
        }
    }
}

/// Two rewards that got the same position in their player's history, if there are any.
fn shared_position(records: &[&Record]) -> Option<String> {
    let mut at = BTreeMap::new();
    for record in records {
        if let (Asked::Reward(_), Ended::Returned { seq, .. }) = (record.asked, &record.ended)
            && let Some(other) = at.insert(seq, &record.key)
        {
            return Some(format!("the keys {other} and {} both have position {seq}", record.key));
        }
    }
    None
}

/// Returns the longest time from an attempt through a node that was well to the next answer that
/// anybody got.
fn longest_gap(player: usize, records: &[&Record], episodes: &[Episode]) -> Option<Unavailable> {
    let mut answers: Vec<u64> =
        records.iter().filter(|r| r.is_answered()).map(|r| r.ended_us).collect();
    answers.sort_unstable();
    // A node that is hit while it is asked says nothing about the player either.
    let was_well = |node: usize, from: u64, to: u64| {
        let mut hits = episodes.iter().filter(|episode| episode.nodes.contains(&node));
        !hits.any(|episode| episode.meets(from, to))
    };
    let well = |record: &&Record| -> Vec<u64> {
        let ends = record.attempts.iter().skip(1).map(|next| next.at_us);
        let attempts = record.attempts.iter().zip(ends.chain([record.ended_us]));
        let well = attempts.filter(|(asked, end)| was_well(asked.node, asked.at_us, *end));
        well.map(|(asked, _)| asked.at_us).collect()
    };
    let gap = |asked: u64| {
        let next = answers.partition_point(|ended| *ended < asked);
        // The last call of a run is answered, or the run is broken for that.
        answers.get(next).map(|ended| (ended - asked, asked, *ended))
    };
    let (length, began, ended) = records.iter().flat_map(well).filter_map(gap).max()?;
    let during = episodes.iter().filter(|episode| episode.meets(began, ended));
    let during: Vec<&str> = during.map(|episode| episode.story.as_str()).collect();
    Some(Unavailable {
        player: Load::player(player),
        seconds: seconds(length),
        at: seconds(began),
        during: if during.is_empty() { "no fault".to_owned() } else { during.join(", then ") },
    })
}

fn times(records: &[&Record]) -> Option<Times> {
    let answered = records.iter().filter(|record| record.is_answered());
    let durations: Vec<Duration> =
        answered.map(|r| Duration::from_micros(r.ended_us - r.began_us)).collect();
    if durations.is_empty() {
        return None;
    }
    let sample = Sample::new(durations);
    let [p50_ms, p99_ms, max_ms] = [sample.quantile(500), sample.quantile(990), sample.max()]
        .map(|duration| duration.as_secs_f64() * 1e3);
    Some(Times { calls: sample.len(), p50_ms, p99_ms, max_ms })
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

fn counted<K: fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, max {max_ms:.0} ms ({calls} calls)")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { seed, nodes, clients, players, .. } = self.settings;
        let Self { minutes, calls, returned, trapped, not_applied, unknown, .. } = self;
        writeln!(
            f,
            "{minutes:.1} minutes of chaos, {nodes} nodes, {clients} callers of {players} players, seed {seed}"
        )?;
        writeln!(f, "faults: {} ({})", self.faults(), counted(&self.faults))?;
        writeln!(f, "deployments: {}", self.deployments)?;
        if self.gave_up > 0 {
            writeln!(
                f,
                "nodes that stopped on a full disk and were started again: {}",
                self.gave_up
            )?;
        }
        writeln!(
            f,
            "calls: {calls}: {returned} returned, {trapped} trapped, {not_applied} not applied, {unknown} unknown"
        )?;
        writeln!(f, "attempts without an answer: {}", counted(&self.attempts_failed))?;
        writeln!(f, "lost: {}, doubled: {}", self.lost, self.doubled)?;
        for (name, times) in [("calm", &self.calm), ("under faults", &self.under_faults)] {
            if let Some(times) = times {
                writeln!(f, "{name}: {times}")?;
            }
        }
        write!(f, "longest time without an answer, asked through nodes that no fault hit:")?;
        for Unavailable { player, seconds, at, during } in &self.unavailable {
            write!(f, "\n  {player}: {seconds:.2} s at {at:.0} s, {during}")?;
        }
        self.wrong.iter().try_for_each(|wrong| write!(f, "\nWRONG: {wrong}"))
    }
}

#[cfg(test)]
mod tests;
