//! `host dev`: a whole cluster on one machine, with a prompt in front.
//!
//! The cluster is a throw-away one (`cluster`); this file is its prompt.

use std::env;
use std::io::{self, IsTerminal as _};

use super::client::{Client, Dialer, Patience, Reach};
use super::cluster::{Cluster, ClusterError, ClusterSettings};
use super::command::{Action, Line, Scope};
use super::prompt::{self, Answer, Prompt};
use super::render::{self, Format, Rendered};
use super::screen::Screen;
use super::session::{self, Told};
use super::signals::Interrupts;
use crate::limits::CALL_DEADLINE;
use crate::protocol::NodeName;

/// Runs a cluster until the person leaves. Returns what is to be said at the end, if anything.
pub(super) async fn run(
    settings: ClusterSettings,
    format: Format,
    screen: &Screen,
) -> Option<Rendered> {
    let not_done = |message: String| Some(render::not_done(format, &message));
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return not_done(format!("cannot listen for signals: {error}")),
    };
    let mut cluster = match Cluster::new(settings, screen.clone(), colours()) {
        Ok(cluster) => cluster,
        Err(error) => return not_done(render::sentence(&error)),
    };
    let mut failure = tokio::select! {
        started = Box::pin(cluster.start_all()) => started.err().map(|error| render::sentence(&error)),
        () = interrupts.next() => Some("stopped before all nodes were ready".to_owned()),
    };
    if failure.is_none() {
        failure = attend(&mut cluster, format, screen, &mut interrupts).await.err();
    }
    tokio::select! {
        () = Box::pin(cluster.stop_all()) => {}
        () = interrupts.next() => {}
    }
    // Whatever is left now, after a second Ctrl-C, is killed.
    cluster.kill_all().await;
    failure.and_then(not_done)
}

/// Answers lines until the person or the script ends, or a signal comes.
async fn attend(
    cluster: &mut Cluster,
    format: Format,
    screen: &Screen,
    interrupts: &mut Interrupts,
) -> Result<(), String> {
    let dialer = Dialer::new(cluster.secret()).map_err(|error| render::sentence(&error))?;
    let mut client = Client::new(dialer);
    tokio::select! {
        settled = cluster.settle(&mut client) => if !settled {
            tracing::warn!("not all nodes vote yet: the first one must not die now");
        },
        () = interrupts.next() => return Ok(()),
    }
    let attended = super::is_attended();
    let welcome = welcome(cluster);
    if attended {
        prompt::print(&welcome);
    } else {
        screen.print(welcome);
    }
    let prompt = if attended {
        let names = cluster.names().map(NodeName::to_string).collect();
        let targets = cluster.serving().map_err(|error| render::sentence(&error))?;
        let targets = targets.iter().map(ToString::to_string).collect();
        let functions = session::known_functions(&mut client, &Reach::briefly(targets)).await;
        Prompt::on_terminal(Scope::Dev, None, (names, functions), screen)
    } else {
        Prompt::on_pipe()
    };
    let prompt = prompt.map_err(|error| render::sentence(&error))?;
    let mut desk = Desk { cluster, client, prompt, format };
    tokio::select! {
        () = desk.converse() => {}
        () = interrupts.next() => {}
    }
    desk.prompt.close();
    Ok(())
}

/// The prompt and what it speaks for.
struct Desk<'a> {
    cluster: &'a mut Cluster,
    client: Client<Dialer>,
    prompt: Prompt,
    format: Format,
}

impl Desk<'_> {
    async fn converse(&mut self) {
        loop {
            let line = tokio::select! {
                line = self.prompt.line() => line,
                () = self.cluster.ended() => continue,
            };
            let Some(line) = line else { return };
            let told = match Line::parse(Scope::Dev, &line) {
                Ok(Line::Quit) => return,
                Ok(line) => self.answer(line).await,
                Err(error) => Some(render::usage(self.format, &error.to_string()).into()),
            };
            let answer = match told {
                Some(told) => told.into(),
                None => Answer::of(String::new()),
            };
            self.prompt.answer(answer);
        }
    }

    /// Does what a line says; `None` if it says nothing.
    async fn answer(&mut self, line: Line) -> Option<Told> {
        let format = self.format;
        match line {
            Line::Nothing | Line::Quit => None,
            Line::Help => Some(render::help(format, Scope::Dev.help()).into()),
            Line::Ask { question, via } => Some(match self.targets(via.as_ref()) {
                Ok(targets) => {
                    let patience = Patience::UntilDeadline;
                    let reach = Reach { targets, patience, deadline: CALL_DEADLINE };
                    session::ask(&mut self.client, &reach, question, None, format).await
                }
                Err(error) => render::not_done(format, &render::sentence(&error)).into(),
            }),
            Line::Control { action, node } => {
                let done = Box::pin(self.control(action, &node)).await;
                Some(
                    done.unwrap_or_else(|error| {
                        render::not_done(format, &render::sentence(&error))
                    })
                    .into(),
                )
            }
        }
    }

    /// The chosen node, or all that run, the first one first.
    fn targets(&mut self, via: Option<&NodeName>) -> Result<Vec<String>, ClusterError> {
        let addrs = match via {
            Some(node) => vec![self.cluster.addr(node)?],
            None => self.cluster.serving()?,
        };
        Ok(addrs.iter().map(ToString::to_string).collect())
    }

    async fn control(&mut self, action: Action, node: &NodeName) -> Result<Rendered, ClusterError> {
        let (state, text) = match action {
            Action::Kill => {
                self.cluster.kill(node).await?;
                ("killed", format!("{node} is killed"))
            }
            Action::Start => {
                let addr = self.cluster.start(node).await?;
                ("ready", format!("{node} is ready on {addr}"))
            }
            Action::Stop => {
                self.cluster.freeze(node)?;
                ("stopped", format!("{node} is frozen; `continue {node}` lets it go on"))
            }
            Action::Continue => {
                self.cluster.thaw(node)?;
                ("continued", format!("{node} goes on"))
            }
        };
        Ok(render::node_state(self.format, node, state, &text))
    }
}

fn welcome(cluster: &Cluster) -> String {
    let nodes: Vec<String> =
        cluster.places().map(|(name, addr)| format!("{name} {addr}")).collect();
    format!(
        "{} nodes run on this machine: {}\n\
         secret and data: {} (removed at the end)\n\
         \n\
         Try, one after the other:\n\
         \x20 reward player1 5     a new player; its memory is kept on a second node\n\
         \x20 reward player1 a     not a number: it crashes, and is restored from memory\n\
         \x20 reward player1 2     the 5 is still there\n\
         \x20 players --all        who runs it, who keeps it\n\
         \x20 kill <its owner>     then `points player1`: another node goes on with it\n\
         \n\
         `help` says more; Ctrl-C stops everything.",
        nodes.len(),
        nodes.join(", "),
        cluster.folder().display()
    )
}

/// Whether the nodes' lines are coloured.
fn colours() -> bool {
    let shown =
        if super::is_attended() { io::stdout().is_terminal() } else { io::stderr().is_terminal() };
    shown && super::wants_colours() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
