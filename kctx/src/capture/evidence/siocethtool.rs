//! The ethtool commands that have no netlink message on all kernels, by the ioctl `SIOCETHTOOL`: what a driver counts for itself
//! (`ethtool -S`), its versions (`-i`), its private flags, and how it spreads packets over its queues (`-x`, `-n`).
//!
//! Layouts and commands: include/uapi/linux/ethtool.h. None of these needs a privilege (net/ethtool/ioctl.c, `dev_ethtool`).
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::{
    io::Errno,
    mm::{MapFlags, MprotectFlags, ProtFlags},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

use super::netlink::text;

/// `SIOCETHTOOL` (include/uapi/linux/sockios.h)
const SIOCETHTOOL: u16 = 0x8946;

const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSTATS: u32 = 0x1d;
const GPFLAGS: u32 = 0x27;
const GRXFH: u32 = 0x29;
const GRXFHINDIR: u32 = 0x38;

/// `ETH_SS_STATS`, `ETH_SS_PRIV_FLAGS`
const NAMES_OF_STATS: u32 = 1;
const NAMES_OF_FLAGS: u32 = 2;
/// `ETH_GSTRING_LEN`
const NAME_BYTES: usize = 32;

/// Flow types whose hash is asked for.
const FLOWS: [(&str, u32); 4] = [("tcp4", 1), ("udp4", 2), ("tcp6", 5), ("udp6", 6)];
/// Fields of a hash, as `ethtool -N` spells them.
const FIELDS: [(u64, char); 7] = [
    (1 << 1, 'm'),
    (1 << 2, 'v'),
    (1 << 3, 't'),
    (1 << 4, 's'),
    (1 << 5, 'd'),
    (1 << 6, 'f'),
    (1 << 7, 'n'),
];

/// Bytes of an answer: names of 32,000 counters.
const MOST: usize = 1 << 20;

/// `struct ethtool_drvinfo`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Driver {
    pub(super) version: String,
    pub(super) firmware: String,
    flags: u32,
    stats: u32,
}

/// An open socket to ask by, of this thread's network namespace.
pub(super) struct Asking(OwnedFd);

impl Asking {
    pub(super) fn open() -> Result<Self, String> {
        // Of any family: it is never bound.
        let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None);
        Ok(Self(socket.map_err(|error| error.to_string())?))
    }

    pub(super) fn driver(&self, device: &str) -> Result<Driver, String> {
        Ok(driver(self.ask(device, &words(&[GDRVINFO]), 196)?.bytes()))
    }

    /// What the driver counts for itself, by its own names; what is zero is left out.
    pub(super) fn statistics(
        &self,
        device: &str,
        driver: &Driver,
    ) -> Result<BTreeMap<String, u64>, String> {
        let names = self.names(device, NAMES_OF_STATS, driver.stats)?;
        let request = words(&[GSTATS, driver.stats]);
        let answer = self.ask(device, &request, 8 + 8 * driver.stats as usize)?;
        let counted = (names.into_iter()).zip(numbers(answer.bytes().get(8..).unwrap_or_default()));
        Ok(counted.filter(|(_, count)| *count > 0).collect())
    }

    /// Private flags that are set.
    pub(super) fn flags(&self, device: &str, driver: &Driver) -> Result<Vec<String>, String> {
        let names = self.names(device, NAMES_OF_FLAGS, driver.flags)?;
        if names.is_empty() {
            return Ok(names);
        }
        let answer = self.ask(device, &words(&[GPFLAGS]), 8)?;
        let set = word(answer.bytes(), 4);
        let set = names
            .into_iter()
            .zip(0_u32..32)
            .filter(|(_, bit)| set >> bit & 1 == 1);
        Ok(set.map(|(name, _)| name).collect())
    }

    /// How many entries of the table that packets' hashes point into each receive queue has.
    pub(super) fn indirection(&self, device: &str) -> Result<BTreeMap<u32, u32>, String> {
        let size = word(self.ask(device, &words(&[GRXFHINDIR]), 8)?.bytes(), 4);
        let request = words(&[GRXFHINDIR, size]);
        let answer = self.ask(device, &request, 8 + 4 * size as usize)?;
        let mut entries = BTreeMap::new();
        for queue in answer
            .bytes()
            .get(8..)
            .unwrap_or_default()
            .chunks_exact(4)
            .take(size as usize)
        {
            *entries.entry(word(queue, 0)).or_insert(0) += 1;
        }
        Ok(entries)
    }

    /// The fields that packets are hashed by, by the kind of flow.
    pub(super) fn hashed_fields(
        &self,
        device: &str,
    ) -> Result<BTreeMap<&'static str, String>, String> {
        let mut flows = BTreeMap::new();
        for (name, flow) in FLOWS {
            let answer = self.ask(device, &words(&[GRXFH, flow]), 16)?;
            flows.insert(name, fields(word(answer.bytes(), 8).into()));
        }
        Ok(flows)
    }

    fn names(&self, device: &str, set: u32, count: u32) -> Result<Vec<String>, String> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let request = words(&[GSTRINGS, set, count]);
        let answer = self.ask(device, &request, 12 + NAME_BYTES * count as usize)?;
        // As many as there were a moment ago; more would have no number.
        let names = answer.bytes().get(12..).unwrap_or_default();
        let names = names.chunks_exact(NAME_BYTES).take(count as usize);
        Ok(names.map(|name| text(until_zero(name))).collect())
    }

    /// Has the kernel answer `request` in place, within `most` bytes.
    fn ask(&self, device: &str, request: &[u8], most: usize) -> Result<Answer, String> {
        if most > MOST {
            return Err(format!("the driver has more than {MOST} bytes to tell"));
        }
        let mut answer = Answer::new(request).map_err(|error| error.to_string())?;
        let mut name = [0; 16];
        let Some(place) = name.get_mut(..device.len()).filter(|_| device.len() < 16) else {
            return Err("that is no device's name".to_owned());
        };
        place.copy_from_slice(device.as_bytes());
        let mut ask = Request {
            name,
            data: answer.address,
            rest: [0; 2],
        };
        // SAFETY: the request is laid out as the kernel has it and outlives the call, as does what it points to. How much the
        // kernel writes there is up to the driver, which may have more to tell than a moment ago: at the mapping's end is a
        // page that nothing can be written to, and the call then fails.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL.into(), &raw mut ask) };
        if result < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error())
                .map_or_else(|| "the ioctl failed".to_owned(), |error| error.to_string()));
        }
        answer.length = most;
        Ok(answer)
    }
}

/// `struct ifreq` with a pointer in its union, which is 24 bytes long.
#[repr(C)]
struct Request {
    name: [u8; 16],
    data: *mut core::ffi::c_void,
    rest: [u64; 2],
}

/// What a command points to: a mapping of its own, with a page at its end that cannot be written to.
struct Answer {
    address: *mut core::ffi::c_void,
    length: usize,
}

/// The guard: a page of the largest size that Linux has on the machines kctx runs on.
const GUARD: usize = 64 << 10;

impl Answer {
    fn new(request: &[u8]) -> rustix::io::Result<Self> {
        assert!(request.len() <= MOST);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh private mapping at an address of the kernel's choice touches no other memory.
        let address = unsafe {
            rustix::mm::mmap_anonymous(
                core::ptr::null_mut(),
                MOST + GUARD,
                protection,
                MapFlags::PRIVATE,
            )?
        };
        let answer = Self { address, length: 0 };
        // SAFETY: the guard is the mapping's last part, which nothing refers to.
        unsafe { rustix::mm::mprotect(address.byte_add(MOST), GUARD, MprotectFlags::empty())? };
        // SAFETY: the mapping is writable for `MOST` bytes, this value's own, and not the request.
        unsafe {
            core::ptr::copy_nonoverlapping(request.as_ptr(), address.cast::<u8>(), request.len());
        }
        Ok(answer)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `length` is at most `MOST`, all of which is mapped, readable, and begins as zeros; the call that wrote to it
        // is over.
        unsafe { core::slice::from_raw_parts(self.address.cast::<u8>(), self.length) }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and what `bytes` lent has ended. A failure leaves it mapped.
        let _ = unsafe { rustix::mm::munmap(self.address, MOST + GUARD) };
    }
}

fn driver(bytes: &[u8]) -> Driver {
    let text_at = |at: usize| {
        let bytes = bytes.get(at..at + NAME_BYTES).unwrap_or_default();
        text(until_zero(bytes))
    };
    Driver {
        version: text_at(36),
        firmware: text_at(68),
        flags: word(bytes, 176),
        stats: word(bytes, 180),
    }
}

/// `-` where nothing is hashed.
fn fields(set: u64) -> String {
    let fields: String = (FIELDS.iter())
        .filter(|(bit, _)| set & bit != 0)
        .map(|(_, field)| field)
        .collect();
    if fields.is_empty() {
        "-".to_owned()
    } else {
        fields
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u32::from_ne_bytes(*word))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|number| u64::from_ne_bytes(*number))
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_words_are_where_the_kernel_puts_them() {
        let mut bytes = vec![0; 196];
        bytes[36..41].copy_from_slice(b"1.0.0");
        // As long as there is room for, without an end.
        bytes[68..100].copy_from_slice(&[b'f'; 32]);
        bytes[176] = 3;
        bytes[180] = 200;
        let seen = driver(&bytes);
        assert_eq!((&seen.version[..], seen.firmware.len()), ("1.0.0", 32));
        assert_eq!((seen.flags, seen.stats), (3, 200));
        assert_eq!(driver(&[1, 2]), Driver::default());
    }

    #[test]
    fn fields_are_spelled_as_ethtool_does() {
        assert_eq!(fields(0b1111_0000), "sdfn");
        assert_eq!(fields(0b0011_0000), "sd");
        assert_eq!(fields(0), "-");
    }

    #[test]
    fn an_answer_begins_with_the_request_and_ends_before_the_guard() {
        let mut answer = Answer::new(&words(&[7, 9])).unwrap();
        answer.length = MOST;
        let bytes = answer.bytes();
        assert_eq!((word(bytes, 0), word(bytes, 4)), (7, 9));
        assert!(bytes[8..].iter().all(|byte| *byte == 0));
        assert_eq!(numbers(&bytes[..16]).count(), 2);
    }

    #[test]
    fn what_is_no_device_is_an_error() {
        let asking = Asking::open().unwrap();
        let error = asking.driver("kctx-none").unwrap_err();
        assert!(error.contains("No such device"), "{error}");
        assert!(asking.driver("a-name-that-is-too-long").is_err());
        assert!(asking.indirection("lo").is_err());
    }
}
