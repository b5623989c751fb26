//! /proc/kallsyms: from the address of a function to its name.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

mod shared;

pub use shared::Symbols;

/// Text symbols, sorted by address.
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
        let mut all = Self::default();
        read_each(open(path)?, |address, name, _| all.add(address, name))?;
        Ok(all.sorted())
    }

    /// Reads the kernel's own and the modules'.
    pub fn read_by_owner(from: impl BufRead) -> std::io::Result<(Self, Self)> {
        let (mut kernel, mut modules) = (Self::default(), Self::default());
        read_each(from, |address, name, owner| match owner {
            Owner::Kernel => kernel.add(address, name),
            Owner::Module => modules.add(address, name),
        })?;
        Ok((kernel.sorted(), modules.sorted()))
    }

    /// Reads the modules' only.
    pub fn read_modules(from: impl BufRead) -> std::io::Result<Self> {
        let mut modules = Self::default();
        read_each(from, |address, name, owner| {
            if owner == Owner::Module {
                modules.add(address, name);
            }
        })?;
        Ok(modules.sorted())
    }

    /// Why this process is shown no addresses, if it isn't. Reads no further than to the first one.
    pub fn shown(path: &Path) -> Result<(), String> {
        let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
        for line in open(path).map_err(unreadable)?.lines() {
            if symbol(&line.map_err(unreadable)?).is_some() {
                return Ok(());
            }
        }
        let why = "kernel.kptr_restrict is 2, or CAP_SYSLOG missing";
        Err(format!(
            "addresses are hidden: functions show as numbers ({why})"
        ))
    }

    fn sorted(mut self) -> Self {
        // Stable: of two names for one address the first listed stays first.
        self.symbols.sort_by_key(|&(address, ..)| address);
        self.symbols.shrink_to_fit();
        self.names.shrink_to_fit();
        self
    }

    fn add(&mut self, address: u64, name: &str) {
        if let (Ok(start), Ok(len)) = (u32::try_from(self.names.len()), u16::try_from(name.len())) {
            self.symbols.push((address, start, len));
            self.names.push_str(name);
        }
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
        self.nearest(address).map(|(_, name)| name)
    }

    /// The same, with where it starts.
    #[must_use]
    pub fn nearest(&self, address: u64) -> Option<(u64, &str)> {
        let after = self.symbols.partition_point(|&(a, ..)| a <= address);
        let &(found, start, len) = self.symbols.get(after.checked_sub(1)?)?;
        let name = self
            .names
            .get(start as usize..start as usize + len as usize)?;
        Some((found, name))
    }

    /// From the first symbol to the last, whose own end nobody knows.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        let ends = self.symbols.first().zip(self.symbols.last());
        ends.is_some_and(|(first, last)| first.0 <= address && address < last.0)
    }

    /// Whether any symbol has an address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }
}

/// Opens a file such as /proc/kallsyms.
pub fn open(path: &Path) -> std::io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(64 << 10, File::open(path)?))
}

/// Whose a symbol is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The kernel's image: the same until the next boot.
    Kernel,
    /// A module, or what is made at run time (`[bpf]`, `[__builtin__ftrace]`).
    Module,
}

/// Goes through lines of `address type name [module]`. Lines of any other form are passed over, and so are symbols
/// that are not text, and hidden addresses. One line at a time: all of them are megabytes.
fn read_each(
    mut from: impl BufRead,
    mut take: impl FnMut(u64, &str, Owner),
) -> std::io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        if let Some((address, name, owner)) = std::str::from_utf8(&line).ok().and_then(symbol) {
            take(address, name, owner);
        }
        line.clear();
    }
    Ok(())
}

/// Address, name and owner of a text symbol; none of any other line.
fn symbol(line: &str) -> Option<(u64, &str, Owner)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, kind, name) = (fields.next()?, fields.next()?, fields.next()?);
    let owner = match fields.next() {
        Some(_) => Owner::Module,
        None => Owner::Kernel,
    };
    let address = u64::from_str_radix(address, 16).ok()?;
    (matches!(kind, "t" | "T" | "w" | "W") && address != 0).then_some((address, name, owner))
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

    fn parsed(text: &str) -> Kallsyms {
        let mut all = Kallsyms::default();
        read_each(text.as_bytes(), |address, name, _| all.add(address, name)).unwrap();
        all.sorted()
    }

    #[test]
    fn the_kernels_own_and_the_modules_are_told_apart() {
        let (kernel, modules) = Kallsyms::read_by_owner(TEXT.as_bytes()).unwrap();
        let address = 0xffff_ffff_c000_1000;
        assert_eq!(kernel.function_at(address), None);
        assert_eq!(modules.function_at(address), Some("dummy_setup"));
        assert_eq!(modules.function_around(0xffff_ffff_c000_0000), None);
        let again = Kallsyms::read_modules(TEXT.as_bytes()).unwrap();
        assert_eq!(again.symbols, modules.symbols);
        assert!(kernel.contains(0xffff_ffff_8100_0001) && !kernel.contains(address));
        assert!(
            !kernel.contains(0xffff_ffff_810b_3c40),
            "the last one: nobody knows how long"
        );
        assert!(!Kallsyms::default().contains(0));
    }

    #[test]
    fn only_exact_starts_of_text_symbols_are_named() {
        let symbols = parsed(TEXT);
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
        assert!(parsed(HIDDEN).is_empty());
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
