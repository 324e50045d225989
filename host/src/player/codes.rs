//! Components by content hash: in memory, on disk, or from another node.
//!
//! A player's memory belongs to the very component that made it, so a node that takes a player over
//! may need a component that it was not started with.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;

use crate::clock;
use crate::guest::{Code, Engine, LoadError};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::net::Links;
use crate::protocol::{CallReply, CallRequest, CodeHash, Deployments, NodeId, Reply, Request};

/// Why a component cannot be had. Nothing was changed.
#[derive(Debug, Error)]
pub enum CodeError {
    /// Neither this node nor one that it can reach has it.
    #[error("no reachable node has it")]
    Missing,
    /// It does not load here.
    #[error("it does not load")]
    Load(#[from] LoadError),
    /// The compiler failed on it.
    #[error("the compiler crashed on it")]
    Crashed,
    /// The folder of components cannot be used.
    #[error("cannot use {path}")]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The components that this node knows.
#[derive(Debug)]
pub struct Codes {
    engine: Engine,
    folder: PathBuf,
    links: Links,
    loaded: Arc<RwLock<HashMap<CodeHash, Arc<Code>>>>,
    /// Those about which something is being done.
    turns: Mutex<HashMap<CodeHash, Arc<AsyncMutex<()>>>>,
    /// Those that are whole on disk, as far as it was looked at.
    on_disk: Mutex<BTreeSet<CodeHash>>,
    /// Those that somebody is about to deploy.
    held: Mutex<HashMap<CodeHash, Held>>,
}

/// Why code is kept that nobody runs yet.
#[derive(Debug)]
struct Held {
    /// It is kept until then,
    until: Instant,
    /// or until a deployment after this one has named it.
    after: u64,
}

/// Time for which code is kept that nobody runs yet: others load it before it is deployed.
const HELD_TIME: Duration = Duration::from_secs(5 * 60);
/// How much code that nobody runs is kept at most: each may have 64 MiB, and as much compiled.
const HELD_MAX: usize = 4;

impl Codes {
    /// Returns what keeps components in `folder`. None of them is loaded.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn open(engine: Engine, folder: PathBuf, links: Links) -> Result<Self, CodeError> {
        std::fs::create_dir_all(&folder)
            .map_err(|source| CodeError::Folder { path: folder.clone(), source })?;
        let (loaded, turns, on_disk, held) = Default::default();
        Ok(Self { engine, folder, links, loaded, turns, on_disk, held })
    }

    /// Loads a component that somebody hands in, and keeps it for a while, and then if it is used.
    /// `after` is the newest deployment that is known.
    ///
    /// # Errors
    ///
    /// When it does not load, or the folder cannot be written.
    pub async fn add(&self, bytes: Vec<u8>, after: u64) -> Result<Arc<Code>, CodeError> {
        let (hash, bytes) = off_the_workers(move || (CodeHash::of(&bytes), bytes)).await?;
        self.hold(hash, after);
        let turn = self.turn(hash);
        let _turn = turn.lock().await;
        let code = match self.loaded(hash) {
            Some(code) => code,
            None => self.compile(hash, bytes).await?,
        };
        self.save(hash, code.bytes().to_vec()).await?;
        Ok(code)
    }

    /// Keeps a component for a while although nobody runs it, until a deployment after this one names
    /// it.
    pub fn hold(&self, hash: CodeHash, after: u64) {
        let mut held = lock(&self.held);
        if held.len() >= HELD_MAX && !held.contains_key(&hash) {
            let oldest = held.iter().min_by_key(|(_, held)| held.until).map(|(hash, _)| *hash);
            oldest.map(|oldest| held.remove(&oldest));
        }
        held.insert(hash, Held { until: clock::now() + HELD_TIME, after });
    }

    /// Returns the components that are ready to run.
    pub fn ready(&self) -> BTreeSet<CodeHash> {
        self.loaded.read().map(|loaded| loaded.keys().copied().collect()).unwrap_or_default()
    }

    /// Drops the components that are not among `used` and that nobody is about to deploy. Returns how
    /// many there were, in memory or on disk.
    pub fn keep_only(&self, used: &BTreeSet<CodeHash>, deployments: &Deployments) -> usize {
        let now = clock::now();
        let mut held = lock(&self.held);
        held.retain(|hash, Held { until, after }| {
            let named = deployments.newest_first().take_while(|it| it.number > *after);
            now < *until && named.map(|it| it.plan.code).all(|code| code != *hash)
        });
        let goes = |hash: &CodeHash| !used.contains(hash) && !held.contains_key(hash);
        let mut gone = BTreeSet::new();
        if let Ok(mut loaded) = self.loaded.write() {
            gone.extend(loaded.extract_if(|hash, _| goes(hash)).map(|(hash, _)| hash));
        }
        for hash in self.files().into_iter().filter(goes) {
            match std::fs::remove_file(self.file(hash)) {
                Ok(()) => {
                    lock(&self.on_disk).remove(&hash);
                    gone.insert(hash);
                }
                Err(error) => tracing::warn!(%hash, %error, "cannot remove unused code"),
            }
        }
        gone.len()
    }

    fn files(&self) -> Vec<CodeHash> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let hash = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let hash = blake3::Hash::from_hex(name.strip_suffix(".wasm")?).ok()?;
            Some(CodeHash(*hash.as_bytes()))
        };
        entries.filter_map(hash).collect()
    }

    /// Returns a component that is in memory already.
    pub fn loaded(&self, hash: CodeHash) -> Option<Arc<Code>> {
        self.loaded.read().ok()?.get(&hash).cloned()
    }

    /// Returns a component's bytes, for another node.
    pub fn bytes(&self, hash: CodeHash) -> Option<Vec<u8>> {
        match self.loaded(hash) {
            Some(code) => Some(code.bytes().to_vec()),
            None => read(&self.file(hash), hash),
        }
    }

    /// Finds a component: in memory, on disk, or on one of `nodes`.
    ///
    /// # Errors
    ///
    /// When nobody has it, or it does not load here.
    pub async fn find(&self, hash: CodeHash, nodes: &[NodeId]) -> Result<Arc<Code>, CodeError> {
        if let Some(code) = self.loaded(hash) {
            return Ok(code);
        }
        let turn = self.turn(hash);
        let _turn = turn.lock().await;
        if let Some(code) = self.loaded(hash) {
            return Ok(code);
        }
        let bytes = self.fetch(hash, nodes).await?;
        self.compile(hash, bytes).await
    }

    /// Sees to it that a component is on this node's disk, so that it outlives the other nodes.
    ///
    /// # Errors
    ///
    /// When nobody has it, or it cannot be written.
    pub async fn secure(&self, hash: CodeHash, nodes: &[NodeId]) -> Result<(), CodeError> {
        if lock(&self.on_disk).contains(&hash) {
            return Ok(());
        }
        let turn = self.turn(hash);
        let _turn = turn.lock().await;
        match self.loaded(hash) {
            Some(code) => self.save(hash, code.bytes().to_vec()).await.map(drop),
            None => self.fetch(hash, nodes).await.map(drop),
        }
    }

    /// Returns the turn to do something about a component: whoever wants the same one waits.
    fn turn(&self, hash: CodeHash) -> Arc<AsyncMutex<()>> {
        let mut turns = lock(&self.turns);
        // Of those that nobody holds there is nothing to remember.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(hash).or_default().clone()
    }

    /// Reads a component from disk, or has one of `nodes` send it and keeps it there.
    async fn fetch(&self, hash: CodeHash, nodes: &[NodeId]) -> Result<Vec<u8>, CodeError> {
        let file = self.file(hash);
        if let Some(bytes) = off_the_workers(move || read(&file, hash)).await? {
            lock(&self.on_disk).insert(hash);
            return Ok(bytes);
        }
        for node in nodes {
            let request = Request::Call(CallRequest::Code(hash));
            if let Ok(Reply::Call(CallReply::Code(Some(bytes)))) =
                self.links.send(*node, request).await
                && bytes.len() <= COMPONENT_BYTES_MAX
            {
                let of = off_the_workers(move || (CodeHash::of(&bytes), bytes)).await?;
                if of.0 == hash {
                    return self.save(hash, of.1).await;
                }
            }
        }
        Err(CodeError::Missing)
    }

    /// Compiles a component, for whoever has the turn.
    async fn compile(&self, hash: CodeHash, bytes: Vec<u8>) -> Result<Arc<Code>, CodeError> {
        let (engine, loaded) = (self.engine.clone(), self.loaded.clone());
        // Whoever gives up waiting does not undo it: it can take half a minute.
        let compiled = off_the_workers(move || {
            let code = Code::load(&engine, &bytes)?;
            if let Ok(mut all) = loaded.write() {
                all.insert(hash, code.clone());
            }
            Ok(code)
        });
        compiled.await?
    }

    fn file(&self, hash: CodeHash) -> PathBuf {
        self.folder.join(format!("{}.wasm", blake3::Hash::from_bytes(hash.0).to_hex()))
    }

    /// Keeps a component on disk, and returns it.
    async fn save(&self, hash: CodeHash, bytes: Vec<u8>) -> Result<Vec<u8>, CodeError> {
        let path = self.file(hash);
        let saved = off_the_workers(move || {
            if read(&path, hash).is_some() {
                return Ok(bytes);
            }
            match write_whole(&path, &bytes) {
                Ok(()) => Ok(bytes),
                Err(source) => Err(CodeError::Folder { path, source }),
            }
        });
        let bytes = saved.await??;
        lock(&self.on_disk).insert(hash);
        Ok(bytes)
    }
}

/// Reads a component from disk; a damaged file is as good as none.
fn read(file: &Path, hash: CodeHash) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    let sound = CodeHash::of(&bytes) == hash;
    if !sound {
        tracing::error!(%hash, "a component on disk is damaged; it is not used");
    }
    sound.then_some(bytes)
}

/// Does what takes long with large components away from the threads that serve calls.
async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CodeError> {
    // The task is never aborted, so only a panic ends it early.
    tokio::task::spawn_blocking(work).await.map_err(|_| CodeError::Crashed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each table is whole between any two operations, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a file so that it is there as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let mut file = std::fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}
