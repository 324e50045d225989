//! A small disk in memory, mounted where a node keeps its data, that can be full.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::statvfs;

use super::network::{is_stale, label, run};

/// Room on a disk that is not full, in bytes: more than a long run writes.
const BYTES: u64 = 1 << 30;

/// Looks at a usage that grows meanwhile so often at most.
const SHRINKS_MAX: usize = 50;

/// A mounted disk. Dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Makes an empty disk and mounts it at `path`, which is created.
    pub(crate) fn mount(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
        let size = format!("size={BYTES},mode=700");
        run("mount", &["-t", "tmpfs", "-o", &size, &label(), words(path)])?;
        Ok(Self { path: path.to_owned() })
    }

    /// Leaves no room on it.
    pub(crate) fn fill(&self) -> Result<()> {
        // A disk that shrinks to what it holds is full without a file that would fill the memory.
        let mut refused = None;
        for _ in 0..SHRINKS_MAX {
            let room = statvfs(&self.path).context("look at the disk")?;
            let used = (room.f_blocks - room.f_bfree) * room.f_frsize;
            match self.resize(used) {
                Ok(()) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        bail!("{} grows too fast to be full: {refused:?}", self.path.display())
    }

    /// Makes room on it again.
    pub(crate) fn make_room(&self) -> Result<()> {
        self.resize(BYTES)
    }

    fn resize(&self, bytes: u64) -> Result<()> {
        let size = format!("remount,size={bytes}");
        run("mount", &["-o", &size, words(&self.path)]).map(drop)
    }

    /// Deletes everything on it.
    pub(crate) fn wipe(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).context("list the data folder")? {
            let path = entry.context("list the data folder")?.path();
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(&path),
                result => result,
            }
            .with_context(|| format!("delete {}", path.display()))?;
        }
        Ok(())
    }

    /// Copies all that is on it to a folder beside it, which outlives it.
    pub(crate) fn keep(&self) -> Result<()> {
        let beside = self.path.with_extension("data");
        run("cp", &["-a", "--sparse=always", words(&self.path), words(&beside)]).map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may not be quite gone.
        if let Err(error) = run("umount", &["--lazy", words(&self.path)]) {
            eprintln!("{} is left behind: {error:#}", self.path.display());
        }
    }
}

/// Whether disks can be mounted here.
pub(super) fn probe() -> Result<()> {
    let folder = tempfile::tempdir().context("create a folder")?;
    let disk = Disk::mount(&folder.path().join("disk"))?;
    disk.fill()?;
    disk.make_room()
}

/// Unmounts disks of processes that have ended, as far as that can be done.
pub(super) fn unmount_stale() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounts.lines() {
        let mut fields = mount.split(' ');
        if let (Some(source), Some(path)) = (fields.next(), fields.next())
            && is_stale(source)
        {
            drop(Disk { path: path.into() });
        }
    }
}

/// The path has no other characters: the harness made it.
fn words(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}
