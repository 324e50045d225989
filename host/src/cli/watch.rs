//! `host dev --watch`: each save of a guest's files is built and deployed while players play.
//!
//! ```text
//!   sleep ─► files as they were? ──► build ──► deploy ─┐
//!     ▲            yes │               │ failed        │
//!     └────────────────┴───────────────┴───────────────┘
//! ```
//!
//! One loop does one thing after the other: a save during a build is found by the next look, so there
//! are never two builds at once. Why the files are looked at instead of asking the system to tell: a
//! guest has few, and that works on every file system.

use std::time::Duration;

use tokio::time::sleep;

use super::client::{Client, Dialer, Reach};
use super::question::Question;
use super::render::{self, Format};
use super::screen::Screen;
use super::session;
use super::workshop::{BuildError, Built, Sources, Workshop};
use crate::protocol::{Audience, Crossing, DeployRequest};

/// Pause between two looks at the files.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Players that may fail on new code before it is taken back, and their traps: as with `host deploy`.
const FAILURES_MAX: u32 = 3;

/// A guest's folder, and the cluster that runs the guest.
pub(super) struct Watch {
    /// The folder.
    pub(super) workshop: Workshop,
    /// Its files as they were when the code that players run began to be built.
    pub(super) seen: Sources,
    /// The way to the cluster.
    pub(super) client: Client<Dialer>,
    /// All its nodes.
    pub(super) reach: Reach,
    /// What a person types behind `host deploy FOLDER` to reach it.
    pub(super) options: String,
    /// How what happens is printed.
    pub(super) format: Format,
    /// Where.
    pub(super) screen: Screen,
}

impl Watch {
    /// Builds and deploys what is saved, until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// A build ends with all that it has started. What was sent to the cluster may be deployed.
    pub(super) async fn run(mut self) {
        loop {
            self.changed().await;
            match self.workshop.build().await {
                Ok(built) => {
                    self.screen.print(render::built(self.format, &built.name(), built.time));
                    self.deploy(built).await;
                }
                Err(error) => {
                    self.tell(&format!("{}\n  players go on as before", render::sentence(&error)));
                }
            }
        }
    }

    /// Waits until the files are others, and were left alone since the look before.
    async fn changed(&mut self) {
        let mut complaint = None;
        let mut before: Option<Sources> = None;
        loop {
            sleep(LOOK_PAUSE).await;
            match self.workshop.sources(before.as_ref().unwrap_or(&self.seen)) {
                Ok(now) if now == self.seen => before = None,
                Ok(now) if before.as_ref().is_some_and(|before| *before == now) => {
                    self.seen = now;
                    return;
                }
                Ok(now) => before = Some(now),
                Err(error) => self.complain_once(&error, &mut complaint),
            }
        }
    }

    fn complain_once(&self, error: &BuildError, last: &mut Option<String>) {
        let words = render::sentence(error);
        if last.as_ref() != Some(&words) {
            self.tell(&format!("{words}; changes are not seen until that is over"));
            *last = Some(words);
        }
    }

    async fn deploy(&mut self, built: Built) {
        let request = request(built);
        if self.format == Format::Json {
            let question = Question::Deploy { request: Box::new(request), waits: true };
            let asked = session::ask(&mut self.client, &self.reach, question, None, self.format);
            let told = Box::pin(asked).await;
            return self.screen.print(told.rendered.text);
        }
        let report = match Box::pin(self.client.deploy(&self.reach, &request)).await {
            Ok(Ok(report)) => report,
            Ok(Err(refusal)) => {
                let folder = self.workshop.folder();
                let text = render::not_deployed_by_watch(&refusal, folder, &self.options);
                return self.screen.print(text);
            }
            Err(failed) => return self.tell(&render::unanswered(self.format, &failed).text),
        };
        // How far the players are can be looked up, too.
        let progress = match report.number {
            Some(number) => Box::pin(self.client.watch(&self.reach, number)).await,
            None => Ok(None),
        };
        let progress = progress.unwrap_or_default();
        self.screen.print(render::deployed_by_watch(&request.name, &report, progress.as_ref()));
    }

    fn tell(&self, words: &str) {
        self.screen.print(render::not_done(self.format, words).text);
    }
}

/// Returns what asks to deploy a component for all players, who keep what they are.
fn request(built: Built) -> DeployRequest {
    DeployRequest {
        name: built.name(),
        component: built.code,
        audience: Audience::All,
        crossing: Crossing::Migrate,
        failures_max: FAILURES_MAX,
        traps_max: FAILURES_MAX,
        nonce: rand::random(),
        check: false,
    }
}
