//! What is whole in a damaged bundle, and what is not.
//!
//! A member is believed where its checksum is that of the manifest. Where the manifest is lost, it is where the zstd frame
//! that it lies in ended with its own checksum right, or was cut short by the file's end. Nothing is extracted: members are
//! read into memory, one at a time, under the same bounds as those of a whole bundle.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    EVENTS, EVIDENCE, MANIFEST, Manifest, Member, ReadLimits, SUMMARY,
    frames::{FrameEnd, Frames, STEP},
    hex, is_member_path,
    reader::{BLOCK, checksum, parse_manifest},
};
use crate::capture::events::Decoder;

/// Damages that are told one by one; the others are counted.
const TOLD: usize = 20;

/// What of a damaged bundle is whole.
#[derive(Debug, Default)]
pub struct Salvage {
    manifest: Option<Manifest>,
    /// Numbers of the members that are whole, in the order in which they lie in the file.
    whole: BTreeSet<u64>,
    damage: Vec<String>,
    untold: u64,
}

impl Salvage {
    /// Looks a file through. `None` where nothing in it is of a bundle.
    pub fn survey(path: &Path, limits: ReadLimits) -> io::Result<Option<Self>> {
        Self::of(File::open(path)?, limits)
    }

    fn of(source: impl Read + Seek, limits: ReadLimits) -> io::Result<Option<Self>> {
        let (mut salvage, mut seen) = (Self::default(), Seen::default());
        let Some(mut walk) = Walk::new(source, limits)? else {
            return Ok(None);
        };
        while let Some(event) = walk.next()? {
            match event {
                Event::Member(number, member) => seen.member(number, member),
                Event::FrameEnd(FrameEnd::Whole | FrameEnd::Cut) => seen.frame_held(),
                Event::FrameEnd(end) => salvage.tell(seen.frame_broke(&end)),
                Event::Odd(what) => salvage.tell(what),
            }
        }
        salvage.judge(seen);
        Ok(salvage.holds_something().then_some(salvage))
    }

    /// The manifest, where it is whole.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// What is damaged, a line each.
    #[must_use]
    pub fn damage(&self) -> Vec<String> {
        let mut lines = self.damage.clone();
        if self.untold > 0 {
            lines.push(format!("{} more", self.untold));
        }
        lines
    }

    /// Reads the members that are whole from the file, in their order.
    pub fn members(&self, path: &Path, limits: ReadLimits) -> io::Result<SalvagedMembers> {
        Ok(SalvagedMembers {
            walk: Walk::new(File::open(path)?, limits)?,
            whole: self.whole.clone(),
        })
    }

    fn holds_something(&self) -> bool {
        !self.whole.is_empty() || self.manifest.is_some()
    }

    fn tell(&mut self, what: String) {
        if self.damage.len() < TOLD {
            self.damage.push(what);
        } else {
            self.untold += 1;
        }
    }

    /// Decides which members are believed.
    fn judge(&mut self, seen: Seen) {
        self.manifest = seen.manifest;
        let listed: BTreeMap<String, String> = match &self.manifest {
            Some(manifest) => {
                let files = manifest.files.iter();
                files
                    .map(|file| (file.path.clone(), file.sha256.clone()))
                    .collect()
            }
            None => {
                self.tell("its end is lost: there is no manifest to check against".to_owned());
                BTreeMap::new()
            }
        };
        let mut taken = BTreeSet::new();
        for found in seen.members {
            let right = match listed.get(&found.path) {
                Some(digest) => *digest == found.digest,
                None => self.manifest.is_none() && found.frame_held,
            };
            if !right {
                self.tell(format!("{} is not what was written", found.path));
            } else if !taken.insert(found.path.clone()) {
                self.tell(format!("{} is there twice", found.path));
            } else if let Some(reason) = found.unreadable {
                self.tell(format!("{}: {reason}", found.path));
            } else {
                self.whole.insert(found.number);
            }
        }
        for path in listed.keys().filter(|path| !taken.contains(*path)) {
            self.tell(format!("{path} is lost"));
        }
    }
}

/// A member that was found.
struct Found {
    number: u64,
    path: String,
    digest: String,
    /// Why the records in it cannot be read.
    unreadable: Option<String>,
    /// The frame it lies in ended well.
    frame_held: bool,
}

#[derive(Default)]
struct Seen {
    members: Vec<Found>,
    /// How many of them lie in frames that ended.
    judged: usize,
    manifest: Option<Manifest>,
}

impl Seen {
    fn member(&mut self, number: u64, member: Member) {
        if member.path == MANIFEST {
            // One that was changed lists nothing that is there, so nothing is believed by it.
            self.manifest = parse_manifest(&member.bytes).ok();
            return;
        }
        let of_a_bundle = member.path == SUMMARY
            || member.path.starts_with(EVENTS)
            || member.path.starts_with(EVIDENCE);
        if of_a_bundle {
            self.members.push(Found {
                number,
                digest: hex(&Sha256::digest(&member.bytes)),
                unreadable: unreadable(&member),
                path: member.path,
                frame_held: false,
            });
        }
    }

    fn frame_held(&mut self) {
        for found in &mut self.members[self.judged..] {
            found.frame_held = true;
        }
        self.judged = self.members.len();
    }

    /// What to say of a frame that broke.
    fn frame_broke(&mut self, end: &FrameEnd) -> String {
        self.judged = self.members.len();
        let after = match self.members.last() {
            Some(found) => format!("after {}", found.path),
            None => "at its start".to_owned(),
        };
        match end {
            FrameEnd::Broken(reason) => format!("{after}: {reason}"),
            _ => format!("{after}: it unpacks to more than is safe to read"),
        }
    }
}

/// Why a segment's records cannot be read, if so.
fn unreadable(member: &Member) -> Option<String> {
    if !member.path.starts_with(EVENTS) {
        return None;
    }
    let mut decoder = match Decoder::new(Bytes::copy_from_slice(&member.bytes)) {
        Ok(decoder) => decoder,
        // That is told when it is read: another kctx is needed, not another copy.
        Err(error) if error.is_version() => return None,
        Err(error) => return Some(error.to_string()),
    };
    loop {
        match decoder.next_item() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
}

/// What is met on the way through a file.
enum Event {
    Member(u64, Member),
    FrameEnd(FrameEnd),
    /// Something that no kctx writes.
    Odd(String),
}

/// The members of a damaged bundle that are whole.
pub struct SalvagedMembers {
    walk: Option<Walk<File>>,
    whole: BTreeSet<u64>,
}

impl SalvagedMembers {
    /// The next one.
    pub fn next_member(&mut self) -> io::Result<Option<Member>> {
        let Some(walk) = &mut self.walk else {
            return Ok(None);
        };
        while let Some(event) = walk.next()? {
            if let Event::Member(number, member) = event
                && self.whole.contains(&number)
            {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }
}

/// Goes through all frames. After one that did not end well a header is looked for anew.
struct Walk<S: Read + Seek> {
    frames: Frames<S>,
    tar: Tar,
    met: VecDeque<Event>,
    buffer: Vec<u8>,
    over: bool,
}

impl<S: Read + Seek> Walk<S> {
    fn new(source: S, limits: ReadLimits) -> io::Result<Option<Self>> {
        let frames = Frames::new(source, limits.total_bytes)?;
        Ok(frames.map(|frames| Self {
            frames,
            tar: Tar::new(limits),
            met: VecDeque::new(),
            buffer: vec![0; STEP],
            over: false,
        }))
    }

    fn next(&mut self) -> io::Result<Option<Event>> {
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

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
