//! Asking the kernel by netlink: one request, its answers, within a bound of time and bytes.
//!
//! Messages and attributes as in include/uapi/linux/netlink.h: lengths that include their heads, parts padded to four bytes,
//! numbers in the machine's own order.

use std::{os::fd::OwnedFd, time::Instant};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink,
        recv, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::place::Place;

/// Bytes of all answers to one request.
const MAX_BYTES: usize = 8 << 20;
/// Answers come in parts that are smaller than this (`NLMSG_GOODSIZE`, and 32 KiB for dumps: `netlink_dump`).
const PART_BYTES: usize = 64 << 10;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_MULTI: u16 = 2;
/// `NLM_F_ROOT | NLM_F_MATCH`
const NLM_F_DUMP: u16 = 0x300;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER` are not part of a type.
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEAD: usize = 16;

/// One thing, or all there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    One,
    All,
}

/// An open netlink socket.
pub(super) struct Socket {
    fd: OwnedFd,
    deadline: Instant,
    sequence: u32,
}

impl Socket {
    /// Opens one; without a protocol that of rtnetlink.
    pub(super) fn open(protocol: Option<Protocol>, place: &Place<'_>) -> Result<Self, String> {
        let open = || -> rustix::io::Result<OwnedFd> {
            let kind = SocketType::RAW;
            let fd = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, protocol)?;
            bind(&fd, &netlink::SocketAddrNetlink::new(0, 0))?;
            // Zero would be no limit at all.
            let wait = place.time_left().max(std::time::Duration::from_millis(1));
            set_socket_timeout(&fd, Timeout::Recv, Some(wait))?;
            Ok(fd)
        };
        Ok(Self {
            fd: open().map_err(|error| format!("no netlink socket: {error}"))?,
            deadline: place.deadline,
            sequence: 0,
        })
    }

    /// Sends a request and gives each answer's type and payload to `each`.
    pub(super) fn ask(
        &mut self,
        what: u16,
        ask: Ask,
        payload: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), String> {
        self.sequence += 1;
        let dump = if ask == Ask::All { NLM_F_DUMP } else { 0 };
        let request = message(what, NLM_F_REQUEST | dump, self.sequence, payload);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, &request, SendFlags::empty(), &kernel)
            .map_err(|error| error.to_string())?;
        let mut buffer = vec![0; PART_BYTES];
        let mut taken = 0;
        loop {
            if Instant::now() >= self.deadline {
                return Err("the kernel had more answers than there was time for".to_owned());
            }
            let (length, _) = match recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err("the kernel did not answer in time".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            taken += length;
            if taken > MAX_BYTES {
                return Err(format!(
                    "the kernel has more than {MAX_BYTES} bytes of answers"
                ));
            }
            match answers(&buffer[..length], self.sequence, &mut each)? {
                Progress::More => {}
                Progress::Over => return Ok(()),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Over,
}

/// Goes through the messages of one part.
pub(super) fn answers(
    mut part: &[u8],
    sequence: u32,
    each: &mut impl FnMut(u16, &[u8]),
) -> Result<Progress, String> {
    let mut single = false;
    while let Some(head) = part.get(..HEAD) {
        let length = u32_at(head, 0) as usize;
        let (kind, flags) = (u16_at(head, 4), u16_at(head, 6));
        let Some(payload) = part.get(HEAD..length) else {
            return Err("an answer is cut".to_owned());
        };
        if u32_at(head, 8) == sequence {
            match kind {
                NLMSG_DONE => return Ok(Progress::Over),
                NLMSG_ERROR => {
                    let code = payload.get(..4).map_or(0, |code| u32_at(code, 0) as i32);
                    return match code {
                        0 => Ok(Progress::Over),
                        code => Err(Errno::from_raw_os_error(-code).to_string()),
                    };
                }
                kind => each(kind, payload),
            }
            single |= flags & NLM_F_MULTI == 0;
        }
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(if single {
        Progress::Over
    } else {
        Progress::More
    })
}

fn message(what: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + payload.len());
    out.extend_from_slice(&((HEAD + payload.len()) as u32).to_ne_bytes());
    out.extend_from_slice(&what.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    // The kernel fills in the sender.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

/// Adds an attribute.
pub(super) fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Attributes of a payload: types and values. Ends where one makes no sense.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let length = usize::from(u16_at(head, 0));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16_at(head, 2) & NLA_TYPE_MASK, value))
    })
}

/// The first attribute of that type.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// A text without the zero at its end; what is no UTF-8 is replaced.
pub(super) fn text(value: &[u8]) -> String {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}

/// A number of 1, 2, 4 or 8 bytes in the machine's own order.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    match *value {
        [byte] => Some(u64::from(byte)),
        [a, b] => Some(u64::from(u16::from_ne_bytes([a, b]))),
        [a, b, c, d] => Some(u64::from(u32::from_ne_bytes([a, b, c, d]))),
        _ => Some(u64::from_ne_bytes(value.try_into().ok()?)),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, kind, value);
        out
    }

    #[test]
    fn attributes_come_back_as_they_were_put() {
        let mut out = attribute_of(3, b"lo\0");
        put(&mut out, 7 | 0x8000, &5_u32.to_ne_bytes());
        let got: Vec<_> = attributes(&out).collect();
        assert_eq!(got, [(3, &b"lo\0"[..]), (7, &5_u32.to_ne_bytes()[..])]);
        assert_eq!(text(got[0].1), "lo");
        assert_eq!(number(got[1].1), Some(5));
        assert_eq!(number(b"abc"), None);
    }

    #[test]
    fn a_dump_goes_on_until_it_is_done_and_others_answers_are_passed_over() {
        let mut seen = Vec::new();
        let mut each = |kind: u16, payload: &[u8]| seen.push((kind, payload.to_vec()));
        let mut part = message(36, NLM_F_MULTI, 4, b"abcd");
        part.extend(message(36, NLM_F_MULTI, 9, b"of another"));
        part.resize(part.len().next_multiple_of(4), 0);
        assert_eq!(answers(&part, 4, &mut each), Ok(Progress::More));
        let done = message(NLMSG_DONE, NLM_F_MULTI, 4, &[0; 4]);
        assert_eq!(answers(&done, 4, &mut each), Ok(Progress::Over));
        assert_eq!(seen, [(36, b"abcd".to_vec())]);
        let refused = message(NLMSG_ERROR, 0, 4, &(-1_i32).to_ne_bytes());
        let error = answers(&refused, 4, &mut |_, _| ()).unwrap_err();
        assert!(error.contains("not permitted"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn garbage_ends(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let _ = answers(&bytes, 0, &mut |_, payload| {
                assert!(attributes(payload).count() <= payload.len());
            });
            assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
