//! Tells what becomes of nodes and deployments, as this node's directory has it.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::chronicle::Chronicle;
use crate::directory::Directory;
use crate::limits::NEWS_TEXT_BYTES_MAX;
use crate::protocol::{
    Deployment, DeploymentStatus, Deployments, Incarnation, News, NodeId, NodeRecord, NodeStatus,
    at_most,
};

/// Tells until `cancel`. What was there at the start is not told.
pub(super) async fn run(directory: Directory, chronicle: Chronicle, cancel: CancellationToken) {
    let (mut nodes, mut deployments) = (directory.watch_nodes(), directory.watch_deployments());
    let mut known = Known {
        nodes: seen(&nodes.borrow_and_update()),
        deployments: states(&deployments.borrow_and_update()),
    };
    loop {
        let changed = tokio::select! {
            () = cancel.cancelled() => return,
            changed = nodes.changed() => changed,
            changed = deployments.changed() => changed,
        };
        if changed.is_err() {
            return cancel.cancelled().await;
        }
        let news = known.look(&nodes.borrow_and_update(), &deployments.borrow_and_update());
        news.into_iter().for_each(|news| chronicle.tell(news));
    }
}

/// What was told of before.
#[derive(Debug, Default)]
struct Known {
    nodes: BTreeMap<NodeId, (Incarnation, NodeStatus)>,
    /// The deployments, and whether they were taken back.
    deployments: BTreeMap<u64, bool>,
}

fn seen(nodes: &[NodeRecord]) -> BTreeMap<NodeId, (Incarnation, NodeStatus)> {
    nodes.iter().map(|node| (node.id, (node.incarnation, node.status))).collect()
}

fn states(deployments: &Deployments) -> BTreeMap<u64, bool> {
    let state = |it: &Deployment| (it.number, !it.is_in_force());
    deployments.newest_first().map(state).collect()
}

impl Known {
    fn look(&mut self, nodes: &[NodeRecord], deployments: &Deployments) -> Vec<News> {
        let mut news = Vec::new();
        for NodeRecord { id, name, incarnation, status, .. } in nodes {
            let (before, node) = (self.nodes.get(id).copied(), name.clone());
            let same_start = before.is_some_and(|(start, _)| start == *incarnation);
            match (status, before.map(|(_, status)| status)) {
                (NodeStatus::Up, Some(NodeStatus::Up)) if same_start => {}
                (NodeStatus::Up, _) => news.push(News::Joined { node }),
                (NodeStatus::Draining, Some(NodeStatus::Draining)) => {}
                (NodeStatus::Draining, _) => news.push(News::Draining { node }),
                // One that was down before anybody looked is no news.
                (NodeStatus::Down, Some(NodeStatus::Down) | None) => {}
                (NodeStatus::Down, Some(_)) => news.push(News::Down { node }),
            }
        }
        let mut listed: Vec<&Deployment> = deployments.newest_first().collect();
        listed.reverse();
        for Deployment { number: deployment, plan, status, .. } in listed {
            let (deployment, before) = (*deployment, self.deployments.get(deployment).copied());
            if before.is_none() {
                news.push(News::Deployed { deployment, name: plan.name.clone() });
            }
            if let DeploymentStatus::Withdrawn { reason } = status
                && before != Some(true)
            {
                let reason = at_most(reason, NEWS_TEXT_BYTES_MAX).to_owned();
                news.push(News::TakenBack { deployment, reason });
            }
        }
        (self.nodes, self.deployments) = (seen(nodes), states(deployments));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CodeHash, DeploymentChange, Plan};

    fn node(incarnation: u64, status: NodeStatus) -> NodeRecord {
        let (id, addr) = (NodeId(1), "127.0.0.1:4433".parse().unwrap());
        let name = "app_node1".parse().unwrap();
        NodeRecord { id, name, addr, incarnation: Incarnation(incarnation), status }
    }

    #[test]
    fn what_becomes_of_a_node_is_told_once() {
        let (mut known, none) = (Known::default(), Deployments::default());
        let name = || "app_node1".parse().unwrap();
        let mut words = Vec::new();
        for node in [
            node(1, NodeStatus::Up),
            node(1, NodeStatus::Up),
            node(1, NodeStatus::Draining),
            node(1, NodeStatus::Down),
            node(1, NodeStatus::Down),
            node(2, NodeStatus::Up),
            // Nobody has noticed that it was gone.
            node(3, NodeStatus::Up),
        ] {
            words.extend(known.look(&[node], &none));
        }
        let expected = [
            News::Joined { node: name() },
            News::Draining { node: name() },
            News::Down { node: name() },
            News::Joined { node: name() },
            News::Joined { node: name() },
        ];
        assert_eq!(words, expected);
        let mut known = Known::default();
        assert_eq!(known.look(&[node(1, NodeStatus::Down)], &none), []);
    }

    #[test]
    fn a_deployment_and_its_end_are_told() {
        let (mut known, mut deployments) = (Known::default(), Deployments::default());
        for (after, code) in [(0, 1), (1, 2)] {
            let plan = Plan::founding(CodeHash([code; 32]), "player");
            deployments.apply(&DeploymentChange::Deploy { after, plan }).unwrap();
        }
        let deployed = |deployment| News::Deployed { deployment, name: "player".to_owned() };
        assert_eq!(known.look(&[], &deployments), [deployed(1), deployed(2)]);
        let reason = "too generous".to_owned();
        let change = DeploymentChange::Withdraw { number: 2, reason: reason.clone() };
        deployments.apply(&change).unwrap();
        assert_eq!(known.look(&[], &deployments), [News::TakenBack { deployment: 2, reason }]);
        assert_eq!(known.look(&[], &deployments), []);
    }
}
