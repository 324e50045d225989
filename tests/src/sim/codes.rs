//! Other code for the players: people deploy it and take it back, some of it is bad, and nodes get it
//! when they get it.
//!
//! Code `n` marks each memory that it writes with `n`, so memory that came to other code as it was is
//! seen at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use host::directory::Command;
use host::player::{Around, Event, StepFailure, Way};
use host::protocol::{
    Audience, CodeHash, Crossing, DeploymentChange, DeploymentStatus, Plan, PlayerId, Step,
};
use host::snapshot::Snapshot;

use super::Bug;
use super::guest::{code_of, marked, memory_in, number_of, snapshot_of};
use super::happening::{MS, Slot, What};
use super::rng::Rng;
use super::world::World;

/// What is wrong with code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// It takes over no state.
    LoadsNothing,
    /// Many of its calls trap.
    Traps,
}

/// What people deploy in one world.
#[derive(Debug, Clone, Default)]
pub(super) struct Deploys {
    /// How much of it is still to come.
    left: u64,
    faults: BTreeMap<CodeHash, Fault>,
    /// What each player was before its latest step ([`Bug::GoBackTooFar`]).
    before: BTreeMap<PlayerId, (CodeHash, Snapshot)>,
}

impl Deploys {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let left = if rng.percent(60) { rng.between(1, 6) } else { 0 };
        Self { left, ..Self::default() }
    }
}

impl World {
    /// The code that the cluster begins with.
    pub(super) fn found_code(&mut self) {
        let plan = Plan::founding(code_of(0), "first");
        self.append_deployment(DeploymentChange::Deploy { after: 0, plan });
    }

    fn append_deployment(&mut self, change: DeploymentChange) {
        let withdrawn = |world: &Self| {
            let all = world.log.state.deployments().newest_first();
            all.filter(|it| matches!(it.status, DeploymentStatus::Withdrawn { .. })).count()
        };
        let before = withdrawn(self);
        self.append(Command::Deploy(change));
        self.coverage.withdrawals += (withdrawn(self) - before) as u64;
    }

    /// Somebody deploys other code or takes some back, perhaps. Returns whether anybody does.
    pub(super) fn perhaps_deploy(&mut self) -> bool {
        let can = self.log.leader.is_some_and(|leader| self.can_commit(leader));
        if self.deploys.left == 0 || !can || !self.rng.percent(12) {
            return false;
        }
        self.deploys.left -= 1;
        let after = self.log.state.deployments().last_number();
        let change = match self.rng.index(10) {
            0..=1 => DeploymentChange::Withdraw { number: after, reason: "by hand".to_owned() },
            2 => DeploymentChange::Settle { number: after },
            _ => DeploymentChange::Deploy { after, plan: self.some_plan(after) },
        };
        self.coverage.deployments += u64::from(matches!(change, DeploymentChange::Deploy { .. }));
        self.append_deployment(change);
        true
    }

    fn some_plan(&mut self, after: u64) -> Plan {
        // Now and then code that was there before.
        let number = if self.rng.percent(80) { after } else { self.rng.between(0, after) };
        let code = code_of(u8::try_from(number).expect("a handful of deployments"));
        let fault = match self.rng.index(10) {
            0..=1 => Fault::LoadsNothing,
            2..=3 => Fault::Traps,
            _ => Fault::None,
        };
        self.deploys.faults.entry(code).or_insert(if number == 0 { Fault::None } else { fault });
        let audience = match self.rng.index(8) {
            0 => Audience::Like("player1".parse().expect("a pattern")),
            1 => Audience::Share("50%".parse().expect("a share")),
            _ => Audience::All,
        };
        let crossing = if self.rng.percent(15) { Crossing::Pin } else { Crossing::Migrate };
        let failures_max = u32::try_from(self.rng.between(0, 2)).expect("few");
        let nonce = after + 1;
        let plan = Plan::founding(code, "other");
        Plan { audience, crossing, failures_max, traps_max: 1, nonce, ..plan }
    }

    /// A node has heard of deployments. It gets the code a moment later.
    pub(super) fn learn_deployments(&mut self, slot: Slot) -> bool {
        let Some(process) = &mut self.machines[slot].process else { return false };
        let deployments = process.view.deployments();
        if *process.rollout.deployments == *deployments {
            return false;
        }
        let kept = deployments.kept_code();
        process.rollout.deployments = Arc::new(deployments.clone());
        let missing = kept.difference(&process.rollout.loaded).copied().collect::<Vec<_>>();
        for code in missing {
            let wait = self.rng.between(1, 400) * MS;
            self.after_to(wait, slot, What::Loaded { code });
        }
        true
    }

    pub(super) fn loaded(&mut self, slot: Slot, code: CodeHash) {
        let Some(process) = &mut self.machines[slot].process else { return };
        if process.rollout.loaded.insert(code) {
            self.servers_look_around(slot);
            self.urge(slot);
        }
    }

    /// Urges the players of a node that have to go over to other code.
    pub(super) fn urge(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        if !process.serving || process.leaving {
            return;
        }
        let (me, nodes, rollout) = (process.me, &process.nodes[..], &process.rollout);
        let (keepers, returned) = (1, &Default::default());
        let around = Around { me, nodes, keepers, returned, rollout };
        let players = process.view.players_after(None);
        let due = players.filter(|(player, record)| around.goes_over(player, record));
        let due: Vec<PlayerId> = due.map(|(player, _)| player.clone()).collect();
        for player in due {
            if let Some(server) = self.open(slot, &player) {
                let id = server.id;
                self.server_event(slot, &player, id, Event::Open);
            }
        }
    }

    /// Makes an instance of other code that holds what the player does.
    pub(super) fn migrate(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        id: u64,
        step: Step,
    ) -> Option<Event> {
        if self.healed.is_none() && self.rng.percent(5) {
            let failure = StepFailure::Here("no memory".to_owned());
            return Some(Event::NotMigrated(failure));
        }
        let state = self.server(slot, player, id)?.machine.state()?.clone();
        let snapshot = match self.way_of(player, &state, step) {
            Some(snapshot) => snapshot,
            None if self.fault_of(step.code) == Fault::LoadsNothing => {
                self.coverage.steps_failed += 1;
                let failure = StepFailure::Code("it takes over nothing".to_owned());
                return Some(Event::NotMigrated(failure));
            }
            None if self.has(Bug::KeepMemory) => state.snapshot.clone(),
            None => {
                let memory = memory_in(&state.snapshot);
                snapshot_of(&marked(memory, number_of(step.code)))
            }
        };
        self.deploys.before.insert(player.clone(), (state.code, state.snapshot.clone()));
        self.coverage.migrations += 1;
        self.watch.steps.insert((player.clone(), state.seq.next().0));
        self.server(slot, player, id)?.memory = Some(memory_in(&snapshot));
        Some(Event::Migrated { snapshot })
    }

    /// Returns what the player is there, if nobody has to save and load.
    fn way_of(
        &mut self,
        player: &PlayerId,
        state: &host::protocol::PlayerState,
        step: Step,
    ) -> Option<Snapshot> {
        if self.has(Bug::GoBackTooFar)
            && let Some((code, snapshot)) = self.deploys.before.get(player)
            && *code == step.code
        {
            return Some(snapshot.clone());
        }
        match Way::of(state, step) {
            Way::Back(before) => {
                self.coverage.returns += 1;
                Some(before.snapshot.clone())
            }
            Way::Anew => Some(snapshot_of(&[])),
            Way::SaveAndLoad => None,
        }
    }

    fn fault_of(&self, code: CodeHash) -> Fault {
        self.deploys.faults.get(&code).copied().unwrap_or(Fault::None)
    }

    /// Whether a call traps because the code is bad.
    pub(super) fn traps(&mut self, code: CodeHash) -> bool {
        let bad = self.fault_of(code) == Fault::Traps && self.healed.is_none();
        bad && self.rng.percent(60)
    }

    /// A server tells the directory that a player failed, until it has heard.
    pub(super) fn report(
        &mut self,
        slot: Slot,
        player: PlayerId,
        server: u64,
        change: DeploymentChange,
    ) {
        // What nobody waits for any more is not told.
        if self.server(slot, &player, server).is_none() {
            return;
        }
        if !self.can_commit(slot) || self.rng.percent(30) {
            let what = What::Report { player, server, change };
            return self.after_to(100 * MS, slot, what);
        }
        self.append_deployment(change);
        self.after_to(MS, slot, What::Reported { player, server });
    }

    pub(super) fn reported(&mut self, slot: Slot, player: &PlayerId, server: u64) {
        self.server_event(slot, player, server, Event::Reported);
    }

    /// Whether each player that can be restored runs what it should.
    pub(super) fn have_arrived(&self) -> bool {
        let deployments = self.log.state.deployments();
        let arrived = |player: &PlayerId| {
            let record = self
                .log
                .state
                .player(player)
                .filter(|record| !record.is_forgotten() && record.quarantine().is_none());
            record.is_none_or(|record| {
                deployments.step_for(player, record.code).is_none()
                    || self.named_state(player).is_none()
            })
        };
        self.players.iter().all(arrived)
    }
}
