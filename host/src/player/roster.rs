//! The players that run on this node, and the way to each of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::server::{Context, Letter, Mail, serve};
use crate::limits::{INBOX_REQUESTS_MAX, MAILBOX_CALLS_MAX};
use crate::protocol::{Answer, Call, CallError, NodeName, PlayerId};

/// Where a call's answer goes.
pub type Reply = oneshot::Sender<Result<Answer, CallError>>;

/// Mail for a player that may not run yet.
#[derive(Debug)]
struct Delivery {
    player: PlayerId,
    mail: Mail,
}

/// The mailboxes of the players that run.
#[derive(Debug, Clone, Default)]
struct Mailboxes(Arc<RwLock<BTreeMap<PlayerId, mpsc::Sender<Mail>>>>);

impl Mailboxes {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PlayerId, mpsc::Sender<Mail>>> {
        // The table is whole between any two operations, whoever panicked.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PlayerId, mpsc::Sender<Mail>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts mail into a player's mailbox, or refuses it in the name of `node` if that is full. Gives
    /// it back if the player does not run.
    fn put(&self, node: &NodeName, player: &PlayerId, mail: Mail) -> Result<(), Mail> {
        let mailboxes = self.read();
        let Some(mailbox) = mailboxes.get(player) else { return Err(mail) };
        match mailbox.try_send(mail) {
            Ok(()) => {}
            Err(TrySendError::Full(mail)) => {
                mail.refuse(CallError::Overloaded { node: node.clone() });
            }
            Err(TrySendError::Closed(mail)) => return Err(mail),
        }
        Ok(())
    }
}

/// The way to this node's players. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Players {
    node: NodeName,
    mailboxes: Mailboxes,
    roster: mpsc::Sender<Delivery>,
}

impl Players {
    /// Hands a call to its player, which begins to run if it does not yet. The answer goes to
    /// `reply`; it is dropped if the player's server ends with the node.
    pub async fn call(&self, call: Call, deadline: Instant, reply: Reply) {
        let player = call.player.clone();
        self.deliver(player, Mail::Call(Letter { call, deadline, reply })).await;
    }

    /// Has a player served although nobody calls it. Returns whether it is served with enough
    /// copies, once that is certain.
    pub async fn open(&self, player: PlayerId) -> bool {
        let (done, opened) = oneshot::channel();
        self.deliver(player, Mail::Open(done)).await;
        opened.await.is_ok()
    }

    /// Returns at most `limit` of the running players after `after`, in order.
    pub fn running(&self, after: Option<&PlayerId>, limit: usize) -> Vec<PlayerId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mailboxes = self.mailboxes.read();
        let running = mailboxes.range::<PlayerId, _>((from, Bound::Unbounded));
        running.take(limit).map(|(player, _)| player.clone()).collect()
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
    tasks: JoinSet<PlayerId>,
    cancel: CancellationToken,
}

impl Roster {
    /// Returns an empty roster and the way to its players. `cancel` stops it and all its servers.
    pub fn new(context: Context, cancel: CancellationToken) -> (Self, Players) {
        let (roster, inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (mailboxes, tasks) = (Mailboxes::default(), JoinSet::new());
        let players = Players { node: context.name.clone(), mailboxes: mailboxes.clone(), roster };
        (Self { context: Arc::new(context), inbox, mailboxes, tasks, cancel }, players)
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
        self.mailboxes.write().clear();
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
        let (mailbox, letters) = mpsc::channel(MAILBOX_CALLS_MAX);
        self.mailboxes.write().insert(player.clone(), mailbox.clone());
        let cancel = self.cancel.clone();
        let server = serve(self.context.clone(), player.clone(), letters, cancel);
        let player = player.clone();
        let serving = async move {
            server.await;
            player
        };
        self.tasks.spawn(serving.in_current_span());
        mailbox
    }

    fn forget(&mut self, ended: Result<PlayerId, tokio::task::JoinError>) {
        match ended {
            // A successor may have been opened already.
            Ok(player) => {
                let mut mailboxes = self.mailboxes.write();
                if mailboxes.get(&player).is_some_and(mpsc::Sender::is_closed) {
                    mailboxes.remove(&player);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a player's server failed; its next call opens it anew");
                self.mailboxes.write().retain(|_, mailbox| !mailbox.is_closed());
            }
        }
    }
}
