//! What is whole in a damaged bundle, and what is not.
//!
//! A member is believed where its checksum is that of the manifest. Where the manifest is lost, it is where the zstd frame
//! that it lies in ended with its own checksum right, or was cut short by the file's end. Nothing is extracted: members are
//! read into memory, one at a time, under the same bounds as those of a whole bundle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    EVENTS, EVIDENCE, MANIFEST, Manifest, Member, ReadLimits, SUMMARY,
    frames::FrameEnd,
    hex,
    reader::parse_manifest,
    walk::{Event, Walk},
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

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
