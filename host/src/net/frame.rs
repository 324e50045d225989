//! Frames: `u32` length, little-endian, then that many bytes of `postcard`.
//!
//! Nothing that a peer announces is believed: a length is checked before anything is allocated for
//! it, and memory grows with the bytes that arrived, not with the bytes that were promised.

use std::io;

use postcard::ser_flavors::{Flavor, Size};
use quinn::RecvStream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::AsyncReadExt;

use crate::protocol::Lane;

/// Length of a frame's length.
const HEADER_BYTES: usize = 4;
/// Free space offered to one read, in bytes: a full read takes many small frames at once.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// An empty buffer above this is given back, so that one large message does not pin memory.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;

/// The first frame of a stream: what the stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Opening {
    /// Many requests, each with a number that its reply repeats.
    Lane(Lane),
    /// One request and its reply.
    Alone,
}

/// Longest [`Opening`], in bytes, with room for a later version's.
pub(super) const OPENING_BYTES_MAX: usize = 64;

/// The message is longer than its stream allows. The buffer is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message of {len} bytes is longer than the {max} bytes its stream allows")]
pub(super) struct TooLong {
    len: usize,
    max: usize,
}

/// Why no frame can be read from a stream any more.
#[derive(Debug, Error)]
pub(super) enum FrameError {
    /// The peer announced too long a frame.
    #[error(transparent)]
    TooLong(TooLong),
    /// The bytes are not a message.
    #[error("a frame of {len} bytes is not a message")]
    Malformed {
        /// Length of the frame.
        len: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
    /// The connection or the stream is gone: nobody's fault here.
    #[error("the stream was lost")]
    Lost(#[source] io::Error),
}

/// Appends a frame to `buffer`.
pub(super) fn put<T: Serialize>(
    buffer: &mut Vec<u8>,
    message: &T,
    max: usize,
) -> Result<(), TooLong> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    // Only sequences of unknown length could fail, and no message has one.
    postcard::serialize_with_flavor(message, Tail(&mut *buffer)).expect("messages can be encoded");
    let len = buffer.len() - start - HEADER_BYTES;
    match u32::try_from(len) {
        Ok(header) if len <= max => {
            buffer[start..start + HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
            Ok(())
        }
        _ => {
            buffer.truncate(start);
            Err(TooLong { len, max })
        }
    }
}

/// Returns the length of a message on the wire, in bytes.
pub(super) fn encoded_len<T: Serialize>(message: &T) -> usize {
    postcard::serialize_with_flavor(message, Size::default()).expect("messages can be encoded")
}

/// Writes to the end of a vector.
struct Tail<'a>(&'a mut Vec<u8>);

impl Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads frames from a stream, many for each read.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::default() }
    }

    /// Returns the length of the next message, as its sender announces it, or `None` at the end of the
    /// stream.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn announced(&mut self) -> Result<Option<usize>, FrameError> {
        loop {
            if let Some(len) = self.buffer.announced() {
                return Ok(Some(len));
            }
            let read = self.stream.read_buf(self.buffer.spare()).await.map_err(FrameError::Lost)?;
            if read == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }

    /// Returns the next message of at most `max` bytes, or `None` at the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: bytes stay in the buffer.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
        max: usize,
    ) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(message) = self.buffer.next(max)? {
                return Ok(Some(message));
            }
            let read = self.stream.read_buf(self.buffer.spare()).await.map_err(FrameError::Lost)?;
            if read == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }
}

/// Bytes that arrived and are not read yet.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    /// Bytes at the front that are read already.
    taken: usize,
}

impl FrameBuffer {
    #[cfg(any(test, fuzzing))]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Returns the vector with room for one read at its end.
    pub(super) fn spare(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.bytes.clear();
            if self.bytes.capacity() > BUFFER_KEPT_BYTES {
                self.bytes = Vec::new();
            }
        } else {
            self.bytes.drain(..self.taken);
        }
        self.taken = 0;
        self.bytes.reserve(READ_BYTES);
        &mut self.bytes
    }

    fn announced(&self) -> Option<usize> {
        let header = self.bytes[self.taken..].first_chunk::<HEADER_BYTES>()?;
        Some(u32::from_le_bytes(*header) as usize)
    }

    /// Takes the next message of at most `max` bytes, or `None` if it is not all there yet.
    pub(super) fn next<T: DeserializeOwned>(
        &mut self,
        max: usize,
    ) -> Result<Option<T>, FrameError> {
        let Some(len) = self.announced() else { return Ok(None) };
        if len > max {
            return Err(FrameError::TooLong(TooLong { len, max }));
        }
        let rest = &self.bytes[self.taken + HEADER_BYTES..];
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        match postcard::take_from_bytes(frame) {
            Ok((message, [])) => {
                #[cfg(test)]
                super::hostile::note::<T>(frame);
                self.taken += HEADER_BYTES + len;
                Ok(Some(message))
            }
            Ok(_) | Err(_) => Err(FrameError::Malformed { len }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(message: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, message, 1024).unwrap();
        bytes
    }

    #[test]
    fn openings_have_golden_bytes() {
        assert_eq!(frame(&Opening::Lane(Lane::Member)), [2, 0, 0, 0, 0, 0]);
        assert_eq!(frame(&Opening::Lane(Lane::Directory)), [2, 0, 0, 0, 0, 1]);
        assert_eq!(frame(&Opening::Lane(Lane::Keeper)), [2, 0, 0, 0, 0, 2]);
        assert_eq!(frame(&Opening::Lane(Lane::Call)), [2, 0, 0, 0, 0, 3]);
        assert_eq!(frame(&Opening::Alone), [1, 0, 0, 0, 1]);
    }

    #[test]
    fn a_message_that_is_too_long_leaves_the_buffer_alone() {
        let mut bytes = frame(&1u8);
        let before = bytes.clone();
        assert_eq!(put(&mut bytes, &[0u8; 9], 8), Err(TooLong { len: 9, max: 8 }));
        assert_eq!(bytes, before);
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header_alone() {
        let mut buffer = FrameBuffer::default();
        buffer.spare().extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(buffer.next::<u64>(1024), Err(FrameError::TooLong(_))));
        assert!(buffer.bytes.capacity() <= READ_BYTES);
    }

    #[test]
    fn bytes_after_a_message_make_the_frame_malformed() {
        let mut buffer = FrameBuffer::default();
        buffer.spare().extend_from_slice(&[2, 0, 0, 0, 7, 7]);
        assert!(matches!(buffer.next::<u8>(1024), Err(FrameError::Malformed { len: 2 })));
    }

    proptest! {
        #[test]
        fn frames_survive_any_split(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            piece in 1usize..50,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(frame).collect();
            let mut buffer = FrameBuffer::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(piece) {
                buffer.spare().extend_from_slice(piece);
                while let Some(message) = buffer.next::<Vec<u8>>(1024).unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = FrameBuffer::default();
            buffer.spare().extend_from_slice(&bytes);
            while let Ok(Some(_)) = buffer.next::<(u64, crate::protocol::Request)>(1024) {}
        }
    }
}
