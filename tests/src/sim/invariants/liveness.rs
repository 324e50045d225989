//! Once the faults have stopped, every player answers within a bound, unless all its copies were on
//! machines that lost them: then it stays unavailable, and is not reset.

use super::super::world::World;

impl World {
    pub(in super::super) fn check_liveness(&mut self) {
        let silent: Vec<usize> = self
            .clients
            .iter()
            .filter(|client| !client.is_done)
            .filter_map(|client| client.probes)
            .collect();
        for index in silent {
            let player = self.players[index].clone();
            let record = self.log.state.player(&player).cloned();
            let lost = record.as_ref().is_some_and(|record| {
                !record.is_forgotten()
                    && record.keepers.iter().all(|keeper| self.watch.damaged.contains(&keeper.copy))
            });
            if lost && self.named_state(&player).is_none() {
                self.coverage.unavailable += 1;
                continue;
            }
            let detail = format!("{player} does not answer; the directory has {record:?}");
            self.broken("every player answers after the faults", detail);
        }
        if !self.have_arrived() {
            let deployments = self.log.state.deployments();
            let due = self.players.iter().filter_map(|player| {
                let code = self.log.state.player(player)?.code;
                let step = deployments.step_for(player, code)?;
                Some(format!("{player} runs {code} and not {}", step.code))
            });
            let detail = due.collect::<Vec<_>>().join(", ");
            self.broken("every player comes to the code that it should run", detail);
        }
        self.coverage.revived += self.clients.iter().filter(|client| client.is_done).count() as u64;
    }
}
