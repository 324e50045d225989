//! The source of the default player, and its digest.

use std::fs;
use std::path::{Path, PathBuf};

use super::Result;

/// Where the source is, from the workspace's root.
const ROOTS: [&str; 3] = ["guest-player/Cargo.toml", "guest-player/src", "wit"];

/// The files that the component is built from.
pub(super) struct Source {
    digest: String,
}

impl Source {
    /// Reads all files and asks cargo to run this script again when one of them changes.
    pub(super) fn read(workspace: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for root in ROOTS {
            let root = workspace.join(root);
            println!("cargo:rerun-if-changed={}", root.display());
            collect(&root, &mut files)?;
        }
        // Names are compared and hashed alike on every system.
        let mut named = Vec::new();
        for file in files {
            let name: Vec<_> = file
                .strip_prefix(workspace)?
                .components()
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect();
            named.push((name.join("/"), fs::read(&file)?));
        }
        named.sort();
        let mut hasher = blake3::Hasher::new();
        for (name, content) in &named {
            for part in [name.as_bytes(), content] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Ok(Self { digest: hasher.finalize().to_hex().to_string() })
    }

    /// Returns the BLAKE3 of all names and contents, in hexadecimal digits.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
