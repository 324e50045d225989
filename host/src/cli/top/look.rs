//! Looking at the cluster again and again, through any node that is known.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::board::{Heard, PAGE_PLAYERS, Wanted};
use crate::cli::client::{Ask, Client, Failed, Reach};
use crate::protocol::{NodeId, Overview};

/// Time from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest that one question may take: long enough to go past a node that hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// One who looks.
#[derive(Debug)]
pub(super) struct Looker<'a, A> {
    client: &'a mut Client<A>,
    /// Whom the person has named.
    named: Reach,
    /// Who answered the last time, if anybody did.
    answers: Option<String>,
    /// All nodes of the cluster, when they were last seen.
    known: Vec<String>,
    /// Where the reader is in what each node tells.
    places: Vec<(NodeId, u64)>,
}

impl<'a, A: Ask> Looker<'a, A> {
    /// Returns one that begins with these nodes.
    pub(super) fn new(client: &'a mut Client<A>, named: Reach) -> Self {
        Self { client, named, answers: None, known: Vec::new(), places: Vec::new() }
    }

    /// Looks once a second, and says what is seen. What is wanted besides is asked for at once when that
    /// has changed. Ends when nobody listens any more.
    pub(super) async fn run(
        mut self,
        mut wanted: watch::Receiver<Wanted>,
        heard: mpsc::Sender<Heard>,
    ) {
        loop {
            let next = Instant::now() + LOOK_EVERY;
            let seen = self.look().await;
            let answered = seen.is_ok();
            if heard.send(told(seen.map(Heard::Overview))).await.is_err() {
                return;
            }
            let mut is_new = answered;
            loop {
                if is_new && !self.look_closer(&mut wanted, &heard).await {
                    return;
                }
                tokio::select! {
                    () = sleep_until(next) => break,
                    changed = wanted.changed() => match changed {
                        Ok(()) => is_new = true,
                        Err(_) => return,
                    },
                }
            }
        }
    }

    /// Asks how the cluster stands.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn look(&mut self) -> Result<Overview, Failed> {
        let reach = self.reach();
        match Box::pin(self.client.overview(&reach, &self.places)).await {
            Ok((overview, target)) => {
                self.answers = Some(target);
                self.known = overview.nodes.iter().map(|node| node.addr.to_string()).collect();
                self.places.clone_from(&overview.places);
                Ok(overview)
            }
            Err(failed) => {
                self.answers = None;
                Err(failed)
            }
        }
    }

    /// Asks for what is wanted besides. Returns whether anybody listens.
    async fn look_closer(
        &mut self,
        wanted: &mut watch::Receiver<Wanted>,
        heard: &mpsc::Sender<Heard>,
    ) -> bool {
        let Wanted { page, player } = wanted.borrow_and_update().clone();
        if let Some(player) = player {
            let reach = self.reach();
            let seen = Box::pin(self.client.look(&reach, &player)).await;
            let seen = told(seen.map(|seen| Heard::Player(player, seen)));
            if heard.send(seen).await.is_err() {
                return false;
            }
        }
        if let Some(page) = page {
            let reach = self.reach();
            let (node, after) = (&page.node, page.after.as_ref());
            let asked = self.client.players_of(&reach, node, after, PAGE_PLAYERS);
            let seen = Box::pin(asked).await.map(|seen| Heard::Players(page, seen));
            if heard.send(told(seen)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Returns whom to ask: who has answered, those that were named, then all others that are known.
    fn reach(&self) -> Reach {
        let all = self.answers.iter().chain(&self.named.targets).chain(&self.known);
        let mut targets: Vec<String> = Vec::new();
        for target in all {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        let deadline = self.named.deadline.min(ANSWER_WITHIN);
        Reach { targets, patience: self.named.patience, deadline }
    }
}

fn told(seen: Result<Heard, Failed>) -> Heard {
    seen.unwrap_or_else(|failed| Heard::Silence(failed.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::{Asked, Patience, Problem};
    use crate::protocol::{
        CallReply, CallRequest, Incarnation, NodeRecord, NodeStatus, Reply, Request,
    };

    /// Nodes of which only these answer.
    #[derive(Debug)]
    struct Nodes {
        alive: Vec<&'static str>,
        asked: Vec<(Vec<String>, Request)>,
    }

    impl Ask for Nodes {
        async fn ask(&mut self, targets: &[String], request: Request, _: Duration) -> Asked {
            self.asked.push((targets.to_vec(), request));
            let gone = || Problem::NotReached("gone".to_owned());
            let place = targets.iter().position(|target| self.alive.contains(&target.as_str()));
            match place {
                Some(place) => Asked {
                    passed: (0..place).map(|_| gone()).collect(),
                    reply: Ok(Reply::Call(CallReply::Overview(Box::new(overview())))),
                },
                None => Asked {
                    passed: targets[1..].iter().map(|_| gone()).collect(),
                    reply: Err(gone()),
                },
            }
        }
    }

    fn overview() -> Overview {
        let node = |n: u16| NodeRecord {
            id: NodeId(u64::from(n)),
            name: format!("app_node{n}").parse().unwrap(),
            addr: ([127, 0, 0, 1], n).into(),
            incarnation: Incarnation(1),
            status: NodeStatus::Up,
        };
        Overview {
            asked: "app_node1".parse().unwrap(),
            nodes: vec![node(1), node(2)],
            leader: None,
            stats: Vec::new(),
            silent: Vec::new(),
            news: Vec::new(),
            places: vec![(NodeId(1), 7)],
        }
    }

    #[tokio::test]
    async fn any_node_that_is_known_is_asked_when_the_named_one_is_gone() {
        let nodes = Nodes { alive: vec!["127.0.0.1:1"], asked: Vec::new() };
        let mut client = Client::new(nodes);
        let named = Reach {
            targets: vec!["127.0.0.1:1".to_owned()],
            patience: Patience::OneRound,
            deadline: Duration::from_secs(10),
        };
        let mut looker = Looker::new(&mut client, named);
        assert_eq!(looker.look().await.unwrap(), overview());
        let alone = Nodes { alive: vec!["127.0.0.1:2"], asked: Vec::new() };
        let before = std::mem::replace(&mut looker.client, Box::leak(Box::new(Client::new(alone))));
        assert_eq!(before.way().asked[0].0, ["127.0.0.1:1"]);
        assert_eq!(looker.look().await.unwrap(), overview());
        assert_eq!(looker.answers.as_deref(), Some("127.0.0.1:2"));
        let (targets, request) = &looker.client.way().asked[0];
        assert_eq!(targets, &["127.0.0.1:1", "127.0.0.1:2"]);
        let after = vec![(NodeId(1), 7)];
        assert_eq!(*request, Request::Call(CallRequest::Overview { after }), "nothing twice");
        let none = Nodes { alive: Vec::new(), asked: Vec::new() };
        looker.client = Box::leak(Box::new(Client::new(none)));
        assert_eq!(looker.look().await.unwrap_err().code, "unreachable");
        assert_eq!(looker.answers, None);
        assert_eq!(looker.reach().targets.len(), 2, "it goes on with all of them");
    }
}
