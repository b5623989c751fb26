//! Where triggers leave their bundles, and what goes when there are too many. Only what has such a bundle's name, and is a
//! file of this user's own, is ever removed.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// How a bundle of a trigger is called: `trigger-20261124T193000.123Z-RULE.kctx.tar.zst`.
const START: &str = "trigger-";
const END: &str = ".kctx.tar.zst";
/// Also of one that was cut short.
const PARTIAL: &str = ".kctx.tar.zst.partial";
/// `20261124T193000.123Z`
const STAMP: usize = 20;

/// Bounds on what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bundles.
    pub bundles: usize,
    /// Bytes of them together.
    pub bytes: u64,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write into {directory}: {source}; it has to belong to the user that kctx runs as, since kctx gives up its \
     privileges"
)]
pub struct StoreError {
    directory: PathBuf,
    source: io::Error,
}

/// A directory of bundles.
#[derive(Clone, Debug)]
pub struct BundleStore {
    directory: PathBuf,
    limits: StoreLimits,
}

/// A bundle that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    name: String,
    bytes: u64,
}

impl BundleStore {
    /// The directory: made for this user alone where there is none, and tried.
    pub fn open(directory: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        let at_path = |source| StoreError {
            directory: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(at_path)?;
        let owner = fs::metadata(directory).map_err(at_path)?.uid();
        let us = rustix::process::geteuid().as_raw();
        if owner != us {
            // Who owns it may take files out of it and put others in their place.
            let whose = format!("it belongs to user {owner}, and kctx runs as user {us}");
            return Err(at_path(io::Error::other(whose)));
        }
        let trial = directory.join(format!(".kctx-{}", std::process::id()));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&trial)
            .and_then(|_| fs::remove_file(&trial))
            .map_err(at_path)?;
        Ok(Self {
            directory: directory.to_owned(),
            limits,
        })
    }

    /// Where the bundle of a rule that fired then goes.
    #[must_use]
    pub fn path(&self, rule: &str, unix_ns: u64) -> PathBuf {
        self.directory.join(file_name(rule, unix_ns))
    }

    /// Removes the oldest bundles until `coming` more bytes fit; how many it removed. A directory that is gone since it was
    /// opened is made again.
    pub fn make_room(&self, coming: u64) -> Result<usize, StoreError> {
        Self::open(&self.directory, self.limits)?;
        self.remove_surplus(coming).map_err(|source| StoreError {
            directory: self.directory.clone(),
            source,
        })
    }

    fn remove_surplus(&self, coming: u64) -> io::Result<usize> {
        let mut kept = self.kept()?;
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        let mut removed = 0;
        for name in surplus(&kept, self.limits, coming) {
            match fs::remove_file(self.directory.join(name)) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// The bundles of triggers that are there.
    fn kept(&self) -> io::Result<Vec<Kept>> {
        let us = rustix::process::geteuid().as_raw();
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Of the entry itself: a symbolic link is nobody's bundle.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if is_ours(&name) && metadata.is_file() && metadata.uid() == us {
                let bytes = metadata.len();
                kept.push(Kept { name, bytes });
            }
        }
        Ok(kept)
    }
}

fn file_name(rule: &str, unix_ns: u64) -> String {
    let millis = std::time::Duration::from_millis(unix_ns / 1_000_000);
    let stamp = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + millis).to_string();
    let stamp: String = stamp.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{START}{stamp}-{rule}{END}")
}

/// Whether a file has the name of a trigger's bundle.
fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(START).and_then(|rest| {
        rest.strip_suffix(PARTIAL)
            .or_else(|| rest.strip_suffix(END))
    });
    let Some((stamp, rule)) = rest.and_then(|rest| rest.split_at_checked(STAMP)) else {
        return false;
    };
    let digits = |at: std::ops::Range<usize>| stamp.as_bytes()[at].iter().all(u8::is_ascii_digit);
    digits(0..8)
        && digits(9..15)
        && digits(16..19)
        && [&stamp[8..9], &stamp[15..16], &stamp[19..20]] == ["T", ".", "Z"]
        && rule.strip_prefix('-').is_some_and(|rule| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !rule.is_empty() && rule.bytes().all(fits)
        })
}

/// Which go, of those that are there from the oldest on, so that one more of `coming` bytes fits.
fn surplus(kept: &[Kept], limits: StoreLimits, coming: u64) -> Vec<&str> {
    let mut count = kept.len() + 1;
    let mut bytes = kept
        .iter()
        .map(|one| one.bytes)
        .fold(coming, u64::saturating_add);
    let mut surplus = Vec::new();
    for one in kept {
        if count <= limits.bundles && bytes <= limits.bytes {
            break;
        }
        surplus.push(one.name.as_str());
        count -= 1;
        bytes = bytes.saturating_sub(one.bytes);
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StoreLimits = StoreLimits {
        bundles: 3,
        bytes: 100,
    };

    #[test]
    fn names_sort_by_time_and_are_known_again() {
        let name = file_name("net-rx", 1_795_551_866_107_410_708);
        assert_eq!(name, "trigger-20261124T202426.107Z-net-rx.kctx.tar.zst");
        assert!(is_ours(&name));
        assert!(is_ours(&format!("{name}.partial")));
        for other in [
            "kctx.tar.zst",
            "trigger-.kctx.tar.zst",
            "trigger-20261124T202426.107Z.kctx.tar.zst",
            "trigger-20261124T202426.107Z-.kctx.tar.zst",
            "trigger-20261124T202426.107Z-a b.kctx.tar.zst",
            "trigger-2026112éT20242.107Z-a.kctx.tar.zst",
            "trigger-20261124T202426.107Z-net-rx.kctx.tar.zst.keep",
            "my-trigger-20261124T202426.107Z-net-rx.kctx.tar.zst",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn the_oldest_go_until_the_next_fits() {
        let kept: Vec<Kept> = (["a", "b", "c"].iter())
            .map(|name| Kept {
                name: (*name).to_owned(),
                bytes: 30,
            })
            .collect();
        assert_eq!(surplus(&kept, LIMITS, 5), ["a"], "four would be too many");
        assert_eq!(surplus(&kept, LIMITS, 50), ["a", "b"]);
        assert_eq!(surplus(&kept, LIMITS, 1000), ["a", "b", "c"]);
        assert!(surplus(&kept[..2], LIMITS, 40).is_empty());
    }

    #[test]
    fn a_directory_that_vanished_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("kctx");
        let store = BundleStore::open(&directory, LIMITS).unwrap();
        fs::remove_dir(&directory).unwrap();
        assert_eq!(store.make_room(10).unwrap(), 0);
        assert!(directory.is_dir());
        fs::remove_dir(&directory).unwrap();
        fs::write(&directory, "a file").unwrap();
        let error = store.make_room(10).unwrap_err().to_string();
        assert!(error.starts_with("cannot write into "), "{error}");
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        // /proc/1 is root's, and nobody may write there.
        let of_root = Path::new("/proc/1");
        let error = BundleStore::open(of_root, LIMITS).unwrap_err().to_string();
        assert!(error.contains("/proc/1"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("theirs");
        fs::create_dir(&other).unwrap();
        if std::os::unix::fs::chown(&other, Some(65_534), None).is_err() {
            return; // Only root may give files away.
        }
        let error = BundleStore::open(&other, LIMITS).unwrap_err().to_string();
        assert!(error.contains("it belongs to user 65534"), "{error}");
        assert!(!error.contains('\n'));
    }

    #[test]
    fn what_triggers_did_not_write_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let ours: Vec<_> = (1..=4).map(|s| file_name("r", s * 1_000_000_000)).collect();
        for name in &ours {
            fs::write(at(name), [0; 10]).unwrap();
        }
        fs::write(at("incident.kctx.tar.zst"), [0; 1000]).unwrap();
        fs::write(at("precious"), "").unwrap();
        let link = file_name("link", 0);
        std::os::unix::fs::symlink(at("precious"), at(&link)).unwrap();
        let store = BundleStore::open(folder.path(), LIMITS).unwrap();
        assert_eq!(store.make_room(10).unwrap(), 2);
        let mut left: Vec<_> = (fs::read_dir(folder.path()).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut wanted = vec![
            "incident.kctx.tar.zst".to_owned(),
            "precious".to_owned(),
            link,
            ours[2].clone(),
            ours[3].clone(),
        ];
        wanted.sort();
        assert_eq!(left, wanted);
    }
}
