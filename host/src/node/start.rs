//! Building a node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::chronicler;
use super::founding::Hall;
use super::joining::{self, Cluster};
use super::members::Members;
use super::{Ended, Node, NodeConfig, StartError, Stops};
use crate::chronicle::Chronicle;
use crate::directory::Directory;
use crate::gateway::{Door, Gateway};
use crate::guest::{Engine, built_in};
use crate::http::{HttpConfig, Server, Shared};
use crate::keeper::{self, Keepers, Naming};
use crate::limits::{INBOX_REQUESTS_MAX, LISTING_PAGE_PLAYERS};
use crate::net::{
    Endpoint, Identity, Inbound, Inboxes, Links, PeerIdentity, Pulse, Relayer, Renewal,
};
use crate::player::{Codes, Context, Follower, Guardian, LastTraps, Reports, Roster};
use crate::protocol::{
    Announcement, CodeHash, DeploymentChange, DirectoryReply, DirectoryRequest, KeeperCopy, NodeId,
    Plan, PlayerId, PlayerRecord, Writer, may_be_number_of, sentence,
};
use crate::storage::Store;

/// What people call the component that this program carries.
const BUILT_IN: &str = "built-in";

/// Lost copies that are named one by one in the log; the rest is counted.
const LOST_NAMED_MAX: usize = 100;

/// Raft messages that are handled at the same time. Each waits for the disk at most.
const RAFT_AT_ONCE: usize = 256;

impl Node {
    /// Starts a node. Returns once it is a member of its cluster and serves; while it waits for a
    /// member to join through, it says so in the log.
    ///
    /// # Errors
    ///
    /// Says what is missing or who refused; nothing of the cluster was changed then.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        // Every line that a task of this node logs says whose it is.
        let span = tracing::info_span!("node", node = config.name.as_str());
        Box::pin(Self::build(config).instrument(span)).await
    }

    async fn build(config: NodeConfig) -> Result<Self, StartError> {
        let NodeConfig {
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
            secret,
            secret_file,
        } = config;
        let store = Store::open(&data_dir)?;
        store.bind_name(&name)?;
        let me = Writer { node: store.node_id(), incarnation: store.incarnation() };

        let mut tasks = JoinSet::new();
        let stops = Stops::default();
        let engine = Engine::new(&allowance)?;
        tracing::debug!(tracker = engine.tracker(), "memory is tracked");
        let endpoint = Endpoint::bind(listen, Identity::node(&secret, &name)?)?;
        let addr = endpoint.local_addr();
        let http = match &http {
            Some(config) => Some((Server::bind(config).await?, config)),
            None => None,
        };
        let renewal = Renewal::new(endpoint.clone(), name.clone(), secret, secret_file);
        let (links, links_driver) = Links::new(endpoint.clone());
        let mut run = Runner { tasks: &mut tasks };

        let (directory, directory_driver) = Directory::open(&store, links.clone()).await?;
        let (keeper, keeper_inboxes) = keeper::Service::load(
            store.copies(),
            directory.watch_settings(),
            Named(directory.clone()),
        )?;
        let keepers = Keepers::new(me.node, links.clone(), keeper_inboxes.local);
        let bell = keepers.clone();
        engine.when_calls_are_long(move || bell.ring());
        let (member_inbox, member_requests) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (directory_inbox, directory_requests) = mpsc::channel(INBOX_REQUESTS_MAX);
        let door = Door::new(stops.gateway.clone());
        let (relayer, relay_inbox) = Relayer::new(links.clone());
        let inboxes = Inboxes {
            member: member_inbox,
            directory: directory_inbox,
            keeper: keeper_inboxes.remote,
            call: Arc::new(door.clone()),
            relay: relay_inbox,
            nodes: directory.watch_nodes(),
        };

        let (pulse_events, pulse_inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (pulse, pulse_driver) = Pulse::new(pulse_events);
        let http_addr = http.as_ref().map(|(server, _)| server.addr());
        let desk = http.map(|(server, config)| {
            let HttpConfig { rate, .. } = config;
            let desk = Shared::new(name.clone(), endpoint.tokens(), config.needs_token(), *rate);
            // It says that it is not ready until the node is a member.
            run.spawn("http", server.run(desk.clone(), stops.gateway.clone()));
            desk
        });
        run.spawn("links", links_driver.run(stops.net.clone()));
        run.spawn("relay", relayer.run(stops.net.clone()));
        run.spawn("endpoint", endpoint.serve(inboxes, stops.net.clone()));
        run.spawn("secret", renewal.run(stops.net.clone()));
        run.spawn("pulse", pulse_driver.run(stops.members.clone()));
        run.spawn_result("directory", directory_driver.run());
        run.spawn(
            "directory's door",
            serve_directory(directory.clone(), directory_requests, stops.rooms.clone()),
        );

        let announcement =
            Announcement { id: me.node, name: name.clone(), addr, incarnation: me.incarnation };
        let chronicle = Chronicle::new(name.clone());
        run.spawn(
            "chronicler",
            chronicler::run(directory.clone(), chronicle.clone(), stops.members.clone()),
        );
        let (of_hall, its_store) = (directory.clone(), store.clone());
        let hall = Hall::new(me, name.clone(), of_hall, its_store, &joins, bootstrap_expect)?;
        let hall = Arc::new(hall);
        let (members, leaving) = Members::new(
            me,
            directory.clone(),
            links.clone(),
            (pulse, pulse_inbox),
            member_requests,
            hall.clone(),
            chronicle.clone(),
        );
        run.spawn("membership", members.run(stops.members.clone()));
        let cluster =
            Cluster { directory: &directory, links: &links, endpoint: &endpoint, hall: &hall };
        let chosen = guest.as_ref().map(|(path, _)| path.clone());
        let (codes, founding) =
            load_guest(engine, data_dir.join("code"), links.clone(), guest).await?;
        let codes = Arc::new(codes);
        let (hash, founded) = (founding.code, founding.clone());
        Box::pin(joining::enter(&cluster, &announcement, &joins, settings, founding)).await?;
        if directory.deployments().newest().is_none() {
            // The one that began the cluster ended before it could say so.
            let change = DeploymentChange::Deploy { after: 0, plan: founded };
            drop(directory.deploy(change).await?);
        }
        if let Some(path) = chosen {
            warn_of_other_code(&directory, hash, &path);
        }
        let (follower, rollout) =
            Box::pin(Follower::new(me.node, directory.clone(), codes.clone())).await;
        run.spawn("rollout", follower.run(stops.players.clone()));
        if store.has_lost_copies() {
            name_lost_copies(&directory, me.node);
        }
        run.spawn_result("keeper", keeper.run(stops.rooms.clone()));

        let context = Context {
            me,
            name: name.clone(),
            directory: directory.clone(),
            keepers,
            codes: codes.clone(),
            nodes: directory.watch_nodes(),
            settings: directory.watch_settings(),
            rollout: rollout.clone(),
            shunned: watch::Sender::default(),
            traps: LastTraps::default(),
            reports: Reports::new(directory.clone()),
            chronicle: chronicle.clone(),
            idle_after,
            instances_max,
        };
        let (roster, players) = Roster::new(context, stops.players.clone());
        let guardian = Guardian::new(me, directory.clone(), players.clone(), rollout);
        run.spawn("guardian", guardian.run(stops.players.clone()));
        let (gateway, drains) = Gateway::new(
            me,
            name.clone(),
            directory.clone(),
            links,
            players.clone(),
            codes,
            chronicle,
        );
        door.open_to(gateway.clone());
        if let Some(desk) = desk {
            desk.open_to(gateway.clone());
        }
        let roster = run_players(roster);
        Ok(Self {
            me,
            name,
            addr,
            http: http_addr,
            endpoint,
            directory,
            store,
            leaving,
            players,
            gateway,
            drains,
            tasks,
            roster,
            stops,
        })
    }
}

/// Loads what the players of a new cluster run: the component that was given, or the built-in one.
async fn load_guest(
    engine: Engine,
    folder: PathBuf,
    links: Links,
    guest: Option<(PathBuf, Vec<u8>)>,
) -> Result<(Codes, Plan), StartError> {
    let (path, component) = match guest {
        Some((path, bytes)) => (path.display().to_string(), bytes),
        None => (BUILT_IN.to_owned(), built_in().to_vec()),
    };
    let name = match Path::new(&path).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => path.clone(),
    };
    let wrong = |source| StartError::Guest { path: path.clone(), source };
    let codes = Codes::open(engine, folder, links).map_err(wrong)?;
    let code = codes.add(component, 0).await.map_err(wrong)?;
    Ok((codes, Plan::founding(code.hash(), &name)))
}

/// The cluster's code was chosen when it began, or deployed since. Says so to a person who named other
/// code now.
fn warn_of_other_code(directory: &Directory, named: CodeHash, path: &Path) {
    let current = directory.deployments().current();
    if let Some(current) = current.filter(|current| *current != named) {
        tracing::warn!(
            "this node was started with --guest {path}, code {named}, but the cluster's players run \
             {current}, which holds; `host deploy {path}` changes it for all nodes",
            path = path.display()
        );
    }
}

/// Runs the players apart from the other tasks, for they stop first.
fn run_players(roster: Roster) -> JoinSet<Ended> {
    let mut tasks = JoinSet::new();
    let running = async move {
        roster.run().await;
        ("players", Ok(()))
    };
    tasks.spawn(running.in_current_span());
    tasks
}

/// Spawns tasks that say who they were when they end.
struct Runner<'a> {
    tasks: &'a mut JoinSet<Ended>,
}

impl Runner<'_> {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            task.await;
            (name, Ok(()))
        };
        self.tasks.spawn(task.in_current_span());
    }

    fn spawn_result<E: std::error::Error>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let task = async move { (name, task.await.map_err(|error| sentence(&error))) };
        self.tasks.spawn(task.in_current_span());
    }
}

/// The directory as the keeper sees it.
struct Named(Directory);

impl Naming for Named {
    fn player(&self, player: &PlayerId) -> Option<PlayerRecord> {
        self.0.player(player)
    }

    fn is_over(&self, writer: Writer) -> bool {
        self.0.node(writer.node).is_some_and(|node| node.incarnation > writer.incarnation)
    }
}

/// Says of which players the copies were that the store has lost: their owners replace them, and
/// those without an owner are restored from other copies, if there are any.
fn name_lost_copies(directory: &Directory, me: NodeId) {
    let mut after: Option<PlayerId> = None;
    let mut lost = 0;
    loop {
        let page = directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (player, record) in page {
            let mine = record.keepers.iter().find(|keeper| keeper.node == me);
            let Some(KeeperCopy { copy, .. }) = mine else { continue };
            lost += 1;
            if lost <= LOST_NAMED_MAX {
                let (player, others) = (player.as_str(), record.keepers.len() - 1);
                tracing::error!(
                    player, %copy, others,
                    "its copy on this node is lost or not trusted"
                );
            }
        }
    }
    tracing::error!(
        copies = lost,
        "copies on this node are lost or not trusted; their owners replace them"
    );
}

/// Answers other nodes' questions about the directory.
async fn serve_directory(
    directory: Directory,
    mut inbox: mpsc::Receiver<Inbound<DirectoryRequest, DirectoryReply>>,
    cancel: CancellationToken,
) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(_) = serving.join_next() => {}
            inbound = inbox.recv(), if serving.len() < RAFT_AT_ONCE => {
                let Some(Inbound { from, request, responder, .. }) = inbound else { return };
                // A client's is not let in.
                let PeerIdentity::Node(name) = from else { continue };
                let directory = directory.clone();
                serving.spawn(async move {
                    let nodes = directory.nodes();
                    let is_from = |id| may_be_number_of(&nodes, id, &name);
                    responder.send(directory.handle(request, is_from).await);
                });
            }
        }
    }
}
