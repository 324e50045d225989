//! What the fuzzers have in common: the bound of what a target may allocate.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What decoding may take beside what it makes of the bytes. A list says how long it is before its
/// first element is read; serde believes that up to 1 MiB at each level.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What opening a data folder may take: caches, journals' buffers and the folder itself.
pub const STORE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What turning a module into a component may take.
pub const COMPONENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a decoded value may take in memory for each byte of it on the wire: a run of one byte takes
/// three there, and a node of a map here. The targets hold some values twice, encoded beside.
const PER_BYTE_MAX: usize = 256;

/// Runs a target on some bytes.
///
/// # Panics
///
/// When the target does, or when it had allocated more than it may.
pub fn bounded(bytes: &[u8], target: fn(&[u8]), bytes_max: usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    target(bytes);
    let most = MEMORY.peak_usage().saturating_sub(before);
    let allowed = bytes_max + PER_BYTE_MAX * bytes.len();
    assert!(most <= allowed, "{} bytes took {most}, and {allowed} are allowed", bytes.len());
}
