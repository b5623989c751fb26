//! /proc/kallsyms: from the address of a function to its name.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// The kernel's text symbols, sorted by address.
#[derive(Debug, Default)]
pub struct Kallsyms {
    /// Address, start of the name in `names`, its length.
    symbols: Vec<(u64, u32, u16)>,
    names: String,
}

/// Where the kernel shows them.
pub const PATH: &str = "/proc/kallsyms";

impl Kallsyms {
    /// Reads the symbols that this process is shown: none have addresses without CAP_SYSLOG where
    /// `kernel.kptr_restrict` is 1, or for anyone where it is 2.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let mut text = String::new();
        File::open(path)?.read_to_string(&mut text)?;
        Ok(Self::parse(&text))
    }

    /// Why this process is shown no addresses, if it isn't. Reads no further than to the first one.
    pub fn shown(path: &Path) -> Result<(), String> {
        let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
        let lines = BufReader::new(File::open(path).map_err(unreadable)?).lines();
        for line in lines {
            if !Self::parse(&line.map_err(unreadable)?).is_empty() {
                return Ok(());
            }
        }
        let why = "kernel.kptr_restrict is 2, or CAP_SYSLOG missing";
        Err(format!(
            "addresses are hidden: functions show as numbers ({why})"
        ))
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

    /// The name of the function that an address lies in: the nearest symbol at or below it. For return
    /// addresses of a stack that was just taken.
    #[must_use]
    pub fn function_around(&self, address: u64) -> Option<&str> {
        let after = self.symbols.partition_point(|&(a, ..)| a <= address);
        let &(_, start, len) = self.symbols.get(after.checked_sub(1)?)?;
        self.names
            .get(start as usize..start as usize + len as usize)
    }

    /// Whether any symbol has an address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }
}

/// The symbols of this kernel, read when first asked for and again after modules came or went; shared, since
/// they take megabytes.
#[derive(Clone, Debug, Default)]
pub struct Symbols(Arc<Mutex<Option<Kallsyms>>>);

impl Symbols {
    /// As [`Kallsyms::function_at`].
    #[must_use]
    pub fn function_at(&self, address: u64) -> Option<String> {
        self.with(|symbols| symbols.function_at(address).map(str::to_owned))
    }

    /// As [`Kallsyms::function_around`].
    #[must_use]
    pub fn function_around(&self, address: u64) -> Option<String> {
        self.with(|symbols| symbols.function_around(address).map(str::to_owned))
    }

    /// What was read no longer holds.
    pub fn modules_changed(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn with<T>(&self, ask: impl FnOnce(&Kallsyms) -> T) -> T {
        let mut symbols = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask(symbols.get_or_insert_with(|| {
            Kallsyms::read(Path::new(PATH))
                .inspect_err(|error| tracing::warn!(%error, "cannot read /proc/kallsyms"))
                .unwrap_or_default()
        }))
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
        const HIDDEN: &str = "0000000000000000 A fixed_percpu_data\n0000000000000000 T _stext\n";
        assert!(Kallsyms::parse(HIDDEN).is_empty());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kallsyms");
        let reason = || Kallsyms::shown(&path).err().unwrap_or_default();
        assert!(reason().contains("No such file"), "{}", reason());
        std::fs::write(&path, HIDDEN).unwrap();
        assert!(reason().starts_with("addresses are hidden"));
        std::fs::write(&path, TEXT).unwrap();
        assert_eq!(reason(), "");
    }
}
