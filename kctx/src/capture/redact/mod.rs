//! Takes out of a bundle what tells of a machine's addresses and secrets, and keeps what a finding needs.
//!
//! Kernel pointers, hardware and IP addresses, UUIDs and serial numbers become pseudonyms that are the same wherever the
//! same thing was, in this bundle alone: `ptr-1`, `mac-2`, `ip-3`. Of command lines the values of keys that are not known to
//! be harmless go. Names of interfaces, tasks and functions stay.

mod cmdline;
mod pseudonyms;
mod scan;

use std::collections::BTreeMap;

pub use pseudonyms::{Pointers, Pseudonyms};

use super::evidence::{Evidence, EvidenceFile};
use crate::{
    report::summary::Summary,
    source::{Control, Item},
};

/// Redacts one bundle.
#[derive(Debug, Default)]
pub struct Redactor {
    pseudonyms: Pseudonyms,
}

impl Redactor {
    /// The pseudonyms of pointers, which records need too.
    #[must_use]
    pub fn pointers(&self) -> Pointers {
        self.pseudonyms.pointers()
    }

    /// How many of what was taken out, by kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.pseudonyms.counts()
    }

    /// A text of many lines. Bytes that are no UTF-8 are replaced.
    pub fn text(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            self.line(line, &mut out);
        }
        out
    }

    fn line(&mut self, line: &str, out: &mut String) {
        let line = cmdline::in_log(line, &mut self.pseudonyms);
        let line = scan::serials(&line, &mut self.pseudonyms);
        scan::line(&line, &mut self.pseudonyms, out);
    }

    /// A sample of evidence.
    #[must_use]
    pub fn evidence(&mut self, sample: &Evidence) -> Evidence {
        let files = sample.files.iter().map(|file| EvidenceFile {
            bytes: self.file(&file.path, &file.bytes),
            ..file.clone()
        });
        Evidence {
            files: files.collect(),
            missing: sample.missing.clone(),
            left_out: sample.left_out,
        }
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        if path.ends_with("/proc/cmdline") {
            let line = cmdline::redacted(&text, &mut self.pseudonyms);
            return self.text(&line).into_bytes();
        }
        self.text(&text).into_bytes()
    }

    /// A piece of the stream, before anything is made of it. Addresses of functions stay, since names are found by them;
    /// they are replaced where the records are written.
    pub fn item(&mut self, item: Item) -> Item {
        match item {
            Item::Control(control) => Item::Control(Box::new(self.control(*control))),
            Item::Records { .. } => item,
        }
    }

    fn control(&mut self, control: Control) -> Control {
        match control {
            Control::Log(mut rows) => {
                for row in &mut rows.lines {
                    row.text = self.text(&row.text);
                }
                Control::Log(rows)
            }
            Control::Start {
                monotonic_ns,
                unix_ns,
                probes,
                mut host,
            } => {
                host.boot_id = host.boot_id.map(|id| self.text(&id));
                Control::Start {
                    monotonic_ns,
                    unix_ns,
                    probes,
                    host,
                }
            }
            Control::Stacks(mut rows) => {
                for frame in rows.iter_mut().flat_map(|row| &mut row.frames) {
                    self.function(frame);
                }
                Control::Stacks(rows)
            }
            control => control,
        }
    }

    /// Functions without a name, which are shown by their addresses.
    pub fn summary(&mut self, summary: &mut Summary) {
        for row in &mut summary.workqueue {
            self.function(&mut row.function);
        }
        for row in &mut summary.tasklet {
            self.function(&mut row.function);
        }
    }

    fn function(&mut self, name: &mut String) {
        let address = name.strip_prefix("0x");
        if let Some(address) = address.and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            *name = format!("{:#x}", self.pointers().alias(address));
        }
    }
}

#[cfg(test)]
mod tests;
