//! Where a node's files are, and how commands find the nodes of this machine.
//!
//! ```text
//! <state>/player-host/local.secret         the secret of nodes that only this machine reaches
//! <state>/player-host/<name>/              a node's data, unless --data-dir says otherwise
//! <state>/player-host/<name>/node.addr     its address, while it runs
//! ```

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "player-host";
const ADDR_FILE: &str = "node.addr";

/// Returns this program's part of the platform's state folder, if the environment names one.
pub(super) fn state_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = if cfg!(target_os = "macos") {
        folder("HOME")?.join("Library/Application Support")
    } else {
        folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?
    };
    Some(state.join(PROGRAM))
}

/// Makes a folder, and those above it, that only their owner can enter. Existing ones stay as
/// they are.
///
/// # Errors
///
/// What the file system says.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder that only its owner can enter and that did not exist.
///
/// # Errors
///
/// What the file system says.
pub(super) fn create_new_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// A running node's address in its data folder; gone when dropped.
#[derive(Debug)]
pub(super) struct AddrFile(PathBuf);

impl AddrFile {
    /// Writes the address.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(super) fn write(data_dir: &Path, addr: SocketAddr) -> io::Result<Self> {
        let path = data_dir.join(ADDR_FILE);
        let draft = data_dir.join(format!("{ADDR_FILE}.new"));
        // Renamed into place, so that a reader never sees half an address.
        File::create(&draft)?.write_all(format!("{addr}\n").as_bytes())?;
        fs::rename(&draft, &path)?;
        Ok(Self(path))
    }
}

impl Drop for AddrFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the address file");
        }
    }
}

/// Returns the addresses that nodes left under the state folder, by name of the node. A node that
/// was killed leaves its address behind, so an address promises nothing.
pub(super) fn local_nodes(state: &Path) -> Vec<SocketAddr> {
    // A folder that cannot be read holds no nodes for this user.
    let Ok(entries) = fs::read_dir(state) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path().join(ADDR_FILE)).collect();
    files.sort();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_state_folder_follows_the_platform() {
        let with = |pairs: &'static [(&str, &str)]| {
            state_folder(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            })
        };
        let both = with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]);
        assert_eq!(both, Some("/s/player-host".into()));
        assert_eq!(with(&[("HOME", "/h")]), Some("/h/.local/state/player-host".into()));
        let relative = with(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]);
        assert_eq!(relative, Some("/h/.local/state/player-host".into()));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn running_nodes_are_found_by_their_address_files() {
        let state = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = state.path().join(name);
            create_private(&folder).unwrap();
            folder
        };
        let second = AddrFile::write(&folder("b"), "127.0.0.1:2".parse().unwrap()).unwrap();
        let _first = AddrFile::write(&folder("a"), "127.0.0.1:1".parse().unwrap()).unwrap();
        fs::write(folder("c").join(ADDR_FILE), "nonsense").unwrap();
        let ports = |state| local_nodes(state).iter().map(SocketAddr::port).collect::<Vec<_>>();
        assert_eq!(ports(state.path()), [1, 2]);
        drop(second);
        assert_eq!(ports(state.path()), [1]);
        assert!(local_nodes(&state.path().join("missing")).is_empty());
    }
}
