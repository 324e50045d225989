//! A secret in its file: read by its owner only, made once, replaced in one piece.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{PREFIX, Secret, Step};

/// Most that is read of a file, in bytes: two keys with some white space around them.
pub(super) const FILE_BYTES_MAX: usize = 512;
/// Permissions of others and of the group, which a secret's file must not have.
const OTHERS: u32 = 0o077;

/// Why there is no secret. No file was changed.
#[derive(Debug, Error)]
pub enum SecretError {
    /// There is no such file.
    #[error("there is no secret at {}; make one with `host secret new`", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{} is not a secret: expected one line, `{PREFIX}` and 64 hexadecimal digits, \
         or two while it is rotated, the second one with `next` or `former` behind it",
        .path.display()
    )]
    NotASecret {
        /// The file.
        path: PathBuf,
    },
    /// Other users may read it or write it, so it is no secret.
    #[error(
        "other users can access the secret (mode {mode:03o}); run: chmod 600 {}",
        .path.display()
    )]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A new secret never replaces an old one.
    #[error("{} exists already and is left as it is", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another step comes next.
    #[error(
        "the next step of {} is `{next}`, not `{asked}`; `host secret show` says where it stands",
        .path.display()
    )]
    OtherStep {
        /// The file.
        path: PathBuf,
        /// The step that was asked for.
        asked: Step,
        /// The step that comes next.
        next: Step,
    },
    /// The file system said no.
    #[error("cannot {action} the secret at {}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    ///
    /// `Missing`, `NotASecret`, `NotPrivate` or `File`.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| failure("read", path, source);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SecretError::Missing { path: path.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        };
        // Asked of the open file, so that the answer is about what is read.
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(SecretError::NotPrivate { path: path.to_owned(), mode });
        }
        // A buffer that grows would leave what it held before.
        let mut text = Zeroizing::new([0; FILE_BYTES_MAX]);
        let len = read_up_to(file, &mut *text).map_err(failed)?;
        Self::parse(&text[..len]).ok_or_else(|| SecretError::NotASecret { path: path.to_owned() })
    }

    /// Draws a secret and writes it to a new file that only its owner can read.
    ///
    /// # Errors
    ///
    /// `Exists` or `File`.
    pub fn create(path: &Path) -> Result<Self, SecretError> {
        let secret = Self::generate();
        let draft = draft_of(path).map_err(|error| failure("create", path, error))?;
        let written = secret.write(&draft, None).and_then(|()| {
            // A link appears whole and never replaces a file: of several processes that start at
            // once exactly one wins, and the others read what it wrote.
            fs::hard_link(&draft, path)
        });
        // Best effort: a draft left behind is a private file that nobody reads.
        fs::remove_file(&draft).ok();
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(SecretError::Exists { path: path.to_owned() });
            }
            Err(error) => return Err(failure("create", path, error)),
        }
        sync_folder(path).map_err(|error| failure("sync", path, error))?;
        Ok(secret)
    }

    /// Reads the secret, or makes one if there is none yet. Safe for several processes that start
    /// at once: all get the same one.
    ///
    /// # Errors
    ///
    /// As [`Secret::load`] and [`Secret::create`].
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        match Self::load(path) {
            Err(SecretError::Missing { .. }) => match Self::create(path) {
                Err(SecretError::Exists { .. }) => Self::load(path),
                other => other,
            },
            other => other,
        }
    }

    /// Takes the next step of putting a new key in the place of the old one: reads the file and
    /// replaces it in one piece. With `asked`, only if that is the next one. Returns what the file
    /// holds now.
    ///
    /// # Errors
    ///
    /// `OtherStep`, or as [`Secret::load`]; `File` may also mean that the new file did not reach the
    /// disk: then the old one or the new one is there, whole.
    pub fn rotate(path: &Path, asked: Option<Step>) -> Result<Self, SecretError> {
        // A name that leads elsewhere keeps doing so.
        let path = &match fs::canonicalize(path) {
            Ok(path) => path,
            // Reading it says what is wrong with it.
            Err(_) => path.to_owned(),
        };
        let old = Self::load(path)?;
        let step = old.next_step();
        if let Some(asked) = asked
            && asked != step
        {
            return Err(SecretError::OtherStep { path: path.clone(), asked, next: step });
        }
        let new = old.advanced();
        new.replace(path).map_err(|error| failure("replace", path, error))?;
        Ok(new)
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let old = fs::metadata(path)?;
        let draft = draft_of(path)?;
        let written = self
            .write(&draft, Some((old.uid(), old.gid())))
            .and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            // Best effort: a draft left behind is a private file that nobody reads.
            fs::remove_file(&draft).ok();
        }
        written?;
        sync_folder(path)
    }

    /// Writes a new file, for `owner` if that is another one than who writes.
    fn write(&self, path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let own = file.metadata()?;
        if let Some((user, group)) = owner
            && (user, group) != (own.uid(), own.gid())
        {
            // Before it says anything. Who runs the nodes must still be able to read it.
            fchown(&file, Some(user), Some(group))?;
        }
        file.write_all(self.text().as_bytes())?;
        file.sync_all()
    }
}

fn read_up_to(mut file: File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

/// Returns a name beside the file that no other file has.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut draft: OsString = name.to_owned();
    draft.push(format!(".{:016x}", rand::random::<u64>()));
    Ok(path.with_file_name(draft))
}

/// Makes the new name survive a power loss.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn failure(action: &'static str, path: &Path, source: io::Error) -> SecretError {
    SecretError::File { action, path: path.to_owned(), source }
}
