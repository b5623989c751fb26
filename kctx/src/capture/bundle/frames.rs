//! The zstd frames of a damaged file: whole ones, and where the next begins.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use zstd::stream::read::Decoder;

use super::reader::ZSTD_MAGIC;

/// Bytes looked through at once for a frame's beginning.
pub(super) const STEP: usize = 64 << 10;

/// Unpacks a file frame by frame, and finds its way again where one is broken.
pub(super) struct Frames<S: Read + Seek> {
    /// `None` only while a decoder is being made.
    decoder: Option<Decoder<'static, BufReader<S>>>,
    /// Where the open frame begins in the file.
    frame_at: u64,
    /// Unpacked bytes that may still come, of all frames and attempts.
    left: u64,
}

/// How a frame ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameEnd {
    /// With its checksum right.
    Whole,
    /// The file ends within it.
    Cut,
    /// In it something is wrong.
    Broken(String),
    /// More unpacks from the file than is read.
    TooLarge,
}

impl<S: Read + Seek> Frames<S> {
    /// Looks for the first frame from the file's beginning on; `None` where there is none.
    pub(super) fn new(source: S, total_bytes: u64) -> io::Result<Option<Self>> {
        let reader = BufReader::with_capacity(STEP, source);
        let mut frames = Self {
            decoder: None,
            frame_at: 0,
            left: total_bytes,
        };
        Ok(frames.open_from(reader, 0)?.then_some(frames))
    }

    /// The next piece of the open frame's content, or how it ended.
    pub(super) fn piece(&mut self, buffer: &mut [u8]) -> Result<usize, FrameEnd> {
        let Some(decoder) = &mut self.decoder else {
            return Err(FrameEnd::Cut);
        };
        loop {
            match decoder.read(buffer) {
                Ok(0) => return Err(FrameEnd::Whole),
                Ok(length) => {
                    let left = self.left.checked_sub(length as u64);
                    self.left = left.ok_or(FrameEnd::TooLarge)?;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(FrameEnd::Cut);
                }
                Err(error) => return Err(FrameEnd::Broken(error.to_string())),
            }
        }
    }

    /// Goes on to the next frame: right after a whole one, else to the next place where one begins. False at the end.
    pub(super) fn next(&mut self, ended: &FrameEnd) -> io::Result<bool> {
        let Some(decoder) = self.decoder.take() else {
            return Ok(false);
        };
        let mut reader = decoder.finish();
        let from = match ended {
            FrameEnd::Whole => reader.stream_position()?,
            FrameEnd::Cut | FrameEnd::Broken(_) => self.frame_at + 1,
            FrameEnd::TooLarge => return Ok(false),
        };
        self.open_from(reader, from)
    }

    fn open_from(&mut self, mut reader: BufReader<S>, from: u64) -> io::Result<bool> {
        reader.seek(SeekFrom::Start(from))?;
        let Some(at) = find_magic(&mut reader, from)? else {
            return Ok(false);
        };
        reader.seek(SeekFrom::Start(at))?;
        self.frame_at = at;
        self.decoder = Some(Decoder::with_buffer(reader)?.single_frame());
        Ok(true)
    }
}

/// Where the next frame seems to begin, read from the offset `from` on.
fn find_magic(reader: &mut impl BufRead, from: u64) -> io::Result<Option<u64>> {
    let (mut at, mut matched) = (from, 0);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(None);
        }
        for (index, byte) in piece.iter().enumerate() {
            // The magic's first byte comes again nowhere in it.
            matched = match *byte == ZSTD_MAGIC[matched] {
                true => matched + 1,
                false => usize::from(*byte == ZSTD_MAGIC[0]),
            };
            if matched == ZSTD_MAGIC.len() {
                let end = at + index as u64 + 1;
                return Ok(Some(end - ZSTD_MAGIC.len() as u64));
            }
        }
        let length = piece.len();
        at += length as u64;
        reader.consume(length);
    }
}
