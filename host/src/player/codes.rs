//! Components by content hash: in memory, on disk, or from another node.
//!
//! A player's memory belongs to the very component that made it, so a node that takes a player over
//! may need a component that it was not started with.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use thiserror::Error;

use crate::guest::{Code, Engine, LoadError};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::net::Links;
use crate::protocol::{CallReply, CallRequest, CodeHash, NodeId, Reply, Request};

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
    /// What new players run.
    current: Arc<Code>,
    loaded: RwLock<HashMap<CodeHash, Arc<Code>>>,
}

impl Codes {
    /// Loads the component that new players run and keeps it in `folder`.
    ///
    /// # Errors
    ///
    /// When the component does not load or the folder cannot be written.
    pub async fn open(
        engine: Engine,
        folder: PathBuf,
        links: Links,
        component: Vec<u8>,
    ) -> Result<Self, CodeError> {
        std::fs::create_dir_all(&folder)
            .map_err(|source| CodeError::Folder { path: folder.clone(), source })?;
        let current = load(&engine, component).await?;
        let loaded = RwLock::new(HashMap::from([(current.hash(), current.clone())]));
        let codes = Self { engine, folder, links, current, loaded };
        codes.save(&codes.current)?;
        Ok(codes)
    }

    /// Returns the component that new players run.
    pub fn current(&self) -> &Arc<Code> {
        &self.current
    }

    /// Returns a component that is in memory already.
    pub fn loaded(&self, hash: CodeHash) -> Option<Arc<Code>> {
        self.loaded.read().ok()?.get(&hash).cloned()
    }

    /// Returns a component's bytes, for another node.
    pub fn bytes(&self, hash: CodeHash) -> Option<Vec<u8>> {
        match self.loaded(hash) {
            Some(code) => Some(code.bytes().to_vec()),
            None => self.read(hash),
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
        if let Some(bytes) = self.read(hash) {
            return self.load(bytes).await;
        }
        for node in nodes {
            let request = Request::Call(CallRequest::Code(hash));
            if let Ok(Reply::Call(CallReply::Code(Some(bytes)))) =
                self.links.send(*node, request).await
                && bytes.len() <= COMPONENT_BYTES_MAX
                && CodeHash::of(&bytes) == hash
            {
                let code = self.load(bytes).await?;
                self.save(&code)?;
                return Ok(code);
            }
        }
        Err(CodeError::Missing)
    }

    async fn load(&self, bytes: Vec<u8>) -> Result<Arc<Code>, CodeError> {
        let code = load(&self.engine, bytes).await?;
        if let Ok(mut loaded) = self.loaded.write() {
            loaded.insert(code.hash(), code.clone());
        }
        Ok(code)
    }

    fn file(&self, hash: CodeHash) -> PathBuf {
        self.folder.join(format!("{}.wasm", blake3::Hash::from_bytes(hash.0).to_hex()))
    }

    /// Reads a component from disk; a damaged file is as good as none.
    fn read(&self, hash: CodeHash) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.file(hash)).ok()?;
        let sound = CodeHash::of(&bytes) == hash;
        if !sound {
            tracing::error!(%hash, "a component on disk is damaged; it is not used");
        }
        sound.then_some(bytes)
    }

    fn save(&self, code: &Code) -> Result<(), CodeError> {
        let path = self.file(code.hash());
        if self.read(code.hash()).is_some() {
            return Ok(());
        }
        write_whole(&path, code.bytes()).map_err(|source| CodeError::Folder { path, source })
    }
}

/// Compiles away from the async workers: it takes tens of milliseconds.
async fn load(engine: &Engine, component: Vec<u8>) -> Result<Arc<Code>, CodeError> {
    let engine = engine.clone();
    let loading = tokio::task::spawn_blocking(move || Code::load(&engine, &component));
    // The task is never aborted, so only a panic inside the compiler ends it early.
    Ok(loading.await.map_err(|_| CodeError::Crashed)??)
}

/// Writes a file so that it is there as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let mut file = std::fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}
