//! The players that run on this node, and the way to each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::server::{Context, Letter, Mail, serve};
use crate::limits::{INBOX_REQUESTS_MAX, MAILBOX_CALLS_MAX};
use crate::protocol::{Answer, Call, CallError, PlayerId};

/// Where a call's answer goes.
pub type Reply = oneshot::Sender<Result<Answer, CallError>>;

/// What the roster is asked.
#[derive(Debug)]
pub enum RosterRequest {
    /// A call for a player of this node.
    Call {
        /// The call.
        call: Call,
        /// When the caller gives up.
        deadline: Instant,
        /// Where the answer goes.
        reply: Reply,
    },
    /// Serve a player although nobody calls it.
    Open {
        /// The player.
        player: PlayerId,
        /// Dropped once the player is served with enough copies, or cannot be.
        done: oneshot::Sender<()>,
    },
    /// The running players after this one, in order.
    Running {
        /// The last one of the previous page.
        after: Option<PlayerId>,
        /// Players in a page.
        limit: usize,
        /// Where they go.
        reply: oneshot::Sender<Vec<PlayerId>>,
    },
}

/// Owns the servers of this node's players.
#[derive(Debug)]
pub struct Roster {
    context: Arc<Context>,
    inbox: mpsc::Receiver<RosterRequest>,
    servers: BTreeMap<PlayerId, mpsc::Sender<Mail>>,
    tasks: JoinSet<PlayerId>,
    cancel: CancellationToken,
}

impl Roster {
    /// Returns an empty roster and its inbox. `cancel` stops it and all its servers.
    pub fn new(context: Context, cancel: CancellationToken) -> (Self, mpsc::Sender<RosterRequest>) {
        let (sender, inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (servers, tasks) = (BTreeMap::new(), JoinSet::new());
        (Self { context: Arc::new(context), inbox, servers, tasks, cancel }, sender)
    }

    /// Serves until cancelled; then every server ends after its last acknowledged answer.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                request = self.inbox.recv() => match request {
                    Some(request) => self.handle(request),
                    None => break,
                },
                Some(ended) = self.tasks.join_next() => self.forget(ended),
            }
        }
        // What still comes was never given to a player.
        self.inbox.close();
        while let Some(request) = self.inbox.recv().await {
            if let RosterRequest::Call { reply, .. } = request {
                let node = self.context.name.clone();
                drop(reply.send(Err(CallError::Stopping { node })));
            }
        }
        self.servers.clear();
        while let Some(ended) = self.tasks.join_next().await {
            self.forget(ended);
        }
    }

    fn handle(&mut self, request: RosterRequest) {
        match request {
            RosterRequest::Call { call, deadline, reply } => {
                let player = call.player.clone();
                self.deliver(&player, Mail::Call(Letter { call, deadline, reply }));
            }
            RosterRequest::Open { player, done } => self.deliver(&player, Mail::Open(done)),
            RosterRequest::Running { after, limit, reply } => {
                let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
                let range = self.servers.range((from, std::ops::Bound::Unbounded));
                // The asker may have given up; then nobody needs the page.
                drop(reply.send(range.take(limit).map(|(player, _)| player.clone()).collect()));
            }
        }
    }

    /// Puts mail into a player's mailbox, opening the player if it does not run.
    fn deliver(&mut self, player: &PlayerId, mail: Mail) {
        let mailbox = match self.servers.get(player) {
            Some(mailbox) if !mailbox.is_closed() => mailbox.clone(),
            Some(_) | None => self.open(player),
        };
        match mailbox.try_send(mail) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(mail)) => {
                let node = self.context.name.clone();
                mail.refuse(CallError::Overloaded { node });
            }
            Err(mpsc::error::TrySendError::Closed(mail)) => {
                let player = player.clone();
                mail.refuse(CallError::Moved { player });
            }
        }
    }

    fn open(&mut self, player: &PlayerId) -> mpsc::Sender<Mail> {
        let (mailbox, letters) = mpsc::channel(MAILBOX_CALLS_MAX);
        self.servers.insert(player.clone(), mailbox.clone());
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
                if self.servers.get(&player).is_some_and(mpsc::Sender::is_closed) {
                    self.servers.remove(&player);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a player's server failed; its next call opens it anew");
                self.servers.retain(|_, mailbox| !mailbox.is_closed());
            }
        }
    }
}
