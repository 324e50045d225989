//! What a node knows of the code that players should run, and which of it is here.
//!
//! The [`Follower`] brings code here as soon as the directory names it, compiles it, and tells the
//! players' servers; it keeps on this node's disk whatever code any player of the cluster runs, so that
//! code never ends with a node, and drops what nobody runs any more. On the directory's leader it also
//! says when a deployment has proved itself.
//!
//! What this does not do: choose what a player should run (`Deployments`), or bring it there (`machine`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::codes::Codes;
use crate::clock;
use crate::directory::Directory;
use crate::limits::PROBATION_TIME;
use crate::protocol::{
    CodeHash, DeploymentChange, DeploymentStatus, Deployments, NodeId, PlayerId, PlayerRecord,
    Step, others_alive, sentence,
};

/// What a node knows of the code that players should run, and which of it is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The directory's deployments.
    pub deployments: Arc<Deployments>,
    /// The code that is ready to run on this node.
    pub loaded: BTreeSet<CodeHash>,
}

impl Rollout {
    /// Returns the step that a player which runs `code` can make here; `None` while the code that it
    /// should run is not here, for calls do not wait for that.
    pub fn step_for(&self, player: &PlayerId, code: CodeHash) -> Option<Step> {
        let step = self.deployments.step_for(player, code)?;
        self.loaded.contains(&step.code).then_some(step)
    }
}

/// Pause before code that could not be had is looked for again, the first time. It grows up to
/// [`LOOK_AT_ALL`].
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time after which a deployment has proved itself although some player has not come to it: one whose
/// copies cannot be reached may never do.
const PROBATION_TIME_MAX: Duration = PROBATION_TIME.saturating_mul(6);

/// Time after which all is looked at again although no deployment has changed: some code is not used any
/// more.
const LOOK_AT_ALL: Duration = Duration::from_secs(60);
/// The same, while players are on their way to other code.
const LOOK_AT_THOSE_ON_THEIR_WAY: Duration = Duration::from_secs(5);

/// Follows the directory's deployments, for one node.
#[derive(Debug)]
pub struct Follower {
    me: NodeId,
    directory: Directory,
    codes: Arc<Codes>,
    deployments: watch::Receiver<Arc<Deployments>>,
    rollout: watch::Sender<Arc<Rollout>>,
    /// The deployment on probation, and since when this node has known it.
    probation: Option<(u64, Instant)>,
}

/// What is in use, as the directory's records say.
#[derive(Debug, Default)]
struct Used {
    codes: BTreeSet<CodeHash>,
    /// The code to which players have to go over.
    wanted: BTreeSet<CodeHash>,
    /// The deployments with which the players were looked at.
    deployments: Arc<Deployments>,
}

impl Follower {
    /// Returns the follower of a node, and what it tells. The code that most players run is here
    /// when it returns, if any node has it.
    pub async fn new(
        me: NodeId,
        directory: Directory,
        codes: Arc<Codes>,
    ) -> (Self, watch::Receiver<Arc<Rollout>>) {
        let (rollout, watch) = watch::channel(Arc::default());
        let deployments = directory.watch_deployments();
        let mut follower = Self { me, directory, codes, deployments, rollout, probation: None };
        let deployments = follower.deployments.borrow_and_update().clone();
        let used = Used { deployments, ..Used::default() };
        follower.bring(&used).await;
        (follower, watch)
    }

    /// Follows until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let follow = async {
            let mut again = LOOK_AGAIN;
            loop {
                let used = self.used().await;
                let mut complete = self.bring(&used).await;
                complete &= self.secure(&used).await;
                self.settle(&used).await;
                again = if complete { LOOK_AGAIN } else { (again * 2).min(LOOK_AT_ALL) };
                let patience = match (complete, used.wanted.is_empty()) {
                    (false, _) => again,
                    (true, false) => LOOK_AT_THOSE_ON_THEIR_WAY,
                    (true, true) => LOOK_AT_ALL,
                };
                self.collect(used).await;
                if matches!(timeout(patience, self.deployments.changed()).await, Ok(Err(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = follow => {}
        }
    }

    /// Loads the code that may be wanted, the newest first, until there are other deployments. Returns
    /// whether all of it is here.
    async fn bring(&mut self, used: &Used) -> bool {
        self.publish();
        let mut complete = true;
        let kept = used.deployments.kept_code();
        let newest_first = used.deployments.newest_first().map(|deployment| deployment.plan.code);
        let wanted = |hash: &CodeHash| kept.contains(hash) || used.wanted.contains(hash);
        for hash in newest_first.filter(wanted) {
            if self.deployments.has_changed().unwrap_or(false) {
                return false;
            }
            if self.codes.loaded(hash).is_some() {
                continue;
            }
            match self.codes.find(hash, &self.others()).await {
                Ok(_) => self.publish(),
                Err(error) => {
                    complete = false;
                    let error = sentence(&error);
                    tracing::warn!(code = %hash, error, "cannot run deployed code yet");
                }
            }
        }
        complete
    }

    fn publish(&self) {
        let (deployments, loaded) = (self.directory.deployments(), self.codes.ready());
        let new = Rollout { deployments, loaded };
        self.rollout.send_if_modified(|known| {
            let changed = **known != new;
            if changed {
                *known = Arc::new(new);
            }
            changed
        });
    }

    fn others(&self) -> Vec<NodeId> {
        others_alive(self.me, &self.directory.nodes())
    }

    /// Looks at all players. What is known of the deployments is told at once.
    async fn used(&mut self) -> Used {
        let deployments = self.deployments.borrow_and_update().clone();
        self.publish();
        let (codes, wanted) = (deployments.kept_code(), BTreeSet::new());
        let mut used = Used { codes, wanted, deployments };
        let look = |player: &PlayerId, record: &PlayerRecord| {
            used.codes.insert(record.code);
            let step = used.deployments.step_for(player, record.code);
            let step = step.filter(|_| record.quarantine().is_none());
            used.wanted.extend(step.map(|step| step.code));
        };
        self.directory.each_player(look).await;
        used
    }

    /// Brings to this node's disk what players run. Returns whether all of it is there.
    async fn secure(&self, used: &Used) -> bool {
        let mut complete = true;
        for hash in &used.codes {
            if let Err(error) = self.codes.secure(*hash, &self.others()).await {
                complete = false;
                let error = sentence(&error);
                tracing::warn!(code = %hash, error, "no copy of code that players run is here yet");
            }
        }
        complete
    }

    /// Says that a deployment has proved itself, if this node leads and it has.
    async fn settle(&mut self, used: &Used) {
        let deployments = self.directory.deployments();
        let newest = deployments.newest();
        let on_probation = newest.filter(|it| it.status == DeploymentStatus::OnProbation);
        let Some(number) = on_probation.map(|deployment| deployment.number) else {
            self.probation = None;
            return;
        };
        let now = clock::now();
        let known = self.probation.filter(|(known, _)| *known == number);
        let (_, since) = *self.probation.insert(known.unwrap_or((number, now)));
        let known_for = now.duration_since(since);
        let is_over = known_for >= PROBATION_TIME
            && (used.wanted.is_empty() || known_for >= PROBATION_TIME_MAX);
        if is_over && self.directory.is_leader() {
            match self.directory.deploy(DeploymentChange::Settle { number }).await {
                Ok(_) => tracing::info!(deployment = number, "it has proved itself"),
                Err(error) => tracing::debug!(deployment = number, %error, "not settled yet"),
            }
        }
    }

    /// Drops what nobody uses. Were there other deployments since the players were looked at, some may
    /// have come to what nobody ran before: then nothing is dropped.
    async fn collect(&self, mut used: Used) {
        let deployments = self.directory.deployments();
        if !Arc::ptr_eq(&deployments, &used.deployments) {
            return;
        }
        used.codes.append(&mut used.wanted);
        let codes = self.codes.clone();
        let collect =
            tokio::task::spawn_blocking(move || codes.keep_only(&used.codes, &deployments));
        // The task is never aborted, and a panic in it is reported by the runtime.
        let gone = collect.await.unwrap_or_default();
        if gone > 0 {
            tracing::info!(codes = gone, "dropped code that no player runs");
            self.publish();
        }
    }
}
