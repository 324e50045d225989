//! Lines that a person types, and the answers to them.
//!
//! ```text
//!   terminal ◄─► the prompt's thread ── line ──► the caller
//!                        ▲                          │
//!                        └──────── answer ──────────┘
//! ```
//!
//! Reading a line blocks and cannot be cancelled, so a thread does it. It takes the next line only
//! after the answer to the previous one is printed: a script's commands run one after the other.

mod completion;

use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self as std_mpsc, SyncSender};
use std::thread::{self, JoinHandle};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use thiserror::Error;
use tokio::sync::mpsc;

use self::completion::Completion;
use super::command::Scope;
use super::screen::Screen;
use super::session::Told;

const PROMPT: &str = "> ";

/// Why there is no prompt.
#[derive(Debug, Error)]
pub(super) enum PromptError {
    /// The terminal cannot be used.
    #[error("cannot use the terminal for a prompt")]
    Terminal(#[from] ReadlineError),
    /// The system gives no thread or does not describe its terminal.
    #[error("cannot start the prompt")]
    System(#[from] io::Error),
}

/// What is printed before the next line is read.
#[derive(Debug)]
pub(super) struct Answer {
    /// The lines, without the last line's end; nothing is printed if it is empty.
    pub(super) text: String,
    /// Players and nodes that can be completed from now on.
    pub(super) names: Vec<String>,
    /// Functions that can.
    pub(super) functions: Vec<String>,
}

impl Answer {
    /// Returns an answer after which nothing more is known.
    pub(super) fn of(text: String) -> Self {
        Self { text, names: Vec::new(), functions: Vec::new() }
    }
}

impl From<Told> for Answer {
    fn from(told: Told) -> Self {
        let Told { rendered, names, functions, .. } = told;
        Self { text: rendered.text, names, functions }
    }
}

/// A source of lines.
#[derive(Debug)]
pub(super) struct Prompt {
    lines: mpsc::Receiver<String>,
    answers: SyncSender<Answer>,
    thread: JoinHandle<()>,
    /// Whether the thread waits for a line, or else for an answer.
    reading: bool,
    /// The terminal as it was.
    terminal: Option<Termios>,
}

impl Prompt {
    /// Opens a prompt on the terminal that standard input and output are. Lines of `screen`
    /// appear above it from now on. `known` are the names and the functions to complete.
    ///
    /// # Errors
    ///
    /// `PromptError`.
    pub(super) fn on_terminal(
        scope: Scope,
        history: Option<PathBuf>,
        known: (Vec<String>, Vec<String>),
        screen: &Screen,
    ) -> Result<Self, PromptError> {
        let terminal = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        // Pasted lines run one after the other, as in a script.
        let config =
            Config::builder().bracketed_paste(false).completion_type(CompletionType::List).build();
        let mut editor = Editor::<Completion, FileHistory>::with_config(config)?;
        editor.set_helper(Some(Completion::new(scope.commands(), known.0, known.1)));
        if let Some(file) = &history {
            load_history(&mut editor, file);
        }
        screen.attach(editor.create_external_printer()?);
        let mut prompt = Self::start(|lines, answers| {
            move || edit_lines(editor, history.as_deref(), &lines, &answers)
        })?;
        prompt.terminal = Some(terminal);
        Ok(prompt)
    }

    /// Reads lines from standard input, which is a script.
    ///
    /// # Errors
    ///
    /// `PromptError::System`.
    pub(super) fn on_pipe() -> Result<Self, PromptError> {
        Self::start(|lines, answers| move || read_lines(&lines, &answers))
    }

    fn start<Run: FnOnce() + Send + 'static>(
        run: impl FnOnce(mpsc::Sender<String>, std_mpsc::Receiver<Answer>) -> Run,
    ) -> Result<Self, PromptError> {
        let (line, lines) = mpsc::channel(1);
        let (answers, answer) = std_mpsc::sync_channel(1);
        let run = run(line, answer);
        let thread = thread::Builder::new().name("prompt".to_owned()).spawn(run)?;
        Ok(Self { lines, answers, thread, reading: true, terminal: None })
    }

    /// Waits for a line. `None` when the person leaves (Ctrl-C, Ctrl-D) or the script ends. Each
    /// line wants its [`Prompt::answer`] before the next one.
    ///
    /// # Cancel safety
    ///
    /// No line is lost when the future is dropped.
    pub(super) async fn line(&mut self) -> Option<String> {
        let line = self.lines.recv().await;
        self.reading = false;
        line
    }

    /// Prints the answer to the latest line.
    pub(super) fn answer(&mut self, answer: Answer) {
        // The thread waits for exactly this one; if it is gone, `line` says so next.
        self.reading = self.answers.try_send(answer).is_ok();
    }

    /// Ends the prompt and leaves the terminal as it was.
    pub(super) fn close(self) {
        let Self { lines, answers, thread, reading, terminal } = self;
        drop((lines, answers));
        if !reading {
            if thread.join().is_err() {
                tracing::error!("the prompt's thread panicked");
            }
        } else if let Some(terminal) = terminal {
            // The thread sits in a read that only the end of the process ends.
            if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &terminal) {
                tracing::warn!(%error, "cannot restore the terminal");
            }
            print("");
        }
    }
}

fn load_history(editor: &mut Editor<Completion, FileHistory>, file: &Path) {
    match editor.load_history(file) {
        Ok(()) => {}
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %file.display(), "cannot read the history"),
    }
}

fn edit_lines(
    mut editor: Editor<Completion, FileHistory>,
    history: Option<&Path>,
    lines: &mpsc::Sender<String>,
    answers: &std_mpsc::Receiver<Answer>,
) {
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return,
            Err(error) => {
                tracing::error!(%error, "the prompt cannot read the terminal");
                return;
            }
        };
        if editor.add_history_entry(line.as_str()).is_ok_and(|new| new)
            && let Some(file) = history
            && let Err(error) = editor.append_history(file)
        {
            tracing::warn!(%error, path = %file.display(), "cannot write the history");
        }
        if lines.blocking_send(line).is_err() {
            return;
        }
        let Ok(answer) = answers.recv() else { return };
        print_answer(&answer.text);
        if let Some(completion) = editor.helper_mut() {
            completion.learn(answer.names);
            completion.learn_functions(answer.functions);
        }
    }
}

fn read_lines(lines: &mpsc::Sender<String>, answers: &std_mpsc::Receiver<Answer>) {
    for line in io::stdin().lock().lines() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "cannot read standard input");
                return;
            }
        };
        if lines.blocking_send(line).is_err() {
            return;
        }
        let Ok(answer) = answers.recv() else { return };
        print_answer(&answer.text);
    }
}

fn print_answer(text: &str) {
    if !text.is_empty() {
        print(text);
    }
}

/// Prints lines to standard output at once.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody reads any more, as in `host nodes | head -1`: that is no failure.
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Writes bytes to standard output at once.
///
/// # Errors
///
/// What the system says: whoever wanted them has not got all of them.
pub(super) fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Prints lines to standard error.
pub(super) fn complain(text: &str) {
    // There is no other place to say that nobody reads standard error.
    writeln!(io::stderr().lock(), "{text}").ok();
}
