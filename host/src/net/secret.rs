//! The cluster's secret and its file. Who holds it is a member; who does not is a stranger.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// What the file starts with, so that another file is not taken for a secret.
const PREFIX: &str = "player-host-secret-1:";
/// Length of the secret, in bytes: as strong as the keys that are derived from it.
const SECRET_BYTES: usize = 32;
/// Most that is read of a file, in bytes: a secret with some white space around it.
const FILE_BYTES_MAX: usize = 256;
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
        "{} is not a secret: expected one line, `{PREFIX}` and 64 hexadecimal digits",
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

/// 32 random bytes that make a process a member of the cluster. Erased when dropped.
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// Draws a new secret from the system's random source.
    pub fn generate() -> Self {
        Self(rand::random())
    }

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
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
        file.take(FILE_BYTES_MAX as u64).read_to_end(&mut text).map_err(failed)?;
        Self::parse(&text).ok_or_else(|| SecretError::NotASecret { path: path.to_owned() })
    }

    /// Draws a secret and writes it to a new file that only its owner can read.
    ///
    /// # Errors
    ///
    /// `Exists` or `File`.
    pub fn create(path: &Path) -> Result<Self, SecretError> {
        let secret = Self::generate();
        let name = path.file_name().ok_or_else(|| {
            failure("create", path, io::Error::from(io::ErrorKind::InvalidFilename))
        })?;
        let mut draft = name.to_owned();
        draft.push(format!(".{:016x}", rand::random::<u64>()));
        let draft = path.with_file_name(draft);
        let written = secret.write(&draft).and_then(|()| {
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

    /// Derives a key for one purpose. Keys of different purposes say nothing about each other.
    pub(super) fn derive(&self, purpose: &str) -> Zeroizing<[u8; SECRET_BYTES]> {
        Zeroizing::new(blake3::derive_key(purpose, &self.0))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
        text.push_str(PREFIX);
        for byte in self.0 {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text.push('\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.trim_ascii().strip_prefix(PREFIX.as_bytes())?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != SECRET_BYTES {
            return None;
        }
        let mut secret = Self([0; SECRET_BYTES]);
        for (byte, [high, low]) in secret.0.iter_mut().zip(pairs) {
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        Some(secret)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    // `to_digit(16)` is below 16.
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_secret_survives_its_file_and_only_its_owner_can_read_it() {
        let folder = folder();
        let path = folder.path().join("secret");
        let secret = Secret::create(&path).unwrap();
        assert_eq!(Secret::load(&path).unwrap().0, secret.0);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let folder = folder();
        let path = folder.path().join("secret");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Secret::create(&path), Err(SecretError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = folder();
        let path = folder.path().join("secret");
        let missing = Secret::load(&path).unwrap_err();
        assert!(missing.to_string().contains("host secret new"), "{missing}");

        drop(Secret::create(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = Secret::load(&path).unwrap_err().to_string();
        assert!(open.ends_with(&format!("chmod 600 {}", path.display())), "{open}");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "player-host-secret-1:", "player-host-secret-1:zz", "0123"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Secret::load(&path), Err(SecretError::NotASecret { .. })), "{text}");
        }
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_secret() {
        let folder = folder();
        let path = folder.path().join("secret");
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| Secret::load_or_create(&path).unwrap().0);
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::generate()), "Secret(..)");
    }
}
