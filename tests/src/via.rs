//! One-shot commands through a node, as a person types them.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::answers::{
    Deployed, Deployment, Deployments, HandedOver, InQuarantine, Listed, NodeSeen, Nodes, Players,
    Quarantined, Returned, Settings, Silent,
};
use crate::cluster::path;
use crate::command::{Ran, Running, spawn_host, spawn_host_writing};

/// A way to ask: through which nodes, with which secret, how.
#[derive(Debug, Clone)]
pub struct Via {
    nodes: Vec<SocketAddr>,
    secret: PathBuf,
    key: Option<String>,
    deadline: Option<String>,
    json: bool,
}

impl Via {
    /// Asks through these nodes in turn, for JSON.
    pub fn new(nodes: Vec<SocketAddr>, secret: PathBuf) -> Self {
        Self { nodes, secret, key: None, deadline: None, json: true }
    }

    /// With this key, as `host key new` prints one.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this deadline, such as `3s`.
    #[must_use]
    pub fn within(mut self, deadline: impl Into<String>) -> Self {
        self.deadline = Some(deadline.into());
        self
    }

    /// If the nodes so far do not answer, through those of another way.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.nodes.extend(&other.nodes);
        self
    }

    /// For the text that people read.
    #[must_use]
    pub fn as_text(mut self) -> Self {
        self.json = false;
        self
    }

    /// Rewards a player and returns how the command ended.
    #[track_caller]
    pub fn reward(&self, player: &str, points: impl Display) -> Ran {
        self.start_reward(player, points).finish()
    }

    /// Starts to reward a player.
    #[track_caller]
    pub fn start_reward(&self, player: &str, points: impl Display) -> Running {
        self.start(&["reward", player, &points.to_string()])
    }

    /// Rewards a player and returns the answer.
    ///
    /// # Panics
    ///
    /// When the answer is not the guest's.
    #[track_caller]
    pub fn rewarded(&self, player: &str, points: impl Display) -> Returned {
        expect(self.reward(player, points).done())
    }

    /// Calls any function of a player and returns how the command ended.
    #[track_caller]
    pub fn call(&self, player: &str, function: &str, arguments: &[&str]) -> Ran {
        self.start(&[&["call", player, function], arguments].concat()).finish()
    }

    /// Asks for the functions of a player's code, or of the code of new players.
    #[track_caller]
    pub fn describe(&self, player: Option<&str>) -> Ran {
        self.start(&[&["describe"], player.as_slice()].concat()).finish()
    }

    /// Asks for one picture of the cluster.
    #[track_caller]
    pub fn top(&self) -> Ran {
        self.start(&["top", "--once"]).finish()
    }

    /// Returns a player's points.
    ///
    /// # Panics
    ///
    /// When the answer is not the guest's.
    #[track_caller]
    pub fn points(&self, player: &str) -> i64 {
        expect(self.try_points(player))
    }

    /// Returns a player's points.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer.
    pub fn try_points(&self, player: &str) -> Result<i64, String> {
        Ok(self.start(&["points", player]).finish().done::<Returned>()?.points)
    }

    /// Returns the players that run on the asked node.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer.
    #[track_caller]
    pub fn try_players(&self) -> Result<Vec<Listed>, String> {
        let page: Players = self.start(&["players"]).finish().done()?;
        Ok(page.players)
    }

    /// Returns all players, and fails if a node was silent about its own.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer.
    #[track_caller]
    pub fn try_all_players(&self) -> Result<Vec<Listed>, String> {
        let page: Players = self.start(&["players", "--all"]).finish().done()?;
        if page.silent.is_empty() { Ok(page.players) } else { Err(format!("silent: {page:?}")) }
    }

    /// Returns one player as the directory knows it, also while its node is silent.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer or does not list the player.
    #[track_caller]
    pub fn try_player(&self, player: &str) -> Result<Listed, String> {
        let page: Players = self.start(&["players", "--all"]).finish().done()?;
        let seen = format!("{player} is not in {page:?}");
        page.players.into_iter().find(|listed| listed.player == player).ok_or(seen)
    }

    /// Returns the players that run on the asked node.
    ///
    /// # Panics
    ///
    /// When the command did not answer.
    #[track_caller]
    pub fn players(&self) -> Vec<Listed> {
        expect(self.try_players())
    }

    /// Returns all players.
    ///
    /// # Panics
    ///
    /// When the command did not answer, or a node was silent.
    #[track_caller]
    pub fn all_players(&self) -> Vec<Listed> {
        expect(self.try_all_players())
    }

    /// Returns one player as the directory knows it.
    ///
    /// # Panics
    ///
    /// When the command did not answer or does not list the player.
    #[track_caller]
    pub fn player(&self, player: &str) -> Listed {
        expect(self.try_player(player))
    }

    /// Returns all nodes as the asked one sees them.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer.
    #[track_caller]
    pub fn try_nodes(&self) -> Result<Vec<NodeSeen>, String> {
        let nodes: Nodes = self.start(&["nodes"]).finish().done()?;
        Ok(nodes.nodes)
    }

    /// Takes a copy that may miss calls.
    #[track_caller]
    pub fn recover(&self, player: &str, from: &str, seq: u64) -> Ran {
        let seq = seq.to_string();
        self.start(&["recover", player, "--from", from, "--accept-seq", &seq]).finish()
    }

    /// Ends a player.
    #[track_caller]
    pub fn forget(&self, player: &str) -> Ran {
        self.start(&["forget", player]).finish()
    }

    /// Returns the players in quarantine.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer.
    pub fn try_quarantined(&self) -> Result<Vec<Quarantined>, String> {
        let list: InQuarantine = self.start(&["quarantine", "list"]).finish().done()?;
        Ok(list.quarantined)
    }

    /// Ends a player's quarantine.
    #[track_caller]
    pub fn release(&self, player: &str) -> Ran {
        self.start(&["quarantine", "release", player]).finish()
    }

    /// Writes the state of a player in quarantine to a file.
    #[track_caller]
    pub fn export(&self, player: &str, file: &Path) -> Ran {
        self.write(&["quarantine", "export", player], file)
    }

    /// Writes a player's last trap to a file.
    #[track_caller]
    pub fn bundle(&self, player: &str, file: &Path) -> Ran {
        self.write(&["bundle", player, "last-trap"], file)
    }

    /// Starts to put a load on the asked node's cluster, with these flags of `host bench`.
    #[track_caller]
    pub fn start_bench(&self, flags: &[&str]) -> Running {
        self.start(&[&["bench"], flags].concat())
    }

    /// Starts to deploy what is in a file.
    #[track_caller]
    pub fn start_deploy(&self, file: &Path, flags: &[&str]) -> Running {
        self.start(&[&["deploy", path(file)], flags].concat())
    }

    /// Deploys what is in a file and returns what came of it.
    ///
    /// # Panics
    ///
    /// When it was not deployed, or was taken back.
    #[track_caller]
    pub fn deployed(&self, file: &Path, flags: &[&str]) -> Deployed {
        expect(self.start_deploy(file, flags).finish().done())
    }

    /// Returns the deployments, newest first.
    ///
    /// # Errors
    ///
    /// With what the command wrote, when it did not answer.
    #[track_caller]
    pub fn try_deployments(&self) -> Result<Vec<Deployment>, String> {
        let list: Deployments = self.start(&["code", "list"]).finish().done()?;
        Ok(list.deployments)
    }

    /// Takes the newest deployment back.
    #[track_caller]
    pub fn roll_back(&self) -> Ran {
        self.start(&["code", "rollback"]).finish()
    }

    /// Has another node own a player, and returns how the command ended.
    #[track_caller]
    pub fn move_to(&self, player: &str, to: &str) -> Ran {
        self.start(&["move", player, "--to", to]).finish()
    }

    /// Has another node own a player.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn moved(&self, player: &str, to: &str) -> HandedOver {
        expect(self.move_to(player, to).done())
    }

    /// Throws a player's instance away, and returns how the command ended.
    #[track_caller]
    pub fn crash(&self, player: &str) -> Ran {
        self.start(&["crash", player]).finish()
    }

    /// Writes a player's state to a file.
    #[track_caller]
    pub fn export_player(&self, player: &str, file: &Path) -> Ran {
        self.write(&["export", player], file)
    }

    /// Begins a player with what is in a file.
    #[track_caller]
    pub fn import(&self, player: &str, file: &Path) -> Ran {
        self.start(&["import", player, path(file)]).finish()
    }

    /// Starts to watch a player.
    #[track_caller]
    pub fn start_watch(&self, player: &str) -> Running {
        self.start(&["watch", player])
    }

    /// Lets the process of a node end, and returns how the command ended.
    #[track_caller]
    pub fn crash_node(&self, node: &str) -> Ran {
        self.start(&["crash", "--node", node]).finish()
    }

    /// Has the asked node hand over what it has and stop, and returns how the command ended.
    #[track_caller]
    pub fn drain(&self) -> Ran {
        self.start(&["drain"]).finish()
    }

    /// Changes what holds for the whole cluster with these flags of `host set`, or asks for it
    /// without any. Returns what holds now.
    ///
    /// # Panics
    ///
    /// When the command did not answer.
    #[track_caller]
    pub fn set(&self, flags: &[&str]) -> Settings {
        expect(self.try_set(flags))
    }

    /// As [`Via::set`], but may be refused.
    ///
    /// # Errors
    ///
    /// What the command said.
    pub fn try_set(&self, flags: &[&str]) -> Result<Settings, String> {
        self.start(&[&["set"], flags].concat()).finish().done()
    }

    /// Changes what holds for the whole cluster, and returns the nodes that have not said in time
    /// that they have heard of it.
    ///
    /// # Panics
    ///
    /// When the command did not answer.
    #[track_caller]
    pub fn silent_after_set(&self, flags: &[&str]) -> Vec<String> {
        expect::<Silent>(self.start(&[&["set"], flags].concat()).finish().done()).silent
    }

    #[track_caller]
    fn start(&self, words: &[&str]) -> Running {
        let words = self.words(words);
        spawn_host(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Returns a command's words with what says whom it asks and how.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let mut args: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let mut add = |flag: &str, value: &str| args.extend([flag, value].map(str::to_owned));
        self.nodes.iter().for_each(|addr| add("--node", &addr.to_string()));
        add("--secret-file", path(&self.secret));
        self.key.iter().for_each(|key| add("--key", key));
        self.deadline.iter().for_each(|deadline| add("--deadline", deadline));
        args.extend(self.json.then(|| "--json".to_owned()));
        args
    }

    #[track_caller]
    fn write(&self, words: &[&str], file: &Path) -> Ran {
        let words = self.words(words);
        spawn_host_writing(&words.iter().map(String::as_str).collect::<Vec<_>>(), file).finish()
    }
}

#[track_caller]
fn expect<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|reason| panic!("{reason}"))
}
