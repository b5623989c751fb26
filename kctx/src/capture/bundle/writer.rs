//! Writes a bundle member by member, so that what was written is readable should it end early.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};
use zstd::stream::write::Encoder;

use super::{BundleError, LimitUse, MANIFEST, Manifest, MemberDigest, hex, is_member_path};

/// zstd's default: on text and delta-encoded records higher levels cost several times the CPU for
/// a few per cent, on a machine that has a problem already.
const LEVEL: i32 = 3;

/// A member begins a zstd frame of its own where the open one has taken this much: what is damaged costs the members of
/// one frame. Small files share one, since they compress together.
const FRAME_BYTES: usize = 256 << 10;

/// Size of a tar block.
const BLOCK: usize = 512;

/// Bounds of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimits {
    /// Compressed bytes beyond which no more records are taken. Evidence, summary and manifest
    /// still go in: each is bounded on its own.
    pub max_bytes: u64,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
        }
    }
}

/// What became of a segment of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// It is in the bundle.
    Added,
    /// It was left out, as every later one will be: records without a gap are worth more.
    LimitReached,
}

/// A bundle that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// A bundle being written to `<output>.partial`. Dropped unfinished, it leaves that file behind,
/// readable up to the last whole member; none where nothing was written.
pub struct BundleWriter {
    // `None` only after `finish`.
    encoder: Option<Encoder<'static, Metered>>,
    output: PathBuf,
    partial: PathBuf,
    limits: WriteLimits,
    files: Vec<MemberDigest>,
    segments_dropped: u64,
    mtime: u64,
    /// Bytes that went into the open zstd frame.
    in_frame: usize,
}

/// Counts what went into the file.
#[derive(Debug)]
struct Metered {
    file: File,
    written: u64,
}

impl Write for Metered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BundleWriter {
    /// Opens `<output>.partial`, so that an output that cannot be written is known before the
    /// capture begins.
    pub fn create(output: &Path, limits: WriteLimits) -> Result<Self, BundleError> {
        let bad = |reason: &str| BundleError::BadOutput {
            path: output.to_owned(),
            reason: reason.to_owned(),
        };
        let name = output.file_name().ok_or_else(|| bad("it names no file"))?;
        match fs::metadata(output) {
            Ok(metadata) if metadata.is_dir() => return Err(bad("it is a directory")),
            // Renaming onto /dev/null or a pipe would replace it.
            Ok(metadata) if !metadata.is_file() => return Err(bad("it is not a regular file")),
            _ => {}
        }
        let mut partial_name = name.to_owned();
        partial_name.push(".partial");
        let partial = output.with_file_name(partial_name);
        let file = open_partial(&partial)?;
        give_to_invoker(&file);
        let encoder =
            new_frame(Metered { file, written: 0 }).map_err(io_error("write", &partial))?;
        let mtime = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Ok(Self {
            encoder: Some(encoder),
            output: output.to_owned(),
            partial,
            limits,
            files: Vec::new(),
            segments_dropped: 0,
            mtime,
            in_frame: 0,
        })
    }

    /// Adds a member that always goes in: evidence, summary, report.
    pub fn add_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), BundleError> {
        if path == MANIFEST {
            return Err(BundleError::BadMemberPath(path.to_owned()));
        }
        self.append(path, bytes)?;
        self.files.push(MemberDigest {
            path: path.to_owned(),
            size: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        });
        Ok(())
    }

    /// Adds a segment of records, unless that would make the bundle larger than its limit.
    pub fn add_segment(&mut self, path: &str, bytes: &[u8]) -> Result<Segment, BundleError> {
        if self.segments_dropped > 0 || !self.has_room(bytes)? {
            self.segments_dropped += 1;
            return Ok(Segment::LimitReached);
        }
        self.add_file(path, bytes)?;
        Ok(Segment::Added)
    }

    /// Whether `bytes` fit, compressed. Near the limit only a trial tells.
    fn has_room(&self, bytes: &[u8]) -> Result<bool, BundleError> {
        // A header of 512 bytes compresses to less than this.
        const HEADER: u64 = 256;
        let room = self
            .limits
            .max_bytes
            .saturating_sub(self.compressed_bytes() + HEADER);
        if bytes.len() as u64 + HEADER <= room {
            return Ok(true);
        }
        let trial = zstd::bulk::compress(bytes, LEVEL).map_err(io_error("write", &self.partial))?;
        Ok(trial.len() as u64 <= room)
    }

    /// Compressed bytes in the file up to now.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        self.encoder
            .as_ref()
            .map_or(0, |encoder| encoder.get_ref().written)
    }

    /// The file as long as it is not whole.
    #[must_use]
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Writes the manifest last, makes everything durable and gives the file its name.
    ///
    /// The manifest's `files` and its limit `bundle_bytes` are filled in here.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<Written, BundleError> {
        manifest.files = std::mem::take(&mut self.files);
        manifest.limits.insert(
            "bundle_bytes".to_owned(),
            LimitUse {
                limit: self.limits.max_bytes,
                hit: self.segments_dropped > 0,
                dropped: self.segments_dropped,
            },
        );
        let mut json = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| io_error("write", &self.partial)(error.into()))?;
        json.push(b'\n');
        self.append(MANIFEST, &json)?;
        let result = self.complete();
        let Metered {
            file,
            written: bytes,
        } = result.map_err(io_error("write", &self.partial))?;
        if let Err(error) = fs::rename(&self.partial, &self.output) {
            if error.kind() == io::ErrorKind::NotFound
                && let Ok(kept) = rescue(&file, &self.output)
            {
                return Err(BundleError::Rescued {
                    output: self.output.clone(),
                    kept,
                });
            }
            return Err(io_error("make", &self.output)(error));
        }
        // The new name itself is durable once its directory is; where that cannot be opened or
        // synced, the file is there all the same.
        let directory = match self.output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(Written {
            path: self.output.clone(),
            bytes,
        })
    }

    fn complete(&mut self) -> io::Result<Metered> {
        let mut encoder = self.encoder.take().ok_or_else(closed)?;
        // Two empty blocks end a tar.
        encoder.write_all(&[0; 2 * BLOCK])?;
        let metered = encoder.finish()?;
        metered.file.sync_all()?;
        Ok(metered)
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> Result<(), BundleError> {
        if !is_member_path(path) {
            return Err(BundleError::BadMemberPath(path.to_owned()));
        }
        let mut header = tar::Header::new_ustar();
        header
            .set_path(path)
            .map_err(|_| BundleError::BadMemberPath(path.to_owned()))?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_cksum();
        let mut write = || {
            if self.in_frame >= FRAME_BYTES {
                let ended = self.encoder.take().ok_or_else(closed)?.finish()?;
                self.encoder = Some(new_frame(ended)?);
                self.in_frame = 0;
            }
            self.in_frame += BLOCK + bytes.len();
            // Headers and padding are written here, not by `tar::Builder`: that one ends the
            // archive when dropped, which would make an interrupted bundle look whole.
            let encoder = self.encoder.as_mut().ok_or_else(closed)?;
            encoder.write_all(header.as_bytes())?;
            encoder.write_all(bytes)?;
            let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
            encoder.write_all(&[0; BLOCK][..padding])?;
            // Everything up to here can be decompressed should nothing follow.
            encoder.flush()
        };
        write().map_err(io_error("write", &self.partial))
    }
}

impl Drop for BundleWriter {
    fn drop(&mut self) {
        if let Some(encoder) = &mut self.encoder {
            if self.in_frame == 0 && self.files.is_empty() {
                let _ = fs::remove_file(&self.partial);
                return;
            }
            // Each member was flushed out of the compressor; this makes them durable if it can.
            let _ = encoder.flush();
            let _ = encoder.get_ref().file.sync_all();
        }
    }
}

/// Begins a zstd frame, which ends with a checksum of its own.
fn new_frame(into: Metered) -> io::Result<Encoder<'static, Metered>> {
    let mut encoder = Encoder::new(into, LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// Opens the temporary file anew. One left by an interrupted capture is replaced, one in use is not.
fn open_partial(partial: &Path) -> Result<File, BundleError> {
    // kctx is often root: neither a symbolic link nor a pipe laid out under a guessable name may
    // make it write, or wait, elsewhere.
    let left_over = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(partial);
    match left_over {
        Ok(file) => {
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                return Err(BundleError::Busy(partial.to_owned()));
            }
            // Removed rather than written over: it may be somebody else's, or have been renamed to a
            // whole bundle since it was opened.
            match fs::remove_file(partial) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("replace", partial)(error));
                }
                _ => {}
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("write", partial)(error)),
    }
    let file = OpenOptions::new()
        // Read, should its folder vanish.
        .read(true)
        .write(true)
        .create_new(true)
        // Evidence tells much about a machine: for its owner only.
        .mode(0o600)
        .open(partial)
        .map_err(io_error("write", partial))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(BundleError::Busy(partial.to_owned())),
        // File systems without locks: go on without.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn closed() -> io::Error {
    io::Error::other("the bundle is finished")
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Io {
        action,
        path,
        source,
    }
}

/// Copies a bundle whose folder was removed into the folder for temporary files.
fn rescue(file: &File, output: &Path) -> io::Result<PathBuf> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let kept = std::env::temp_dir().join(format!("{}-{name}", std::process::id()));
    // `create_new` follows no symbolic link that somebody laid out.
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&kept)?;
    give_to_invoker(&copy);
    let mut source = file;
    source.seek(SeekFrom::Start(0))?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()?;
    Ok(kept)
}

/// Under sudo the bundle belongs to whoever called it: it is readable by its owner alone, and they are to
/// take it away. Where that does not work it stays root's, and they use sudo once more.
fn give_to_invoker(file: &File) {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID")) {
        let _ = std::os::unix::fs::fchown(file, Some(uid), Some(gid));
    }
}
