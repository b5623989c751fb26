//! Both samples of evidence, by path: what reads a bundle and what has just been taken look the same.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::evidence::{Evidence, INDEX, Phase};

/// Files that are read at the window's very edge: when they were taken is when their sample was.
const EDGES: [&str; 2] = ["proc/softirqs", "proc/stat"];

/// Folder of the members that hold many small files.
const TREES: &str = "tree/";

/// The most that is kept of a bundle's evidence: it may be anybody's, and a small file can unpack to very much. Both samples
/// of a capture fit ([`SAMPLE_BYTES`]).
pub const EVIDENCE_BYTES: usize = 256 << 20;

/// The most that one sample may be made to take.
pub const SAMPLE_BYTES: usize = EVIDENCE_BYTES / 2;

/// What a file costs beside its path and its bytes, roughly: a bundle may hold millions of empty ones.
const FILE_COST: usize = 128;

/// Files of evidence, each under its path below `evidence/before/` or `evidence/after/`. A file of the machine has its own
/// path without the leading slash: `proc/net/softnet_stat`. So has each of the small files that a bundle holds in one
/// member, `tree/*.tsv`: they are taken apart here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceSet {
    before: BTreeMap<String, File>,
    after: BTreeMap<String, File>,
    /// Bytes that still have a place.
    room: usize,
    left_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    bytes: Vec<u8>,
    /// The member that holds it beside others; `None` where it is one by itself.
    member: Option<Arc<str>>,
}

impl Default for EvidenceSet {
    fn default() -> Self {
        Self::bounded(EVIDENCE_BYTES)
    }
}

impl EvidenceSet {
    fn bounded(bytes: usize) -> Self {
        Self {
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            room: bytes,
            left_out: 0,
        }
    }

    /// Takes a bundle's member, if it is evidence; else gives it back. What has no place is counted
    /// ([`Self::left_out`]).
    pub fn take(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        for phase in [Phase::Before, Phase::After] {
            let file = path
                .strip_prefix(phase.folder())
                .and_then(|rest| rest.strip_prefix('/'));
            if let Some(file) = file {
                if file.starts_with(TREES) {
                    let member: Arc<str> = Arc::from(file);
                    for (path, bytes) in small_files(&bytes) {
                        let member = Some(Arc::clone(&member));
                        self.insert(phase, path, File { bytes, member });
                    }
                } else {
                    let member = None;
                    self.insert(phase, file.to_owned(), File { bytes, member });
                }
                return Ok(());
            }
        }
        Err(bytes)
    }

    fn insert(&mut self, phase: Phase, path: String, mut file: File) {
        let earlier = self.bytes(phase, &path).map(|bytes| cost(&path, bytes));
        let room = self.room + earlier.unwrap_or(0);
        let Some(left) = room.checked_sub(cost(&path, &file.bytes)) else {
            self.left_out += 1;
            return;
        };
        self.room = left;
        // What was read may have room for twice as much.
        file.bytes.shrink_to_fit();
        self.samples_mut(phase).insert(path, file);
    }

    /// Files that there was no place for.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The same in words, where there are any.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            format!(
                "{} files of its evidence are left out here: kctx reads up to {} MiB of it; tar and zstd read it all",
                self.left_out,
                EVIDENCE_BYTES >> 20
            )
        })
    }

    /// Takes a sample.
    pub fn add(&mut self, evidence: &Evidence) {
        for file in &evidence.files {
            // What is no evidence has no place in a sample.
            let _ = self.take(&file.path, file.bytes.clone());
        }
    }

    /// A file's content.
    #[must_use]
    pub fn bytes(&self, phase: Phase, file: &str) -> Option<&[u8]> {
        self.samples(phase)
            .get(file)
            .map(|file| file.bytes.as_slice())
    }

    /// A file's text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, phase: Phase, file: &str) -> Option<Cow<'_, str>> {
        self.bytes(phase, file).map(String::from_utf8_lossy)
    }

    /// Where a bundle has a file: the member of the later sample that has it, and its path in there where that holds many.
    #[must_use]
    pub fn reference(&self, file: &str) -> Option<String> {
        let phases = [Phase::After, Phase::Before];
        phases.into_iter().find_map(|phase| {
            let folder = phase.folder();
            let known = self.samples(phase).get(file)?;
            Some(match &known.member {
                None => format!("{folder}/{file}"),
                Some(member) => format!("{folder}/{member}:{file}"),
            })
        })
    }

    /// All files of a sample, by path.
    pub fn files(&self, phase: Phase) -> impl Iterator<Item = (&str, &[u8])> {
        (self.samples(phase).iter()).map(|(path, file)| (path.as_str(), file.bytes.as_slice()))
    }

    /// How far the two samples are apart, in nanoseconds: what counters grew by, they grew by in that time. It is not the
    /// window's length where a daemon had records from before the capture was asked for, or where a part of a bundle is
    /// looked at. `None` where the samples do not say it.
    #[must_use]
    pub fn apart_ns(&self) -> Option<u64> {
        let (before, after) = (self.edge_ns(Phase::Before)?, self.edge_ns(Phase::After)?);
        after.checked_sub(before).filter(|apart| *apart > 0)
    }

    /// When a sample's counters were read.
    fn edge_ns(&self, phase: Phase) -> Option<u64> {
        let entries: Vec<Entry> = serde_json::from_slice(self.bytes(phase, INDEX)?).ok()?;
        let taken = |file: &&str| entries.iter().find(|entry| entry.path == **file);
        let edge = EDGES.iter().find_map(taken);
        edge.map(|entry| entry.monotonic_ns)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    fn samples(&self, phase: Phase) -> &BTreeMap<String, File> {
        match phase {
            Phase::Before => &self.before,
            Phase::After => &self.after,
        }
    }

    fn samples_mut(&mut self, phase: Phase) -> &mut BTreeMap<String, File> {
        match phase {
            Phase::Before => &mut self.before,
            Phase::After => &mut self.after,
        }
    }
}

fn cost(path: &str, bytes: &[u8]) -> usize {
    FILE_COST + path.len() + bytes.len()
}

/// What of a line of a sample's index is of use here.
#[derive(Deserialize)]
struct Entry {
    path: String,
    monotonic_ns: u64,
}

/// The small files of a member: `path\tvalue` a line, newlines and backslashes escaped. Each ends in a newline, as the kernel
/// writes them.
fn small_files(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let (path, value) = line.split_once('\t')?;
        let mut text = String::with_capacity(value.len() + 1);
        let mut rest = value.chars();
        while let Some(char) = rest.next() {
            match char {
                '\\' if rest.next() == Some('n') => text.push('\n'),
                '\\' => text.push('\\'),
                char => text.push(char),
            }
        }
        text.push('\n');
        Some((path.to_owned(), text.into_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_have_their_own_paths_again() {
        let mut set = EvidenceSet::default();
        let tree = b"proc/irq/9/spurious\tcount 7\\nlast \\\\ 0 ms\nsys/empty\t\nnot a line\n";
        set.take("evidence/after/tree/irq.tsv", tree.to_vec())
            .unwrap();
        let text = |file| set.text(Phase::After, file);
        assert_eq!(
            text("proc/irq/9/spurious").unwrap(),
            "count 7\nlast \\ 0 ms\n"
        );
        assert_eq!(text("sys/empty").unwrap(), "\n");
        assert_eq!(set.files(Phase::After).count(), 2);
        // It is found where it is, in a bundle that is unpacked by hand.
        set.take("evidence/before/netfilter.json", Vec::new())
            .unwrap();
        let references =
            ["proc/irq/9/spurious", "netfilter.json", "kmsg"].map(|file| set.reference(file));
        assert_eq!(
            references,
            [
                Some("evidence/after/tree/irq.tsv:proc/irq/9/spurious".to_owned()),
                Some("evidence/before/netfilter.json".to_owned()),
                None
            ]
        );
        assert_eq!(set.take("events/0.seg", vec![1]), Err(vec![1]));
    }

    #[test]
    fn what_has_no_place_is_left_out_and_counted() {
        let mut set = EvidenceSet::bounded(1000);
        assert_eq!(set.note(), None);
        set.take("evidence/before/a", vec![0; 600]).unwrap();
        set.take("evidence/before/b", vec![0; 600]).unwrap();
        assert_eq!(set.bytes(Phase::Before, "b"), None);
        set.take("evidence/after/c", vec![0; 10]).unwrap();
        assert_eq!(set.bytes(Phase::After, "c").unwrap().len(), 10);
        assert_eq!(set.left_out(), 1);
        let note = set.note().unwrap();
        assert!(note.starts_with("1 files of its evidence"), "{note}");
        // A file in place of another takes the other's place.
        for _ in 0..100 {
            set.take("evidence/after/c", vec![0; 10]).unwrap();
        }
        assert_eq!(set.left_out(), 1);
    }

    #[test]
    fn many_empty_files_are_not_for_nothing() {
        let mut set = EvidenceSet::bounded(10 * (FILE_COST + 10));
        let tree: String = (0..100).map(|i| format!("{i}\t\n")).collect();
        set.take("evidence/after/tree/x.tsv", tree.into_bytes())
            .unwrap();
        let kept = set.files(Phase::After).count();
        assert!((10..15).contains(&kept), "{kept}");
        assert_eq!(set.left_out(), 100 - kept as u64);
    }

    #[test]
    fn samples_are_as_far_apart_as_their_edges() {
        let index = |file: &str, at: u64| {
            format!(
                "[\n{{\"path\":\"kmsg\",\"monotonic_ns\":1}},\n{{\"path\":\"{file}\",\"source\":\"/\",\"monotonic_ns\":{at}}}\n]\n"
            )
        };
        let set = |before: &str, after: &str| {
            let mut set = EvidenceSet::default();
            for (path, text) in [("before", before), ("after", after)] {
                set.take(
                    &format!("evidence/{path}/index.json"),
                    text.as_bytes().to_vec(),
                )
                .unwrap();
            }
            set.apart_ns()
        };
        let (early, late) = (index("proc/softirqs", 500), index("proc/softirqs", 1_700));
        assert_eq!(set(&early, &late), Some(1_200));
        assert_eq!(set(&early, &index("proc/stat", 1_700)), Some(1_200));
        for (before, after) in [(&late, &early), (&early, &index("uname", 9))] {
            assert_eq!(set(before, after), None);
        }
        assert_eq!(set("[", &late), None);
        assert_eq!(EvidenceSet::default().apart_ns(), None);
    }
}
