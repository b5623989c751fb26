//! The directory under which `/proc`, `/sys`, `/etc` and `/boot` are looked for.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// `/`, or a directory of fixtures that stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoot(PathBuf);

impl Default for HostRoot {
    fn default() -> Self {
        Self::system()
    }
}

/// A file's bytes up to a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// The first bytes.
    pub bytes: Vec<u8>,
    /// There was more.
    pub truncated: bool,
}

impl HostRoot {
    /// The running system.
    #[must_use]
    pub fn system() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A directory that stands for `/`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Where the absolute path `path` lies under this root.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(Path::new(path.trim_start_matches('/')))
    }

    /// Reads at most `limit` bytes.
    ///
    /// Sizes are not asked for: procfs says 0 for all of its files.
    pub fn read_bounded(&self, path: &str, limit: usize) -> io::Result<Bounded> {
        let mut bytes = Vec::new();
        File::open(self.path(path))?
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)?;
        let truncated = bytes.len() > limit;
        bytes.truncate(limit);
        Ok(Bounded { bytes, truncated })
    }

    /// Reads a small text file, without white space at its ends; bytes that are not UTF-8 are replaced.
    pub fn read_line(&self, path: &str) -> io::Result<String> {
        // One page is what sysctl and sysfs files may hold.
        let bounded = self.read_bounded(path, 4096)?;
        Ok(String::from_utf8_lossy(&bounded.bytes).trim().to_owned())
    }

    /// Opens a file to be read again and again.
    pub fn reread(&self, path: &str) -> io::Result<Reread> {
        Reread::open(&self.path(path))
    }
}

/// A small file of procfs or sysfs that stays open, and is made anew each time it is read from its beginning. To open it
/// takes several times as long as to read it.
#[derive(Debug)]
pub struct Reread(File);

impl Reread {
    /// Opens it.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// What it says now, without white space at its ends; bytes that are not UTF-8 are replaced.
    ///
    /// For a value, or a list that the kernel writes in one go: the first read that is shorter than asked for is taken for
    /// the last, which saves one. A table of many lines (`seq_file`) has such reads in its middle: see [`Self::read_all`].
    pub fn read(&self) -> io::Result<String> {
        // Most are read at once. A list of CPUs has up to 24 KiB.
        const STEP: usize = 4096;
        let mut bytes = Vec::new();
        let mut step = [0; STEP];
        loop {
            let len = self.0.read_at(&mut step, bytes.len() as u64)?;
            bytes.extend_from_slice(&step[..len]);
            if len < STEP || bytes.len() > 16 * STEP {
                return Ok(String::from_utf8_lossy(&bytes).trim().to_owned());
            }
        }
    }

    /// The same up to its very end, at most `limit` bytes.
    pub fn read_all(&self, limit: usize) -> io::Result<String> {
        let mut bytes = Vec::new();
        let mut step = [0; 1 << 14];
        while bytes.len() < limit {
            let wanted = step.len().min(limit - bytes.len());
            match self.0.read_at(&mut step[..wanted], bytes.len() as u64)? {
                0 => break,
                len => bytes.extend_from_slice(&step[..len]),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_kept_open_is_read_anew() {
        let directory = tempfile::tempdir().unwrap();
        let root = HostRoot::new(directory.path());
        let path = directory.path().join("online");
        let long = "0-3,".repeat(3000);
        std::fs::write(&path, "0-3\n").unwrap();
        let file = root.reread("/online").unwrap();
        for text in ["0-3", "0", "", long.as_str(), "0-1"] {
            std::fs::write(&path, format!("{text}\n")).unwrap();
            assert_eq!(file.read().unwrap(), text);
        }
        assert!(root.reread("/missing").is_err());
        // The kernel's own are made anew too, of all three kinds.
        for path in [
            "/proc/uptime",
            "/proc/sys/kernel/tainted",
            "/sys/devices/system/cpu/online",
        ] {
            let file = HostRoot::system().reread(path).unwrap();
            let first = file.read().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!first.is_empty(), "{path}");
            assert_eq!(
                file.read().unwrap() == first,
                path != "/proc/uptime",
                "{path}"
            );
        }
    }

    #[test]
    fn a_table_that_comes_in_whole_lines_is_read_to_its_end() {
        // Its reads end with the last line that fits a page.
        const PATH: &str = "/proc/kallsyms";
        const LIMIT: usize = 1 << 18;
        let root = HostRoot::system();
        let table = root.reread(PATH).unwrap();
        let all = table.read_all(LIMIT).unwrap();
        let whole = root.read_bounded(PATH, LIMIT).unwrap().bytes;
        assert_eq!(all, String::from_utf8_lossy(&whole).trim());
        assert!(table.read().unwrap().len() < all.len());
        assert_eq!(table.read_all(10).unwrap(), all[..10].trim());
        let value = root.reread("/proc/sys/kernel/tainted").unwrap();
        assert_eq!(value.read_all(LIMIT).unwrap(), value.read().unwrap());
    }

    #[test]
    fn absolute_paths_stay_under_the_root() {
        let root = HostRoot::new("/fixture");
        assert_eq!(root.path("/proc/stat"), Path::new("/fixture/proc/stat"));
        assert_eq!(
            HostRoot::system().path("/proc/stat"),
            Path::new("/proc/stat")
        );
    }

    #[test]
    fn reads_up_to_the_bound_and_says_when_there_was_more() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("f"), b"12345").unwrap();
        let root = HostRoot::new(directory.path());
        let whole = root.read_bounded("/f", 5).unwrap();
        assert_eq!((whole.bytes.len(), whole.truncated), (5, false));
        let cut = root.read_bounded("/f", 4).unwrap();
        assert_eq!((cut.bytes.as_slice(), cut.truncated), (&b"1234"[..], true));
    }
}
