//! Writes the cpio archive ("newc") that the kernel unpacks as its first root.
//!
//! Written here because it is short and because device nodes then need no root.

/// Permission and type bits of an entry.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Directory,
    Program,
    File,
    /// A character device with its major and minor number.
    Device(u32, u32),
}

/// An archive in memory.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry; `name` is relative to the root and its directory was added before.
    pub(crate) fn add(&mut self, name: &str, kind: Kind, content: &[u8]) {
        let (mode, device) = match kind {
            Kind::Directory => (0o040_755, (0, 0)),
            Kind::Program => (0o100_755, (0, 0)),
            Kind::File => (0o100_644, (0, 0)),
            Kind::Device(major, minor) => (0o020_600, (major, minor)),
        };
        self.entry(name, mode, device, content);
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [
            u64::from(self.entries),
            u64::from(mode),
            0,
            0,
            1,
            0,
            content.len() as u64,
            0,
            0,
            u64::from(device.0),
            u64::from(device.1),
            name.len() as u64 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Header with name, and content, each end on a multiple of four.
    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_its_entries_and_a_trailer_aligned() {
        let mut archive = Archive::default();
        archive.add("dev", Kind::Directory, b"");
        archive.add("dev/console", Kind::Device(5, 1), b"");
        archive.add("init", Kind::Program, b"#!/bin/sh\n");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.starts_with("07070100000001000041ed"));
        assert!(text.contains("#!/bin/sh\n\0\0"));
        assert!(text.contains("TRAILER!!!"));
        // rdev of the console: 5, 1
        assert!(text.contains("00000005000000010000000c00000000dev/console"));
    }
}
