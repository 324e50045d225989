//! The data folder and the disk that it is on.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, fstatvfs, open};
use rustix::process::geteuid;

use super::{Finding, in_mib, quoted};
use crate::clock;
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::protocol::Ack;
use crate::storage::JOURNAL_BYTES_MAX;

/// Syncs whose median is taken.
const SYNCS: usize = 16;
/// Bytes that each of them brings to the disk: about what a batch of changes is.
const SYNC_BYTES: usize = 4096;
/// A sync that takes longer is felt: each change of the directory waits for one, and with `--ack disk`
/// each call. Disks that keep what they were given without power take 0.1 to 2 ms, spinning ones 10.
const SLOW_SYNC: Duration = Duration::from_millis(20);
/// Least free space: one copy of the largest player.
const LEAST_FREE_BYTES: u64 = SNAPSHOT_BYTES_MAX as u64;

pub(super) fn look(folder: Option<&Path>, ack: Option<Ack>) -> Vec<Finding> {
    let Some(folder) = folder else {
        let text = "HOME names no folder for a node's data";
        return vec![Finding::problem("folder", text, "start the node with --data-dir DIR")];
    };
    let existing = match existing(folder) {
        Ok(existing) => existing,
        Err(finding) => return vec![finding],
    };
    let file = match scratch(&existing) {
        Ok(file) => file,
        Err(error) => return vec![not_writable(folder, &existing, &error)],
    };
    let mut findings = vec![writable(folder, &existing)];
    findings.extend(space(&existing, &file));
    findings.push(match syncs(file) {
        Ok(median) => sync(median, is_in_memory(&existing), ack),
        Err(error) => Finding::problem(
            "disk",
            format!("a write to {} does not reach the disk: {error}", existing.display()),
            "make room there, or choose another --data-dir: dmesg says what is wrong with a disk",
        ),
    });
    findings
}

/// Returns the folder, or the nearest one above it that exists, in which it would be made.
fn existing(folder: &Path) -> Result<PathBuf, Finding> {
    let refused = |path: &Path, error: &io::Error| {
        let text = format!("cannot look at {}: {error}", path.display());
        Finding::problem(
            "folder",
            text,
            "choose another --data-dir, or let the node's user reach it",
        )
    };
    let whole = std::path::absolute(folder).map_err(|error| refused(folder, &error))?;
    for path in whole.ancestors() {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Ok(path.to_owned()),
            Ok(_) => {
                let text = format!("{} is no folder", path.display());
                let path = quoted(path);
                let advice =
                    format!("choose another --data-dir, or move it away: mv {path} {path}.old");
                return Err(Finding::problem("folder", text, advice));
            }
            Err(error) => match error.kind() {
                // What is below a file is not found either: the file is further up.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
                _ => return Err(refused(path, &error)),
            },
        }
    }
    Err(refused(folder, &io::ErrorKind::NotFound.into()))
}

/// Whether what exists is the folder itself.
fn is_same(folder: &Path, existing: &Path) -> bool {
    std::path::absolute(folder).is_ok_and(|whole| whole == existing)
}

/// Opens a file in a folder that has no name there, or had one for a moment: it is gone when closed,
/// whatever becomes of this process.
fn scratch(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = open(folder, flags, Mode::from_raw_mode(0o600)) {
        return Ok(file.into());
    }
    // Not every file system has files without a name.
    let path = folder.join(format!(".host-doctor-{}", std::process::id()));
    let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn not_writable(folder: &Path, existing: &Path, error: &io::Error) -> Finding {
    let text = if is_same(folder, existing) {
        format!("{} cannot be written to: {error}", folder.display())
    } else {
        format!("{} cannot be made in {}: {error}", folder.display(), existing.display())
    };
    let user = geteuid().as_raw();
    let advice = if error.kind() == io::ErrorKind::StorageFull {
        format!("make room: df -h {} says how much there is", quoted(existing))
    } else {
        let path = quoted(folder);
        format!("run: install -d -m 700 -o {user} {path}, or choose another --data-dir")
    };
    Finding::problem("folder", text, advice)
}

fn writable(folder: &Path, existing: &Path) -> Finding {
    let shown = folder.display();
    if !is_same(folder, existing) {
        return Finding::ok("folder", format!("{shown} is not there yet, and can be made"));
    }
    if is_in_use(existing) {
        return Finding::problem(
            "folder",
            format!("another process uses {shown}"),
            "stop that node, or choose another --data-dir: one node at a time uses a folder",
        );
    }
    let user = geteuid().as_raw();
    match fs::metadata(existing).as_ref().map(Metadata::uid) {
        Ok(owner) if owner != user => Finding::warning(
            "folder",
            format!("{shown} can be written to, but belongs to user {owner}, not to {user}"),
            format!("run: chown -R {user} {}", quoted(folder)),
        ),
        Ok(_) | Err(_) => Finding::ok("folder", format!("{shown} can be written to")),
    }
}

/// Whether a node has locked the folder. A lock that can be shared is given back at once.
fn is_in_use(folder: &Path) -> bool {
    let lock = File::open(folder.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn space(folder: &Path, file: &File) -> Option<Finding> {
    let system = fstatvfs(file).ok()?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    Some(room_for(free, folder))
}

fn room_for(free: u64, folder: &Path) -> Finding {
    let text = format!("{} are free", in_mib(free));
    let advice = format!("make room, or choose another --data-dir: df -h {}", quoted(folder));
    if free < LEAST_FREE_BYTES {
        Finding::problem(
            "space",
            format!("only {text}, and a node whose disk is full ends"),
            advice,
        )
    } else if free < JOURNAL_BYTES_MAX {
        let journals = in_mib(JOURNAL_BYTES_MAX);
        Finding::warning("space", format!("{text}, and journals alone may take {journals}"), advice)
    } else {
        Finding::ok("space", text)
    }
}

/// Returns the median time of a write that is synced.
fn syncs(mut file: File) -> io::Result<Duration> {
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = clock::now();
        file.write_all(&[7; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[SYNCS / 2])
}

fn sync(median: Duration, is_in_memory: bool, ack: Option<Ack>) -> Finding {
    let millis = median.as_secs_f64() * 1000.0;
    let waits = match ack {
        Some(Ack::Disk) => "each call waits for one",
        Some(Ack::Memory) | None => "calls wait for one with --ack disk only",
    };
    let text = format!("a sync takes {millis:.2} ms; {waits}");
    if is_in_memory {
        let text = "the data folder is in memory: nothing of it is left after a reboot";
        return Finding::warning("disk", text, "choose a --data-dir on a disk");
    }
    if median > SLOW_SYNC {
        let advice = match ack {
            Some(Ack::Disk) => "choose a --data-dir on a faster disk, or --ack memory",
            Some(Ack::Memory) | None => "choose a --data-dir on a faster disk",
        };
        return Finding::warning("disk", text, advice);
    }
    Finding::ok("disk", text)
}

#[cfg(target_os = "linux")]
fn is_in_memory(folder: &Path) -> bool {
    // From the kernel's include/uapi/linux/magic.h: tmpfs and ramfs.
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let kind = rustix::fs::statfs(folder).ok().and_then(|system| u64::try_from(system.f_type).ok());
    kind.is_some_and(|kind| IN_MEMORY.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_folder: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn slow_disks_and_those_that_are_none_are_warnings() {
        let fast = Duration::from_micros(150);
        let good = sync(fast, false, Some(Ack::Disk));
        assert_eq!((good.level, good.text.contains("0.15 ms; each call")), (Level::Ok, true));
        let slow = sync(Duration::from_millis(30), false, Some(Ack::Disk));
        assert_eq!(slow.level, Level::Warning);
        assert!(slow.advice.unwrap().contains("--ack memory"));
        assert_eq!(sync(fast, true, None).level, Level::Warning);
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_found() {
        let folder = Path::new("/var/lib/my node");
        assert_eq!(room_for(10 << 30, folder).level, Level::Ok);
        assert_eq!(room_for(512 << 20, folder).level, Level::Warning);
        let full = room_for(1 << 20, folder);
        assert_eq!(full.level, Level::Problem);
        assert!(full.advice.unwrap().ends_with("df -h '/var/lib/my node'"));
    }
}
