//! The keeper's task with a real store, asked by players of its own node.

use super::*;
use crate::net::{Endpoint, Identity, Secret};
use crate::protocol::{
    Append, CallKey, CodeHash, Effect, Incarnation, Operation, PlayerState, Record, Seed, Seq,
};
use crate::snapshot::{Delta, Snapshot};
use crate::storage::Store;

const WRITER: Writer = Writer { node: NodeId(1), incarnation: Incarnation(1) };

/// A directory that knows nobody.
struct Nobody;

impl Naming for Nobody {
    fn player(&self, _: &PlayerId) -> Option<PlayerRecord> {
        None
    }

    fn is_over(&self, _: Writer) -> bool {
        false
    }
}

fn player() -> PlayerId {
    "player1".parse().unwrap()
}

fn seed() -> KeeperRequest {
    KeeperRequest::Seed(Seed {
        player: player(),
        copy: CopyId(1),
        generation: Generation(1),
        writer: WRITER,
        state: PlayerState::new(CodeHash([0; 32]), Snapshot::initial([])),
    })
}

fn append(seq: u64) -> KeeperRequest {
    let effect = Effect::new(CallKey(seq.into()), &Operation::Points, 0);
    KeeperRequest::Append(Append {
        player: player(),
        copy: CopyId(1),
        generation: Generation(1),
        writer: WRITER,
        record: Record { seq: Seq(seq), effect, delta: Delta::default() },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_players_of_its_node_ask_is_served_in_order_whoever_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let settings = watch::Sender::<Settings>::default();
    let (service, inboxes) = Service::load(store.copies(), settings.subscribe(), Nobody).unwrap();
    let name = "app_node1".parse().unwrap();
    let identity = Identity::node(&Secret::generate(), &name).unwrap();
    let (links, _driver) = Links::new(Endpoint::client(identity).unwrap());
    let keepers = Keepers::new(WRITER.node, links, inboxes.local);
    let cancel = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(service.run(cancel.clone()));

    let acknowledged = |seq| Ok(KeeperReply::Acknowledged { seq: Seq(seq) });
    assert_eq!(keepers.ask(WRITER.node, seed()).await, acknowledged(0));
    // More than one commit takes. Out of order, all but the first would be refused.
    let last = BATCH_REQUESTS_MAX as u64 + 100;
    let mut replies: Vec<_> =
        (1..=last).map(|seq| (seq, keepers.ask(WRITER.node, append(seq)))).collect();
    replies.retain(|(seq, _)| seq % 2 == 0);
    while let Some((seq, reply)) = replies.pop() {
        assert_eq!(reply.await, acknowledged(seq));
    }

    // Whoever has the bell computes, and another one waits for its reply.
    let held_up = keepers.ask(WRITER.node, append(last + 1));
    let other = keepers.ask(WRITER.node, append(last + 2));
    keepers.ring();
    assert_eq!(other.await, acknowledged(last + 2));
    drop(held_up);

    let last = last + 2;
    drop(keepers.ask(WRITER.node, append(last + 1)));
    let taken = async {
        let requests = &keepers.local.requests;
        while requests.capacity() < requests.max_capacity() {
            yield_now().await;
        }
    };
    let taken = tokio::time::timeout(Duration::from_secs(20), taken).await;
    taken.expect("the keeper is called although nobody waits for the reply");
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}
