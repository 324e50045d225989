//! What a memory begins with, shared by all instances of one code.
//!
//! ```text
//!   Image ── memfd, sealed ──┬── mapped privately ──► Region     of each instance: a page is
//!                            ├── mapped privately ──► Region     copied when it is written to
//!                            └── mapped readable  ──► bytes()    what captures compare with
//! ```
//!
//! So an instance costs the pages that it writes to, however large the image is, and a new one is
//! made without touching the others. Where the system has no such file, each instance copies the
//! image instead, which takes time and memory but gives the same bytes.

#[cfg(target_os = "linux")]
mod sealed;

use std::io;

#[cfg(target_os = "linux")]
use sealed::Sealed;

use super::spares::Spares;

/// Pieces of a memory that are all zero are not stored. As large as a page of linear memory, of
/// which every memory's length is a multiple, and as the largest page of any system.
const PIECE: usize = 65_536;

/// One memory right after a first start.
#[derive(Debug)]
pub struct Image {
    len: usize,
    content: Content,
    spares: Spares,
}

#[derive(Debug)]
enum Content {
    /// All of it: the kernel bounds a process's mappings, and zeros at the end of an image would
    /// need another one in each instance.
    #[cfg(target_os = "linux")]
    Shared(Sealed),
    /// Up to the last piece that is not zero.
    Copied(Box<[u8]>),
}

impl Image {
    /// Keeps a memory as it is now.
    ///
    /// # Panics
    ///
    /// If the memory is no whole number of WebAssembly's pages.
    pub fn of(memory: &[u8]) -> Self {
        Self::shared(memory).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot share a guest's initial image, each instance copies it");
            Self::copied(memory)
        })
    }

    #[cfg(target_os = "linux")]
    pub(super) fn shared(memory: &[u8]) -> io::Result<Self> {
        if content_of(memory).is_empty() {
            return Ok(Self::copied(memory));
        }
        let sealed = Sealed::of(memory)?;
        Ok(Self::with(memory.len(), Content::Shared(sealed)))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn shared(memory: &[u8]) -> io::Result<Self> {
        Ok(Self::copied(memory))
    }

    pub(super) fn copied(memory: &[u8]) -> Self {
        Self::with(memory.len(), Content::Copied(content_of(memory).into()))
    }

    fn with(len: usize, content: Content) -> Self {
        Self { len, content, spares: Spares::default() }
    }

    /// Returns the length of the memory, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a memory of no bytes is not a special case")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the bytes of the memory. Those after the result's end are zero.
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            #[cfg(target_os = "linux")]
            Content::Shared(sealed) => sealed.bytes(),
            Content::Copied(bytes) => bytes,
        }
    }

    /// Returns the memories of instances that are gone. Only those that map the image can be kept.
    pub(super) fn spares(&self) -> Option<&Spares> {
        match &self.content {
            #[cfg(target_os = "linux")]
            Content::Shared(_) => Some(&self.spares),
            Content::Copied(_) => None,
        }
    }

    /// Puts the image at the start of a reservation and makes that much of it readable and
    /// writable. Returns the number of bytes, a multiple of the system's pages.
    ///
    /// # Safety
    ///
    /// `start` is the start of a private mapping of the caller's own of at least [`Self::len`]
    /// bytes, to which no reference exists.
    pub(super) unsafe fn place(&self, start: *mut u8) -> io::Result<usize> {
        match &self.content {
            #[cfg(target_os = "linux")]
            // SAFETY: the contract is the same.
            Content::Shared(sealed) => unsafe { sealed.place(start) }?,
            Content::Copied(bytes) if bytes.is_empty() => {}
            // SAFETY: the contract is the same.
            Content::Copied(bytes) => unsafe { copy(bytes, start) }?,
        }
        Ok(self.bytes().len())
    }
}

/// Makes the first bytes of a mapping accessible and copies `bytes` there.
///
/// # Safety
///
/// `start` is the start of a private mapping of the caller's own of at least that many bytes, to
/// which no reference exists.
unsafe fn copy(bytes: &[u8], start: *mut u8) -> io::Result<()> {
    let access = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
    // SAFETY: by the contract the range is the caller's own and nobody refers to it.
    unsafe { rustix::mm::mprotect(start.cast(), bytes.len(), access) }?;
    // SAFETY: the range has just been made writable, and cannot overlap what is borrowed here.
    unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(())
}

/// Returns the memory up to its last piece that is not zero.
fn content_of(memory: &[u8]) -> &[u8] {
    assert_eq!(memory.len() % PIECE, 0, "linear memories consist of whole pages");
    let pieces = memory.chunks(PIECE);
    let zero = pieces.rev().take_while(|piece| is_zero(piece)).count();
    &memory[..memory.len() - zero * PIECE]
}

fn is_zero(piece: &[u8]) -> bool {
    static ZERO: [u8; PIECE] = [0; PIECE];
    piece == &ZERO[..piece.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_no_content() {
        let mut memory = vec![0; 5 * PIECE];
        for image in [Image::shared(&memory).unwrap(), Image::copied(&memory)] {
            assert_eq!((image.len(), image.bytes().len()), (5 * PIECE, 0));
        }
        memory[2 * PIECE + 7] = 1;
        assert_eq!(Image::shared(&memory).unwrap().bytes(), memory);
        assert_eq!(Image::copied(&memory).bytes(), &memory[..3 * PIECE]);
    }

    /// Returns how much of the mapping that begins at `start` belongs to this process alone.
    #[cfg(target_os = "linux")]
    fn own_bytes(start: *const u8) -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let head = format!("{:x}-", start.addr());
        let mapping = smaps.lines().skip_while(|line| !line.starts_with(&head));
        let line = mapping.skip(1).find(|line| line.starts_with("Anonymous:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_instance_has_only_the_pages_of_its_own_that_it_wrote_to() {
        use super::super::region::{Budget, Region};
        use super::super::tracker::detect;

        let memory = vec![7; 64 * PIECE];
        let image = Image::shared(&memory).unwrap();
        let (tracker, budget) = (detect().tracker, Budget::new(memory.len()));
        let room = (memory.len(), PIECE);
        let region = Region::new(&*tracker, &budget, room, Some(&image), memory.len()).unwrap();
        // SAFETY: the region is local to this test, which has no other slice of it.
        let bytes = unsafe { region.bytes_mut() };
        assert_eq!(bytes, memory, "all of it is read");
        assert_eq!(own_bytes(bytes.as_ptr()), 0);
        (bytes[0], bytes[40 * PIECE]) = (1, 1);
        // Two pages, however large this system's pages are.
        let own = own_bytes(bytes.as_ptr());
        assert!((1..=2 * PIECE).contains(&own), "{own} bytes");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_image_takes_no_more_mappings_than_an_empty_memory() {
        use super::super::region::{Budget, Region};
        use super::super::tracker::detect;

        let mut memory = vec![0; 17 * PIECE];
        let empty = Image::shared(&memory).unwrap();
        memory[10 * PIECE] = 1;
        let image = Image::shared(&memory).unwrap();
        let tracker = detect().tracker;
        let budget = Budget::new(100 * PIECE);
        let (capacity, guard) = (64 * PIECE, PIECE);
        let mappings = [&empty, &image].map(|image| {
            let (room, len) = ((capacity, guard), memory.len());
            let region = Region::new(&*tracker, &budget, room, Some(image), len).unwrap();
            let reserved = region.as_ptr().addr()..region.as_ptr().addr() + capacity + guard;
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let starts = maps.lines().filter_map(|line| line.split_once('-'));
            let starts = starts.filter_map(|(start, _)| usize::from_str_radix(start, 16).ok());
            starts.filter(|start| reserved.contains(start)).count()
        });
        // What is accessible, and what is not.
        assert_eq!(mappings, [2, 2]);
    }
}
