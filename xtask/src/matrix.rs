//! Which VMs are started: named configurations of a kernel, a number of processors, and BTF.

use std::path::Path;

use crate::kernels;

/// Processors where nothing else is said.
pub(crate) const CPUS: u32 = 2;

/// One VM to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// As the user names it: see `kernels::get`.
    pub(crate) kernel: String,
    pub(crate) cpus: u32,
    /// False hides /sys/kernel/btf in the VM.
    pub(crate) btf: bool,
}

/// A row of a table of configurations: kernel, processors, BTF.
type Row = (&'static str, u32, bool);

/// What `cargo xtask test` starts: few, since it runs for each change.
const TEST: [Row; 2] = [("6.1", CPUS, true), ("6.12", CPUS, true)];

/// What `cargo xtask vm` starts when nothing else is said.
const USUAL: [Row; 6] = [
    ("5.10", CPUS, true),
    ("6.1", CPUS, true),
    ("6.12", CPUS, true),
    ("7.2", CPUS, true),
    ("6.12", 16, true),
    ("6.12", CPUS, false),
];

/// What `--matrix` adds to that; docs/kernels.md is made from all of it.
const MORE: [Row; 5] = [
    ("6.1", CPUS, false),
    ("6.12-rt", CPUS, true),
    ("7.2-rt", CPUS, true),
    ("6.12-cloud", CPUS, true),
    ("7.2-cloud", CPUS, true),
];

fn configs(rows: &[Row]) -> Vec<Config> {
    let config = |(kernel, cpus, btf): &Row| Config {
        kernel: (*kernel).to_owned(),
        cpus: *cpus,
        btf: *btf,
    };
    rows.iter().map(config).collect()
}

/// The VMs of `cargo xtask test`.
pub(crate) fn test() -> Vec<Config> {
    configs(&TEST)
}

/// The VMs of `cargo xtask vm`.
pub(crate) fn usual() -> Vec<Config> {
    configs(&USUAL)
}

/// The VMs of `cargo xtask vm --matrix`.
pub(crate) fn full() -> Vec<Config> {
    [usual(), configs(&MORE)].concat()
}

/// What the options ask for: named kernels, or the usual configurations, narrowed by what else is said.
pub(crate) fn chosen(
    kernels: &[String],
    cpus: Option<u32>,
    no_btf: bool,
    matrix: bool,
) -> Vec<Config> {
    let mut chosen = match (kernels, matrix) {
        (_, true) => full(),
        ([], _) => usual(),
        (kernels, _) => {
            let config = |kernel: &String| Config {
                kernel: kernel.clone(),
                cpus: CPUS,
                btf: true,
            };
            kernels.iter().map(config).collect()
        }
    };
    for config in &mut chosen {
        config.cpus = cpus.unwrap_or(config.cpus);
        config.btf &= !no_btf;
    }
    // What was told apart by what the options now set alike.
    let mut once: Vec<Config> = Vec::new();
    for config in chosen {
        if !once.contains(&config) {
            once.push(config);
        }
    }
    once
}

impl Config {
    /// For people, as in "6.12, 16 CPUs".
    pub(crate) fn title(&self) -> String {
        let mut title = self.short();
        if self.cpus != CPUS {
            let s = if self.cpus == 1 { "" } else { "s" };
            title.push_str(&format!(", {} CPU{s}", self.cpus));
        }
        if !self.btf {
            title.push_str(", no BTF");
        }
        title
    }

    /// For names of files.
    pub(crate) fn slug(&self) -> String {
        let mut slug = self.short();
        if self.cpus != CPUS {
            slug.push_str(&format!("-{}cpu", self.cpus));
        }
        if !self.btf {
            slug.push_str("-nobtf");
        }
        slug
    }

    /// The kernel without its path.
    pub(crate) fn short(&self) -> String {
        if kernels::is_known(&self.kernel) {
            return self.kernel.clone();
        }
        let file = Path::new(&self.kernel).file_name();
        file.unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn titles(configs: &[Config]) -> Vec<String> {
        configs.iter().map(Config::title).collect()
    }

    #[test]
    fn every_configuration_has_a_known_kernel_and_a_name_of_its_own() {
        let full = full();
        assert!(full.iter().all(|config| kernels::is_known(&config.kernel)));
        let slugs: BTreeSet<String> = full.iter().map(Config::slug).collect();
        assert_eq!(slugs.len(), full.len());
        assert!(test().iter().all(|config| full.contains(config)));
    }

    #[test]
    fn nothing_said_is_the_usual_and_matrix_is_all() {
        assert_eq!(
            titles(&chosen(&[], None, false, false)),
            [
                "5.10",
                "6.1",
                "6.12",
                "7.2",
                "6.12, 16 CPUs",
                "6.12, no BTF"
            ]
        );
        assert_eq!(chosen(&[], None, false, true), full());
    }

    #[test]
    fn options_narrow_the_usual_without_repeating_it() {
        assert_eq!(
            titles(&chosen(&[], Some(4), true, false)),
            ["5.10", "6.1", "6.12", "7.2"].map(|kernel| format!("{kernel}, 4 CPUs, no BTF"))
        );
    }

    #[test]
    fn a_kernel_by_path_is_called_by_its_file() {
        let kernels = ["/boot/vmlinuz-9".to_owned(), "6.1-rt".to_owned()];
        let chosen = chosen(&kernels, Some(16), true, false);
        assert_eq!(
            titles(&chosen),
            ["vmlinuz-9, 16 CPUs, no BTF", "6.1-rt, 16 CPUs, no BTF"]
        );
        assert_eq!(chosen[0].slug(), "vmlinuz-9-16cpu-nobtf");
    }
}
