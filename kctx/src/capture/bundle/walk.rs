//! A way through a damaged file that takes a tar apart as it comes, and finds itself again.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek},
};

use super::{
    Member, ReadLimits,
    frames::{FrameEnd, Frames, STEP},
    is_member_path,
    reader::{BLOCK, checksum},
};

/// What is met on the way through a file.
pub(super) enum Event {
    Member(u64, Member),
    FrameEnd(FrameEnd),
    /// Something that no kctx writes.
    Odd(String),
}

/// Goes through all frames. After one that did not end well a header is looked for anew.
pub(super) struct Walk<S: Read + Seek> {
    frames: Frames<S>,
    tar: Tar,
    met: VecDeque<Event>,
    buffer: Vec<u8>,
    over: bool,
}

impl<S: Read + Seek> Walk<S> {
    pub(super) fn new(source: S, limits: ReadLimits) -> io::Result<Option<Self>> {
        let frames = Frames::new(source, limits.total_bytes)?;
        Ok(frames.map(|frames| Self {
            frames,
            tar: Tar::new(limits),
            met: VecDeque::new(),
            buffer: vec![0; STEP],
            over: false,
        }))
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.met.pop_front() {
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            match self.frames.piece(&mut self.buffer) {
                Ok(length) => {
                    let met = &mut self.met;
                    let mut each = |event| met.push_back(event);
                    self.tar.push(&self.buffer[..length], &mut each);
                }
                Err(end) => {
                    self.over = !self.frames.next(&end)?;
                    if end != FrameEnd::Whole {
                        self.tar.lost();
                    }
                    // What follows a frame that does not end shows that it was no cut.
                    let end = match end {
                        FrameEnd::Cut if !self.over => {
                            FrameEnd::Broken("a part of it has no end".to_owned())
                        }
                        end => end,
                    };
                    self.met.push_back(Event::FrameEnd(end));
                }
            }
        }
    }
}

/// Takes a tar apart as it comes.
struct Tar {
    limits: ReadLimits,
    /// Members so far, whatever they are.
    members: u64,
    state: State,
    block: Vec<u8>,
    /// A header is being looked for, and that was told.
    searching: bool,
}

enum State {
    Header,
    /// A file's content: what is still to come, padding with it.
    Body {
        path: String,
        size: usize,
        bytes: Vec<u8>,
        left: u64,
    },
    /// The content of what is no file of a bundle.
    Skip(u64),
}

impl Tar {
    fn new(limits: ReadLimits) -> Self {
        Self {
            limits,
            members: 0,
            state: State::Header,
            block: Vec::with_capacity(BLOCK),
            searching: false,
        }
    }

    /// The thread is lost: the next byte begins a member.
    fn lost(&mut self) {
        self.state = State::Header;
        self.block.clear();
        self.searching = false;
    }

    fn push(&mut self, mut piece: &[u8], each: &mut impl FnMut(Event)) {
        while !piece.is_empty() {
            match &mut self.state {
                State::Header => {
                    let (now, rest) = piece.split_at(piece.len().min(BLOCK - self.block.len()));
                    self.block.extend_from_slice(now);
                    piece = rest;
                    if self.block.len() == BLOCK {
                        self.header(each);
                        self.block.clear();
                    }
                }
                State::Body { bytes, left, .. } => {
                    let now = piece
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    bytes.extend_from_slice(&piece[..now]);
                    *left -= now as u64;
                    piece = &piece[now..];
                    if *left == 0 {
                        self.body(each);
                    }
                }
                State::Skip(left) => {
                    let now = piece
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= now as u64;
                    piece = &piece[now..];
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
            }
        }
    }

    fn header(&mut self, each: &mut impl FnMut(Event)) {
        let Ok(block) = <&[u8; BLOCK]>::try_from(self.block.as_slice()) else {
            return;
        };
        if *block == [0; BLOCK] {
            return;
        }
        let header = tar::Header::from_byte_slice(block);
        let is_header = header.cksum().is_ok_and(|sum| sum == checksum(block));
        let Some(size) = header.entry_size().ok().filter(|_| is_header) else {
            if !std::mem::replace(&mut self.searching, true) {
                each(Event::Odd(
                    "between two members is what is no tar header".to_owned(),
                ));
            }
            return;
        };
        self.searching = false;
        let path = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        if size > self.limits.member_bytes || self.members >= self.limits.members {
            // Its content is looked through for headers instead.
            let what = format!(
                "{path:?} claims {size} bytes as member {}",
                self.members + 1
            );
            return each(Event::Odd(format!("{what}: more than is safe to read")));
        }
        self.members += 1;
        let left = size.next_multiple_of(BLOCK as u64);
        let kind = header.entry_type();
        let is_link = kind.is_symlink() || kind.is_hard_link();
        if is_link || (kind.is_file() && !is_member_path(&path)) {
            each(Event::Odd(format!(
                "{path:?} cannot be a member of a bundle"
            )));
        }
        self.state = match (kind.is_file() && is_member_path(&path), left) {
            (false, 0) => State::Header,
            (false, left) => State::Skip(left),
            (true, left) => State::Body {
                path,
                size: size as usize,
                bytes: Vec::new(),
                left,
            },
        };
        if left == 0 && matches!(self.state, State::Body { .. }) {
            self.body(each);
        }
    }

    fn body(&mut self, each: &mut impl FnMut(Event)) {
        let state = std::mem::replace(&mut self.state, State::Header);
        if let State::Body {
            path,
            size,
            mut bytes,
            ..
        } = state
        {
            bytes.truncate(size);
            each(Event::Member(self.members, Member { path, bytes }));
        }
    }
}
