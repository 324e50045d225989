//! What the command line means, checked: the rest of the program meets no wrong value.

mod author;
mod bench;
mod check;
mod deploy;
mod error;
mod operating;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

pub(super) use self::check::Checked;
pub(super) use self::deploy::deploy as to_deploy;
pub(super) use self::error::UsageError;
use super::args::{
    Args, BundleArgs, CallArgs, Command, ConfigCommand, Failure, KeyCommand, NodeArgs,
    QuarantineCommand, ReachArgs, ReplayArgs, SecretCommand, Sources, TokenCommand,
};
use super::bench::BenchSettings;
use super::client::{Patience, Reach};
use super::dev::DevSettings;
use super::doctor::DoctorSettings;
use super::folders;
use super::new::NewGuest;
use super::question::Question;
use super::render::Format;
use super::replay::Replay;
use super::token::NewToken;
use super::top::TopSettings;
use super::workshop::Workshop;
use crate::guest::Allowance;
use crate::http::{HttpConfig, TlsFiles};
use crate::limits::{COMPONENT_BYTES_MAX, GUEST_MEMORY_BYTES_MAX, GUEST_MEMORY_BYTES_MIN};
use crate::membership::fewest_that_begin;
use crate::net::Secret;
use crate::node::NodeConfig;
use crate::protocol::{CallKey, Exhibit, NodeName, PlayerId, SettingsChange};

/// Where a node listens if nobody says otherwise, so where it is looked for.
const DEFAULT_NODE: &str = "127.0.0.1:4433";
/// Longest `--deadline`: a caller who waits longer wants to be told first.
const DEADLINE_MAX: Duration = Duration::from_secs(600);
/// Longest `--idle-after`: a day. Whoever wants no player to rest wants as many instances as players.
const IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that one run of the program needs to know.
#[derive(Debug)]
pub(super) struct Config {
    /// How answers are printed.
    pub(super) format: Format,
    /// What is logged; `None` is the task's own default.
    pub(super) log: Option<String>,
    /// What is to be done.
    pub(super) task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// Run a node.
    Node(NodeSettings),
    /// Ask a cluster once.
    Ask(AskSettings),
    /// Say what a node would use.
    Checked(Checked),
    /// Show a cluster.
    Top(TopSettings),
    /// Look at this machine.
    Doctor(DoctorSettings),
    /// Make, change or show a secret.
    Secret(SecretCommand),
    /// Make a token.
    NewToken(NewToken),
    /// Make a key.
    NewKey,
    /// Do again what is in a bundle.
    Replay(Replay),
    /// Run a throw-away cluster.
    Dev(DevSettings),
    /// Write a new guest.
    New(NewGuest),
    /// Have a shell complete commands.
    Completions(Shell),
    /// Write the manual into this folder.
    Man(PathBuf),
    /// Measure a cluster.
    Bench(BenchSettings),
}

/// A node to run.
#[derive(Debug)]
pub(super) struct NodeSettings {
    /// The node; its data folder exists.
    pub(super) config: NodeConfig,
    /// Whether the end of standard input stops it.
    pub(super) stop_with_stdin: bool,
}

/// One question.
#[derive(Debug)]
pub(super) struct AskSettings {
    /// What is asked.
    pub(super) question: Question,
    /// The key of a call, if the person gave one.
    pub(super) key: Option<CallKey>,
    /// Who is asked, for how long.
    pub(super) reach: Reach,
    /// The cluster's secret.
    pub(super) secret: Secret,
    /// Where the component is built that is to be deployed, if it is not built yet.
    pub(super) workshop: Option<Workshop>,
}

impl Config {
    /// Checks a command line. `variable` reads the environment.
    ///
    /// # Errors
    ///
    /// `UsageError`: one sentence for the person who typed it. At most folders and the secret of
    /// this machine were made.
    pub(super) fn check(
        mut args: Args,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, UsageError> {
        let sources = mem::take(&mut args.sources);
        let state = folders::state_folder(&variable);
        let checked = Self::check_words(args, &sources, state.clone(), &variable);
        checked.map_err(|error| check::blamed(error, &sources, state.as_deref()))
    }

    fn check_words(
        args: Args,
        sources: &Sources,
        state: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, UsageError> {
        let format = args.format();
        let log = log_filter(args.shared.log)?;
        let place = Place { state, secret_file: args.shared.secret_file };
        let task = match args.command {
            None => Task::Node(node(args.node, &place)?),
            Some(Command::Reward { player, points, call }) => {
                Task::Ask(call_question(Question::reward(player.parse()?, &points), call, &place)?)
            }
            Some(Command::Call { player, function, arguments, call }) => {
                let asked = Question::call(player.parse()?, function, arguments);
                Task::Ask(call_question(asked, call, &place)?)
            }
            Some(Command::Describe { player, reach }) => {
                let asked = Question::describe(player.map(|player| player.parse()).transpose()?);
                Task::Ask(question(asked, None, reach, &place)?)
            }
            Some(Command::Points { player, call }) => {
                let player: PlayerId = player.parse()?;
                Task::Ask(call_question(Question::points(player), call, &place)?)
            }
            Some(Command::Players { all, reach }) => {
                Task::Ask(question(Question::Players { all }, None, reach, &place)?)
            }
            Some(Command::Nodes { reach }) => {
                Task::Ask(question(Question::Nodes, None, reach, &place)?)
            }
            Some(Command::Recover { player, from, accept_seq, reach }) => {
                let asked = Question::recover(player.parse()?, from.parse()?, accept_seq);
                Task::Ask(question(asked, None, reach, &place)?)
            }
            Some(Command::Forget { player, reach }) => {
                Task::Ask(question(Question::forget(player.parse()?), None, reach, &place)?)
            }
            Some(Command::Quarantine { command }) => Task::Ask(quarantine(command, &place)?),
            Some(Command::Bundle(BundleArgs { player, failure: Failure::LastTrap, reach })) => {
                let asked = Question::bundle(player.parse()?, Exhibit::LastTrap);
                Task::Ask(question(asked, None, reach, &place)?)
            }
            Some(Command::Replay(ReplayArgs { bundle, guest })) => {
                Task::Replay(Replay { bundle, guest: read_named_guest(guest)? })
            }
            Some(Command::Deploy { deploy: args, reach }) => {
                let (asked, workshop) = deploy::deploy(args)?;
                let settings = question(asked, None, reach.into(), &place)?;
                Task::Ask(AskSettings { workshop, ..settings })
            }
            Some(Command::Code { command }) => {
                let (asked, reach) = deploy::code(command);
                Task::Ask(question(asked, None, reach, &place)?)
            }
            Some(Command::Drain { node, deadline }) => {
                let reach = ReachArgs { node: vec![node], deadline };
                Task::Ask(question(Question::Drain, None, reach, &place)?)
            }
            Some(Command::Set { keepers, ack, reach }) => {
                let change = SettingsChange::parse(keepers.as_deref(), ack.as_deref())?;
                Task::Ask(question(Question::Set(change), None, reach, &place)?)
            }
            Some(Command::Config { command: ConfigCommand::Check { checked: _, node } }) => {
                Task::Checked(Checked::new(*node, sources, &place)?)
            }
            Some(Command::Doctor { file: _, node }) => Task::Doctor(DoctorSettings {
                plan: NodePlan::new(*node, &place)?,
                config: sources.path().map(Path::to_owned),
                secret_file: place.secret_file().ok(),
                is_secret_named: place.secret_file.is_some(),
                state: place.state,
            }),
            Some(Command::Secret { command }) => Task::Secret(command),
            Some(Command::Token { command: TokenCommand::New { scope, days } }) => {
                let (scope, secret) = (scope.into(), place.secret()?);
                Task::NewToken(NewToken { scope, days, secret })
            }
            Some(Command::Key { command: KeyCommand::New }) => Task::NewKey,
            Some(Command::Dev(args)) => Task::Dev(author::dev(args, log.clone())?),
            Some(Command::New(args)) => Task::New(NewGuest::plan(args.folder, args.lang)?),
            Some(Command::Completions { shell }) => Task::Completions(shell),
            Some(Command::Man { folder }) => Task::Man(folder),
            Some(Command::Bench(args)) => Task::Bench(bench::bench(args, log.clone(), &place)?),
            Some(Command::Watch(args)) => Task::Ask(operating::watch(args, &place)?),
            Some(Command::Top(args)) => Task::Top(operating::top(args, format, &place)?),
            Some(Command::Export(args)) => Task::Ask(operating::export(args, &place)?),
            Some(Command::Import(args)) => Task::Ask(operating::import(args, &place)?),
            Some(Command::Crash(args)) => Task::Ask(operating::crash(args, &place, &variable)?),
            Some(Command::Move(args)) => Task::Ask(operating::move_player(args, &place)?),
        };
        Ok(Self { format, log, task })
    }
}

impl Args {
    /// Returns how answers are printed.
    pub(super) fn format(&self) -> Format {
        if self.shared.json { Format::Json } else { Format::Text }
    }
}

/// Where files are.
struct Place {
    state: Option<PathBuf>,
    secret_file: Option<PathBuf>,
}

impl Place {
    fn state(&self) -> Result<&Path, UsageError> {
        self.state.as_deref().ok_or(UsageError::NoStateFolder)
    }

    /// Reads the named secret, or the one of this machine, which is made if there is none yet.
    fn secret(&self) -> Result<Secret, UsageError> {
        let file = self.secret_file()?;
        if self.secret_file.is_some() {
            return Ok(Secret::load(&file)?);
        }
        create(self.state()?)?;
        Ok(Secret::load_or_create(&file)?)
    }

    fn secret_file(&self) -> Result<PathBuf, UsageError> {
        match &self.secret_file {
            Some(file) => Ok(file.clone()),
            None => Ok(self.state()?.join("local.secret")),
        }
    }
}

/// A node as it was described, and nothing of this machine was looked at.
#[derive(Debug)]
pub(super) struct NodePlan {
    pub(super) name: Option<NodeName>,
    pub(super) listen: SocketAddr,
    pub(super) joins: Vec<String>,
    bootstrap_expect: Option<usize>,
    /// Nothing where neither a flag nor the name says it.
    pub(super) data_dir: Option<PathBuf>,
    pub(super) guest: Option<PathBuf>,
    pub(super) settings: SettingsChange,
    idle_after: Duration,
    pub(super) instances_max: usize,
    pub(super) allowance: Allowance,
    pub(super) http: Option<HttpConfig>,
    stop_with_stdin: bool,
}

impl NodePlan {
    fn new(args: NodeArgs, place: &Place) -> Result<Self, UsageError> {
        let name: Option<NodeName> = args.name.map(|name| name.parse()).transpose()?;
        let listen: SocketAddr =
            args.listen.parse().map_err(|_| UsageError::Listen { given: args.listen.clone() })?;
        if listen.ip().is_unspecified() {
            return Err(UsageError::Unspecified { given: listen });
        }
        if place.secret_file.is_none() && !listen.ip().is_loopback() {
            return Err(UsageError::SecretNeeded { listen });
        }
        args.join.iter().try_for_each(|join| check_address(join))?;
        let bootstrap_expect = bootstrap(args.bootstrap_expect, &args.join)?;
        let settings = SettingsChange::parse(args.keepers.as_deref(), args.ack.as_deref())?;
        let idle_after = parse_idle_time(&args.idle_after)?;
        let instances_max = usize::try_from(args.instances_max).unwrap_or(usize::MAX);
        let allowance = allowance(&args.guest_memory, args.memory.as_deref())?;
        let http = http(args.http, args.http_cert.zip(args.http_key), args.http_rate)?;
        let in_state = || Some(place.state.as_deref()?.join(name.as_ref()?.as_str()));
        let data_dir = args.data_dir.or_else(in_state);
        let (guest, stop_with_stdin) = (args.guest, args.stop_with_stdin);
        let joins = args.join;
        Ok(Self {
            name,
            listen,
            joins,
            bootstrap_expect,
            data_dir,
            guest,
            settings,
            idle_after,
            instances_max,
            allowance,
            http,
            stop_with_stdin,
        })
    }
}

fn node(args: NodeArgs, place: &Place) -> Result<NodeSettings, UsageError> {
    let plan = NodePlan::new(args, place)?;
    let name = plan.name.ok_or(UsageError::NoName)?;
    let guest = read_named_guest(plan.guest)?;
    let data_dir = plan.data_dir.ok_or(UsageError::NoStateFolder)?;
    let (secret, secret_file) = (place.secret()?, place.secret_file()?);
    create(&data_dir)?;
    let config = NodeConfig {
        name,
        listen: plan.listen,
        joins: plan.joins,
        bootstrap_expect: plan.bootstrap_expect,
        data_dir,
        guest,
        settings: plan.settings,
        idle_after: plan.idle_after,
        instances_max: plan.instances_max,
        allowance: plan.allowance,
        http: plan.http,
        secret,
        secret_file,
    };
    Ok(NodeSettings { config, stop_with_stdin: plan.stop_with_stdin })
}

/// Checks for how many of these nodes it is to wait: so many that two clusters cannot begin.
fn bootstrap(expect: Option<u32>, joins: &[String]) -> Result<Option<usize>, UsageError> {
    let Some(expect) = expect else { return Ok(None) };
    let (given, listed) = (expect as usize, joins.iter().collect::<BTreeSet<_>>().len());
    let fewest = fewest_that_begin(listed);
    if (fewest..=listed).contains(&given) {
        Ok(Some(given))
    } else {
        Err(UsageError::BootstrapExpect { given, listed, fewest })
    }
}

/// Checks how a node is to speak HTTP. Whether the files can be used is found out when it starts.
fn http(
    listen: Option<String>,
    tls: Option<(PathBuf, PathBuf)>,
    rate: Option<NonZeroU32>,
) -> Result<Option<HttpConfig>, UsageError> {
    let Some(given) = listen else { return Ok(None) };
    let listen = given.parse().map_err(|_| UsageError::Http { given })?;
    let tls = tls.map(|(certificate, key)| TlsFiles { certificate, key });
    Ok(Some(HttpConfig { listen, tls, rate }))
}

fn quarantine(command: QuarantineCommand, place: &Place) -> Result<AskSettings, UsageError> {
    let (asked, reach) = match command {
        QuarantineCommand::List { reach } => (Question::Quarantined, reach),
        QuarantineCommand::Release { player, reach } => (Question::release(player.parse()?), reach),
        QuarantineCommand::Export { player, reach } => {
            (Question::bundle(player.parse()?, Exhibit::Quarantine), reach)
        }
    };
    question(asked, None, reach, place)
}

fn call_question(call: Question, args: CallArgs, place: &Place) -> Result<AskSettings, UsageError> {
    let key = args.key.map(|key| key.parse()).transpose()?;
    question(call, key, args.reach, place)
}

fn question(
    question: Question,
    key: Option<CallKey>,
    args: ReachArgs,
    place: &Place,
) -> Result<AskSettings, UsageError> {
    let reach = reach_of(args, place)?;
    Ok(AskSettings { question, key, reach, secret: place.secret()?, workshop: None })
}

fn reach_of(args: ReachArgs, place: &Place) -> Result<Reach, UsageError> {
    args.node.iter().try_for_each(|node| check_address(node))?;
    let deadline = parse_time(&args.deadline)?;
    let (targets, patience) = if args.node.is_empty() {
        (local_targets(place), Patience::OneRound)
    } else {
        (args.node, Patience::UntilDeadline)
    };
    Ok(Reach { targets, patience, deadline })
}

/// The nodes that left an address on this machine, and the place where one is by default.
fn local_targets(place: &Place) -> Vec<String> {
    let found = place.state.as_deref().map(folders::local_nodes).unwrap_or_default();
    let mut targets: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
    if !targets.iter().any(|target| target == DEFAULT_NODE) {
        targets.push(DEFAULT_NODE.to_owned());
    }
    targets
}

fn log_filter(given: Option<String>) -> Result<Option<String>, UsageError> {
    let log = given.filter(|log| !log.is_empty());
    if let Some(filter) = &log {
        EnvFilter::try_new(filter)
            .map_err(|source| UsageError::Log { given: filter.clone(), source })?;
    }
    Ok(log)
}

fn read_named_guest(path: Option<PathBuf>) -> Result<Option<(PathBuf, Vec<u8>)>, UsageError> {
    let Some(path) = path else { return Ok(None) };
    let code = read_guest(&path)?;
    Ok(Some((path, code)))
}

/// Reads a file that looks like a guest.
///
/// # Errors
///
/// `GuestFile`, `GuestSize`, `GuestFolder` or `NotWasm`.
pub(super) fn read_guest(path: &Path) -> Result<Vec<u8>, UsageError> {
    let unreadable = |source| UsageError::GuestFile { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(UsageError::GuestFolder { path: path.to_owned() });
    }
    let len = metadata.len();
    if len > COMPONENT_BYTES_MAX as u64 {
        return Err(UsageError::GuestSize { path: path.to_owned(), len });
    }
    let code = fs::read(path).map_err(unreadable)?;
    if !code.starts_with(b"\0asm") {
        return Err(UsageError::NotWasm { path: path.to_owned() });
    }
    Ok(code)
}

fn create(folder: &Path) -> Result<(), UsageError> {
    folders::create_private(folder)
        .map_err(|source| UsageError::Folder { path: folder.to_owned(), source })
}

/// Checks the shape `host:port`. Whether the host exists is found out when it is asked.
fn check_address(given: &str) -> Result<(), UsageError> {
    let fits = given.rsplit_once(':').is_some_and(|(host, port)| {
        // A colon in the host is an IPv6 address without its brackets, or with wrong ones.
        let odd = |c: char| c.is_whitespace() || [':', '/', '[', ']'].contains(&c);
        let named = !host.is_empty() && !host.contains(odd);
        (named || given.parse::<SocketAddr>().is_ok())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if fits { Ok(()) } else { Err(UsageError::Address { given: given.to_owned() }) }
}

fn parse_time(given: &str) -> Result<Duration, UsageError> {
    time_up_to(DEADLINE_MAX, given).ok_or_else(|| UsageError::Deadline { given: given.to_owned() })
}

fn parse_idle_time(given: &str) -> Result<Duration, UsageError> {
    time_up_to(IDLE_MAX, given).ok_or_else(|| UsageError::IdleTime { given: given.to_owned() })
}

fn allowance(guest_memory: &str, memory: Option<&str>) -> Result<Allowance, UsageError> {
    let mut allowance = Allowance::default();
    let wrong = |flag, given: &str| UsageError::Size { flag, given: given.to_owned() };
    let instance = size(guest_memory).and_then(|bytes| usize::try_from(bytes).ok());
    allowance.instance_bytes = instance
        .filter(|bytes| (GUEST_MEMORY_BYTES_MIN..=GUEST_MEMORY_BYTES_MAX).contains(bytes))
        .ok_or_else(|| wrong("--guest-memory", guest_memory))?;
    if let Some(given) = memory {
        allowance.process_bytes = size(given).ok_or_else(|| wrong("--memory", given))?;
    }
    Ok(allowance)
}

/// Reads a size: `64MiB`, `6GiB`.
fn size(given: &str) -> Option<u64> {
    let digits = given.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = given.split_at(digits);
    let unit_bytes: u64 = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_bytes).filter(|bytes| *bytes > 0)
}

/// Reads a time: `500ms`, `10s`, `2m`, or a bare number of seconds.
fn time_up_to(max: Duration, given: &str) -> Option<Duration> {
    let digits = given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len());
    let (number, unit) = given.split_at(digits);
    let number = number.parse::<u32>().ok().map(u64::from);
    let time = match (number, unit) {
        (Some(number), "ms") => Some(Duration::from_millis(number)),
        (Some(number), "s" | "") => Some(Duration::from_secs(number)),
        (Some(number), "m") => Some(Duration::from_secs(number * 60)),
        _ => None,
    };
    time.filter(|time| !time.is_zero() && *time <= max)
}

#[cfg(test)]
mod tests;
