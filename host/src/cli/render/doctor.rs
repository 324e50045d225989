//! What was found on a machine.

use serde::Serialize;

use super::json::line;
use super::{Exit, Format, Rendered};
use crate::cli::doctor::{Finding, Level};
use crate::protocol::harmless;

/// Renders what was found, and whether a node can be started.
pub(in crate::cli) fn diagnosed(format: Format, findings: &[Finding]) -> Rendered {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let problems = count(Level::Problem);
    let text = match format {
        Format::Json => json(findings, problems),
        Format::Text => {
            let mut lines: Vec<_> = findings.iter().map(of_one).collect();
            let number = |level: Level| match count(level) {
                1 => format!("1 {}", level.word()),
                count => format!("{count} {}s", level.word()),
            };
            let numbers = [Level::Problem, Level::Warning, Level::Note].map(number);
            lines.push(numbers.join(", "));
            lines.join("\n")
        }
    };
    let exit = if problems == 0 { Exit::Done } else { Exit::NotApplied };
    Rendered { text, exit }
}

fn of_one(finding: &Finding) -> String {
    let Finding { about, level, text, advice } = finding;
    let text = format!("{:<7}  {about}: {}", level.word(), harmless(text));
    match advice {
        Some(advice) => format!("{text}\n         -> {}", harmless(advice)),
        None => text,
    }
}

fn json(findings: &[Finding], problems: usize) -> String {
    #[derive(Serialize)]
    struct Diagnosed<'a> {
        findings: Vec<One<'a>>,
        problems: usize,
    }
    #[derive(Serialize)]
    struct One<'a> {
        about: &'a str,
        level: &'static str,
        text: &'a str,
        /// `null` where there is nothing to do.
        advice: Option<&'a str>,
    }
    let findings = findings.iter().map(|Finding { about, level, text, advice }| One {
        about,
        level: level.word(),
        text,
        advice: advice.as_deref(),
    });
    line(&Diagnosed { findings: findings.collect(), problems })
}
