//! Standard input, output and error, and what is kept of WASI for the time of one call.

use std::mem;
use std::time::Duration;

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource, WasmList};
use wasmtime::{Result, StoreContextMut, bail};

use super::{Failure, Input, Output, answer};
use crate::guest::bindings::Level;
use crate::guest::journal::{Journal, printable};
use crate::limits::{GUEST_MESSAGE_BYTES_MAX, GUEST_WASI_BYTES_MAX};

/// `stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "nothing fails, but it is part of the type")]
    LastOperationFailed(Resource<Failure>),
    #[component(name = "closed")]
    Closed,
}

/// Where a guest writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::guest) enum Stream {
    /// Lines are messages of the level `info`.
    Output,
    /// Lines are messages of the level `warn`.
    Error,
}

/// What is known of WASI during a start or a call.
#[derive(Debug, Default)]
pub(in crate::guest) struct Wasi {
    /// Whether there was a call yet. Before it, each answer is the same for each instance.
    called: bool,
    /// Random numbers that were drawn before.
    drawn: u64,
    /// Handles that the guest has.
    handles: usize,
    /// The beginnings of lines, cut to what is logged of a line.
    lines: [Vec<u8>; 2],
}

impl Wasi {
    /// Says that a call begins: from now on time passes.
    pub(in crate::guest) fn begin(&mut self) {
        self.called = true;
        self.lines.iter_mut().for_each(Vec::clear);
    }

    pub(super) fn time(&self, clock: impl FnOnce() -> Duration) -> Duration {
        if self.called { clock() } else { Duration::ZERO }
    }

    pub(super) fn random(&mut self) -> u64 {
        if self.called {
            return rand::random();
        }
        // SplitMix64: plain numbers, without a pattern that a hash table would suffer from.
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.drawn ^ (self.drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn random_bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.random().to_le_bytes());
        words.take(len).collect()
    }

    /// Counts a handle that the guest gets.
    fn hand_out(&mut self) {
        self.handles += 1;
    }

    pub(super) fn drop_handle(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }
}

impl Journal {
    /// Logs what was written without the end of a line. Each call ends so.
    pub(in crate::guest) fn end_lines(&mut self) {
        self.end_line(Stream::Output);
        self.end_line(Stream::Error);
    }

    /// Looks for handles that the guest keeps. Each call that returns, and each start, ends so.
    ///
    /// # Errors
    ///
    /// If there is one.
    pub(in crate::guest) fn refuse_handles(&mut self) -> Result<()> {
        let kept = self.wasi().handles;
        if kept > 0 {
            let words = format!(
                "keeps {kept} of the host's handles, which no snapshot can hold: log with the \
                 world's `log` instead of standard output, and build without standard input and output"
            );
            // Whatever else it has said, this is why it is stopped.
            self.end_early(words.clone());
            bail!(words);
        }
        Ok(())
    }

    fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add_to_line(stream, &bytes[..end]);
            self.log_line(stream);
            bytes = &bytes[end + 1..];
        }
        self.add_to_line(stream, bytes);
    }

    fn add_to_line(&mut self, stream: Stream, bytes: &[u8]) {
        let line = &mut self.wasi().lines[stream as usize];
        let room = GUEST_MESSAGE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, stream: Stream) {
        if !self.wasi().lines[stream as usize].is_empty() {
            self.log_line(stream);
        }
    }

    fn log_line(&mut self, stream: Stream) {
        let level = match stream {
            Stream::Output => Level::Info,
            Stream::Error => Level::Warn,
        };
        let line = mem::take(&mut self.wasi().lines[stream as usize]);
        if self.may_say(level) {
            self.log(level, printable(&String::from_utf8_lossy(&line)));
        }
    }
}

/// Offers a function of a stream, if it does something.
pub(super) fn offer_function(
    items: &mut LinkerInstance<'_, Journal>,
    interface: &str,
    name: &str,
) -> Result<bool> {
    let (interface, method) = match (interface, name) {
        ("cli/stdin", "get-stdin") => return offer_input(items, name),
        ("cli/stdout", "get-stdout") => return offer_output(items, name, Stream::Output),
        ("cli/stderr", "get-stderr") => return offer_output(items, name, Stream::Error),
        ("io/streams", name) => name.split_once('.').unwrap_or(("", name)),
        _ => return Ok(false),
    };
    match (interface, method) {
        ("[method]input-stream", "read" | "blocking-read") => {
            answer(items, name, |_, (_, _): (Resource<Input>, u64)| {
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            })
        }
        ("[method]input-stream", "skip" | "blocking-skip") => {
            answer(items, name, |_, (_, _): (Resource<Input>, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            })
        }
        ("[method]output-stream", "check-write") => {
            answer(items, name, |_, (_,): (Resource<Output>,)| {
                Ok((Ok::<_, StreamError>(GUEST_WASI_BYTES_MAX as u64),))
            })
        }
        ("[method]output-stream", "flush" | "blocking-flush") => {
            answer(items, name, |_, (_,): (Resource<Output>,)| Ok((Ok::<_, StreamError>(()),)))
        }
        ("[method]output-stream", "write" | "blocking-write-and-flush") => {
            items.func_wrap(name, write).map(|()| true)
        }
        _ => Ok(false),
    }
}

fn offer_input(items: &mut LinkerInstance<'_, Journal>, name: &str) -> Result<bool> {
    answer(items, name, |journal, ()| {
        journal.wasi().hand_out();
        Ok((Resource::<Input>::new_own(0),))
    })
}

fn offer_output(
    items: &mut LinkerInstance<'_, Journal>,
    name: &str,
    stream: Stream,
) -> Result<bool> {
    answer(items, name, move |journal, ()| {
        journal.wasi().hand_out();
        Ok((Resource::<Output>::new_own(stream as u32),))
    })
}

fn write(
    mut store: StoreContextMut<'_, Journal>,
    (stream, bytes): (Resource<Output>, WasmList<u8>),
) -> Result<(Result<(), StreamError>,)> {
    if bytes.len() > GUEST_WASI_BYTES_MAX {
        bail!("wrote {} bytes at once: {GUEST_WASI_BYTES_MAX} are the most", bytes.len());
    }
    let stream = if stream.rep() == Stream::Error as u32 { Stream::Error } else { Stream::Output };
    let bytes = bytes.as_le_slice(&store).to_vec();
    store.data_mut().write(stream, &bytes);
    Ok((Ok(()),))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guest::Allowance;
    use crate::guest::allowance::Usage;
    use crate::limits::GUEST_LOG_LINES_MAX;

    #[test]
    fn what_is_written_to_a_stream_is_bounded_like_what_is_logged() {
        let mut journal = Journal::new(Arc::new(Usage::new(&Allowance::default())));
        journal.begin();
        journal.write(Stream::Output, b"one\ntwo, and the beginning of ");
        assert_eq!(journal.wasi().lines[0], b"two, and the beginning of ");
        journal.write(Stream::Error, &[b'x'; 5000]);
        journal.write(Stream::Error, &[b'y'; 5000]);
        assert_eq!(journal.wasi().lines[1], [b'x'; GUEST_MESSAGE_BYTES_MAX]);
        journal.end_lines();
        assert_eq!(journal.wasi().lines.concat(), b"", "nothing is left for the next call");
        // Three lines until here.
        journal.write(Stream::Output, &[b'\n'; GUEST_LOG_LINES_MAX - 4]);
        assert!(journal.may_say(Level::Info), "one more");
        assert!(!journal.may_say(Level::Info), "they count like messages");
    }
}
