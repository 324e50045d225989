//! `host new`: a folder with a small guest of one's own.
//!
//! What is written is in `host/templates` and in `guests`; tests build it and let it play. The contract
//! in it is the one that this host was built with.

mod name;
mod template;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub(super) use self::name::{GuestName, InvalidName};
pub(super) use self::template::Language;
use self::template::{File, files};
use super::render::{self, Format, Rendered};

/// A guest to be written.
#[derive(Debug)]
pub(super) struct NewGuest {
    folder: PathBuf,
    name: GuestName,
    language: Language,
}

/// Why no guest was written.
#[derive(Debug, Error)]
enum NewError {
    /// Something is there.
    #[error("{} is there and is not empty; choose another name, or move it away", .0.display())]
    NotEmpty(PathBuf),
    /// The folder cannot be made or looked at.
    #[error("cannot make the folder {}; nothing was written", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "cannot write {}; what was written before it is there: remove the folder, and try again",
        .path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl NewGuest {
    /// Plans a guest in `folder`, whose last part is its name.
    ///
    /// # Errors
    ///
    /// `InvalidName`, when the name is not good in every language.
    pub(super) fn plan(folder: PathBuf, language: Language) -> Result<Self, InvalidName> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().parse()?;
        Ok(Self { folder, name, language })
    }

    /// Writes it, and says what was written and what to do next.
    pub(super) fn write(&self, format: Format) -> Rendered {
        match self.write_files() {
            Ok(files) => {
                let paths: Vec<_> = files.iter().map(|file| file.path).collect();
                let rules = self.language.rules();
                render::guest_written(format, &self.folder, self.language.name(), rules, &paths)
            }
            Err(error) => render::not_done(format, &render::sentence(&error)),
        }
    }

    fn write_files(&self) -> Result<Vec<File>, NewError> {
        let unusable = |source| NewError::Folder { path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(unusable)?;
        if fs::read_dir(&self.folder).map_err(unusable)?.next().is_some() {
            return Err(NewError::NotEmpty(self.folder.clone()));
        }
        let files = files(self.language, &self.name);
        for file in &files {
            let path = self.folder.join(file.path);
            write(&path, file).map_err(|source| NewError::File { path, source })?;
        }
        Ok(files)
    }
}

/// Writes a file that does not exist, and the folders above it.
fn write(path: &Path, file: &File) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mode = if file.is_program { 0o777 } else { 0o666 };
    let mut written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    written.write_all(file.text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::cli::render::Exit;

    fn plan(folder: &Path, language: Language) -> NewGuest {
        NewGuest::plan(folder.to_owned(), language).unwrap()
    }

    #[test]
    fn a_new_guest_is_written_and_says_what_to_do_next() {
        let outer = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            let folder = outer.path().join("below").join(format!("a-{}", language.name().len()));
            let folder = folder.with_extension("").join("my-player");
            let rendered = plan(&folder, language).write(Format::Text);
            assert_eq!(rendered.exit, Exit::Done, "{}", rendered.text);
            let next = format!("host dev --guest {} --watch", folder.display());
            assert!(rendered.text.contains(&next), "{}", rendered.text);
            assert!(folder.join(language.rules()).is_file(), "the rules that are named");
            let build = fs::metadata(folder.join("build")).unwrap();
            assert!(build.permissions().mode() & 0o100 != 0, "`build` can be run");
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_folder_with_anything_in_it_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("my-player");
        fs::create_dir(&folder).unwrap();
        assert_eq!(plan(&folder, Language::C).write(Format::Text).exit, Exit::Done, "it was empty");
        let rendered = plan(&folder, Language::Rust).write(Format::Text);
        assert_eq!(rendered.exit, Exit::NotApplied);
        assert!(rendered.text.contains("is not empty"), "{}", rendered.text);
        assert!(!folder.join("Cargo.toml").exists());

        let file = outer.path().join("taken");
        fs::write(&file, "mine").unwrap();
        let rendered = plan(&file, Language::Rust).write(Format::Text);
        assert!(rendered.text.contains("nothing was written"), "{}", rendered.text);
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }
}
