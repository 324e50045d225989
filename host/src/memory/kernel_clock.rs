//! Whether the kernel takes the clock to be synchronised. It has nothing to do with memory, and is
//! here because the question takes `unsafe`.

use std::io;

/// Asks the kernel whether somebody keeps the clock in step with that of others. Changes nothing.
///
/// # Errors
///
/// When the system does not say.
#[cfg(target_os = "linux")]
pub fn is_clock_synchronised() -> io::Result<bool> {
    // No mode is set, so the kernel is asked and told nothing.
    let mut state = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: `adjtimex` reads and writes one `struct timex`, for which zeros are good values, and
    // keeps no pointer to it.
    match unsafe { libc::adjtimex(state.as_mut_ptr()) } {
        -1 => Err(io::Error::last_os_error()),
        libc::TIME_ERROR => Ok(false),
        _ => Ok(true),
    }
}

/// Asks nobody: how other systems say it is not known here.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn is_clock_synchronised() -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
