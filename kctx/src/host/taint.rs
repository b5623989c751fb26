//! What `/proc/sys/kernel/tainted` says, in words.
//!
//! Bits and letters: `taint_flags` in kernel/panic.c; meanings:
//! Documentation/admin-guide/tainted-kernels.rst.

use std::fmt::Write as _;

use serde::Serialize;

use super::root::{HostRoot, Reread};

/// Where the kernel says it.
pub const PATH: &str = "/proc/sys/kernel/tainted";

/// One reason for which a kernel calls itself tainted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TaintFlag {
    /// Bit in the taint value.
    pub bit: u8,
    /// Letter in oops reports and, for a module's taints, in /proc/modules.
    pub letter: char,
    /// The kernel's name without its `TAINT_`, in lower case.
    pub name: &'static str,
    /// One sentence.
    pub meaning: &'static str,
}

const fn flag(bit: u8, letter: char, name: &'static str, meaning: &'static str) -> TaintFlag {
    TaintFlag {
        bit,
        letter,
        name,
        meaning,
    }
}

/// All flags, by bit. Bit 18 came with 6.0, bit 19 with 6.15.
#[rustfmt::skip]
pub const TAINT_FLAGS: [TaintFlag; 20] = [
    flag(0, 'P', "proprietary_module", "A module with a licence that is not GPL-compatible was loaded."),
    flag(1, 'F', "forced_module", "A module was loaded by force, against its version check."),
    flag(2, 'S', "cpu_out_of_spec", "The kernel runs on a processor or system outside of its specification."),
    flag(3, 'R', "forced_rmmod", "A module was unloaded by force."),
    flag(4, 'M', "machine_check", "A processor reported a machine check exception: suspect the hardware."),
    flag(5, 'B', "bad_page", "A bad page reference or unexpected page flags were found: faulty memory or a kernel bug."),
    flag(6, 'U', "user", "A user or an application asked for this taint."),
    flag(7, 'D', "die", "The kernel had an oops or hit a BUG."),
    flag(8, 'A', "overridden_acpi_table", "An ACPI table was replaced by the user."),
    flag(9, 'W', "warn", "The kernel issued a warning (WARN_ON): look in the kernel log."),
    flag(10, 'C', "crap", "A driver of the staging tree was loaded."),
    flag(11, 'I', "firmware_workaround", "The kernel works around a severe bug in the platform's firmware."),
    flag(12, 'O', "oot_module", "A module built outside of the kernel tree was loaded."),
    flag(13, 'E', "unsigned_module", "An unsigned module was loaded into a kernel that checks signatures."),
    flag(14, 'L', "softlockup", "A soft lockup occurred: a CPU did not schedule for many seconds."),
    flag(15, 'K', "livepatch", "The kernel was live patched."),
    flag(16, 'X', "aux", "The distribution's own taint, with a meaning that the distribution defines."),
    flag(17, 'T', "randstruct", "The kernel was built with randomized structure layouts."),
    flag(18, 'N', "test", "A test was run inside the kernel, such as KUnit's."),
    flag(19, 'J', "fwctl", "Userspace wrote to a device's debug firmware interface (fwctl)."),
];

/// The flags that are set in `value`, by bit. Bits that this version does not know are not among
/// them; see [`unknown_bits`].
pub fn decode(value: u64) -> impl Iterator<Item = &'static TaintFlag> {
    TAINT_FLAGS
        .iter()
        .filter(move |flag| value >> flag.bit & 1 == 1)
}

/// Bits set in `value` that no flag here stands for: a kernel newer than this program.
#[must_use]
pub fn unknown_bits(value: u64) -> Vec<u8> {
    let known = TAINT_FLAGS.len() as u8;
    (known..64).filter(|bit| value >> bit & 1 == 1).collect()
}

/// A module's own taints as /proc/modules shows them between brackets, without the brackets:
/// `module_flags_taint` in kernel/module/main.c.
#[must_use]
pub fn module_taint_letters(taints: u32) -> String {
    decode(u64::from(taints)).map(|flag| flag.letter).collect()
}

/// The decoded value as text for the evidence.
#[must_use]
pub fn describe(value: u64) -> String {
    let mut text = format!("taint value: {value}\n");
    if value == 0 {
        text.push_str("not tainted\n");
    }
    for flag in decode(value) {
        let _ = writeln!(
            text,
            "bit {:2}  {}  {}: {}",
            flag.bit, flag.letter, flag.name, flag.meaning
        );
    }
    for bit in unknown_bits(value) {
        let _ = writeln!(text, "bit {bit:2}  ?  unknown to this version of kctx");
    }
    text
}

/// Reads the machine's taint value.
pub fn read(root: &HostRoot) -> std::io::Result<u64> {
    number(&root.read_line(PATH)?)
}

/// The same from that file, kept open.
pub fn read_anew(file: &Reread) -> std::io::Result<u64> {
    number(&file.read()?)
}

fn number(text: &str) -> std::io::Result<u64> {
    text.parse().map_err(|_| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("not a number: {text:?}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_stands_at_its_bit_with_a_letter_of_its_own() {
        // The order of `taint_flags` in kernel/panic.c.
        let letters: String = TAINT_FLAGS.iter().map(|flag| flag.letter).collect();
        assert_eq!(letters, "PFSRMBUDAWCIOELKXTNJ");
        for (index, flag) in TAINT_FLAGS.iter().enumerate() {
            assert_eq!(usize::from(flag.bit), index);
            assert!(flag.meaning.ends_with('.'));
        }
    }

    #[test]
    fn decodes_the_example_of_the_kernels_documentation() {
        // 4609 is 'P        W  O' in tainted-kernels.rst.
        assert_eq!(
            decode(4609).map(|flag| flag.letter).collect::<String>(),
            "PWO"
        );
        assert_eq!(module_taint_letters(1 << 12 | 1 << 13), "OE");
        assert_eq!(module_taint_letters(0), "");
        assert_eq!(decode(0).count(), 0);
        assert!(describe(0).contains("not tainted"));
        assert!(describe(512).contains("bit  9  W  warn"));
    }

    #[test]
    fn a_bit_from_a_newer_kernel_is_named_as_unknown() {
        assert_eq!(unknown_bits(1 << 20 | 1 << 63 | 1), [20, 63]);
        assert!(describe(1 << 20).contains("bit 20  ?"));
    }

    #[test]
    fn reads_the_value_and_refuses_what_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = directory.path().join("proc/sys/kernel");
        std::fs::create_dir_all(&kernel).unwrap();
        std::fs::write(kernel.join("tainted"), "4609\n").unwrap();
        let root = HostRoot::new(directory.path());
        assert_eq!(read(&root).unwrap(), 4609);
        std::fs::write(kernel.join("tainted"), "many\n").unwrap();
        assert!(read(&root).is_err());
    }
}
