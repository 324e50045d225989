//! The program's face: the command line, one-shot commands, the prompts, `dev`, `bench`.
//!
//! ```text
//!   args ──► config ──┬─► node ── prompt ──┐
//!   (typed)  (checked)├─► dev  ── prompt ──┼─► session ──► client ──► a node
//!                     ├─► top ─────────────┼──────────────────┘
//!                     ├─► one question ────┘      │
//!                     ├─► bench                   └─► render ──► text or JSON, exit code
//!                     ├─► replay ── an instance of its own
//!                     ├─► a secret, a token, a key, a new guest
//!                     └─► the manual, a file that is checked, a look at this machine
//! ```
//!
//! Invariants: every wrong word is one clear sentence and exit code 2 before anybody is asked;
//! every attempt of one call bears the same key; no child of `dev` or `bench` outlives it.
//!
//! What this room does not do: decide anything about players. Even the prompt of a running node
//! asks that node over the network, as everybody does.

mod args;
mod bench;
mod client;
mod cluster;
mod command;
mod config;
mod dev;
mod doctor;
mod folders;
mod manual;
mod new;
mod node;
mod observe;
mod prompt;
mod question;
mod render;
mod replay;
mod screen;
mod secret;
mod session;
mod signals;
mod token;
mod top;
mod watch;
mod workshop;

use std::env;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::args::{Args, ReadError};
use self::client::{Client, Dialer};
use self::config::{AskSettings, Config, Task};
use self::render::{Exit, Format, Rendered};
use self::screen::Screen;
use self::session::Told;
use crate::clock;
use crate::protocol::CallKey;

/// What a node logs unless somebody says otherwise: its own story. Raft calls every unreachable
/// follower an error; `membership` says it once.
const LOG_OF_NODES: &str = "warn,host=info,openraft=off";
/// What everything else logs: its answers say the rest.
const LOG_OF_COMMANDS: &str = "warn";
/// Longest wait for the runtime's own threads at the end.
const RUNTIME_STOP_MAX: Duration = Duration::from_millis(100);

/// Runs the program with this process's arguments and environment.
pub fn run() -> ExitCode {
    // Before anything is written: files of nodes, of the store's library and of the prompt are nobody
    // else's, whatever the shell says.
    let umask_of_shell = umask(Mode::from_raw_mode(0o077));
    let args = match Args::read(env::args_os()) {
        Ok(args) => args,
        Err(ReadError::File { error, format }) => {
            let exit = finish(format, render::usage(format, &render::sentence(&error)));
            return ExitCode::from(exit as u8);
        }
        Err(ReadError::Words(error)) => {
            // Help goes to standard output, mistakes to standard error; either may be closed.
            error.print().ok();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let format = args.format();
    let exit = match Config::check(args, |name| env::var_os(name)) {
        Ok(config) => perform(config, umask_of_shell),
        Err(error) => finish(format, render::usage(format, &render::sentence(&error))),
    };
    ExitCode::from(exit as u8)
}

fn perform(config: Config, umask_of_shell: Mode) -> Exit {
    let Config { format, log, task } = config;
    match task {
        Task::New(guest) => {
            // Sources are as private as all that their author writes.
            umask(umask_of_shell);
            finish(format, guest.write(format))
        }
        Task::Man(folder) => {
            // So are pages, which are for everybody.
            umask(umask_of_shell);
            finish(format, manual::write(format, &folder))
        }
        Task::Completions(shell) => finish(format, manual::completions(format, shell)),
        Task::Checked(checked) => finish(format, checked.rendered(format)),
        Task::Secret(command) => finish(format, secret::perform(command, format)),
        Task::NewToken(token) => finish(format, token.make(clock::unix_millis(), format)),
        Task::NewKey => {
            finish(format, render::key_made(format, CallKey::random(clock::unix_millis())))
        }
        Task::Replay(replay) => {
            start_log(log.as_deref().unwrap_or(LOG_OF_COMMANDS), Format::Text, io::stderr);
            finish(format, replay.run(format))
        }
        Task::Ask(settings) if settings.question.is_for_a_file() && io::stdout().is_terminal() => {
            let message = "what is asked for is no text: write it to a file, with `> FILE` behind the command";
            finish(format, render::usage(format, message))
        }
        Task::Ask(settings) => {
            start_log(log.as_deref().unwrap_or(LOG_OF_COMMANDS), Format::Text, io::stderr);
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    let for_a_file = settings.question.is_for_a_file();
                    let told = block_on(runtime, ask(settings, format));
                    if for_a_file { hand_out(format, told) } else { finish(format, told.rendered) }
                }
                Err(error) => cannot_start(format, &error),
            }
        }
        Task::Node(settings) => {
            let screen = match node_screen(&settings) {
                Ok(screen) => screen,
                Err(error) => return cannot_start(format, &error),
            };
            let filter = log.as_deref().unwrap_or(LOG_OF_NODES);
            match &screen {
                // Standard error that was sent elsewhere stays there.
                Some(screen) if io::stderr().is_terminal() => {
                    start_log(filter, format, screen.clone());
                }
                Some(_) | None => start_log(filter, format, io::stderr),
            }
            match Builder::new_multi_thread().enable_all().build() {
                Ok(runtime) => {
                    let rendered = block_on(runtime, node::run(settings, format, screen.as_ref()));
                    screen.iter().for_each(Screen::flush);
                    rendered.map_or(Exit::Done, |rendered| finish(format, rendered))
                }
                Err(error) => cannot_start(format, &error),
            }
        }
        Task::Top(settings) => {
            if let Some(message) = top::unfit(&settings) {
                return finish(format, render::usage(format, message));
            }
            if settings.once || !io::stderr().is_terminal() {
                // Lines of a log would be drawn over.
                start_log(log.as_deref().unwrap_or(LOG_OF_COMMANDS), Format::Text, io::stderr);
            }
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    finish(format, block_on(runtime, top::run(settings, format, wants_colours())))
                }
                Err(error) => cannot_start(format, &error),
            }
        }
        Task::Doctor(settings) => {
            start_log(log.as_deref().unwrap_or(LOG_OF_COMMANDS), Format::Text, io::stderr);
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    let Rendered { text, exit } = block_on(runtime, doctor::run(settings, format));
                    // Problems are what it was asked for.
                    prompt::print(&text);
                    exit
                }
                Err(error) => cannot_start(format, &error),
            }
        }
        Task::Dev(settings) => {
            let runtime = Builder::new_current_thread();
            let task = async |screen: &Screen| dev::run(settings, format, screen).await;
            with_screen(format, LOG_OF_COMMANDS, runtime, task)
        }
        Task::Bench(settings) => {
            // A node in this process has the threads of any other, and says as much.
            let (filter, runtime) = match settings.log_of_node_here() {
                Some(filter) => (filter.to_owned(), Builder::new_multi_thread()),
                None => (LOG_OF_COMMANDS.to_owned(), Builder::new_current_thread()),
            };
            let task = async |screen: &Screen| Some(bench::run(settings, format, screen).await);
            with_screen(format, &filter, runtime, task)
        }
    }
}

/// Performs what starts nodes as child processes, whose lines go to the screen. The log filter that
/// was given is for nodes; the command itself has little to log.
fn with_screen(
    format: Format,
    filter: &str,
    mut runtime: Builder,
    task: impl AsyncFnOnce(&Screen) -> Option<Rendered>,
) -> Exit {
    let prepared = Screen::start().and_then(|screen| Ok((screen, runtime.enable_all().build()?)));
    let (screen, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return cannot_start(format, &error),
    };
    start_log(filter, Format::Text, screen.clone());
    let rendered = block_on(runtime, task(&screen));
    screen.flush();
    rendered.map_or(Exit::Done, |rendered| finish(format, rendered))
}

fn cannot_start(format: Format, error: &io::Error) -> Exit {
    finish(format, render::not_done(format, &format!("cannot start: {error}")))
}

/// A node has a prompt when a person sits at both ends of it.
fn node_screen(settings: &config::NodeSettings) -> io::Result<Option<Screen>> {
    let attended = !settings.stop_with_stdin && is_attended();
    if attended { Screen::start().map(Some) } else { Ok(None) }
}

fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

async fn ask(settings: AskSettings, format: Format) -> Told {
    let AskSettings { mut question, key, reach, secret, workshop } = settings;
    if let Some(workshop) = workshop {
        match workshop.build().await {
            Ok(built) => question.fill_in(built.name(), built.code),
            Err(error) => return render::not_done(format, &render::sentence(&error)).into(),
        }
    }
    let dialer = match Dialer::new(&secret) {
        Ok(dialer) => dialer,
        Err(error) => return render::not_done(format, &render::sentence(&error)).into(),
    };
    let mut client = Client::new(dialer);
    let told = session::ask(&mut client, &reach, question, key, format).await;
    client.into_way().close().await;
    told
}

fn block_on<T>(runtime: Runtime, task: impl Future<Output = T>) -> T {
    let result = runtime.block_on(task);
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_timeout(RUNTIME_STOP_MAX);
    result
}

/// Ends a question for a file. Standard output is for its bytes alone: all words go elsewhere.
fn hand_out(format: Format, told: Told) -> Exit {
    let Told { rendered, file, .. } = told;
    let written = file.map_or(Ok(()), |file| prompt::write_out(&file));
    let Rendered { text, exit } = match written {
        Ok(()) => rendered,
        Err(error) => {
            render::not_done(format, &format!("cannot write the file, which is not whole: {error}"))
        }
    };
    prompt::complain(&text);
    exit
}

/// Prints the end of a command where its reader looks for it.
fn finish(format: Format, rendered: Rendered) -> Exit {
    let Rendered { text, exit } = rendered;
    match (format, exit) {
        // A function that returns nothing says nothing, and who has watched has read it all.
        (Format::Text | Format::Json, Exit::Done) if text.is_empty() => {}
        (Format::Json, _) | (Format::Text, Exit::Done) => prompt::print(&text),
        (Format::Text, Exit::NotApplied | Exit::Usage | Exit::Unknown) => prompt::complain(&text),
    }
    exit
}

fn start_log<W>(filter: &str, format: Format, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // `config` has parsed what was typed; the defaults above parse too.
    let filter = EnvFilter::try_new(filter).unwrap_or_default();
    let colours = io::stderr().is_terminal() && wants_colours();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        // The compact form has the fields of spans behind those of the line, where they do not hide it.
        Format::Text => log.compact().with_ansi(colours).init(),
        Format::Json => log.json().init(),
    }
}

/// Whether the person has not asked for plain text (<https://no-color.org>).
fn wants_colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
