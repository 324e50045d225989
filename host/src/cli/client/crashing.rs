//! Having a node's process end, and finding out whether it has when it was the one that was asked.

use super::{Ask, Attempts, Client, Failed, Nodes, Patience, Problem, Reach};
use crate::clock;
use crate::protocol::{CallReply, CallRequest, NodeCrash, NodeName, Outcome, names_in_words};

/// What to do when nobody knows whether a node has ended.
const CRASH_AGAIN: &str = "look at `host nodes` before you ask again";

/// A node that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Crashed {
    /// Another node has seen it end.
    Seen(NodeCrash),
    /// It was the node that was asked, and is not there any more.
    Asked(NodeName),
}

impl<A: Ask> Client<A> {
    /// Lets the process of the node of this name end.
    ///
    /// # Errors
    ///
    /// `Failed`, which says whether it may have ended.
    pub(in crate::cli) async fn crash(
        &mut self,
        reach: &Reach,
        name: &NodeName,
    ) -> Result<Crashed, Failed> {
        let (list, target) = self.nodes_and_target(reach).await?;
        if !list.nodes.iter().any(|node| node.name == *name) {
            let message = format!(
                "no_node: there is no node {name}; there are {}",
                names_in_words(&list.nodes)
            );
            return Err(Failed { code: "no_node", message, outcome: Outcome::NotApplied });
        }
        // Whoever was asked first knows this much, and a second one would be asked for a second crash.
        let reach = Reach { targets: vec![target], ..reach.clone() };
        let mut attempts = Attempts::of_setting(&reach, clock::now()).once().advising(CRASH_AGAIN);
        let request = |_, _| CallRequest::Crash(name.clone());
        let asked = self.exchange(&mut attempts, &reach, request, |reply| {
            let CallReply::Crashed(crashed) = reply else { return Err(Problem::Alien) };
            crashed.map_err(Problem::Call)
        });
        match Box::pin(asked).await {
            Ok((crash, _)) => Ok(Crashed::Seen(crash)),
            Err(failed) if failed.outcome == Outcome::Unknown && list.asked == *name => {
                if self.is_still_there(&reach, &list).await {
                    return Err(failed);
                }
                Ok(Crashed::Asked(name.clone()))
            }
            Err(failed) => Err(failed),
        }
    }

    /// Whether the same start of the node that was asked still answers.
    async fn is_still_there(&mut self, reach: &Reach, before: &Nodes) -> bool {
        let start = |list: &Nodes| {
            let asked = list.nodes.iter().find(|node| node.name == list.asked);
            asked.map(|node| (node.id, node.incarnation))
        };
        let briefly =
            Reach { patience: Patience::OneRound, ..Reach::briefly(reach.targets.clone()) };
        match self.nodes(&briefly).await {
            Ok(now) => start(&now) == start(before),
            // Nothing listens there.
            Err(failed) => failed.code != "unreachable",
        }
    }
}
