//! /proc/kallsyms: from the address of a function to its name.

use std::{io::Read as _, path::Path};

/// The kernel's text symbols, sorted by address.
#[derive(Debug, Default)]
pub struct Kallsyms {
    /// Address, start of the name in `names`, its length.
    symbols: Vec<(u64, u32, u16)>,
    names: String,
}

impl Kallsyms {
    /// Reads the symbols that this process is shown: none have addresses without CAP_SYSLOG where
    /// `kernel.kptr_restrict` is 1, or for anyone where it is 2.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let mut text = String::new();
        std::fs::File::open(path)?.read_to_string(&mut text)?;
        Ok(Self::parse(&text))
    }

    /// Parses lines of `address type name [module]`. Lines of any other form are passed over, and so
    /// are symbols that are not text, and hidden addresses.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            let (Ok(start), Ok(len)) =
                (u32::try_from(parsed.names.len()), u16::try_from(name.len()))
            else {
                continue;
            };
            if address == 0 {
                continue;
            }
            parsed.symbols.push((address, start, len));
            parsed.names.push_str(name);
        }
        // Stable: of two names for one address the first listed stays first.
        parsed.symbols.sort_by_key(|&(address, ..)| address);
        parsed
    }

    /// The name of the function that starts at exactly this address. A work function's or a tasklet's
    /// pointer is always a start; the nearest symbol below would name a function of another module
    /// once that one is gone.
    #[must_use]
    pub fn function_at(&self, address: u64) -> Option<&str> {
        let first = self.symbols.partition_point(|&(a, ..)| a < address);
        let &(found, start, len) = self.symbols.get(first)?;
        if found != address {
            return None;
        }
        self.names
            .get(start as usize..start as usize + len as usize)
    }

    /// Whether any symbol has an address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\n\
        ffffffff810b3c40 t vmstat_update\n\
        ffffffff810b3c40 t vmstat_update_alias\n\
        ffffffff82000000 D jiffies\n\
        ffffffffc0001000 t dummy_setup\t[dummy]\n\
        not a symbol line\n";

    #[test]
    fn only_exact_starts_of_text_symbols_are_named() {
        let symbols = Kallsyms::parse(TEXT);
        assert_eq!(
            symbols.function_at(0xffff_ffff_810b_3c40),
            Some("vmstat_update")
        );
        assert_eq!(symbols.function_at(0xffff_ffff_810b_3c41), None);
        assert_eq!(symbols.function_at(0xffff_ffff_8200_0000), None);
        assert_eq!(
            symbols.function_at(0xffff_ffff_c000_1000),
            Some("dummy_setup")
        );
        assert_eq!(symbols.function_at(0), None);
    }

    #[test]
    fn hidden_addresses_leave_nothing() {
        assert!(Kallsyms::parse("0000000000000000 T _stext\n").is_empty());
    }
}
