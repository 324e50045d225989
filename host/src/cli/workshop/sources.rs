//! What a guest is built from: which files, and what is in them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::BuildError;
use crate::limits::WATCHED_FILES_MAX;

/// Folders that tools fill, and what they write beside sources. So are all whose names begin with a dot.
const OF_TOOLS: [&str; 5] = ["target", "node_modules", "venv", "__pycache__", "Cargo.lock"];

/// The files of a folder with what is in them, as it was at one time. Equal when that is equal, whenever
/// it was written.
#[derive(Debug, Default)]
pub(in crate::cli) struct Sources(BTreeMap<PathBuf, Source>);

#[derive(Debug, Clone, Copy)]
struct Source {
    modified: Option<SystemTime>,
    len: u64,
    content: blake3::Hash,
}

impl Sources {
    /// Reads a folder; files that look as they did `before` are not read again.
    ///
    /// # Errors
    ///
    /// `Folder` or `TooMany`.
    pub(super) fn read(folder: &Path, before: &Self) -> Result<Self, BuildError> {
        let mut now = Self::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(inner) = folders.pop() {
            match now.add_folder(&inner, before, &mut folders) {
                Ok(()) => {}
                // It went while it was looked at, as with an editor that replaces what it saves.
                Err(error) if error.kind() == io::ErrorKind::NotFound && inner != folder => {}
                Err(source) => return Err(BuildError::Folder { path: inner, source }),
            }
            if now.0.len() + folders.len() > WATCHED_FILES_MAX {
                return Err(BuildError::TooMany {
                    path: folder.to_owned(),
                    max: WATCHED_FILES_MAX,
                });
            }
        }
        Ok(now)
    }

    fn add_folder(
        &mut self,
        folder: &Path,
        before: &Self,
        folders: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if is_of_tools(&entry.file_name()) || is_component(&path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
                continue;
            }
            match Source::read(&path, before.0.get(&path)) {
                Ok(Some(source)) => drop(self.0.insert(path, source)),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        let contents = |sources: &Self| -> Vec<_> {
            let of = |(path, source): (&PathBuf, &Source)| (path.clone(), source.content);
            sources.0.iter().map(of).collect()
        };
        contents(self) == contents(other)
    }
}

impl Source {
    /// Reads a file, unless it is none, but a pipe or what a link to a folder leads to.
    fn read(path: &Path, before: Option<&Self>) -> io::Result<Option<Self>> {
        let metadata: Metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let (modified, len) = (metadata.modified().ok(), metadata.len());
        let as_before = before.filter(|before| {
            modified.is_some() && before.modified == modified && before.len == len
        });
        if let Some(before) = as_before {
            return Ok(Some(*before));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(Some(Self { modified, len, content: hasher.finalize() }))
    }
}

/// Whether a file is what a build makes.
pub(super) fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

/// Whether tools write it, or editors keep what is not saved yet in it.
fn is_of_tools(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || OF_TOOLS.contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_differ_when_what_is_in_them_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let read = |before: &Sources| Sources::read(folder.path(), before).unwrap();
        fs::create_dir(path("src")).unwrap();
        fs::write(path("src/lib.rs"), "one").unwrap();
        let first = read(&Sources::default());
        assert_eq!(first.0.len(), 1);

        // Written again, and the same.
        let file = File::options().write(true).open(path("src/lib.rs")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let same = read(&first);
        assert!(same == first);
        assert_ne!(same.0[&path("src/lib.rs")].modified, first.0[&path("src/lib.rs")].modified);

        fs::write(path("src/lib.rs"), "two").unwrap();
        let second = read(&same);
        assert!(second != first);
        fs::write(path("src/more.rs"), "").unwrap();
        let third = read(&second);
        assert!(third != second, "one more");
        fs::remove_file(path("src/more.rs")).unwrap();
        assert!(read(&third) == second, "one less");
    }

    #[test]
    fn what_tools_write_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("player.py"), "").unwrap();
        let before = Sources::read(folder.path(), &Sources::default()).unwrap();
        for name in ["target", "node_modules", ".git", ".venv", "venv", "__pycache__"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("any"), "").unwrap();
        }
        for name in ["my.wasm", "Cargo.lock", ".player.py.swp", "player.py~"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(Sources::read(folder.path(), &before).unwrap() == before);
    }

    #[test]
    fn a_folder_of_too_many_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=WATCHED_FILES_MAX {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let refused = Sources::read(folder.path(), &Sources::default()).unwrap_err();
        assert!(matches!(refused, BuildError::TooMany { .. }), "{refused}");
    }
}
