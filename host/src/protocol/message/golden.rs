//! Golden bytes: one line a message. A change here is a change of the wire: raise `Version`.

use super::super::{
    Ack, Arguments, Audience, Bundle, CallKey, CallStats, CodeClass, Crash, Crossing,
    DeploymentStatus, Effect, Ending, Exhibit, Export, ExportFile, FailedRestores, Fate,
    FunctionCall, FunctionShape, Handover, KeeperCopy, News, NodeStatus, Operation, Plan,
    PlayerRecord, Term, Value,
};
use super::*;
use crate::snapshot::{Delta, MemoryDelta, Run, Snapshot};

const WRITER: Writer = Writer { node: NodeId(1), incarnation: Incarnation(2) };
const COPY: CopyId = CopyId(7);
const CODE: CodeHash = CodeHash([0xcc; 32]);

fn player() -> PlayerId {
    "p1".parse().unwrap()
}

fn name() -> NodeName {
    "n1".parse().unwrap()
}

fn call() -> Call {
    Call { player: player(), key: CallKey(9), operation: Operation::Reward(Term::Integer(5)) }
}

fn record() -> Record {
    let runs = vec![Run { offset: 16, bytes: vec![5] }];
    Record {
        seq: Seq(1),
        effect: Effect { key: CallKey(9), operation: 3, value: Value::Points(5) },
        delta: Delta { memories: vec![MemoryDelta { len: 64, runs }] },
    }
}

fn state() -> PlayerState {
    let mut state = PlayerState::new(CODE, Snapshot::initial([64]));
    state.apply(&record()).unwrap();
    state
}

fn plan() -> Plan {
    let audience = Audience::Share("5%".parse().unwrap());
    let (crossing, nonce) = (Crossing::Reset, 9);
    Plan { audience, crossing, failures_max: 3, traps_max: 4, nonce, ..Plan::founding(CODE, "a") }
}

fn deploys(change: DeploymentChange) -> Request {
    Request::Directory(DirectoryRequest::Deploy(change))
}

fn deploy_request() -> DeployRequest {
    let Plan { name, audience, crossing, failures_max, traps_max, nonce, .. } = plan();
    let component = vec![1];
    let check = true;
    DeployRequest { component, name, audience, crossing, failures_max, traps_max, nonce, check }
}

fn deploy_report() -> DeployReport {
    let fate = Fate::Stranded { reason: "no".to_owned() };
    let class = CodeClass { code: CODE, name: Some("a".to_owned()), fate, players: 3 };
    let (number, classes, silent) = (Some(2), vec![class], vec![name()]);
    DeployReport { number, code: CODE, classes, silent }
}

fn deployment_listing() -> DeploymentListing {
    DeploymentListing {
        number: 2,
        code: CODE,
        name: "a".to_owned(),
        audience: Audience::Like("v*".parse().unwrap()),
        crossing: Crossing::Pin,
        status: DeploymentStatus::Withdrawn { reason: "no".to_owned() },
        players: 3,
        due: 4,
        failed: 1,
        failures: vec![(player(), "no".to_owned())],
    }
}

fn announcement() -> Announcement {
    let addr = ([127, 0, 0, 1], 4433).into();
    Announcement { id: NodeId(1), name: name(), addr, incarnation: Incarnation(2) }
}

const CANDIDACY: Candidacy = Candidacy { node: NodeId(1), incarnation: Incarnation(2), attempt: 3 };

fn muster() -> Muster {
    Muster { from: CANDIDACY, list: 5, asks: true }
}

fn mustered(stance: Stance) -> Reply {
    Reply::Member(MemberReply::Mustered(Mustered { from: NodeId(1), name: name(), stance }))
}

fn node() -> NodeRecord {
    let Announcement { id, name, addr, incarnation } = announcement();
    NodeRecord { id, name, addr, incarnation, status: NodeStatus::Up }
}

fn change() -> PlayerChange {
    let keepers = vec![KeeperCopy { node: NodeId(3), copy: COPY }];
    let (by, owner) = (WRITER, WRITER);
    let (player, expect) = (player(), Generation(4));
    PlayerChange { player, expect, by, owner, keepers, code: CODE, failed: None }
}

fn player_record() -> PlayerRecord {
    let PlayerChange { owner, keepers, code, .. } = change();
    PlayerRecord { generation: Generation(5), owner, keepers, code, failed: None }
}

fn failed() -> FailedRestores {
    FailedRestores { times: 3, seq: Seq(1), reason: "no".to_owned() }
}

fn quarantine() -> Quarantine {
    Quarantine { player: player(), owner: name(), copies: vec![name()], failed: failed() }
}

fn bundle() -> Bundle {
    let PlayerState { snapshot, .. } = state();
    let ending = Ending::Restore { times: 3, reason: "no".to_owned() };
    Bundle { player: player(), node: name(), code: CODE, seq: Seq(1), snapshot, ending }
}

fn export() -> Export {
    let PlayerState { snapshot, .. } = state();
    Export { player: player(), node: name(), code: CODE, seq: Seq(1), snapshot }
}

fn handover() -> Handover {
    let (from, to, keepers) = (name(), name(), vec![name()]);
    Handover { from, to, seq: Seq(1), generation: Generation(5), keepers }
}

fn function_call() -> FunctionCall {
    FunctionCall { function: "f".to_owned(), arguments: Arguments::Wave(vec!["1".to_owned()]) }
}

fn function_call_in_json() -> FunctionCall {
    FunctionCall { function: "f".to_owned(), arguments: Arguments::Json("[1]".into()) }
}

fn news() -> NewsItem {
    let (seq, message) = (Seq(1), "no".to_owned());
    let news = News::Trapped { player: player(), seq, message, micros: 41 };
    NewsItem { number: 5, millis: 7, node: name(), news }
}

fn stats() -> NodeStats {
    let (returned, trapped, refused, unknown, micros) = (1, 2, 3, 4, 5);
    let calls = CallStats { returned, trapped, refused, unknown, micros, buckets: vec![6] };
    NodeStats { node: name(), up_millis: 7, calls, replicated_bytes: 8, running: 9, resting: 10 }
}

fn overview() -> Overview {
    Overview {
        asked: name(),
        nodes: vec![node()],
        leader: Some(NodeId(1)),
        stats: vec![stats()],
        silent: vec![name()],
        news: vec![news()],
        places: vec![(NodeId(1), 7)],
    }
}

fn description() -> Description {
    let (name, shape) = ("f".to_owned(), "func()".to_owned());
    let function =
        FunctionShape { name, shape, docs: Some("d".to_owned()), refused: Some("r".to_owned()) };
    Description { code: CODE, functions: vec![function], left_out: 1 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares all at once, so that one run shows every line that differs.
fn check<T>(table: Vec<(T, &str)>)
where
    T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug,
{
    let mut wrong = Vec::new();
    for (message, golden) in table {
        let bytes = postcard::to_stdvec(&message).unwrap();
        assert_eq!(postcard::from_bytes::<T>(&bytes).unwrap(), message);
        if hex(&bytes) != golden.replace("CODE", &"cc".repeat(32)) {
            let found = hex(&bytes).replace(&"cc".repeat(32), "CODE");
            wrong.push(format!("{message:?}\n    is   {found}\n    not  {golden}"));
        }
    }
    assert!(wrong.is_empty(), "the wire changed:\n{}", wrong.join("\n"));
}

#[test]
fn requests_have_their_golden_bytes() {
    let (player, copy, generation, writer) = (player(), COPY, Generation(4), WRITER);
    let append = Append { player: player.clone(), copy, generation, writer, record: record() };
    let confirm = Confirm { player: player.clone(), copy, generation, writer, seq: Seq(1) };
    let seed = Seed { player: player.clone(), copy, generation, writer, state: state() };
    let fetch = Fetch { player: player.clone(), copy, generation, writer, accept: None };
    let release = Release { player: player.clone(), copy, generation, writer };
    let relay = |request| Request::Relay(Relay { to: NodeId(3), request });
    let passed = |request| Request::Passed(Passed { from: name(), request });
    let asks = |operation| {
        let call = Call { operation, ..call() };
        Request::Call(CallRequest::Call { call, deadline_ms: 100 })
    };
    let settings = SettingsChange { keepers: Some(2), ack: Some(Ack::Disk) };
    check(vec![
        (Request::Member(MemberRequest::Ping { from: writer }), "00000102"),
        (Request::Member(MemberRequest::Join(announcement())), "000101026e31007f000001d12202"),
        (Request::Member(MemberRequest::Leave { from: writer }), "00020102"),
        (Request::Member(MemberRequest::Drain { from: writer }), "00030102"),
        (Request::Member(MemberRequest::Muster(muster())), "00040102030501"),
        (Request::Directory(DirectoryRequest::AppendEntries(vec![1, 2])), "0100020102"),
        (Request::Directory(DirectoryRequest::Vote(vec![1])), "01010101"),
        (Request::Directory(DirectoryRequest::InstallSnapshot(vec![1])), "01020101"),
        (
            Request::Directory(DirectoryRequest::Change(vec![change()])),
            "0103010270310401020102010307CODE00",
        ),
        (
            Request::Directory(DirectoryRequest::Change(vec![PlayerChange {
                failed: Some(Box::new(failed())),
                ..change()
            }])),
            "0103010270310401020102010307CODE010301026e6f",
        ),
        (Request::Directory(DirectoryRequest::ReadIndex), "0104"),
        (
            Request::Keeper(KeeperRequest::Append(append)),
            "020002703107040102010903000a014001100105",
        ),
        (Request::Keeper(KeeperRequest::Confirm(confirm)), "02010270310704010201"),
        (
            Request::Keeper(KeeperRequest::Seed(seed)),
            "020202703107040102CODE010140011001050001090103000a0000",
        ),
        (Request::Keeper(KeeperRequest::Fetch(fetch.clone())), "02030270310704010200"),
        (Request::Keeper(KeeperRequest::Release(release)), "020402703107040102"),
        (
            Request::Call(CallRequest::Call { call: call(), deadline_ms: 100 }),
            "03000270310900000a64",
        ),
        (
            Request::Call(CallRequest::Forward { call: call(), deadline_ms: 100 }),
            "03010270310900000a64",
        ),
        (asks(Operation::Release), "0300027031090464"),
        (asks(Operation::Bundle(Exhibit::Quarantine)), "030002703109050164"),
        (asks(Operation::Call(function_call())), "0300027031090601660001013164"),
        (asks(Operation::Call(function_call_in_json())), "03000270310906016601035b315d64"),
        (asks(Operation::Move(name())), "03000270310907026e3164"),
        (asks(Operation::Crash), "0300027031090864"),
        (asks(Operation::Export), "0300027031090964"),
        (asks(Operation::Import(ExportFile(vec![1, 2]))), "0300027031090a02010264"),
        (Request::Call(CallRequest::Describe(Subject::New)), "030d00"),
        (Request::Call(CallRequest::Describe(Subject::Player(player.clone()))), "030d01027031"),
        (Request::Call(CallRequest::Describe(Subject::Code(CODE))), "030d02CODE"),
        (Request::Call(CallRequest::News { after: None, wait_ms: 5 }), "030e0005"),
        (Request::Call(CallRequest::News { after: Some(7), wait_ms: 5 }), "030e010705"),
        (Request::Call(CallRequest::Stats), "030f"),
        (Request::Call(CallRequest::Crash(name())), "0310026e31"),
        (
            Request::Call(CallRequest::Look { player: player.clone(), everywhere: true }),
            "031102703101",
        ),
        (Request::Call(CallRequest::Overview { after: vec![(NodeId(1), 7)] }), "0312010107"),
        (
            Request::Call(CallRequest::PlayersOf {
                node: name(),
                after: Some(player.clone()),
                limit: 5,
            }),
            "0313026e310102703105",
        ),
        (Request::Call(CallRequest::Quarantined { after: Some(player.clone()) }), "030801027031"),
        (Request::Call(CallRequest::Players { all: true, after: Some(player) }), "03020101027031"),
        (Request::Call(CallRequest::Nodes), "0303"),
        (Request::Call(CallRequest::Code(CODE)), "0304CODE"),
        (Request::Call(CallRequest::Drain), "0305"),
        (Request::Call(CallRequest::Configure(settings)), "030601020101"),
        (Request::Call(CallRequest::Traffic), "0307"),
        (
            Request::Call(CallRequest::Deploy(Box::new(deploy_request()))),
            "03090101016101f4030203040901",
        ),
        (
            Request::Call(CallRequest::RollBack { number: Some(2), reason: "no".to_owned() }),
            "030a0102026e6f",
        ),
        (Request::Call(CallRequest::Deployments), "030b"),
        (Request::Call(CallRequest::Prepare(CODE)), "030cCODE"),
        (
            deploys(DeploymentChange::Deploy { after: 1, plan: plan() }),
            "01060001CODE016101f40302030409",
        ),
        (
            deploys(DeploymentChange::Failed {
                number: 2,
                player: self::player(),
                reason: "no".to_owned(),
            }),
            "01060102027031026e6f",
        ),
        (
            deploys(DeploymentChange::Withdraw { number: 2, reason: "no".to_owned() }),
            "01060202026e6f",
        ),
        (deploys(DeploymentChange::Settle { number: 2 }), "01060302"),
        (Request::Directory(DirectoryRequest::Configure(settings)), "010501020101"),
        (relay(Relayed::Ping { from: writer }), "0403000102"),
        (relay(Relayed::Leave { from: writer }), "0403010102"),
        (relay(Relayed::Drain { from: writer }), "0403020102"),
        (relay(Relayed::Directory(DirectoryRequest::ReadIndex)), "04030304"),
        (relay(Relayed::Keeper(KeeperRequest::Fetch(fetch))), "040304030270310704010200"),
        (relay(Relayed::Call(CallRequest::Nodes)), "04030503"),
        (passed(Relayed::Ping { from: writer }), "05026e31000102"),
        (passed(Relayed::Join(announcement())), "05026e310601026e31007f000001d12202"),
    ]);
}

#[test]
fn replies_have_their_golden_bytes() {
    let refused = |refusal| Reply::Keeper(KeeperReply::Refused(refusal));
    let returned = Answer::Returned { value: Value::Points(5), seq: Seq(1), node: name() };
    let trapped = Answer::Trapped(Crash {
        message: "no".to_owned(),
        restored_seq: Seq(1),
        restore_micros: 41,
        node: name(),
        keepers: vec![name()],
    });
    let called = |result| Reply::Call(CallReply::Called(result));
    let returns = |value| called(Ok(Answer::Returned { value, seq: Seq(1), node: name() }));
    let listing = PlayerListing {
        player: player(),
        owner: name(),
        running: true,
        quarantined: false,
        keepers: vec![name()],
        generation: Generation(4),
        seq: Some(Seq(1)),
        points: Some(-5),
    };
    let conflict = ChangeOutcome::Conflict(Some(player_record()));
    let outcomes = vec![ChangeOutcome::Changed(Generation(5)), conflict];
    let settings = Settings { keepers: 2, ack: Ack::Disk };
    let report = SettingsReport { settings, applied: 8, silent: vec![name()] };
    check(vec![
        (Reply::Member(MemberReply::Pong { from: WRITER }), "00000102"),
        (
            Reply::Member(MemberReply::Joined { nodes: vec![node()] }),
            "00010101026e31007f000001d1220200",
        ),
        (Reply::Member(MemberReply::Refused(JoinRefusal::Full { nodes: 9 })), "00020109"),
        (Reply::Member(MemberReply::Noted), "0003"),
        (mustered(Stance::Member), "000401026e3100"),
        (mustered(Stance::Joins), "000401026e3101"),
        (
            mustered(Stance::Waits { at: CANDIDACY, list: 5, promised: Some(CANDIDACY) }),
            "000401026e31020102030501010203",
        ),
        (Reply::Directory(DirectoryReply::Raft(vec![1])), "01000101"),
        (
            Reply::Directory(DirectoryReply::Changed { outcomes, index: 8 }),
            "01010200050101050102010307CODE0008",
        ),
        (Reply::Directory(DirectoryReply::ReadIndex(8)), "010208"),
        (Reply::Directory(DirectoryReply::NotLeader(Some(NodeId(1)))), "01030101"),
        (Reply::Keeper(KeeperReply::Acknowledged { seq: Seq(1) }), "020001"),
        (
            Reply::Keeper(KeeperReply::Fetched(Box::new(state()))),
            "0201CODE010140011001050001090103000a0000",
        ),
        (refused(Refusal::Fenced { generation: Generation(5) }), "02020005"),
        (refused(Refusal::Gap { have: Some(Seq(1)) }), "0202010101"),
        (refused(Refusal::Stale { seq: Seq(1) }), "02020201"),
        (refused(Refusal::Full { copies: 4 }), "02020304"),
        (refused(Refusal::Disk { reason: "full".to_owned() }), "0202040466756c6c"),
        (called(Ok(returned)), "03000000000a01026e31"),
        (returns(Value::Nothing), "030000000101026e31"),
        (returns(Value::Wave("x".to_owned())), "0300000002017801026e31"),
        (
            Reply::Call(CallReply::Described(Ok(Box::new(description())))),
            "030c00CODE0101660666756e63282901016401017201",
        ),
        (
            Reply::Call(CallReply::News { items: vec![news()], next: 6 }),
            "030d010507026e310702703101026e6f2906",
        ),
        (Reply::Call(CallReply::Stats(Box::new(stats()))), "030e026e31070102030405010608090a"),
        (called(Err(CallError::NoFunction { reason: "x".to_owned() })), "030001100178"),
        (called(Err(CallError::BadArguments { reason: "x".to_owned() })), "030001110178"),
        (called(Err(CallError::AnswerGone { player: player(), seq: Seq(1) })), "0300011202703101"),
        (called(Err(CallError::NoPlayer { player: player() })), "03000113027031"),
        (
            called(Err(CallError::NotMoved {
                player: player(),
                owner: name(),
                reason: "x".to_owned(),
            })),
            "03000114027031026e310178",
        ),
        (
            called(Err(CallError::NotThere {
                player: player(),
                to: name(),
                owner: name(),
                seq: Seq(1),
            })),
            "03000115027031026e31026e3101",
        ),
        (
            called(Ok(Answer::Exported(Box::new(export())))),
            "03000006027031026e31CODE01014001100105",
        ),
        (
            called(Ok(Answer::Imported { seq: Seq(1), node: name(), keepers: vec![name()] })),
            "0300000701026e3101026e31",
        ),
        (
            called(Err(CallError::PlayerExists { player: player(), seq: Seq(1), node: name() })),
            "0300011702703101026e31",
        ),
        (called(Err(CallError::NotImported { reason: "x".to_owned() })), "030001180178"),
        (Reply::Call(CallReply::Looked(None)), "031000"),
        (
            Reply::Call(CallReply::Looked(Some(Box::new(listing.clone())))),
            "031001027031026e31010001026e310401010109",
        ),
        (
            Reply::Call(CallReply::Overview(Box::new(overview()))),
            "0311026e310101026e31007f000001d1220200010101026e31070102030405010608090a01026e3101050702\
             6e310702703101026e6f29010107",
        ),
        (
            Reply::Call(CallReply::PlayersOf(Ok(PlayersPage {
                players: vec![listing.clone()],
                next: Some(player()),
            }))),
            "03120001027031026e31010001026e31040101010901027031",
        ),
        (Reply::Call(CallReply::PlayersOf(Err(vec![name()]))), "03120101026e31"),
        (called(Err(CallError::NoNode { reason: "x".to_owned() })), "030001160178"),
        (
            Reply::Call(CallReply::Crashed(Ok(NodeCrash {
                node: name(),
                players: 3,
                copies: 4,
                down: true,
            }))),
            "030f00026e31030401",
        ),
        (called(Ok(Answer::HandedOver(Box::new(handover())))), "03000005026e31026e31010501026e31"),
        (called(Ok(trapped)), "03000001026e6f0129026e3101026e31"),
        (
            called(Ok(Answer::Released { failed: failed(), node: name() })),
            "030000030301026e6f026e31",
        ),
        (
            called(Ok(Answer::Bundled(Box::new(bundle())))),
            "03000004027031026e31CODE010140011001050103026e6f",
        ),
        (
            called(Err(CallError::Quarantined(Box::new(quarantine())))),
            "0300010d027031026e3101026e310301026e6f",
        ),
        (called(Err(CallError::NotQuarantined { player: player() })), "0300010e027031"),
        (
            called(Err(CallError::NoBundle { player: player(), node: name() })),
            "0300010f027031026e31",
        ),
        (
            Reply::Call(CallReply::Quarantined { players: vec![quarantine()], next: None }),
            "030701027031026e3101026e310301026e6f00",
        ),
        (called(Err(CallError::SingleNode { node: name() })), "03000100026e31"),
        (called(Err(CallError::Moved { player: player() })), "03000104027031"),
        (
            called(Err(CallError::Unknown { reason: "x".to_owned(), key: CallKey(9) })),
            "0300010a017809",
        ),
        (
            called(Err(CallError::KeyExpired {
                player: player(),
                key: CallKey(9),
                horizon: CallKey(10),
            })),
            "0300010b027031090a",
        ),
        (
            called(Err(CallError::KeyAhead { key: CallKey(9), node: name(), ahead_ms: 100 })),
            "0300010c09026e3164",
        ),
        (
            Reply::Call(CallReply::Players {
                players: vec![listing],
                more: false,
                silent: vec![name()],
            }),
            "030101027031026e31010001026e3104010101090001026e31",
        ),
        (
            Reply::Call(CallReply::Nodes {
                nodes: vec![node()],
                asked: name(),
                leader: Some(NodeId(1)),
                voters: vec![NodeId(1)],
            }),
            "03020101026e31007f000001d1220200026e3101010101",
        ),
        (Reply::Call(CallReply::Code(Some(vec![1]))), "0303010101"),
        (
            Reply::Call(CallReply::Drained(DrainReport {
                node: name(),
                players: 3,
                copies: 4,
                left: None,
            })),
            "0304026e31030400",
        ),
        (Reply::Directory(DirectoryReply::Configured { settings, index: 8 }), "0104020108"),
        (Reply::Call(CallReply::Settings(Ok(report))), "03050002010801026e31"),
        (Reply::Call(CallReply::Settings(Err("x".to_owned()))), "0305010178"),
        (Reply::Directory(DirectoryReply::Deployed { outcome: Ok(2), index: 8 }), "0105000208"),
        (
            Reply::Directory(DirectoryReply::Deployed {
                outcome: Err(DeploymentConflict::Last { number: 1 }),
                index: 8,
            }),
            "010501030108",
        ),
        (
            Reply::Call(CallReply::Deployed(Ok(Ok(deploy_report())))),
            "030800000102CODE01CODE01016106026e6f0301026e31",
        ),
        (Reply::Call(CallReply::Deployed(Err("x".to_owned()))), "0308010178"),
        (
            Reply::Call(CallReply::RolledBack(Ok(Err(DeployRefusal::Gone { code: CODE })))),
            "0309000106CODE",
        ),
        (
            Reply::Call(CallReply::Deployments(vec![deployment_listing()])),
            "030a0102CODE01610202762a0102026e6f03040101027031026e6f",
        ),
        (Reply::Call(CallReply::Prepared(Err("x".to_owned()))), "030b010178"),
        (Reply::Call(CallReply::Traffic(Traffic { sent: 1, received: 128 })), "0306018001"),
        (Reply::Busy, "04"),
        (Reply::Unrelayed(Unrelayed::Unreachable), "0500"),
        (Reply::Unrelayed(Unrelayed::Lost), "0501"),
        (Reply::Unrelayed(Unrelayed::Full), "0502"),
    ]);
}
