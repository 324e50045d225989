//! Equals in any order of messages, deaths and restarts.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::protocol::Incarnation;

fn list(nodes: usize) -> Vec<String> {
    (0..nodes).map(|at| format!("n{at}:1")).collect()
}

fn founding(at: usize, incarnation: u64, nodes: usize, expect: usize) -> Founding {
    let me = Writer { node: NodeId(at as u64 + 1), incarnation: Incarnation(incarnation) };
    Founding::new(me, name(at), &list(nodes), expect, None)
}

fn name(at: usize) -> NodeName {
    format!("n{at}").parse().unwrap()
}

/// A message on its way, which may come late, or never.
#[derive(Debug, Clone)]
enum Letter {
    Ask {
        to: usize,
        muster: Muster,
    },
    /// Who answers, to whom, in which attempt of that one, and what.
    Answer {
        from: usize,
        to: usize,
        asked: Muster,
        stance: Stance,
    },
}

/// One node, with what is on its disk.
struct Equal {
    running: Option<Running>,
    incarnation: u64,
    promised: Option<Candidacy>,
    begun: bool,
}

struct Running {
    founding: Founding,
    /// Those that waited when it asked last.
    waiting: BTreeSet<(NodeName, NodeId)>,
    /// What it was promised in the attempt that it stands in.
    promises: Option<Vec<(NodeId, Option<Candidacy>)>>,
}

struct World {
    equals: Vec<Equal>,
    expect: usize,
    letters: Vec<Letter>,
    /// Whether promises are not written down.
    forgets: bool,
}

impl World {
    fn new(nodes: usize, expect: usize) -> Self {
        let equal = |_| Equal { running: None, incarnation: 0, promised: None, begun: false };
        Self {
            equals: (0..nodes).map(equal).collect(),
            expect,
            letters: Vec::new(),
            forgets: false,
        }
    }

    fn begun(&self) -> usize {
        self.equals.iter().filter(|equal| equal.begun).count()
    }

    fn start(&mut self, at: usize) {
        let nodes = self.equals.len();
        let equal = &mut self.equals[at];
        if equal.running.is_some() || equal.begun {
            return;
        }
        equal.incarnation += 1;
        let me =
            Writer { node: NodeId(at as u64 + 1), incarnation: Incarnation(equal.incarnation) };
        let founding = Founding::new(me, name(at), &list(nodes), self.expect, equal.promised);
        equal.running = Some(Running { founding, waiting: BTreeSet::new(), promises: None });
    }

    fn kill(&mut self, at: usize) {
        self.equals[at].running = None;
    }

    /// Asks those that `reached` says.
    fn ask(&mut self, at: usize, reached: impl Fn(usize) -> bool) {
        let nodes = self.equals.len();
        let Some(running) = &mut self.equals[at].running else { return };
        running.waiting.clear();
        let muster = running.founding.muster(false);
        let others = (0..nodes).filter(|other| *other != at && reached(*other));
        self.letters.extend(others.map(|to| Letter::Ask { to, muster }));
    }

    fn stand(&mut self, at: usize) {
        let Some(running) = &mut self.equals[at].running else { return };
        if running.promises.is_some() || !running.founding.stand(&running.waiting) {
            return;
        }
        running.promises = Some(Vec::new());
        let muster = running.founding.muster(true);
        let asked = running.waiting.iter().map(|(_, id)| usize::try_from(id.0).unwrap() - 1);
        self.letters.extend(asked.map(|to| Letter::Ask { to, muster }));
    }

    fn settle(&mut self, at: usize) {
        let equal = &mut self.equals[at];
        let Some(running) = &mut equal.running else { return };
        let Some(promises) = &running.promises else { return };
        if running.founding.begins(promises.iter().copied()) {
            equal.begun = true;
            equal.running = None;
        } else {
            running.promises = None;
            running.founding.give_up();
        }
    }

    fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Ask { to, muster } => {
                let equal = &mut self.equals[to];
                // Who has begun is not asked to promise anything; the rule must not need that.
                let Some(running) = &mut equal.running else { return };
                let stance = running.founding.handle_muster(&muster);
                if !self.forgets {
                    equal.promised = running.founding.promised();
                }
                let asker = usize::try_from(muster.from.node.0).unwrap() - 1;
                self.letters.push(Letter::Answer { from: to, to: asker, asked: muster, stance });
            }
            Letter::Answer { from, to, asked, stance } => {
                let Some(running) = &mut self.equals[to].running else { return };
                let Stance::Waits { at, promised, .. } = stance else { return };
                running.founding.handle_heard(at);
                let id = NodeId(from as u64 + 1);
                if asked.asks {
                    // Answers of another attempt are heard, too: their promise is another one.
                    if let Some(promises) = &mut running.promises {
                        promises.push((id, promised));
                    }
                } else {
                    running.waiting.insert((name(from), id));
                }
            }
        }
    }

    /// Lets all run and reach each other, as often as it takes. Returns how many rounds it took.
    fn calm_down(&mut self) -> usize {
        for round in 1..20 {
            (0..self.equals.len()).for_each(|at| self.start(at));
            for at in 0..self.equals.len() {
                self.ask(at, |_| true);
                self.deliver_all();
            }
            for at in 0..self.equals.len() {
                self.stand(at);
                self.deliver_all();
                self.settle(at);
            }
            if self.begun() > 0 {
                return round;
            }
        }
        panic!("nobody begins")
    }

    fn deliver_all(&mut self) {
        while let Some(letter) = self.letters.pop() {
            self.deliver(letter);
        }
    }
}

/// What happens next; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Event {
    Start(usize),
    Kill(usize),
    Ask(usize, u8),
    Stand(usize),
    Settle(usize),
    Deliver(usize),
    Lose(usize),
    Repeat(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let node = || 0..5usize;
    let letter = || any::<prop::sample::Index>().prop_map(|index| index.index(1000));
    prop_oneof![
        3 => node().prop_map(Event::Start),
        1 => node().prop_map(Event::Kill),
        4 => (node(), any::<u8>()).prop_map(|(at, reached)| Event::Ask(at, reached)),
        3 => node().prop_map(Event::Stand),
        2 => node().prop_map(Event::Settle),
        12 => letter().prop_map(Event::Deliver),
        1 => letter().prop_map(Event::Lose),
        1 => letter().prop_map(Event::Repeat),
    ]
}

fn play(world: &mut World, events: Vec<Event>) {
    let nodes = world.equals.len();
    for event in events {
        let letters = world.letters.len().max(1);
        match event {
            Event::Start(at) => world.start(at % nodes),
            Event::Kill(at) => world.kill(at % nodes),
            Event::Ask(at, reached) => world.ask(at % nodes, |other| reached >> other & 1 == 1),
            Event::Stand(at) => world.stand(at % nodes),
            Event::Settle(at) => world.settle(at % nodes),
            Event::Deliver(at) if at % letters < world.letters.len() => {
                let letter = world.letters.swap_remove(at % letters);
                world.deliver(letter);
            }
            Event::Lose(at) if at % letters < world.letters.len() => {
                world.letters.swap_remove(at % letters);
            }
            Event::Repeat(at) if at % letters < world.letters.len() => {
                let letter = world.letters[at % letters].clone();
                world.deliver(letter);
            }
            Event::Deliver(_) | Event::Lose(_) | Event::Repeat(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn two_never_begin_and_in_the_end_one_does(
        (nodes, expect) in (1usize..=5).prop_flat_map(|nodes| {
            (Just(nodes), fewest_that_begin(nodes)..=nodes)
        }),
        events in prop::collection::vec(event(), 0..300),
    ) {
        let mut world = World::new(nodes, expect);
        play(&mut world, events);
        prop_assert!(world.begun() <= 1, "{} begin", world.begun());
        if world.begun() == 0 {
            world.calm_down();
        }
        prop_assert_eq!(world.begun(), 1);
    }
}

#[test]
fn the_events_above_lead_to_a_begin_in_every_way() {
    // Otherwise the test above would show nothing.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(event(), 200..300);
    let (mut begun, mut freed) = (BTreeSet::new(), 0);
    for _ in 0..2000 {
        let events = strategy.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(3, 2);
        play(&mut world, events);
        begun.extend(world.equals.iter().position(|equal| equal.begun));
        let attempts = world.equals.iter().filter_map(|equal| equal.running.as_ref());
        freed += attempts.filter(|running| running.founding.me.attempt > 1).count();
    }
    assert_eq!(begun, BTreeSet::from([0, 1]), "the largest of three never is the smallest of two");
    assert!(freed > 100, "{freed}");
}

#[test]
fn promises_that_are_forgotten_are_noticed() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(event(), 300..301);
    let two_begin = (0..20_000).any(|_| {
        let events = strategy.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(3, 2);
        world.forgets = true;
        play(&mut world, events);
        world.begun() == 2
    });
    assert!(two_begin);
}

#[test]
fn the_smallest_of_enough_begins_and_the_others_do_not_even_stand() {
    let mut world = World::new(3, 3);
    assert_eq!(world.calm_down(), 1);
    assert!(world.equals[0].begun);
}

#[test]
fn too_few_wait() {
    let mut first = founding(0, 1, 3, 3);
    assert!(!first.stand(&BTreeSet::from([(name(1), NodeId(2))])));
    let all = BTreeSet::from([(name(1), NodeId(2)), (name(2), NodeId(3))]);
    assert!(
        !founding(1, 1, 3, 3).stand(&BTreeSet::from([(name(0), NodeId(1)), (name(2), NodeId(3))]))
    );
    assert!(first.stand(&all));
    assert!(!first.begins([(NodeId(2), Some(first.me))]), "one promise is missing");
    // The same node twice is one.
    assert!(!first.begins([(NodeId(2), Some(first.me)), (NodeId(2), Some(first.me))]));
    assert!(!first.begins([(NodeId(2), Some(first.me)), (NodeId(1), Some(first.me))]));
    assert!(first.begins([(NodeId(2), Some(first.me)), (NodeId(3), Some(first.me))]));
}

#[test]
fn a_promise_outlives_a_restart_and_ends_with_the_attempt_that_it_is_for() {
    let mut standing = founding(0, 1, 3, 2);
    let mut promising = founding(2, 1, 3, 2);
    let asked = standing.muster(true);
    promising.handle_muster(&asked);
    assert_eq!(promising.promised(), Some(standing.me));
    let me = Writer { node: NodeId(3), incarnation: Incarnation(2) };
    let mut again = Founding::new(me, name(2), &list(3), 2, promising.promised());
    let other = founding(1, 1, 3, 2).muster(true);
    let refused =
        |stance| matches!(stance, Stance::Waits { promised: Some(p), .. } if p == asked.from);
    assert!(refused(again.handle_muster(&other)));
    // Another node's attempt, or a late word of an earlier one, frees nothing.
    again.handle_heard(Candidacy { incarnation: Incarnation(9), ..other.from });
    again.handle_heard(Candidacy { attempt: 0, ..asked.from });
    assert!(refused(again.handle_muster(&other)));
    standing.give_up();
    again.handle_muster(&standing.muster(false));
    again.handle_muster(&other);
    assert_eq!(again.promised(), Some(other.from));
    again.handle_heard(Candidacy { incarnation: Incarnation(2), ..other.from });
    assert_eq!(again.promised(), None, "it was started again");
}

#[test]
fn other_lists_and_other_numbers_are_promised_nothing() {
    let mut first = founding(0, 1, 3, 3);
    for other in [founding(1, 1, 3, 2), founding(1, 1, 4, 3)] {
        assert!(!first.is_equal(other.list));
        first.handle_muster(&other.muster(true));
        assert_eq!(first.promised(), None);
    }
    let me = Writer { node: NodeId(2), incarnation: Incarnation(1) };
    let turned: Vec<_> = list(3).into_iter().rev().chain(list(3)).collect();
    let turned = Founding::new(me, name(1), &turned, 3, None);
    assert!(first.is_equal(turned.list), "the order does not matter, nor what stands there twice");
}
