//! Streams of any bytes: see [`crate::hostile`] for what is promised of them.

use super::frame::{FrameBuffer, FrameError, OPENING_BYTES_MAX, Opening, READ_BYTES, put};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::{Reply, Request};

/// What came out of a stream.
#[derive(Debug, PartialEq)]
enum Heard {
    Opened(Opening),
    Asked(u64, Request),
    AskedAlone(Request),
    Answered(u64, Reply),
}

/// A stream: the first byte says whose side reads it, the second in what pieces it arrives.
pub(crate) fn frames(bytes: &[u8]) {
    let [side, piece, stream @ ..] = bytes else { return };
    let asks = side % 2 == 0;
    let at_once = listen(asks, stream, stream.len().max(1));
    let in_pieces = listen(asks, stream, usize::from(*piece) + 1);
    assert_eq!(at_once, in_pieces, "the pieces make no difference");
}

/// Reads a stream to its end or to what is wrong with it, as `serve` and `lane` do. Returns what was
/// heard, and what was wrong in words.
fn listen(asks: bool, stream: &[u8], piece: usize) -> (Vec<Heard>, Option<String>) {
    let (mut buffer, mut heard) = (FrameBuffer::default(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.spare().extend_from_slice(piece);
        loop {
            match next(&mut buffer, asks, heard.first()) {
                Ok(Some(message)) => {
                    check(&message);
                    heard.push(message);
                }
                Ok(None) => break,
                Err(error) => return (heard, Some(error.to_string())),
            }
        }
        // It grows with what arrived, twofold at most, whatever was promised.
        assert!(buffer.capacity() <= 2 * (stream.len() + READ_BYTES));
    }
    (heard, None)
}

fn next(
    buffer: &mut FrameBuffer,
    asks: bool,
    first: Option<&Heard>,
) -> Result<Option<Heard>, FrameError> {
    Ok(match (asks, first) {
        (false, _) => buffer.next(FRAME_BYTES_MAX)?.map(|(id, reply)| Heard::Answered(id, reply)),
        (true, None) => buffer.next(OPENING_BYTES_MAX)?.map(Heard::Opened),
        (true, Some(Heard::Opened(Opening::Alone))) => {
            buffer.next(MESSAGE_BYTES_MAX)?.map(Heard::AskedAlone)
        }
        (true, Some(_)) => buffer.next(FRAME_BYTES_MAX)?.map(|(id, q)| Heard::Asked(id, q)),
    })
}

/// What was heard can be said.
fn check(message: &Heard) {
    let mut frame = Vec::new();
    let said = match message {
        Heard::Opened(opening) => put(&mut frame, opening, OPENING_BYTES_MAX),
        Heard::Asked(id, request) => put(&mut frame, &(id, request), FRAME_BYTES_MAX),
        Heard::AskedAlone(request) => put(&mut frame, request, MESSAGE_BYTES_MAX),
        Heard::Answered(id, reply) => put(&mut frame, &(id, reply), FRAME_BYTES_MAX),
    };
    assert_eq!(said, Ok(()));
}

/// A message as it was on the wire.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The name of what it was read as.
    pub(crate) what: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// What the streams of this process have heard since [`hear`].
#[cfg(test)]
static HEARD: std::sync::Mutex<Option<Vec<Frame>>> = std::sync::Mutex::new(None);

/// Ends the recording when it is dropped.
#[cfg(test)]
pub(crate) struct Recording;

/// Begins to record all messages that arrive in this process.
#[cfg(test)]
pub(crate) fn hear() -> Recording {
    *HEARD.lock().unwrap() = Some(Vec::new());
    Recording
}

#[cfg(test)]
impl Recording {
    /// Returns what was heard.
    pub(crate) fn take(self) -> Vec<Frame> {
        HEARD.lock().unwrap().take().unwrap_or_default()
    }
}

/// Notes a message that was read.
#[cfg(test)]
pub(super) fn note<T>(bytes: &[u8]) {
    if let Some(heard) = &mut *HEARD.lock().unwrap() {
        heard.push(Frame { what: std::any::type_name::<T>(), bytes: bytes.to_vec() });
    }
}
