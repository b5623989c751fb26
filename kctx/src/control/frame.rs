//! What the daemon sends: a length of four bytes (little endian), a byte that says what it is, and so many bytes.

use std::io::{self, Read};

use bytes::Bytes;

use super::Hello;
use crate::capture::flight::Ending;

/// No frame is longer: a dump's head names at most some hundred thousand things, its segments are smaller.
pub const LONGEST_FRAME: usize = 64 << 20;

/// Length and kind.
pub const HEAD_BYTES: usize = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first, of a request that is served.
    Hello(Hello),
    /// A segment of the dump.
    Segment(Bytes),
    /// The last.
    End(Ending),
    /// The last: why there is no more, in one line.
    Refused(String),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Segment(_) => 2,
            Self::End(_) => 3,
            Self::Refused(_) => 4,
        }
    }

    /// Its head and its body.
    #[must_use]
    pub fn encode(&self) -> ([u8; HEAD_BYTES], Bytes) {
        // Neither has a key that is no string: JSON of it cannot fail.
        let body = match self {
            Self::Hello(hello) => serde_json::to_vec(hello).unwrap_or_default().into(),
            Self::Segment(segment) => segment.clone(),
            Self::End(ending) => serde_json::to_vec(ending).unwrap_or_default().into(),
            Self::Refused(why) => Bytes::copy_from_slice(why.as_bytes()),
        };
        let mut head = [0; HEAD_BYTES];
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4] = self.kind();
        (head, body)
    }

    /// Reads one. The stream's end between two frames is `UnexpectedEof`, what is no frame `InvalidData`.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; HEAD_BYTES];
        from.read_exact(&mut head)?;
        let [a, b, c, d, kind] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > LONGEST_FRAME {
            return Err(foreign("a frame is too long"));
        }
        // Grown as it is read: a length may be claimed.
        let mut body = Vec::new();
        let read = from.take(length as u64).read_to_end(&mut body)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match kind {
            1 => Ok(Self::Hello(parsed(&body)?)),
            2 => Ok(Self::Segment(body.into())),
            3 => Ok(Self::End(parsed(&body)?)),
            4 => Ok(Self::Refused(String::from_utf8_lossy(&body).into_owned())),
            _ => Err(foreign("a frame of an unknown kind")),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    serde_json::from_slice(body).map_err(|_| foreign("a frame is no valid JSON"))
}

fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::flight::{EndReason, InTransit};
    use proptest::prelude::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Hello(Hello {
                kctx_version: "1.2.3".to_owned(),
            }),
            Frame::Segment(Bytes::from_static(b"KCTXEVT\x03")),
            Frame::Segment(Bytes::new()),
            Frame::End(Ending {
                reason: EndReason::DaemonEnded,
                before_ns: 1,
                duration_ns: 2,
                memory_full: true,
                in_transit_before: InTransit {
                    streamed: 3,
                    spilled: -1,
                },
                in_transit_after: InTransit::default(),
            }),
            Frame::Refused("busy".to_owned()),
        ]
    }

    fn written() -> Vec<u8> {
        let parts = frames().into_iter().map(|frame| frame.encode());
        parts.fold(Vec::new(), |mut all, (head, body)| {
            all.extend_from_slice(&head);
            all.extend_from_slice(&body);
            all
        })
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = written();
        let mut from = bytes.as_slice();
        let read: Vec<_> = frames()
            .iter()
            .map(|_| Frame::read(&mut from).unwrap())
            .collect();
        assert_eq!(read, frames());
        let end = Frame::read(&mut from).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_length_that_is_claimed_takes_no_memory() {
        let mut head = [0xff; HEAD_BYTES];
        let mut from = head.as_slice();
        let error = Frame::read(&mut from).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        head = [0, 0, 0, 1, 2];
        let mut from = head.as_slice();
        let error = Frame::read(&mut from).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0_usize..200, byte in any::<u8>(), at in 0_usize..200) {
            let mut bytes = written();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            let mut from = bytes.as_slice();
            while Frame::read(&mut from).is_ok() {}
        }
    }
}
