//! Deployments in the middle of faults: the built-in code again and again, each time under another
//! hash, so that every player has to go over and nothing that it answers may change.

use std::fs;

use anyhow::{Context, Result};
use host::guest::built_in;

use crate::cluster::Cluster;
use crate::command::Running;
use crate::guests::renamed;

/// Traps that count against no code: callers ask for some on purpose.
const FORGIVING: [&str; 5] = ["--no-wait", "--deadline", "20s", "--max-traps", "10"];

/// What is deployed during a run.
#[derive(Debug, Default)]
pub(super) struct Deploys {
    begun: usize,
    /// Those that somebody was told of.
    pub(super) made: usize,
    under_way: Option<Running>,
}

impl Deploys {
    /// Begins a deployment through one node after the other, if none is under way.
    pub(super) fn begin(&mut self, cluster: &Cluster) -> Result<()> {
        if self.under_way.is_some() {
            return Ok(());
        }
        self.begun += 1;
        let name = format!("code{}", self.begun);
        let file = cluster.folder().join(&name);
        fs::write(&file, renamed(built_in(), &name)).context("write the code")?;
        let names = cluster.names();
        let first = self.begun % names.len();
        let others = names.iter().cycle().skip(first + 1).take(names.len() - 1);
        let via = others.fold(cluster.via(&names[first]), |via, name| via.or(&cluster.via(name)));
        self.under_way = Some(via.start_deploy(&file, &FORGIVING));
        Ok(())
    }

    /// Waits for the end of the one that is under way. It may have failed: nodes were.
    pub(super) fn finish(&mut self) {
        if let Some(deploying) = self.under_way.take() {
            self.made += usize::from(deploying.finish().code() == Some(0));
        }
    }

    /// Whether every player has come to the code that it should run.
    pub(super) fn try_arrived(&self, cluster: &Cluster) -> Result<(), String> {
        let deployments = cluster.via(&cluster.names()[0]).try_deployments()?;
        let arrived = deployments.iter().all(|it| it.due == 0 && it.failed == 0);
        if arrived { Ok(()) } else { Err(format!("not arrived: {deployments:?}")) }
    }
}
