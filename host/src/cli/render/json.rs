//! Answers as programs read them. The names here are an interface: they are only ever added to.

use std::net::SocketAddr;

use serde::Serialize;

use crate::cli::client::{Failed, Nodes, Players};
use crate::http::{NodesJson, PlayerJson};
use crate::protocol::{
    CallKey, Crash, DrainReport, FailedRestores, NodeName, Outcome, Seq, SettingsReport, Value,
};

pub(super) fn returned(value: &Value, seq: Seq, node: &NodeName, key: CallKey) -> String {
    #[derive(Serialize)]
    struct Returned<'a> {
        #[serde(flatten)]
        what: What<'a>,
        seq: u64,
        node: &'a NodeName,
        key: String,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum What<'a> {
        Points(i64),
        /// WAVE; `null` when the function returns nothing.
        Result(Option<&'a str>),
    }
    let what = match value {
        Value::Points(points) => What::Points(*points),
        Value::Nothing => What::Result(None),
        Value::Wave(text) => What::Result(Some(text)),
    };
    line(&Returned { what, seq: seq.0, node, key: key.to_string() })
}

pub(super) fn trapped(crash: &Crash, key: CallKey) -> String {
    #[derive(Serialize)]
    struct Trapped<'a> {
        error: &'static str,
        message: &'a str,
        restored: Restored,
        node: &'a NodeName,
        keepers: &'a [NodeName],
        applied: bool,
        key: String,
    }
    let Crash { message, node, keepers, .. } = crash;
    line(&Trapped {
        error: "trapped",
        message,
        restored: Restored::by(crash),
        node,
        keepers,
        applied: false,
        key: key.to_string(),
    })
}

/// What a player is after it has lost its instance.
#[derive(Serialize)]
pub(super) struct Restored {
    seq: u64,
    from: &'static str,
    micros: u64,
}

impl Restored {
    pub(super) fn by(crash: &Crash) -> Self {
        Self { seq: crash.restored_seq.0, from: "memory", micros: crash.restore_micros }
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    message: &'a str,
    /// `null` when nobody knows.
    applied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

pub(super) fn failed(failed: &Failed, key: Option<CallKey>) -> String {
    let applied = match failed.outcome {
        Outcome::NotApplied => Some(false),
        Outcome::Unknown => None,
    };
    let (error, message) = (failed.code, failed.message.as_str());
    line(&Problem { error, message, applied, key: key.map(|key| key.to_string()) })
}

pub(super) fn problem(error: &str, message: &str) -> String {
    line(&Problem { error, message, applied: Some(false), key: None })
}

pub(super) fn forgotten(seq: Option<Seq>, node: &NodeName) -> String {
    #[derive(Serialize)]
    struct Forgotten<'a> {
        forgotten: bool,
        /// `null` when there was none, or none that could be read.
        seq: Option<u64>,
        node: &'a NodeName,
    }
    line(&Forgotten { forgotten: true, seq: seq.map(|seq| seq.0), node })
}

pub(super) fn released(failed: &FailedRestores, node: &NodeName) -> String {
    #[derive(Serialize)]
    struct Released<'a> {
        released: bool,
        times: u32,
        seq: u64,
        reason: &'a str,
        node: &'a NodeName,
    }
    let FailedRestores { times, seq, reason } = failed;
    line(&Released { released: true, times: *times, seq: seq.0, reason, node })
}

pub(super) fn drained(report: &DrainReport) -> String {
    #[derive(Serialize)]
    struct Drained<'a> {
        node: &'a NodeName,
        players: u64,
        copies: u64,
        /// What stays and why; `null` when nothing does.
        left: Option<&'a str>,
    }
    let DrainReport { node, players, copies, left } = report;
    line(&Drained { node, players: *players, copies: *copies, left: left.as_deref() })
}

pub(super) fn node_state(node: &NodeName, state: &str) -> String {
    #[derive(Serialize)]
    struct State<'a> {
        node: &'a NodeName,
        state: &'a str,
    }
    line(&State { node, state })
}

pub(super) fn help(help: &str) -> String {
    #[derive(Serialize)]
    struct Help<'a> {
        help: &'a str,
    }
    line(&Help { help })
}

pub(super) fn key_made(key: CallKey) -> String {
    #[derive(Serialize)]
    struct Made {
        key: String,
    }
    line(&Made { key: key.to_string() })
}

pub(super) fn ready(node: &NodeName, addr: SocketAddr, http: Option<SocketAddr>) -> String {
    #[derive(Serialize)]
    struct Ready<'a> {
        ready: &'a NodeName,
        addr: SocketAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        http: Option<SocketAddr>,
    }
    line(&Ready { ready: node, addr, http })
}

pub(super) fn players(list: &Players) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        players: Vec<PlayerJson>,
        silent: &'a [NodeName],
    }
    let players = list.players.iter().cloned().map(PlayerJson::from).collect();
    line(&List { players, silent: &list.silent })
}

pub(super) fn nodes(list: &Nodes) -> String {
    line(&NodesJson::new(&list.nodes, &list.asked, list.leader, &list.voters))
}

pub(super) fn settings(report: &SettingsReport) -> String {
    #[derive(Serialize)]
    struct Hold<'a> {
        keepers: u8,
        ack: &'static str,
        silent: &'a [NodeName],
    }
    let SettingsReport { settings, silent, .. } = report;
    line(&Hold { keepers: settings.keepers, ack: settings.ack.word(), silent })
}

pub(in crate::cli) fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs with string keys are JSON")
}
