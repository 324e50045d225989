//! Questions of those who watch over a whole cluster.

use super::{Ask, Attempts, Client, Failed, Problem, Reach};
use crate::clock;
use crate::protocol::{CallReply, CallRequest, NodeId, NodeName, Overview, PlayerId, PlayersPage};

impl<A: Ask> Client<A> {
    /// Asks how the cluster stands, with what has happened since these places. Returns the target that
    /// has told, too.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(in crate::cli) async fn overview(
        &mut self,
        reach: &Reach,
        after: &[(NodeId, u64)],
    ) -> Result<(Overview, String), Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now()).of_any();
        let request = |_, _| CallRequest::Overview { after: after.to_vec() };
        self.exchange(&mut attempts, reach, request, |reply| {
            let CallReply::Overview(overview) = reply else { return Err(Problem::Alien) };
            Ok(*overview)
        })
        .await
    }

    /// Asks for some players of a node, after one in order; `None` when there is no such node any more.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(in crate::cli) async fn players_of(
        &mut self,
        reach: &Reach,
        node: &NodeName,
        after: Option<&PlayerId>,
        limit: u16,
    ) -> Result<Option<PlayersPage>, Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now()).of_any();
        let request = |_, _| {
            let (node, after) = (node.clone(), after.cloned());
            CallRequest::PlayersOf { node, after, limit }
        };
        let (page, _) = self
            .exchange(&mut attempts, reach, request, |reply| {
                let CallReply::PlayersOf(page) = reply else { return Err(Problem::Alien) };
                Ok(page.ok())
            })
            .await?;
        Ok(page)
    }
}
