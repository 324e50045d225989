//! `host dev`: a whole cluster on one machine, with a prompt in front.
//!
//! The cluster is a throw-away one (`cluster`); this file is its prompt.

use std::env;
use std::future::pending;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use super::client::{Client, Dialer, Patience, Reach};
use super::cluster::{Cluster, ClusterError, ClusterSettings};
use super::command::{Action, Line, Scope};
use super::prompt::{self, Answer, Prompt};
use super::render::{self, Format, Rendered};
use super::screen::Screen;
use super::session::{self, DEPLOY_DEADLINE, Told};
use super::signals::Interrupts;
use super::watch::Watch;
use super::workshop::{BuildError, Sources, Workshop};
use crate::limits::CALL_DEADLINE;
use crate::protocol::NodeName;

/// A cluster with a prompt to be.
#[derive(Debug)]
pub(super) struct DevSettings {
    /// The cluster; its guest is still to be built if there is a workshop.
    pub(super) cluster: ClusterSettings,
    /// Where the guest is built.
    pub(super) workshop: Option<Workshop>,
    /// Whether it is built again whenever a file of it is saved.
    pub(super) watches: bool,
}

/// Runs a cluster until the person leaves. Returns what is to be said at the end, if anything.
pub(super) async fn run(
    settings: DevSettings,
    format: Format,
    screen: &Screen,
) -> Option<Rendered> {
    let not_done = |message: String| Some(render::not_done(format, &message));
    let DevSettings { cluster: mut settings, workshop, watches } = settings;
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return not_done(format!("cannot listen for signals: {error}")),
    };
    let mut seen = Sources::default();
    if let Some(workshop) = &workshop {
        let built = tokio::select! {
            built = first_build(workshop, watches, format, screen) => built,
            () = interrupts.next() => return not_done(format!("{} is not built", workshop.name())),
        };
        match built {
            Ok((sources, component)) => (seen, settings.guest) = (sources, Some(component)),
            Err(error) => return not_done(render::sentence(&error)),
        }
    }
    let watched = workshop.filter(|_| watches).map(|workshop| (workshop, seen));
    let mut cluster = match Cluster::new(settings, screen.clone(), colours()) {
        Ok(cluster) => cluster,
        Err(error) => return not_done(render::sentence(&error)),
    };
    let mut failure = tokio::select! {
        started = Box::pin(cluster.start_all()) => started.err().map(|error| render::sentence(&error)),
        () = interrupts.next() => Some("stopped before all nodes were ready".to_owned()),
    };
    if failure.is_none() {
        let attended = attend(&mut cluster, watched, format, screen, &mut interrupts);
        failure = Box::pin(attended).await.err();
    }
    tokio::select! {
        () = Box::pin(cluster.stop_all()) => {}
        () = interrupts.next() => {}
    }
    // Whatever is left now, after a second Ctrl-C, is killed.
    cluster.kill_all().await;
    failure.and_then(not_done)
}

/// Builds what the cluster begins with. Returns the files as they were before, if they are to be
/// watched, and what was built.
async fn first_build(
    workshop: &Workshop,
    watches: bool,
    format: Format,
    screen: &Screen,
) -> Result<(Sources, PathBuf), BuildError> {
    let mut seen = Sources::default();
    if watches {
        seen = workshop.sources(&seen)?;
    }
    let built = workshop.build().await?;
    screen.print(render::built(format, &built.name(), built.time));
    Ok((seen, built.component))
}

/// Answers lines until the person or the script ends, or a signal comes.
async fn attend(
    cluster: &mut Cluster,
    watched: Option<(Workshop, Sources)>,
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
    let welcome = welcome(cluster, watched.as_ref().map(|(workshop, _)| workshop));
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
    let watch = watched.map(|watched| watch(cluster, watched, format, screen)).transpose()?;
    let watching = async {
        match watch {
            Some(watch) => watch.run().await,
            None => pending().await,
        }
    };
    let mut desk = Desk { cluster, client, prompt, format };
    tokio::select! {
        () = desk.converse() => {}
        () = Box::pin(watching) => {}
        () = interrupts.next() => {}
    }
    desk.prompt.close();
    Ok(())
}

/// Prepares to watch a guest for the nodes of a cluster, whichever of them run.
fn watch(
    cluster: &Cluster,
    (workshop, seen): (Workshop, Sources),
    format: Format,
    screen: &Screen,
) -> Result<Watch, String> {
    let dialer = Dialer::new(cluster.secret()).map_err(|error| render::sentence(&error))?;
    let targets: Vec<_> = cluster.places().map(|(_, addr)| addr.to_string()).collect();
    let secret = cluster.folder().join("secret");
    let options = format!("--node {} --secret-file {}", targets.join(","), secret.display());
    let reach = Reach { targets, patience: Patience::UntilDeadline, deadline: DEPLOY_DEADLINE };
    let (client, screen) = (Client::new(dialer), screen.clone());
    Ok(Watch { workshop, seen, client, reach, options, format, screen })
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
            Line::Deploy { args, via } => Some(match self.targets(via.as_ref()) {
                Ok(targets) => {
                    let (patience, deadline) = (Patience::UntilDeadline, DEPLOY_DEADLINE);
                    let reach = Reach { targets, patience, deadline };
                    Box::pin(session::deploy_typed(&mut self.client, reach, *args, format)).await
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

fn welcome(cluster: &Cluster, watched: Option<&Workshop>) -> String {
    let watched = match watched {
        Some(workshop) => format!("each file that is saved in {} is deployed\n", workshop.name()),
        None => String::new(),
    };
    let page = cluster.http_of(0).filter(|http| http.port() != 0);
    let page = page.map(|http| format!("in a browser: http://{http}\n")).unwrap_or_default();
    let nodes: Vec<String> =
        cluster.places().map(|(name, addr)| format!("{name} {addr}")).collect();
    format!(
        "{} nodes run on this machine: {}\n\
         secret and data: {} (removed at the end)\n\
         {page}{watched}\
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
