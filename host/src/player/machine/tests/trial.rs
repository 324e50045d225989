//! Nodes that take no copies: who waits for them, and how often.

use super::*;

const SILENT: u64 = 3;

fn disk_full() -> Result<KeeperReply, AskError> {
    Ok(KeeperReply::Refused(Refusal::Disk { reason: "full".to_owned() }))
}

impl World {
    /// A player that is served with one keeper of two, for node 3 has just refused its copy.
    fn short() -> Self {
        let mut world = Self::serving();
        world.wanted = 2;
        assert_eq!(world.feed(Event::Nodes), ["seed 3 at 1 under 1"]);
        assert_eq!(world.seed_ends(SILENT, disk_full()), Vec::<String>::new());
        assert!(world.machine.is_active());
        world
    }

    /// One call after the other, each answered by the keeper that is good, until something is due.
    fn calls_until_due(&mut self) {
        let due = self.machine.next_wake().unwrap();
        while self.now < due {
            let number = self.machine.sent + 1;
            assert_eq!(self.call(number, 1), ["execute"], "nobody waits");
            let seq = self.machine.seq().0 + 1;
            assert_eq!(self.returned(), [format!("append 2 #{number} seq{seq}")]);
            let copy = self.copy_on(2);
            let reply = Ok(KeeperReply::Acknowledged { seq: Seq(seq) });
            assert_eq!(self.feed(Event::Kept { copy, number, reply }).len(), 1);
            self.now += Duration::from_millis(500);
        }
    }
}

#[test]
fn calls_do_not_wait_for_a_node_that_never_answers_and_it_is_tried_ever_more_rarely() {
    let mut world = World::short();
    let begin = world.now;
    let mut tries = Vec::new();
    while world.now < begin + Duration::from_secs(3600) {
        world.calls_until_due();
        let told = world.feed(Event::Tick);
        if told.iter().any(|line| line.starts_with("seed 3")) {
            tries.push((world.now - begin).as_secs());
        }
        assert!(world.machine.is_active(), "it serves while it tries");
    }
    assert!((12..20).contains(&tries.len()), "in an hour: {tries:?}");
    let pauses: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses.ends_with(&[300]), "{pauses:?}");
}

#[test]
fn a_node_that_takes_a_copy_again_is_a_keeper_as_any_other() {
    let mut world = World::short();
    assert_eq!(world.wait(), ["seed 3 at 1 under 1"]);
    assert_eq!(world.call(2, 5), ["execute"]);
    assert_eq!(world.returned(), ["append 2 #2 seq2"], "the one that is tried is no keeper");
    assert_eq!(world.acknowledged_by(2, 2), ["answer 2: 5"]);
    // What it took is old by now.
    let taken = Ok(KeeperReply::Acknowledged { seq: Seq(1) });
    assert_eq!(world.seed_ends(SILENT, taken), ["seed 3 at 2 under 1"]);
    assert_eq!(world.call(3, 1), Vec::<String>::new());
    let taken = Ok(KeeperReply::Acknowledged { seq: Seq(2) });
    assert_eq!(world.seed_ends(SILENT, taken), ["change 1 -> [2, 3]"]);
    assert_eq!(world.changed(2), ["execute"]);
    assert_eq!(world.shunned.retry_at(writer(SILENT), world.now), None);
}

#[test]
fn what_one_player_has_found_out_spares_the_others_the_wait() {
    let mut first = World::short();
    let mut other = World::serving();
    other.wanted = 2;
    other.now = first.now;
    other.shunned = std::mem::take(&mut first.shunned);
    assert_eq!(other.feed(Event::Nodes), Vec::<String>::new());
    assert_eq!(other.call(2, 5), ["execute"]);
    // While one of them tries again, the others do not.
    first.shunned = std::mem::take(&mut other.shunned);
    assert_eq!(first.wait(), ["seed 3 at 1 under 1"]);
    other.now = first.now;
    other.shunned = std::mem::take(&mut first.shunned);
    other.returned();
    other.acknowledged_by(2, 2);
    assert_eq!(other.feed(Event::Tick), Vec::<String>::new());
    assert!(other.machine.next_wake().unwrap() > other.now);
}

#[test]
fn a_new_player_does_not_wait_for_a_node_that_is_shunned() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2, 3]);
    world.wanted = 2;
    world.shunned.shun(writer(SILENT), world.now);
    world.begins_with_one_keeper();
    assert_eq!(world.wait(), ["seed 3 at 1 under 1"], "it is tried when its time has come");
    assert!(world.machine.is_active());
}

#[test]
fn a_player_without_a_keeper_tries_even_a_node_that_is_shunned() {
    let mut world = World::short();
    world.set_up(&[1, 3]);
    assert_eq!(world.feed(Event::Nodes), ["seed 3 at 1 under 1"]);
    let taken = Ok(KeeperReply::Acknowledged { seq: Seq(1) });
    assert_eq!(world.seed_ends(SILENT, taken), ["change 1 -> [3]"]);
    assert_eq!(world.shunned.retry_at(writer(SILENT), world.now), None);
}

#[test]
fn a_try_that_is_fenced_by_a_newer_owner_ends_the_server_and_one_by_ourselves_does_not() {
    let fenced = |generation| {
        Ok(KeeperReply::Refused(Refusal::Fenced { generation: Generation(generation) }))
    };
    let mut world = World::short();
    assert_eq!(world.wait(), ["seed 3 at 1 under 1"]);
    assert_eq!(world.seed_ends(SILENT, fenced(1)), Vec::<String>::new());
    assert_eq!(world.wait(), ["seed 3 at 1 under 1"]);
    assert_eq!(world.seed_ends(SILENT, fenced(2)), ["close"]);
}

fn writer(node: u64) -> Writer {
    Writer { node: NodeId(node), incarnation: Incarnation(1) }
}
