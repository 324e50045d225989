//! What is written from the definition of the command line: completions and manual pages.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use serde::Serialize;

use super::args::Args;
use super::render::{self, Exit, Format, Rendered};

/// Renders what makes a shell complete this program's commands.
pub(super) fn completions(format: Format, shell: Shell) -> Rendered {
    let mut command = without_what_is_hidden(&Args::command());
    let program = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, program, &mut script);
    let script = String::from_utf8_lossy(&script).trim_end().to_owned();
    let text = match format {
        Format::Text => script,
        Format::Json => line(&Completions { shell: shell.to_string(), completions: &script }),
    };
    Rendered { text, exit: Exit::Done }
}

/// Returns a command with what people are told of it. Not every shell's generator leaves out the rest.
fn without_what_is_hidden(command: &Command) -> Command {
    let told = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()))
        .subcommands(command.get_subcommands().map(without_what_is_hidden));
    let told = match command.get_about() {
        Some(about) => told.about(about.clone()),
        None => told,
    };
    match command.get_version() {
        Some(version) => told.version(version.to_owned()),
        None => told,
    }
}

/// Writes the manual into a folder, and says where it is.
pub(super) fn write(format: Format, folder: &Path) -> Rendered {
    let shown = folder.display().to_string();
    match write_pages(folder) {
        Ok(pages) => {
            let text = match format {
                Format::Text => format!(
                    "wrote {} pages to {shown}; man -l {} shows the first",
                    pages.len(),
                    folder.join("host.1").display()
                ),
                Format::Json => line(&Written { manual: &shown, pages: &pages }),
            };
            Rendered { text, exit: Exit::Done }
        }
        Err(error) => {
            render::not_done(format, &format!("cannot write the manual into {shown}: {error}"))
        }
    }
}

#[derive(Serialize)]
struct Completions<'a> {
    shell: String,
    completions: &'a str,
}

#[derive(Serialize)]
struct Written<'a> {
    manual: &'a str,
    pages: &'a [String],
}

fn write_pages(folder: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(folder)?;
    // Its pages would only say that `--help` says more.
    let mut program = Args::command().disable_help_subcommand(true);
    // Gives each command the name that it has behind those above it.
    program.build();
    let mut pages = Vec::new();
    write_page_of(&program, folder, &mut pages)?;
    Ok(pages)
}

fn write_page_of(command: &Command, folder: &Path, pages: &mut Vec<String>) -> io::Result<()> {
    let page = Man::new(command.clone()).manual("Player host");
    page.generate_to(folder)?;
    pages.push(page.get_filename());
    let told = command.get_subcommands().filter(|command| !command.is_hide_set());
    told.into_iter().try_for_each(|command| write_page_of(command, folder, pages))
}

fn line(value: &impl Serialize) -> String {
    // Texts and nothing else.
    serde_json::to_string(value).expect("texts become JSON")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Stdio};

    use clap::ValueEnum as _;

    use super::*;

    /// Returns the words that lead to each command, the program's name first.
    fn commands(command: &Command, before: &[&str]) -> Vec<Vec<String>> {
        let words = [before, &[command.get_name()]].concat();
        let below = command.get_subcommands().flat_map(|below| commands(below, &words));
        let own = words.iter().map(|word| (*word).to_owned()).collect();
        std::iter::once(own).chain(below).collect()
    }

    #[test]
    fn each_command_has_a_page_that_says_what_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let deeper = folder.path().join("share/man1");
        let said = write(Format::Text, &deeper);
        assert_eq!(said.exit, Exit::Done, "{}", said.text);
        let commands = commands(&Args::command(), &[]);
        assert!(commands.len() > 30, "{commands:?}");
        for words in &commands {
            let path = deeper.join(format!("{}.1", words.join("-")));
            let page = fs::read_to_string(&path).unwrap();
            // As it is typed: with spaces.
            assert!(page.contains(&format!("\\fB{}\\fR", words.join(" "))), "{page}");
        }
        assert_eq!(fs::read_dir(&deeper).unwrap().count(), commands.len(), "no other page");
        assert!(said.text.starts_with(&format!("wrote {} pages", commands.len())), "{}", said.text);
    }

    #[test]
    fn pages_that_cannot_be_written_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let said = write(Format::Json, &file);
        assert_eq!(said.exit, Exit::NotApplied);
        assert!(said.text.contains("cannot write the manual into"), "{}", said.text);
    }

    #[test]
    fn a_shell_accepts_its_completions_and_they_know_every_command() {
        for shell in Shell::value_variants() {
            let script = completions(Format::Text, *shell).text;
            for command in Args::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            for flag in ["instances-max", "config", "secret-file", "version", "accept-seq"] {
                assert!(script.contains(flag), "{shell}: {flag}");
            }
            assert!(!script.contains("stop-with-stdin"), "{shell}: it is hidden");
        }
        let mut bash = Process::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
        let script = completions(Format::Text, Shell::Bash).text;
        bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(bash.wait().unwrap().success());
    }

    #[test]
    fn bash_completes_a_command_and_a_flag() {
        let script = completions(Format::Text, Shell::Bash).text;
        let complete = |words: &str, last: &str| {
            let count = words.split(' ').count() - 1;
            let script = format!(
                "{script}\nCOMP_WORDS=({words}); COMP_CWORD={count}; _host host {last} x; \
                 echo \"${{COMPREPLY[@]}}\""
            );
            let ended = Process::new("bash").args(["-c", &script]).output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
            String::from_utf8(ended.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(complete("host quar", "quar"), "quarantine");
        assert_eq!(complete("host secret ro", "ro"), "rotate");
        assert_eq!(complete("host nodes --dead", "--dead"), "--deadline");
    }
}
