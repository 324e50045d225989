//! The players that run on this node, and the way to each of them.
//!
//! So many run at the same time as the node has room for. When another one is called, one that was
//! not called for long is asked to rest; it does if nothing is under way, so there may be some more
//! for a moment.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::mailboxes::Mailboxes;
use super::resting::Resting;
use super::server::{Context, Letter, Mail, serve};
use super::traps::LastTraps;
use crate::limits::{INBOX_REQUESTS_MAX, MAILBOX_CALLS_MAX};
use crate::protocol::{Answer, Bundle, Call, CallError, NodeName, PlayerId};

/// Where a call's answer goes.
pub type Reply = oneshot::Sender<Result<Answer, CallError>>;

/// Mail for a player that may not run yet.
#[derive(Debug)]
struct Delivery {
    player: PlayerId,
    mail: Mail,
}

/// The way to this node's players. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Players {
    node: NodeName,
    mailboxes: Mailboxes,
    resting: Resting,
    roster: mpsc::Sender<Delivery>,
    traps: LastTraps,
}

impl Players {
    /// Hands a call to its player, which begins to run if it does not yet. The answer goes to
    /// `reply`; it is dropped if the player's server ends with the node.
    pub async fn call(&self, call: Call, deadline: Instant, reply: Reply) {
        let player = call.player.clone();
        self.deliver(player, Mail::Call(Letter { call, deadline, reply })).await;
    }

    /// Hands a call to its player if that runs, without keeping it from resting. The answer goes to
    /// `reply`; it is dropped if the player does not run.
    pub fn look(&self, call: Call, deadline: Instant, reply: Reply) {
        let player = call.player.clone();
        let mail = Mail::Look(Letter { call, deadline, reply });
        drop(self.mailboxes.put(&self.node, &player, mail));
    }

    /// Has a player served although nobody calls it. Returns whether it is served with enough
    /// copies, once that is certain.
    pub async fn open(&self, player: PlayerId) -> bool {
        let (done, opened) = oneshot::channel();
        self.deliver(player, Mail::Open(done)).await;
        opened.await.is_ok()
    }

    /// Returns how many players run, and how many rest, about: some of those may have other owners.
    pub fn counts(&self) -> (usize, usize) {
        (self.mailboxes.len(), self.resting.len())
    }

    /// Returns at most `limit` of the running players after `after`, in order.
    pub fn running(&self, after: Option<&PlayerId>, limit: usize) -> Vec<PlayerId> {
        self.mailboxes.players(after, limit)
    }

    /// Returns the last trap of a player that this node remembers.
    pub fn last_trap(&self, player: &PlayerId) -> Option<Bundle> {
        self.traps.bundle(player, &self.node)
    }

    /// Forgets where these players have stopped, for other nodes own them now.
    pub(super) fn given_away<'a>(&self, players: impl Iterator<Item = &'a PlayerId>) {
        self.resting.forget(players);
    }

    async fn deliver(&self, player: PlayerId, mail: Mail) {
        let Err(mail) = self.mailboxes.put(&self.node, &player, mail) else { return };
        let delivery = Delivery { player, mail };
        if let Err(SendError(Delivery { mail, .. })) = self.roster.send(delivery).await {
            mail.refuse(CallError::Stopping { node: self.node.clone() });
        }
    }
}

/// Owns the servers of this node's players.
#[derive(Debug)]
pub struct Roster {
    context: Arc<Context>,
    inbox: mpsc::Receiver<Delivery>,
    mailboxes: Mailboxes,
    resting: Resting,
    /// The way to its own players, for mail that reached one on its way to rest.
    players: Players,
    /// Where the look for players that could rest goes on.
    hand: Option<PlayerId>,
    tasks: JoinSet<PlayerId>,
    cancel: CancellationToken,
}

impl Roster {
    /// Returns an empty roster and the way to its players. `cancel` stops it and all its servers.
    pub fn new(context: Context, cancel: CancellationToken) -> (Self, Players) {
        let (roster, inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (mailboxes, resting) = (Mailboxes::default(), Resting::default());
        let players = Players {
            node: context.name.clone(),
            mailboxes: mailboxes.clone(),
            resting: resting.clone(),
            roster,
            traps: context.traps.clone(),
        };
        let roster = Self {
            context: Arc::new(context),
            inbox,
            mailboxes,
            resting,
            players: players.clone(),
            hand: None,
            tasks: JoinSet::new(),
            cancel,
        };
        (roster, players)
    }

    /// Serves until cancelled; then every server ends after its last acknowledged answer.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                delivery = self.inbox.recv() => match delivery {
                    Some(Delivery { player, mail }) => self.deliver(&player, mail),
                    None => break,
                },
                Some(ended) = self.tasks.join_next() => self.forget(ended),
            }
        }
        // What still comes was never given to a player.
        self.inbox.close();
        while let Some(Delivery { mail, .. }) = self.inbox.recv().await {
            mail.refuse(CallError::Stopping { node: self.context.name.clone() });
        }
        self.mailboxes.clear();
        while let Some(ended) = self.tasks.join_next().await {
            self.forget(ended);
        }
    }

    /// Puts mail into a player's mailbox, opening the player if it does not run.
    fn deliver(&mut self, player: &PlayerId, mail: Mail) {
        let Err(mail) = self.mailboxes.put(&self.context.name, player, mail) else { return };
        // A new mailbox has room; its server may have ended at once.
        if let Err(TrySendError::Closed(mail) | TrySendError::Full(mail)) =
            self.open(player).try_send(mail)
        {
            mail.refuse(CallError::Moved { player: player.clone() });
        }
    }

    fn open(&mut self, player: &PlayerId) -> mpsc::Sender<Mail> {
        self.make_room();
        let (mailbox, letters) = mpsc::channel(MAILBOX_CALLS_MAX);
        self.mailboxes.add(player.clone(), mailbox.clone());
        let rested = self.resting.take(player);
        let cancel = self.cancel.clone();
        let server = serve(self.context.clone(), player.clone(), rested, letters, cancel);
        let (player, resting, players) =
            (player.clone(), self.resting.clone(), self.players.clone());
        let serving = async move {
            if let Some((rested, mut letters)) = server.await {
                resting.put(player.clone(), rested);
                letters.close();
                // It came when the player was on its way to rest, and wakes it up.
                while let Some(mail) = letters.recv().await {
                    match mail {
                        Mail::Call(_) | Mail::Open(_) => {
                            players.deliver(player.clone(), mail).await;
                        }
                        Mail::Look(_) | Mail::Rest => {}
                    }
                }
            }
            player
        };
        self.tasks.spawn(serving.in_current_span());
        mailbox
    }

    /// Has players rest if another one finds no room.
    fn make_room(&mut self) {
        let (running, room) = (self.mailboxes.len(), self.context.instances_max);
        // Each new one has one rest; two, when those that were asked could not.
        let asked = usize::from(running >= room) + usize::from(running > room + room / 16);
        for _ in 0..asked {
            self.mailboxes.rest_one(&mut self.hand);
        }
    }

    fn forget(&mut self, ended: Result<PlayerId, tokio::task::JoinError>) {
        match ended {
            // A successor may have been opened already.
            Ok(player) => self.mailboxes.remove_closed(&player),
            Err(error) => {
                tracing::error!(%error, "a player's server failed; its next call opens it anew");
                self.mailboxes.remove_all_closed();
            }
        }
    }
}
