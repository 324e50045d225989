//! Deploying code, taking it back, and looking at what was deployed.
//!
//! ```text
//!   code in ─► loads here? ─► what becomes of each player? ─► all nodes that are up have it and can
//!   run it? ─► the directory names it ─► each player's owner brings its players there
//! ```
//!
//! Until the directory names it nothing has changed for anybody, so whoever ends in the middle of this
//! leaves nothing but a file that is collected. What follows no gateway takes part in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::Gateway;
use crate::guest::Code;
use crate::limits::DEPLOYMENT_NAME_BYTES_MAX;
use crate::protocol::{
    CallReply, CallRequest, CodeClass, CodeHash, DeployRefusal, DeployReport, DeployRequest,
    Deployment, DeploymentChange, DeploymentConflict, DeploymentListing, Deployments, Fate,
    NodeName, Plan, PlayerId, PlayerRecord, Reply, Request, at_most, sentence,
};

/// Time for a node to get code and compile it: the largest guests take half a minute on a machine
/// that has other things to do.
const PREPARE_TIME: Duration = Duration::from_secs(4 * 60);

/// Failures of one deployment that a listing names.
const FAILURES_NAMED_MAX: usize = 10;

/// What was asked for, or that nobody could decide it: then it may still be done.
type Decided<T> = Result<Result<T, DeployRefusal>, String>;

impl Gateway {
    /// Deploys code, or only says what would come of it.
    pub(super) async fn deploy(&self, request: DeployRequest) -> Decided<DeployReport> {
        let DeployRequest { component, name, audience, crossing, .. } = request;
        let DeployRequest { failures_max, traps_max, nonce, check, .. } = request;
        // Each has all nodes compile something.
        let (turn, wish) = &*self.deploying;
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            // The same wish once more, for its connection was lost: it waits for itself.
            Err(_) if wish.load(Ordering::Relaxed) == nonce => turn.lock().await,
            Err(_) => return Ok(Err(DeployRefusal::Busy { node: self.name.clone() })),
        };
        wish.store(nonce, Ordering::Relaxed);
        let known = self.directory.deployments().last_number();
        let code = match self.codes.add(component, known).await {
            Ok(code) => code,
            Err(error) => return Ok(Err(DeployRefusal::Code(sentence(&error)))),
        };
        // A deployment that this node has not heard of yet would be in the way of its own.
        self.catch_up().await;
        let name = at_most(&name, DEPLOYMENT_NAME_BYTES_MAX).to_owned();
        let plan =
            Plan { code: code.hash(), name, audience, crossing, failures_max, traps_max, nonce };
        let deployments = self.directory.deployments();
        if let Some(made) = deployments.made(plan.code, nonce) {
            // This is the same wish, told once more because its answer was lost.
            let (number, silent) = (Some(made.number), self.down());
            return Ok(Ok(DeployReport { number, code: plan.code, classes: Vec::new(), silent }));
        }
        if let Some(newest) = deployments.newest()
            && same(newest, &plan)
        {
            return Ok(Err(DeployRefusal::Current { number: newest.number }));
        }
        let classes = self.classes(&deployments, &plan, &code).await;
        let mut report =
            DeployReport { number: None, code: plan.code, classes, silent: self.down() };
        if check {
            return Ok(Ok(report));
        }
        if report.classes.iter().any(|class| matches!(class.fate, Fate::Stranded { .. })) {
            return Ok(Err(DeployRefusal::Stranded(report.classes)));
        }
        if let Err(refusal) = self.prepare_everywhere(plan.code).await {
            return Ok(Err(refusal));
        }
        let after = deployments.last_number();
        let named = plan.name.clone();
        let change = DeploymentChange::Deploy { after, plan };
        let decided = self.directory.deploy(change).await.map_err(|error| error.to_string())?;
        Ok(match decided {
            Ok(number) => {
                tracing::info!(deployment = number, code = %report.code, name = named, "deployed");
                report.number = Some(number);
                report.silent.extend(self.not_heard(self.directory.applied_entries()).await);
                Ok(report)
            }
            Err(conflict) => Err(DeployRefusal::Conflict(conflict)),
        })
    }

    /// Takes the newest deployment back, or that one only.
    pub(super) async fn roll_back(&self, number: Option<u64>, reason: String) -> Decided<u64> {
        self.catch_up().await;
        let deployments = self.directory.deployments();
        let withdrawn = number.filter(|number| {
            deployments.get(*number).is_some_and(|deployment| !deployment.is_in_force())
        });
        if let Some(number) = withdrawn {
            return Ok(Ok(number));
        }
        let Some(newest) = deployments.newest() else {
            let number = number.unwrap_or_default();
            let conflict = DeploymentConflict::NotInForce { number };
            return Ok(Err(DeployRefusal::Conflict(conflict)));
        };
        let number = number.unwrap_or(newest.number);
        let change = DeploymentChange::Withdraw { number, reason };
        let mut after = (*deployments).clone();
        if let Err(conflict) = after.apply(&change) {
            return Ok(Err(DeployRefusal::Conflict(conflict)));
        }
        // Nobody goes back to what is not there any more.
        let older = after.newest().map(|deployment| deployment.plan.code);
        for code in older.into_iter().chain(after.current()) {
            if self.codes.find(code, &self.others()).await.is_err() {
                return Ok(Err(DeployRefusal::Gone { code }));
            }
        }
        let decided = self.directory.deploy(change).await.map_err(|error| error.to_string())?;
        if decided.is_ok() {
            tracing::info!(deployment = number, "taken back");
            self.not_heard(self.directory.applied_entries()).await;
        }
        Ok(decided.map_err(DeployRefusal::Conflict))
    }

    /// Gets code here and compiles it, for somebody who is about to deploy it.
    pub(super) async fn prepare(&self, hash: CodeHash) -> Result<(), String> {
        self.codes.hold(hash, self.directory.deployments().last_number());
        let found = self.codes.find(hash, &self.others()).await;
        found.map(drop).map_err(|error| sentence(&error))
    }

    /// Lists the deployments, newest first, and where the players are.
    pub(super) async fn list_deployments(&self) -> Vec<DeploymentListing> {
        self.catch_up().await;
        let deployments = self.directory.deployments();
        let mut run: BTreeMap<CodeHash, u64> = BTreeMap::new();
        let mut due: BTreeMap<u64, u64> = BTreeMap::new();
        let look = |player: &PlayerId, record: &PlayerRecord| {
            *run.entry(record.code).or_default() += 1;
            let step = deployments.step_for(player, record.code);
            if let Some(step) = step.filter(|_| record.quarantine().is_none()) {
                *due.entry(step.deployment).or_default() += 1;
            }
        };
        self.directory.each_player(look).await;
        let listing =
            |Deployment { number, plan, status, failed }: &Deployment| DeploymentListing {
                number: *number,
                code: plan.code,
                name: plan.name.clone(),
                audience: plan.audience.clone(),
                crossing: plan.crossing,
                status: status.clone(),
                players: run.get(&plan.code).copied().unwrap_or(0),
                due: due.get(number).copied().unwrap_or(0),
                failed: failed.len() as u64,
                failures: failed
                    .iter()
                    .take(FAILURES_NAMED_MAX)
                    .map(|(p, r)| (p.clone(), r.clone()))
                    .collect(),
            };
        deployments.newest_first().map(listing).collect()
    }

    /// Says what would become of each player.
    async fn classes(
        &self,
        deployments: &Deployments,
        plan: &Plan,
        code: &Arc<Code>,
    ) -> Vec<CodeClass> {
        let mut after = deployments.clone();
        let change = DeploymentChange::Deploy { after: after.last_number(), plan: plan.clone() };
        let Ok(number) = after.apply(&change) else { return Vec::new() };
        let mut fates: BTreeMap<(CodeHash, Fate), u64> = BTreeMap::new();
        let look = |player: &PlayerId, record: &PlayerRecord| {
            let step = after.step_for(player, record.code);
            let fate = match step {
                _ if record.quarantine().is_some() => Fate::Quarantined,
                Some(step) if step.deployment == number && step.resets => Fate::Resets,
                Some(step) if step.deployment == number => Fate::Migrates,
                None if record.code == plan.code => Fate::Has,
                _ if plan.audience.includes(plan.code, player) => Fate::Pinned,
                _ => Fate::NotMeant,
            };
            *fates.entry((record.code, fate)).or_default() += 1;
        };
        self.directory.each_player(look).await;
        let mut classes = Vec::new();
        for ((old, mut fate), players) in fates {
            if fate == Fate::Migrates
                && let Some(reason) = self.why_stranded(old, code).await
            {
                fate = Fate::Stranded { reason };
            }
            let known = deployments.newest_first().find(|deployment| deployment.plan.code == old);
            let name = known.map(|deployment| deployment.plan.name.clone());
            classes.push(CodeClass { code: old, name, fate, players });
        }
        classes
    }

    async fn why_stranded(&self, old: CodeHash, new: &Code) -> Option<String> {
        if !new.migrates() {
            return Some("the new code does not export `migrate`".to_owned());
        }
        match self.codes.find(old, &self.others()).await {
            Ok(code) if code.migrates() => None,
            Ok(_) => Some("it does not export `migrate`".to_owned()),
            Err(error) => Some(sentence(&error)),
        }
    }

    /// Has every node that is alive get the code and compile it.
    async fn prepare_everywhere(&self, hash: CodeHash) -> Result<(), DeployRefusal> {
        let nodes = self.nodes.borrow().clone();
        let others = nodes.iter().filter(|node| node.status.is_alive() && node.id != self.me.node);
        let prepared = others.map(|node| async {
            let request = Request::Call(CallRequest::Prepare(hash));
            let reply = timeout(PREPARE_TIME, self.links.send(node.id, request)).await;
            let reason = match reply {
                Ok(Ok(Reply::Call(CallReply::Prepared(Ok(()))))) => return Ok(()),
                Ok(Ok(Reply::Call(CallReply::Prepared(Err(reason))))) => reason,
                // One that is called down meanwhile catches up when it comes back.
                Ok(_) if !self.is_alive(node.id) => return Ok(()),
                Ok(Ok(_)) => "it answered something else".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it did not load it within {} s", PREPARE_TIME.as_secs()),
            };
            Err(DeployRefusal::Node { node: node.name.clone(), reason })
        });
        futures_util::future::join_all(prepared).await.into_iter().collect()
    }

    fn down(&self) -> Vec<NodeName> {
        let nodes = self.nodes.borrow();
        let down = nodes.iter().filter(|node| !node.status.is_alive());
        down.map(|node| node.name.clone()).collect()
    }
}

/// Whether a deployment is what a plan asks for.
fn same(deployment: &Deployment, plan: &Plan) -> bool {
    let has = &deployment.plan;
    has.code == plan.code
        && has.audience == plan.audience
        && (has.crossing == plan.crossing || deployment.number == 1)
        && deployment.failed.is_empty()
}
