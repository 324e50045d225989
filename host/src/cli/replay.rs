//! Doing again what is in a bundle: one instance in this process, no cluster, no network.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::render::{self, Format, Rendered, Replayed, sentence};
use crate::guest::{
    Allowance, CallOutcome, Code, Engine, EngineError, LoadError, Misfit, RestoreError, built_in,
};
use crate::limits::BUNDLE_BYTES_MAX;
use crate::protocol::{Bundle, BundleError, CodeHash, Ending, FailedRestores};

/// A bundle to be done again.
#[derive(Debug)]
pub(super) struct Replay {
    /// The bundle's file.
    pub(super) bundle: PathBuf,
    /// The component to run and where it was read, if it is not the built-in one.
    pub(super) guest: Option<(PathBuf, Vec<u8>)>,
}

/// Why nothing was done again.
#[derive(Debug, Error)]
enum ReplayError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than any bundle, which has {BUNDLE_BYTES_MAX} bytes at most")]
    TooLarge { path: PathBuf },
    #[error("cannot use {path}")]
    Bundle { path: PathBuf, source: BundleError },
    #[error(
        "the bundle is of the code {wanted}, and {what} is {found}; name that component with --guest: \
         each node that ran the player has it in its data folder, in `code`, under a name that \
         begins so"
    )]
    OtherCode { wanted: CodeHash, what: String, found: CodeHash },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the code of the bundle does not load here")]
    Load(#[from] LoadError),
    #[error("the bundle is not to blame")]
    System(#[source] RestoreError),
}

impl Replay {
    /// Does it again, and says what came of it.
    pub(super) fn run(self, format: Format) -> Rendered {
        let end = read(&self.bundle).and_then(|bundle| {
            let found = replay(&bundle, self.guest.as_ref())?;
            Ok((bundle, found))
        });
        match end {
            Ok((bundle, found)) => {
                let same = is_same(&bundle.ending, &found);
                render::replayed(format, &bundle, &found, same)
            }
            Err(error @ (ReplayError::Engine(_) | ReplayError::System(_))) => {
                render::not_done(format, &sentence(&error))
            }
            Err(error) => render::usage(format, &sentence(&error)),
        }
    }
}

fn read(path: &Path) -> Result<Bundle, ReplayError> {
    let unreadable = |source| ReplayError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // Whatever the file is and however it grows meanwhile.
    file.take(BUNDLE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(ReplayError::TooLarge { path: path.to_owned() });
    }
    Bundle::decode(&bytes).map_err(|source| ReplayError::Bundle { path: path.to_owned(), source })
}

fn replay(bundle: &Bundle, guest: Option<&(PathBuf, Vec<u8>)>) -> Result<Replayed, ReplayError> {
    let (code, what) = match guest {
        Some((path, code)) => (code.as_slice(), path.display().to_string()),
        None => (built_in(), "the built-in one".to_owned()),
    };
    let (wanted, found) = (bundle.code, CodeHash::of(code));
    if wanted != found {
        return Err(ReplayError::OtherCode { wanted, what, found });
    }
    let code = Code::load(&Engine::new(&Allowance::default())?, code)?;
    let mut instance = match code.instantiate(&bundle.snapshot) {
        Ok(instance) => instance,
        Err(error) if error.is_of_snapshot() => return Ok(Replayed::Failed(sentence(&error))),
        Err(error) => return Err(ReplayError::System(error)),
    };
    Ok(match &bundle.ending {
        Ending::Restore { .. } => Replayed::Well("it is restored".to_owned()),
        Ending::Trap { operation, .. } => match instance.call(operation, &bundle.snapshot) {
            CallOutcome::Returned { value, .. } => Replayed::Well(format!("it returns {value}")),
            CallOutcome::Trapped { message } => Replayed::Failed(message),
            CallOutcome::Refused(Misfit::Function(why) | Misfit::Arguments(why)) => {
                Replayed::Well(format!("it is refused: {why}"))
            }
        },
    })
}

/// Whether what happened here is what is in the bundle.
fn is_same(ending: &Ending, found: &Replayed) -> bool {
    let Replayed::Failed(words) = found else { return false };
    match ending {
        Ending::Trap { message, .. } => words == message,
        Ending::Restore { reason, .. } => FailedRestores::cut(words) == reason,
    }
}

#[cfg(test)]
mod tests {
    use super::super::render::Exit;
    use super::*;
    use crate::protocol::{CallKey, Operation, Seq, Term};
    use crate::snapshot::Snapshot;

    fn text(word: &str) -> Operation {
        Operation::Reward(Term::Text(word.to_owned()))
    }

    /// A bundle of the built-in player that has five points.
    fn bundle(ending: Ending) -> Bundle {
        let code = Code::load(&Engine::new(&Allowance::default()).unwrap(), built_in()).unwrap();
        let mut snapshot = code.initial();
        let mut instance = code.instantiate(&snapshot).unwrap();
        let five = Operation::Reward(Term::Integer(5));
        let CallOutcome::Returned { delta, .. } = instance.call(&five, &snapshot) else {
            panic!("five points are no trap")
        };
        snapshot.apply(&delta).unwrap();
        let (player, node) = ("player1".parse().unwrap(), "app_node2".parse().unwrap());
        Bundle { player, node, code: code.hash(), seq: Seq(1), snapshot, ending }
    }

    fn trap(operation: Operation, message: &str) -> Bundle {
        let message = message.to_owned();
        bundle(Ending::Trap { key: CallKey(7), operation, message })
    }

    fn unrestored(reason: &str, spoil: impl FnOnce(&mut Snapshot)) -> Bundle {
        let reason = reason.to_owned();
        let mut bundle = bundle(Ending::Restore { times: 3, reason });
        spoil(&mut bundle.snapshot);
        bundle
    }

    /// Does again what is in these bytes.
    fn replayed(bytes: &[u8], guest: Option<&[u8]>) -> Rendered {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b.poison");
        std::fs::write(&file, bytes).unwrap();
        let guest = guest.map(|code| (PathBuf::from("other.wasm"), code.to_vec()));
        Replay { bundle: file, guest }.run(Format::Text)
    }

    #[track_caller]
    fn assert_replayed(bundle: &Bundle, exit: Exit, here: &str, end: &str) {
        let Rendered { text, exit: found } = replayed(&bundle.encode(), None);
        assert_eq!(found, exit, "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1..], [format!("here: {here}"), end.to_owned()], "{text}");
    }

    #[test]
    fn a_trap_that_happens_again_is_reproduced() {
        let same = trap(text("a"), "not an integer: \"a\"");
        let end = "reproduced: the same as on app_node2";
        assert_replayed(&same, Exit::Done, "not an integer: \"a\"", end);
        let head = replayed(&same.encode(), None).text;
        let head = head.lines().next().unwrap();
        assert!(head.starts_with("player1 at seq 1, code "), "{head}");
        assert!(head.ends_with("trapped in `reward \"a\"`: not an integer: \"a\""), "{head}");
        // A new player has room for so many points; this one has five.
        let overflow = trap(Operation::Reward(Term::Integer(i64::MAX)), "overflow");
        let Rendered { text, .. } = replayed(&overflow.encode(), None);
        assert!(!text.contains("it returns"), "{text}");
    }

    #[test]
    fn what_ends_otherwise_is_not_reproduced() {
        let end = "not reproduced: it fails differently here than on app_node2";
        let other = trap(text("a"), "out of stack");
        assert_replayed(&other, Exit::NotApplied, "not an integer: \"a\"", end);
        let end = "not reproduced: it failed on app_node2 only";
        let well = trap(Operation::Reward(Term::Integer(2)), "no");
        assert_replayed(&well, Exit::NotApplied, "it returns 7", end);
        let well = unrestored("no", |_| {});
        assert_replayed(&well, Exit::NotApplied, "it is restored", end);
    }

    #[test]
    fn a_state_that_cannot_be_restored_here_either_is_reproduced() {
        let memories = |snapshot: &mut Snapshot| *snapshot = Snapshot::initial([0]);
        let reason = "the snapshot's memory 0 has 0 bytes, which the code's memory cannot have (at \
                      most 1073741824 together)";
        let same = unrestored(reason, memories);
        assert_replayed(&same, Exit::Done, reason, "reproduced: the same as on app_node2");
        let other = unrestored("no", memories);
        let end = "not reproduced: it fails differently here than on app_node2";
        assert_replayed(&other, Exit::NotApplied, reason, end);
    }

    #[test]
    fn what_cannot_be_done_again_is_told_why() {
        let bytes = trap(text("a"), "no").encode();
        for (bytes, guest, sentence) in [
            (&b"\0asm"[..], None, "b.poison: this is no bundle of `host bundle`"),
            (&bytes[..bytes.len() - 1], None, "the file is not whole"),
            (&bytes, Some(&b"\0asm"[..]), "other.wasm is "),
        ] {
            let Rendered { text, exit } = replayed(bytes, guest);
            assert_eq!(exit, Exit::Usage, "{text}");
            assert!(text.contains(sentence), "{text}");
        }
        let missing = Replay { bundle: PathBuf::from("/missing"), guest: None };
        assert!(missing.run(Format::Text).text.starts_with("cannot read /missing"));
    }
}
