//! The kernel's own BTF, as far as kctx asks it: where a field lies in a struct, and which tracepoints
//! there are. (The loader's crate reads BTF too, but keeps members to itself.)
//!
//! Format: Documentation/bpf/btf.rst; include/uapi/linux/btf.h.

use std::collections::HashMap;

/// Where the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// Why BTF could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    /// Not BTF, or of the other byte order.
    #[error("not BTF of this byte order")]
    BadMagic,
    /// Ends too early, or points outside itself.
    #[error("BTF is cut short or inconsistent at byte {0}")]
    Inconsistent(usize),
    /// A kind of type this reader does not know the size of.
    #[error("BTF has a type of unknown kind {0}")]
    UnknownKind(u32),
}

/// An index over raw BTF.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    strings_end: usize,
    /// Byte offset of each type; index 0 is void.
    types: Vec<u32>,
    structs: HashMap<String, u32>,
    typedefs: HashMap<String, u32>,
}

/// A member of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset in bytes from the start of the struct.
    pub offset: u64,
    /// Number of elements where the member is an array.
    pub elements: Option<u32>,
}

impl Btf {
    /// Indexes BTF.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if bytes.len() < 24 || u16::from_ne_bytes([bytes[0], bytes[1]]) != MAGIC {
            return Err(BtfError::BadMagic);
        }
        let mut btf = Self {
            bytes,
            strings: 0,
            strings_end: 0,
            types: vec![0],
            structs: HashMap::new(),
            typedefs: HashMap::new(),
        };
        let header = btf.word(4)? as usize;
        let section = |btf: &Self, offset: usize, len: usize| -> Result<(usize, usize), BtfError> {
            let start = header.saturating_add(btf.word(offset)? as usize);
            let end = start.saturating_add(btf.word(len)? as usize);
            if end > btf.bytes.len() {
                return Err(BtfError::Inconsistent(end));
            }
            Ok((start, end))
        };
        let (types, types_end) = section(&btf, 8, 12)?;
        (btf.strings, btf.strings_end) = section(&btf, 16, 20)?;
        btf.index(types, types_end)?;
        Ok(btf)
    }

    fn index(&mut self, start: usize, end: usize) -> Result<(), BtfError> {
        let mut at = start;
        while at + 12 <= end {
            let info = self.word(at + 4)?;
            let (kind, vlen) = (kind(info), (info & 0xffff) as usize);
            let id = self.types.len() as u32;
            self.types
                .push(u32::try_from(at).map_err(|_| BtfError::Inconsistent(at))?);
            if kind == KIND_STRUCT || kind == KIND_TYPEDEF {
                let name = self.string(self.word(at)?)?.to_owned();
                let table = if kind == KIND_STRUCT {
                    &mut self.structs
                } else {
                    &mut self.typedefs
                };
                table.entry(name).or_insert(id);
            }
            at += 12
                + match kind {
                    KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                    KIND_ARRAY => 12,
                    KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => vlen * 12,
                    KIND_ENUM | KIND_FUNC_PROTO => vlen * 8,
                    // Pointer, forward, typedef, qualifiers, function, float, type tag.
                    2 | 7..=12 | 16 | 18 => 0,
                    other => return Err(BtfError::UnknownKind(other)),
                };
        }
        Ok(())
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        self.bytes
            .get(at..at.saturating_add(4))
            .and_then(|b| b.try_into().ok())
            .map(u32::from_ne_bytes)
            .ok_or(BtfError::Inconsistent(at))
    }

    fn string(&self, offset: u32) -> Result<&str, BtfError> {
        let at = self.strings.saturating_add(offset as usize);
        let tail = self
            .bytes
            .get(at..self.strings_end)
            .ok_or(BtfError::Inconsistent(at))?;
        let end = tail
            .iter()
            .position(|&b| b == 0)
            .ok_or(BtfError::Inconsistent(at))?;
        std::str::from_utf8(&tail[..end]).map_err(|_| BtfError::Inconsistent(at))
    }

    fn type_at(&self, id: u32) -> Result<usize, BtfError> {
        self.types
            .get(id as usize)
            .map(|&at| at as usize)
            .ok_or(BtfError::Inconsistent(id as usize))
    }

    /// A member of a named struct; members of anonymous structs and unions inside it count as its own.
    /// `None` where there is no such struct or member.
    pub fn member(&self, structure: &str, member: &str) -> Result<Option<Member>, BtfError> {
        match self.structs.get(structure) {
            Some(&id) => self.member_of(id, member, 0),
            None => Ok(None),
        }
    }

    fn member_of(&self, id: u32, wanted: &str, depth: u32) -> Result<Option<Member>, BtfError> {
        let at = self.type_at(id)?;
        let info = self.word(at + 4)?;
        // Eight levels of nesting are more than any kernel struct has; a loop must not hang us.
        if !matches!(kind(info), KIND_STRUCT | KIND_UNION) || depth > 8 {
            return Ok(None);
        }
        let bitfields = info >> 31 != 0;
        for i in 0..(info & 0xffff) as usize {
            let entry = at + 12 + i * 12;
            let (name, type_id, bits) = (
                self.word(entry)?,
                self.word(entry + 4)?,
                self.word(entry + 8)?,
            );
            let bits = if bitfields { bits & 0xff_ffff } else { bits };
            let offset = u64::from(bits) / 8;
            let name = self.string(name)?;
            if name == wanted {
                return Ok(Some(Member {
                    offset,
                    elements: self.elements(type_id)?,
                }));
            }
            if name.is_empty()
                && let Some(inner) = self.member_of(type_id, wanted, depth + 1)?
            {
                return Ok(Some(Member {
                    offset: offset + inner.offset,
                    ..inner
                }));
            }
        }
        Ok(None)
    }

    fn elements(&self, id: u32) -> Result<Option<u32>, BtfError> {
        let at = self.type_at(id)?;
        if kind(self.word(at + 4)?) == KIND_ARRAY {
            return self.word(at + 20).map(Some);
        }
        Ok(None)
    }

    /// Whether the kernel has a tracepoint that a `tp_btf` program can attach to: each has a typedef
    /// `btf_trace_<name>` (include/trace/bpf_probe.h).
    #[must_use]
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.typedefs.contains_key(&format!("btf_trace_{name}"))
    }
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// BTF with `struct outer { long a; struct { char name[24]; }; }` and a tracepoint's typedef.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0name\0long\0btf_trace_softirq_raise\0";
        let offset =
            |text: &[u8]| strings.windows(text.len()).position(|w| w == text).unwrap() as u32;
        let mut words: Vec<u32> = Vec::new();
        // 1: int long
        words.extend([offset(b"long"), 1 << 24, 8, 64]);
        // 2: array of 24
        words.extend([0, 3 << 24, 0, 1, 1, 24]);
        // 3: anonymous struct with the array
        words.extend([0, (4 << 24) | 1, 24, offset(b"name"), 2, 0]);
        // 4: outer
        words.extend([offset(b"outer"), (4 << 24) | 2, 32]);
        words.extend([offset(b"a\0"), 1, 0, 0, 3, 64]);
        // 5: the typedef
        words.extend([offset(b"btf_trace_softirq_raise"), 8 << 24, 1]);
        let types: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        for word in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(&types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn finds_members_through_anonymous_structs() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(
            btf.member("outer", "name").unwrap(),
            Some(Member {
                offset: 8,
                elements: Some(24)
            })
        );
        assert_eq!(btf.member("outer", "b").unwrap(), None);
        assert!(btf.has_tracepoint("softirq_raise"));
        assert!(!btf.has_tracepoint("tasklet_entry"));
    }

    proptest! {
        #[test]
        fn damaged_btf_never_panics(at in 0usize..220, byte in any::<u8>(), cut in 0usize..220) {
            let mut bytes = sample();
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.member("outer", "name");
            }
        }
    }
}
