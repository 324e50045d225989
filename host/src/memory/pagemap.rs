//! The tracker for Linux 6.7 and later: the kernel write-protects pages and remembers which it had
//! to open again, without waking anybody up.
//!
//! A memory is registered with a `userfaultfd` whose write-protection is asynchronous: the first
//! write to a protected page clears its mark and continues. `PAGEMAP_SCAN` then reports the pages
//! without a mark, and can mark them again in the same step.
//!
//! A page counts as written when it is without a mark, resident or swapped out, and the memory's own:
//! one of the image's is copied before the first write to it. A page that was never touched does not
//! exist, whatever is behind it. The kernel would call all of these written, so it is asked for
//! exactly what is meant; for to mark them would have it make tables for all pages of the memory,
//! which every later scan would walk. So a scan costs what the guest has touched, not its size.
//!
//! Marking is what costs: a fault for each page at the next write, and an interrupt of every core
//! that runs a thread of this process. A guest writes to the same few pages in call after call, its
//! stack and its counters. So few written pages stay unmarked and are reported every time, which
//! costs their comparison; only when they become many are all marked again.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Updater, ioctl, opcode};
use rustix::mm::UserfaultfdFlags;
use thiserror::Error;

use super::tracker::Tracker;

/// Ranges that one call of the kernel can report; more take more calls. 1.5 KiB of stack, and more
/// ranges than almost every call of a guest leaves.
const RANGES_PER_SCAN: usize = 64;

/// Bytes of written pages that stay without a mark, at most. To compare a page of 4 KiB takes
/// 0.2 µs, to mark it and to open it again 3 to 5 µs: so the most that this wastes on a call that
/// writes to none of them is what one marked page costs.
const UNMARKED_BYTES_MAX: usize = 32 * 1024;

/// Why the kernel cannot track writes for us.
#[derive(Debug, Error)]
pub(super) enum Unsupported {
    /// No `userfaultfd` for this process.
    #[error("this process may not use userfaultfd ({0})")]
    Userfaultfd(#[source] Errno),
    /// The kernel is older than 6.7 or built without it.
    #[error("the kernel has no asynchronous write-protection ({0})")]
    Asynchronous(#[source] Errno),
    /// The process cannot see its own page map.
    #[error("/proc/self/pagemap cannot be opened ({0})")]
    Pagemap(#[source] io::Error),
    /// A first trial failed.
    #[error("a first scan of the page map failed ({0})")]
    Scan(#[source] io::Error),
}

impl Unsupported {
    /// Returns what a person can do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Userfaultfd(_) => {
                "allow the system call userfaultfd, which the seccomp profile of a container may forbid"
            }
            Self::Asynchronous(_) | Self::Scan(_) => "run Linux 6.7 or later",
            Self::Pagemap(_) => "mount /proc where the node runs",
        }
    }
}

/// Asks the kernel which pages were written.
#[derive(Debug)]
pub(super) struct Pagemap {
    userfault: OwnedFd,
    pagemap: File,
}

impl Pagemap {
    /// Opens both kernel interfaces and tries them once.
    pub(super) fn new() -> Result<Self, Unsupported> {
        let userfault = open_userfaultfd().map_err(Unsupported::Userfaultfd)?;
        let mut api = UffdApi { api: UFFD_API, features: UFFD_FEATURE_WP_ASYNC, ioctls: 0 };
        // SAFETY: `UFFDIO_API` reads and writes one `struct uffdio_api`, which `UffdApi` mirrors.
        let handshake = unsafe { Updater::<{ UFFDIO_API }, _>::new(&mut api) };
        // SAFETY: the handshake with a fresh userfaultfd touches no memory but `api`.
        unsafe { ioctl(&userfault, handshake) }.map_err(Unsupported::Asynchronous)?;
        let pagemap = File::open("/proc/self/pagemap").map_err(Unsupported::Pagemap)?;
        let tracker = Self { userfault, pagemap };
        tracker.try_once().map_err(Unsupported::Scan)?;
        Ok(tracker)
    }

    fn try_once(&self) -> io::Result<()> {
        let budget = super::region::Budget::new(65_536);
        let region = super::region::Region::new(self, &budget, (65_536, 65_536), None, 65_536)?;
        // SAFETY: the region is local to this function and nothing else refers to it.
        let bytes = unsafe { region.bytes_mut() };
        bytes[0] = 1;
        let mut dirty = Vec::new();
        self.scan(bytes, Question::UnmarkedAndMark, &mut dirty)?;
        bytes[0] = 2;
        dirty.clear();
        self.scan(bytes, Question::Unmarked, &mut dirty)?;
        match dirty.first() {
            Some(first) if first.start == 0 => Ok(()),
            _ => Err(io::Error::other("a written page was not reported")),
        }
    }

    /// Appends the ranges that the question is about.
    fn scan(
        &self,
        memory: &[u8],
        question: Question,
        dirty: &mut Vec<Range<usize>>,
    ) -> io::Result<()> {
        let base = memory.as_ptr().addr();
        let end = base + memory.len();
        let mut from = base;
        while from < end {
            let mut found = [PageRange::default(); RANGES_PER_SCAN];
            let scan = Scan::new(from..end, question, &mut found);
            // SAFETY: the kernel writes to `found` only. Write-protecting the pages of `memory`
            // changes nothing that a program can see: a write to them lifts it again.
            let (count, walk_end) = unsafe { ioctl(self.pagemap.as_fd(), scan) }?;
            dirty.extend(found[..count].iter().map(|range| {
                offset(range.start).saturating_sub(base)..offset(range.end).saturating_sub(base)
            }));
            if walk_end <= from {
                return Err(io::Error::other("a scan of the page map made no progress"));
            }
            from = walk_end;
        }
        Ok(())
    }
}

impl Tracker for Pagemap {
    fn sees_pages(&self) -> bool {
        true
    }

    fn adopt(&self, start: *mut u8, len: usize) -> io::Result<()> {
        let mut registration = UffdRegister {
            start: start.addr() as u64,
            len: len as u64,
            mode: UFFDIO_REGISTER_MODE_WP,
            ioctls: 0,
        };
        // SAFETY: `UFFDIO_REGISTER` reads and writes one `struct uffdio_register`, which
        // `UffdRegister` mirrors.
        let register = unsafe { Updater::<{ UFFDIO_REGISTER }, _>::new(&mut registration) };
        // SAFETY: write-protection of this userfaultfd is asynchronous, so no access to the range
        // ever waits for a handler; the range is the caller's own mapping.
        Ok(unsafe { ioctl(&self.userfault, register) }?)
    }

    #[expect(clippy::single_range_in_vec_init, reason = "one range is what is appended")]
    fn take_dirty(&self, memory: &[u8], dirty: &mut Vec<Range<usize>>) {
        let found_before = dirty.len();
        let mut scanned = self.scan(memory, Question::Unmarked, dirty);
        let unmarked: usize = dirty[found_before..].iter().map(|range| range.len()).sum();
        if scanned.is_ok() && unmarked > UNMARKED_BYTES_MAX {
            // The guest does not run meanwhile, so these are the same pages.
            dirty.truncate(found_before);
            scanned = self.scan(memory, Question::UnmarkedAndMark, dirty);
        }
        if let Err(error) = scanned {
            // Everything is a safe answer: the caller compares, it only takes longer. Pages that
            // the failed scan has marked are covered by this answer.
            tracing::warn!(%error, "cannot scan the page map, comparing the whole memory");
            dirty.truncate(found_before);
            dirty.extend([0..memory.len()]);
        }
    }

    fn forget_dirty(&self, memory: &[u8]) {
        if let Err(error) = self.scan(memory, Question::UnmarkedAndMark, &mut Vec::new()) {
            // What has no mark is compared after each call.
            tracing::warn!(%error, "cannot scan the page map, comparing more than was written");
        }
    }

    /// A page that was written is the memory's own ever after, in memory or swapped out.
    fn ever_written(&self, memory: &[u8], written: &mut Vec<Range<usize>>) -> bool {
        self.scan(memory, Question::Own, written).is_ok()
    }
}

fn open_userfaultfd() -> rustix::io::Result<OwnedFd> {
    // Faults inside system calls are of no interest, and this much is allowed to every process.
    let flags = UserfaultfdFlags::CLOEXEC
        | UserfaultfdFlags::NONBLOCK
        | UserfaultfdFlags::from_bits_retain(UFFD_USER_MODE_ONLY);
    // SAFETY: the descriptor stays private to `Pagemap`, which registers nothing but memory of its
    // own and only for asynchronous write-protection.
    unsafe { rustix::mm::userfaultfd(flags) }
}

#[expect(clippy::cast_possible_truncation, reason = "addresses of this process fit usize")]
fn offset(address: u64) -> usize {
    address as usize
}

// From the kernel's include/uapi/linux/userfaultfd.h.
const UFFD_USER_MODE_ONLY: u32 = 1;
const UFFD_API: u64 = 0xaa;
/// Includes `UFFD_FEATURE_WP_UNPOPULATED`: the kernel adds it itself.
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFDIO_API: Opcode = opcode::read_write::<UffdApi>(0xaa, 0x3f);
const UFFDIO_REGISTER: Opcode = opcode::read_write::<UffdRegister>(0xaa, 0x00);

/// `struct uffdio_api`.
#[repr(C)]
struct UffdApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`, its inner range written out.
#[repr(C)]
struct UffdRegister {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

// From the kernel's include/uapi/linux/fs.h.
/// Mark the pages that are reported.
const PM_SCAN_WP_MATCHING: u64 = 1 << 0;
/// Fail, rather than skip, where asynchronous write-protection was not registered.
const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
/// Of a private mapping: a page that was not copied yet.
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGEMAP_SCAN: Opcode = opcode::read_write::<ScanArgument>(b'f', 16);

/// `struct page_region`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct PageRange {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// Which pages a scan reports, and what it does to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Those without a mark; they are reported again next time.
    Unmarked,
    /// Those without a mark; they are reported again once they are written to.
    UnmarkedAndMark,
    /// Those that are the memory's own, marked or not.
    Own,
}

/// One `PAGEMAP_SCAN`; returns the number of ranges found and the address where it stopped.
struct Scan<'a> {
    argument: ScanArgument,
    /// The kernel writes here.
    _found: &'a mut [PageRange],
}

impl<'a> Scan<'a> {
    fn new(addresses: Range<usize>, question: Question, found: &'a mut [PageRange]) -> Self {
        let (marks, written) = match question {
            Question::Unmarked => (0, PAGE_IS_WRITTEN),
            Question::UnmarkedAndMark => (PM_SCAN_WP_MATCHING, PAGE_IS_WRITTEN),
            Question::Own => (0, 0),
        };
        let argument = ScanArgument {
            size: size_of::<ScanArgument>() as u64,
            flags: marks | PM_SCAN_CHECK_WPASYNC,
            start: addresses.start as u64,
            end: addresses.end as u64,
            walk_end: 0,
            vec: found.as_mut_ptr().expose_provenance() as u64,
            vec_len: found.len() as u64,
            max_pages: 0,
            category_inverted: PAGE_IS_FILE,
            // No category is returned, so that neighbouring pages become one range.
            category_mask: written | PAGE_IS_FILE,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: 0,
        };
        Self { argument, _found: found }
    }
}

// SAFETY: `PAGEMAP_SCAN` reads and writes one `struct pm_scan_arg`, which `ScanArgument` mirrors,
// and writes at most `vec_len` items to `vec`, which `_found` keeps borrowed.
unsafe impl Ioctl for Scan<'_> {
    type Output = (usize, usize);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        PAGEMAP_SCAN
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        (&raw mut self.argument).cast()
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        argument: *mut std::ffi::c_void,
    ) -> rustix::io::Result<(usize, usize)> {
        // SAFETY: `argument` is what `as_ptr` returned, still alive, and the kernel is done.
        let argument = unsafe { &*argument.cast::<ScanArgument>() };
        let count = usize::try_from(out).map_err(|_| Errno::OVERFLOW)?;
        Ok((count, offset(argument.walk_end)))
    }
}
