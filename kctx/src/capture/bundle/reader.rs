//! Reads a bundle member by member, within bounds; nothing is ever extracted to disk.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder;

use super::{BUNDLE_SCHEMA, BundleError, EVENTS, MANIFEST, Manifest, SUMMARY, hex, is_member_path};

/// First bytes of a zstd frame (RFC 8878, 3.1.1).
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Size of a tar block.
pub(super) const BLOCK: usize = 512;

/// Bytes for which a member's claim to be so large is believed: more than a segment has.
const AT_ONCE: u64 = 2 << 20;

/// Bounds on what is read: the file may be anybody's, and small ones can unpack to very much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of one member.
    pub member_bytes: u64,
    /// Bytes of the whole, unpacked.
    pub total_bytes: u64,
    /// Members.
    pub members: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            member_bytes: 256 << 20,
            total_bytes: 16 << 30,
            members: 1 << 20,
        }
    }
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A member, whole.
    Member(Member),
    /// The bundle is whole, and everything matched the manifest's checksums.
    End,
    /// The file ends in the middle; all members up to there were given.
    Truncated,
}

/// Reads one bundle from front to back.
pub struct BundleReader<'a> {
    source: Tape<'a>,
    limits: ReadLimits,
    digests: BTreeMap<String, String>,
    members: u64,
    last_path: Option<String>,
    manifest: Option<Manifest>,
    over: Option<Step>,
}

impl BundleReader<'static> {
    /// Opens a bundle.
    pub fn open(path: &Path, limits: ReadLimits) -> Result<Self, BundleError> {
        let at_path = |source| BundleError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(at_path)?;
        if file.metadata().map_err(at_path)?.is_dir() {
            return Err(BundleError::Foreign("it is a directory".to_owned()));
        }
        BundleReader::new(file, limits)
    }
}

impl<'a> BundleReader<'a> {
    /// Reads a bundle from any source.
    pub fn new(mut source: impl Read + Send + 'a, limits: ReadLimits) -> Result<Self, BundleError> {
        let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
        source
            .by_ref()
            .take(ZSTD_MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(|error| BundleError::Foreign(format!("it cannot be read ({error})")))?;
        if magic.is_empty() {
            return Err(BundleError::Foreign("it is empty".to_owned()));
        }
        if !ZSTD_MAGIC.starts_with(&magic) {
            return Err(BundleError::Foreign("it is not zstd-compressed".to_owned()));
        }
        let rejoined = io::Cursor::new(magic).chain(source);
        let decoder = Decoder::new(rejoined)
            .map_err(|error| BundleError::Foreign(format!("zstd says: {error}")))?;
        Ok(Self {
            source: Tape {
                inner: Box::new(BufReader::new(decoder)),
                left: limits.total_bytes,
            },
            limits,
            digests: BTreeMap::new(),
            members: 0,
            last_path: None,
            manifest: None,
            over: None,
        })
    }

    /// The manifest; it is a bundle's last member, so known only after [`Step::End`].
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The next member, or why there is none. After the end the same answer is given again.
    pub fn step(&mut self) -> Result<Step, BundleError> {
        if let Some(over) = &self.over {
            return Ok(over.clone());
        }
        let step = match self.next_member() {
            Ok(Some(member)) => return Ok(Step::Member(member)),
            Ok(None) => {
                self.verify()?;
                Step::End
            }
            Err(Stop::Cut) => {
                // Cut within the last bytes: the manifest is there to check against.
                if self.manifest.is_some() {
                    self.verify()?;
                }
                Step::Truncated
            }
            Err(Stop::Error(error)) => return Err(error),
        };
        self.over = Some(step.clone());
        Ok(step)
    }

    fn next_member(&mut self) -> Result<Option<Member>, Stop> {
        loop {
            let mut block = [0; BLOCK];
            match self.fill(&mut block)? {
                // Some writers leave out the two empty blocks at the end. Without a manifest it is rather a cut between
                // two frames.
                0 if self.manifest.is_some() || self.last_path.is_none() => return Ok(None),
                0 => return Err(Stop::Cut),
                BLOCK => {}
                // zstd says the data is complete, yet it ends within a block.
                _ => return Err(self.not_a_tar("it ends within a tar header")),
            }
            if block == [0; BLOCK] {
                self.drain()?;
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            let checksum_is_right = header.cksum().is_ok_and(|sum| sum == checksum(&block));
            if !checksum_is_right {
                return Err(self.not_a_tar("what it unpacks to is no tar archive"));
            }
            let size = header
                .entry_size()
                .map_err(|_| self.not_a_tar("a tar header has no size"))?;
            if size > self.limits.member_bytes || self.members >= self.limits.members {
                let what = format!("a member of {size} bytes, number {}", self.members + 1);
                return Err(BundleError::TooLarge(what).into());
            }
            self.members += 1;
            let kind = header.entry_type();
            let path = String::from_utf8(header.path_bytes().into_owned());
            let bytes = self.body(size)?;
            // Folders, and what `tar` may add when a bundle is packed anew (pax headers).
            if !kind.is_file() {
                continue;
            }
            let path = path.map_err(|error| {
                BundleError::BadMemberPath(String::from_utf8_lossy(error.as_bytes()).into_owned())
            })?;
            let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
            return Ok(Some(self.accept(path, bytes)?));
        }
    }

    fn accept(&mut self, path: String, bytes: Vec<u8>) -> Result<Member, BundleError> {
        if !is_member_path(&path) {
            return Err(BundleError::BadMemberPath(path));
        }
        if path == MANIFEST {
            self.manifest = Some(parse_manifest(&bytes)?);
        }
        let digest = hex(&Sha256::digest(&bytes));
        if self.digests.insert(path.clone(), digest).is_some() {
            return Err(BundleError::Damaged {
                after: format!("at {path}"),
                reason: "it holds that file twice".to_owned(),
            });
        }
        self.last_path = Some(path.clone());
        Ok(Member { path, bytes })
    }

    /// Reads a member's bytes and its padding.
    fn body(&mut self, size: u64) -> Result<Vec<u8>, Stop> {
        // From some size on grown as it is read: a header may claim more than there is.
        let padded = size.next_multiple_of(BLOCK as u64);
        let mut bytes = Vec::with_capacity(padded.min(AT_ONCE) as usize);
        let result = self.source.by_ref().take(padded).read_to_end(&mut bytes);
        result.map_err(|error| self.stop(&error))?;
        if (bytes.len() as u64) < padded {
            return Err(self.not_a_tar("it ends within a tar member"));
        }
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// Fills the block as far as there is data.
    fn fill(&mut self, block: &mut [u8]) -> Result<usize, Stop> {
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stop(&error)),
            }
        }
        Ok(filled)
    }

    /// Reads to the end of the compressed data, so that zstd checks its own checksum.
    fn drain(&mut self) -> Result<(), Stop> {
        let result = io::copy(&mut self.source, &mut io::sink());
        result.map(drop).map_err(|error| self.stop(&error))
    }

    /// Judges an error of the compressed source.
    fn stop(&self, error: &io::Error) -> Stop {
        if error.kind() == ErrorKind::UnexpectedEof {
            return Stop::Cut;
        }
        if error.kind() == ErrorKind::QuotaExceeded {
            let what = format!("more than {} bytes unpacked", self.limits.total_bytes);
            return BundleError::TooLarge(what).into();
        }
        self.damaged(error.to_string()).into()
    }

    fn not_a_tar(&self, reason: &str) -> Stop {
        if self.last_path.is_some() {
            self.damaged(reason.to_owned()).into()
        } else {
            BundleError::Foreign(reason.to_owned()).into()
        }
    }

    fn damaged(&self, reason: String) -> BundleError {
        let after = match &self.last_path {
            Some(path) => format!("after {path}"),
            None => "at its start".to_owned(),
        };
        BundleError::Damaged { after, reason }
    }

    /// At the end: is it a bundle, and is everything what the manifest says?
    fn verify(&self) -> Result<(), BundleError> {
        let Some(manifest) = &self.manifest else {
            let has = |wanted: &str| self.digests.keys().any(|path| path.starts_with(wanted));
            return if has(EVENTS) || has(SUMMARY) {
                // Packed anew without its manifest: readable, with nothing to check against.
                Ok(())
            } else {
                let reason = "a tar archive without manifest.json and events";
                Err(BundleError::Foreign(reason.to_owned()))
            };
        };
        for file in &manifest.files {
            match self.digests.get(&file.path) {
                None => return Err(BundleError::MemberMissing(file.path.clone())),
                Some(digest) if *digest != file.sha256 => {
                    return Err(BundleError::Checksum(file.path.clone()));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Why reading stops.
enum Stop {
    Cut,
    Error(BundleError),
}

impl From<BundleError> for Stop {
    fn from(error: BundleError) -> Self {
        Self::Error(error)
    }
}

/// The unpacked bytes, up to a bound.
struct Tape<'a> {
    inner: Box<dyn Read + Send + 'a>,
    left: u64,
}

impl Read for Tape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or(ErrorKind::QuotaExceeded)?;
        Ok(length)
    }
}

/// Sum of a tar header's bytes, with blanks in place of the checksum itself (POSIX ustar).
pub(super) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let field = 148..156;
    block.iter().enumerate().fold(0, |sum, (index, byte)| {
        let byte = if field.contains(&index) { b' ' } else { *byte };
        sum + u32::from(byte)
    })
}

pub(super) fn parse_manifest(bytes: &[u8]) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
    }
    let foreign = |_| BundleError::Foreign("its manifest.json is not that of kctx".to_owned());
    // The schema first: another version's manifest may not have this one's fields.
    let head: Head = serde_json::from_slice(bytes).map_err(foreign)?;
    if head.schema != BUNDLE_SCHEMA {
        return Err(BundleError::Schema(head.schema));
    }
    serde_json::from_slice(bytes).map_err(|error| BundleError::Damaged {
        after: format!("at {MANIFEST}"),
        reason: error.to_string(),
    })
}
