//! `host top`: the cluster in a terminal, as one node tells of it.
//!
//! ```text
//!   keys ───────────────► press ─┐
//!   ticks ───────────────────────┼─► board ─► draw ─► terminal
//!   look ─► client ─► apply ─────┘     │
//!     ▲                                │
//!     └───────────── wanted ───────────┘
//! ```
//!
//! What the screen shows is a function of the board, and the board of what was heard and pressed: both
//! are tested without a terminal and without a node. The terminal is as it was before however this ends,
//! but for `kill -9`.

mod board;
mod draw;
mod history;
mod keys;
mod look;
mod plain;
mod rates;
#[cfg(test)]
mod sample;
mod words;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use ratatui::DefaultTerminal;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use self::board::{Board, Heard, PageWanted, Wanted};
use self::draw::{Manner, draw};
use self::keys::Then;
use self::look::Looker;
use super::client::{Ask, Client, Dialer, Reach};
use super::render::{self, Exit, Format, Rendered};
use super::signals::Interrupts;
use crate::clock;
use crate::net::Secret;

/// Answers that may wait to be shown.
const HEARD_MAX: usize = 4;

/// Time after which the screen is drawn again although nothing has happened: ages and bars move on.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// What `host top` is to do.
#[derive(Debug)]
pub(super) struct TopSettings {
    /// Whom to ask first.
    pub(super) reach: Reach,
    /// The cluster's secret.
    pub(super) secret: Secret,
    /// Whether one picture is enough.
    pub(super) once: bool,
}

/// Says what is wrong with the place where this would be drawn.
pub(super) fn unfit(settings: &TopSettings) -> Option<&'static str> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    (!settings.once && !is_terminal).then_some(
        "host top draws on a terminal, and this is none: `host top --once` prints one picture, \
         `host players` lists players, and `GET /v1/stats` of a node with --http has the numbers",
    )
}

/// Shows the cluster until somebody has seen enough.
pub(super) async fn run(settings: TopSettings, format: Format, colours: bool) -> Rendered {
    let TopSettings { reach, secret, once } = settings;
    let dialer = match Dialer::new(&secret) {
        Ok(dialer) => dialer,
        Err(error) => return render::not_done(format, &render::sentence(&error)),
    };
    let mut client = Client::new(dialer);
    let rendered = if once {
        print_once(&mut client, reach, format).await
    } else {
        match Box::pin(show(&mut client, reach, colours)).await {
            Ok(()) => Rendered { text: String::new(), exit: Exit::Done },
            Err(error) => {
                render::not_done(format, &format!("cannot draw on this terminal: {error}"))
            }
        }
    };
    client.into_way().close().await;
    rendered
}

async fn print_once<A: Ask>(client: &mut Client<A>, reach: Reach, format: Format) -> Rendered {
    let overview = match Box::pin(client.overview(&reach, &[])).await {
        Ok((overview, _)) => overview,
        Err(failed) => return render::unanswered(format, &failed),
    };
    let mut board = Board::new();
    board.apply(Heard::Overview(overview), Duration::ZERO);
    if format == Format::Json {
        return Rendered { text: plain::numbers(&board), exit: Exit::Done };
    }
    if let Some(page) = board.wanted().page {
        let PageWanted { node, after } = &page;
        let limit = board::PAGE_PLAYERS;
        let players = Box::pin(client.players_of(&reach, node, after.as_ref(), limit)).await;
        match players {
            Ok(players) => board.apply(Heard::Players(page, players), Duration::ZERO),
            Err(failed) => return render::unanswered(format, &failed),
        }
    }
    Rendered { text: plain::picture(&board), exit: Exit::Done }
}

/// The terminal while this draws on it.
struct Stage(DefaultTerminal);

impl Stage {
    fn enter() -> io::Result<Self> {
        // It lets a panic leave the terminal first, too.
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                ratatui::try_restore().ok();
                Err(error)
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        self.0.show_cursor().ok();
        ratatui::try_restore().ok();
    }
}

async fn show<A: Ask>(client: &mut Client<A>, reach: Reach, colours: bool) -> io::Result<()> {
    // Before the terminal is changed: from now on no signal ends the process by itself.
    let mut interrupts = Interrupts::listen()?;
    let mut stage = Stage::enter()?;
    let mut keys = keys::listen()?;
    let (wanted, wants) = watch::channel(Wanted::default());
    let (sender, mut heard) = mpsc::channel(HEARD_MAX);
    let looking = Looker::new(client, reach).run(wants, sender);
    let mut ticks = interval(DRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let began = clock::now();
    let time = || clock::now().saturating_duration_since(began);
    let mut board = Board::new();
    let manner = Manner { colours, keys: true };
    let showing = async {
        loop {
            stage.0.draw(|frame| draw(&board, time(), manner, frame.buffer_mut()))?;
            tokio::select! {
                key = keys.recv() => match key.map(|key| board.press(key)) {
                    Some(Then::Stay) => {}
                    // Without keys the terminal is gone.
                    Some(Then::Quit) | None => return Ok(()),
                },
                Some(heard) = heard.recv() => board.apply(heard, time()),
                _ = ticks.tick() => {}
            }
            wanted.send_if_modified(|known| {
                let now = board.wanted();
                let is_new = *known != now;
                *known = now;
                is_new
            });
        }
    };
    tokio::select! {
        ended = showing => ended,
        () = looking => Ok(()),
        () = interrupts.next() => Ok(()),
    }
}
