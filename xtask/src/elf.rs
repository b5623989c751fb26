//! Just enough of ELF to tell a static program from one that needs a loader.

use anyhow::{Result, bail};

const PT_INTERP: u32 = 3;

/// True if the 64-bit little-endian ELF program names no interpreter.
pub(crate) fn is_static(elf: &[u8]) -> Result<bool> {
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF program");
    }
    // Elf64_Ehdr: e_phoff at 32, e_phentsize at 54, e_phnum at 56. Elf64_Phdr starts with p_type.
    let (Some(table), Some(size), Some(count)) =
        (number(elf, 32, 8), number(elf, 54, 2), number(elf, 56, 2))
    else {
        bail!("the ELF header is cut short");
    };
    for index in 0..count {
        let Some(kind) = number(elf, table.saturating_add(index * size), 4) else {
            bail!("the ELF program headers are cut short");
        };
        if kind == u64::from(PT_INTERP) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn number(bytes: &[u8], at: u64, size: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let field = bytes.get(at..at.checked_add(size)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).expect("few");
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn an_interpreter_makes_it_dynamic() {
        assert!(is_static(&elf(&[1, 2, 4])).expect("an ELF"));
        assert!(!is_static(&elf(&[6, PT_INTERP, 1])).expect("an ELF"));
    }

    #[test]
    fn foreign_and_cut_files_are_errors() {
        assert!(is_static(b"#!/bin/sh\n").is_err());
        assert!(is_static(&elf(&[1])[..70]).is_ok());
        assert!(is_static(&elf(&[1, 1])[..100]).is_err());
        assert!(is_static(&elf(&[1])[..40]).is_err());
    }
}
