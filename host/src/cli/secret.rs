//! `host secret`: what it does, and what it says. A key is never printed, only its fingerprint.

use std::path::Path;

use serde::Serialize;

use super::args::SecretCommand;
use super::render::{self, Exit, Format, Rendered};
use crate::net::{Secret, SecretError, Step};

/// What a running node logs when it has read another secret, as `renewal` says it.
const EXCHANGED: &str = "the secret was exchanged";

/// Makes, changes or shows a secret.
pub(super) fn perform(command: SecretCommand, format: Format) -> Rendered {
    let done = match &command {
        SecretCommand::New { file } => Secret::create(file).map(|_| made(format, file)),
        SecretCommand::Rotate { file, step } => {
            Secret::rotate(file, step.map(Step::from)).map(|secret| shown(format, file, &secret))
        }
        SecretCommand::Show { file } => {
            Secret::load(file).map(|secret| shown(format, file, &secret))
        }
    };
    done.unwrap_or_else(|error| refused(format, &error))
}

fn refused(format: Format, error: &SecretError) -> Rendered {
    render::usage(format, &render::sentence(error))
}

fn made(format: Format, file: &Path) -> Rendered {
    #[derive(Serialize)]
    struct Made<'a> {
        secret: &'a str,
    }
    let file = file.display().to_string();
    let text = match format {
        Format::Text => {
            format!("wrote {file}; copy it to each machine and start nodes with --secret-file")
        }
        Format::Json => line(&Made { secret: &file }),
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders which keys a secret has, and what a person does next.
fn shown(format: Format, file: &Path, secret: &Secret) -> Rendered {
    #[derive(Serialize)]
    struct Shown<'a> {
        secret: &'a str,
        issues: String,
        accepts_too: Option<String>,
        next: String,
    }
    let file = file.display().to_string();
    let (issues, accepts_too) = secret.fingerprints();
    let (issues, accepts_too) = (issues.to_string(), accepts_too.map(|key| key.to_string()));
    let next = secret.next_step().to_string();
    let text = match format {
        Format::Text => {
            let accepts = match &accepts_too {
                Some(key) => format!("certificates of {key} are accepted, too"),
                None => "no others are accepted".to_owned(),
            };
            let todo = what_to_do(&file, secret, &issues, accepts_too.as_deref());
            format!("{file}: certificates are issued with the key {issues}, {accepts}\n{todo}")
        }
        Format::Json => line(&Shown { secret: &file, issues, accepts_too, next }),
    };
    Rendered { text, exit: Exit::Done }
}

fn what_to_do(file: &str, secret: &Secret, issues: &str, accepts: Option<&str>) -> String {
    let everywhere = format!(
        "copy it to every node and every client (mode 600) and wait until each node has logged \
         \"{EXCHANGED} issues={issues}"
    );
    let accepts = accepts.unwrap_or_default();
    match secret.step() {
        Some(Step::Accept) => format!(
            "step 1 of 3: {everywhere} accepts={accepts}\"; then: host secret rotate {file} issue"
        ),
        Some(Step::Issue) => format!(
            "step 2 of 3: {everywhere} accepts={accepts}\"; then: host secret rotate {file} drop"
        ),
        Some(Step::Drop) | None => format!(
            "after step 3 of 3: {everywhere}\"; whoever has only another key is refused then. To put \
             a new key in the place of this one: host secret rotate {file} accept"
        ),
    }
}

fn line(value: &impl Serialize) -> String {
    // Texts and nothing else.
    serde_json::to_string(value).expect("texts become JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::RotateStep;

    fn rotate(file: &Path, step: Option<RotateStep>, format: Format) -> Rendered {
        perform(SecretCommand::Rotate { file: file.to_owned(), step }, format)
    }

    #[test]
    fn a_rotation_says_what_to_do_after_each_step_and_never_shows_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let new = perform(SecretCommand::New { file: file.clone() }, Format::Text);
        assert_eq!(new.exit, Exit::Done);
        let mut said = new.text;
        let steps =
            [(None, "1 of 3", "issue"), (None, "2 of 3", "drop"), (None, "3 of 3", "accept")];
        for (step, number, next) in steps {
            let rendered = rotate(&file, step, Format::Text);
            assert!(rendered.text.contains(&format!("step {number}")), "{}", rendered.text);
            let command = format!("host secret rotate {} {next}", file.display());
            assert!(rendered.text.ends_with(&command), "{}", rendered.text);
            let show = |format| perform(SecretCommand::Show { file: file.clone() }, format).text;
            assert_eq!(show(Format::Text), rendered.text);
            said.push_str(&rendered.text);
            said.push_str(&show(Format::Json));
            for word in std::fs::read_to_string(&file).unwrap().split([':', ' ', '\n']) {
                let is_key = word.len() == 64;
                assert!(!is_key || !said.contains(&word[..12]), "{said}");
            }
        }
    }

    #[test]
    fn a_step_out_of_turn_is_refused_with_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        drop(perform(SecretCommand::New { file: file.clone() }, Format::Text));
        let early = rotate(&file, Some(RotateStep::Drop), Format::Json);
        assert_eq!(early.exit, Exit::Usage);
        assert!(early.text.contains("`accept`"), "{}", early.text);
        assert_eq!(rotate(&file, Some(RotateStep::Accept), Format::Json).exit, Exit::Done);
    }
}
