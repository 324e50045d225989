//! A node as a program: started, announced, with a prompt if somebody sits there, stopped.
//!
//! ```text
//!   start ──► serve ──► drain ──► stop
//!     │         │         └─────────┴── a second Ctrl-C ends it at once
//!     │         └── Ctrl-C, SIGTERM, `quit`, `host drain`; the parent's end skips the drain
//!     └── Ctrl-C, SIGTERM
//! ```

use std::path::PathBuf;

use tokio::sync::oneshot;

use super::client::{Client, Dialer, Patience, Reach};
use super::command::{Line, Scope};
use super::config::NodeSettings;
use super::folders::AddrFile;
use super::prompt::{self, Answer, Prompt};
use super::render::{self, Format, Rendered};
use super::screen::Screen;
use super::session;
use super::signals::{Interrupts, Parent};
use crate::limits::CALL_DEADLINE;
use crate::net::Secret;
use crate::node::{Node, NodeEnd, NodeFailure, StartError};
use crate::protocol::DrainReport;

/// Runs a node until it is asked to stop. `screen` is there when a person is. Returns what is to
/// be said at the end, if anything.
pub(super) async fn run(
    settings: NodeSettings,
    format: Format,
    screen: Option<&Screen>,
) -> Option<Rendered> {
    let not_done = |message: String| Some(render::not_done(format, &message));
    let mut stops = match Stops::listen(settings.stop_with_stdin) {
        Ok(stops) => stops,
        Err(error) => return not_done(format!("cannot listen for signals: {error}")),
    };
    let config = settings.config;
    let dialer = match Dialer::new(&config.secret) {
        Ok(dialer) => dialer,
        Err(error) => return not_done(render::sentence(&error)),
    };
    let (name, data_dir) = (config.name.clone(), config.data_dir.clone());
    let secret_file = config.secret_file.clone();
    let history = data_dir.join("history");
    let mut node = tokio::select! {
        started = Box::pin(Node::start(config)) => match started {
            Ok(node) => node,
            Err(error @ StartError::Guest { .. }) => {
                return Some(render::usage(format, &render::sentence(&error)));
            }
            Err(error) => return not_done(render::sentence(&error)),
        },
        _ = stops.next() => return None,
    };
    let addr = node.addr();
    let addr_file = match AddrFile::write(&data_dir, addr) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, "commands on this machine will not find the node by themselves");
            None
        }
    };
    prompt::print(&render::ready(format, &name, addr, node.http()));
    let mut console = match screen {
        Some(screen) => {
            let client = Client::new(dialer);
            let place =
                Place { name: name.to_string(), addr: addr.to_string(), history, secret_file };
            Console::open(screen, place, client, format).await
        }
        None => None,
    };
    let end = tokio::select! {
        end = node.end() => match end {
            NodeEnd::Failed(failure) => End::Failed(failure),
            NodeEnd::Drain(report_to) => End::Asked(Some(report_to)),
        },
        stop = stops.next() => match stop {
            Stop::Interrupted => End::Asked(None),
            Stop::Orphaned => End::Orphaned,
        },
        () = converse(console.as_mut()) => End::Asked(None),
    };
    if let Some(console) = console {
        console.prompt.close();
    }
    drop(addr_file);
    let mut failure = None;
    let ending = async {
        match end {
            End::Asked(report_to) => {
                let report = node.drain().await;
                // Who asked may have left meanwhile.
                drop(report_to.map(|report_to| report_to.send(report)));
            }
            End::Orphaned => {}
            End::Failed(failed) => failure = Some(failed),
        }
        node.stop().await;
    };
    tokio::select! {
        () = Box::pin(ending) => {}
        () = stops.interrupts.next() => tracing::warn!("stopping at once"),
    }
    failure.and_then(|failure| not_done(render::sentence(&failure)))
}

enum End {
    /// Somebody wants the node to leave, and perhaps to know what was handed over.
    Asked(Option<oneshot::Sender<DrainReport>>),
    /// The parent is gone: nobody wants anything any more.
    Orphaned,
    Failed(NodeFailure),
}

/// What asked the node to stop.
enum Stop {
    Interrupted,
    Orphaned,
}

/// Everything that asks the node to stop.
struct Stops {
    interrupts: Interrupts,
    parent: Parent,
}

impl Stops {
    fn listen(stop_with_stdin: bool) -> std::io::Result<Self> {
        let parent = if stop_with_stdin { Parent::watch()? } else { Parent::Irrelevant };
        Ok(Self { interrupts: Interrupts::listen()?, parent })
    }

    /// Waits for the next of them. The parent's end counts once.
    async fn next(&mut self) -> Stop {
        tokio::select! {
            () = self.interrupts.next() => Stop::Interrupted,
            () = self.parent.gone() => Stop::Orphaned,
        }
    }
}

/// What a prompt has to know of its node.
struct Place {
    name: String,
    addr: String,
    history: PathBuf,
    secret_file: PathBuf,
}

/// The prompt of a node, which asks that node.
struct Console {
    prompt: Prompt,
    client: Client<Dialer>,
    reach: Reach,
    format: Format,
    secret_file: PathBuf,
}

impl Console {
    /// Opens the prompt; without one, the node runs all the same.
    async fn open(
        screen: &Screen,
        place: Place,
        mut client: Client<Dialer>,
        format: Format,
    ) -> Option<Self> {
        let Place { name, addr, history, secret_file } = place;
        let (targets, deadline) = (vec![addr], CALL_DEADLINE);
        let briefly = Reach::briefly(targets.clone());
        let functions = session::known_functions(&mut client, &briefly).await;
        match Prompt::on_terminal(Scope::Node, Some(history), (vec![name], functions), screen) {
            Ok(prompt) => {
                let reach = Reach { targets, patience: Patience::UntilDeadline, deadline };
                Some(Self { prompt, client, reach, format, secret_file })
            }
            Err(error) => {
                tracing::warn!(error = render::sentence(&error), "the node has no prompt");
                None
            }
        }
    }

    /// Follows a rotation of the secret, as the node itself does. A file that is wrong is the node's
    /// to speak of: it goes on with the secret that it has, and so does its prompt.
    fn follow_secret(&self) {
        if let Ok(secret) = Secret::load(&self.secret_file)
            && let Err(error) = self.client.way().renew(&secret)
        {
            tracing::warn!(error = render::sentence(&error), "the prompt keeps its certificate");
        }
    }

    async fn answer(&mut self, line: Line) -> Answer {
        match line {
            Line::Nothing | Line::Quit => Answer::of(String::new()),
            Line::Help => Answer::of(render::help(self.format, Scope::Node.help()).text),
            Line::Ask { question, via: _ } => {
                self.follow_secret();
                let (client, reach) = (&mut self.client, &self.reach);
                session::ask(client, reach, question, None, self.format).await.into()
            }
            Line::Deploy { args, via: _ } => {
                self.follow_secret();
                let (client, reach) = (&mut self.client, self.reach.clone());
                session::deploy_typed(client, reach, *args, self.format).await.into()
            }
            Line::Control { .. } => unreachable!("a node's prompt reads no such line"),
        }
    }
}

/// Answers lines until the person leaves; forever if there is no person.
async fn converse(console: Option<&mut Console>) {
    let Some(console) = console else { return std::future::pending().await };
    while let Some(line) = console.prompt.line().await {
        let answer = match Line::parse(Scope::Node, &line) {
            Ok(Line::Quit) => return,
            Ok(line) => console.answer(line).await,
            Err(error) => Answer::of(render::usage(console.format, &error.to_string()).text),
        };
        console.prompt.answer(answer);
    }
}
