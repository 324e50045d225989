//! Bytes in a file that lives in memory only, and that nobody can change any more.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::super::mapping::Mapping;
use super::{PIECE, is_zero};

/// Bytes that can be mapped any number of times.
///
/// Invariant: `file` has exactly as many bytes as `view` and is sealed, so neither its bytes nor its length
/// change; `view` is a readable mapping of all of it, which is only read.
#[derive(Debug)]
pub(super) struct Sealed {
    file: OwnedFd,
    view: Mapping,
}

impl Sealed {
    /// Copies bytes, at least one and whole pieces of them, into a new file. Pieces that are zero
    /// become holes.
    pub(super) fn of(bytes: &[u8]) -> io::Result<Self> {
        let file = File::from(create("guest-image")?);
        file.set_len(bytes.len() as u64)?;
        for (number, piece) in bytes.chunks(PIECE).enumerate() {
            if !is_zero(piece) {
                file.write_all_at(piece, (number * PIECE) as u64)?;
            }
        }
        let file = OwnedFd::from(file);
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let (len, read) = (bytes.len(), ProtFlags::READ);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let view =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, read, MapFlags::PRIVATE, &file, 0)? };
        let start = NonNull::new(view.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { file, view: Mapping { start, len } })
    }

    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable, as long as this, and backed by a file that can neither
        // be written nor cut any more.
        unsafe { slice::from_raw_parts(self.view.start.as_ptr(), self.view.len) }
    }

    /// Maps the bytes at `start`, readable and writable. What is written there is the mapping's own.
    ///
    /// # Safety
    ///
    /// `start` is the start of a private mapping of the caller's own of at least as many bytes, to
    /// which no reference exists.
    pub(super) unsafe fn place(&self, start: *mut u8) -> io::Result<()> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: what is replaced is the caller's own, and by the contract nobody refers to it.
        let placed =
            unsafe { rustix::mm::mmap(start.cast(), self.view.len, access, flags, &self.file, 0)? };
        debug_assert_eq!(placed.cast(), start, "a fixed mapping is where it was asked for");
        Ok(())
    }
}

/// Creates a file without a place in any folder, which can be sealed.
fn create(name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Some systems insist that nobody may execute it; older ones than Linux 6.3 do not know that.
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        created => created,
    }
}
