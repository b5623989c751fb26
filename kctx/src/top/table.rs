//! The tables: what each is called, its columns, and which of them find room.

use super::value::Value;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tab {
    /// By vector, CPU and place.
    Softirqs,
    /// What raised them.
    Raisers,
    /// By line, action and CPU.
    Interrupts,
    /// By workqueue and function.
    Works,
    /// By device, NAPI, CPU and place.
    Napi,
    /// By thread.
    Kthreads,
    /// By function.
    Tasklets,
    /// Modules, taint, kernel log: of all windows kept.
    Events,
    /// Whether each probe is attached, and why not.
    Probes,
    /// What the diagnosis says.
    Findings,
}

/// How many tables there are.
pub(super) const TABS: usize = 10;

impl Tab {
    /// All, in the order they are shown.
    pub const ALL: [Self; TABS] = [
        Self::Softirqs,
        Self::Raisers,
        Self::Interrupts,
        Self::Works,
        Self::Napi,
        Self::Kthreads,
        Self::Tasklets,
        Self::Events,
        Self::Probes,
        Self::Findings,
    ];

    /// Its key and its name.
    #[must_use]
    pub fn label(self) -> (char, &'static str) {
        match self {
            Self::Softirqs => ('1', "softirq"),
            Self::Raisers => ('2', "raiser"),
            Self::Interrupts => ('3', "irq"),
            Self::Works => ('4', "work"),
            Self::Napi => ('5', "napi"),
            Self::Kthreads => ('6', "kthread"),
            Self::Tasklets => ('7', "tasklet"),
            Self::Events => ('8', "event"),
            Self::Probes => ('9', "probe"),
            Self::Findings => ('0', "finding"),
        }
    }

    /// Its place among [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Its columns.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Softirqs => &SOFTIRQS,
            Self::Raisers => &RAISERS,
            Self::Interrupts => &INTERRUPTS,
            Self::Works => &WORKS,
            Self::Napi => &NAPI,
            Self::Kthreads => &KTHREADS,
            Self::Tasklets => &TASKLETS,
            Self::Events => &EVENTS,
            Self::Probes => &PROBES,
            Self::Findings => &FINDINGS,
        }
    }

    /// The column it is sorted by at first: the share where there is one. Of probes those that are not attached come
    /// first, of findings the worst.
    pub(super) fn first_sort(self) -> usize {
        let heading = match self {
            Self::Raisers => "rate",
            Self::Events => "time",
            Self::Probes => "attached",
            Self::Findings => "severity",
            _ => "share",
        };
        let mut columns = self.columns().iter();
        let place = columns.position(|column| column.heading == heading);
        place.unwrap_or(0)
    }

    /// Whether the largest is first then. `CRIT`, `WARN`, `info` are in the order of their letters, and `NO` is before each
    /// mechanism.
    pub(super) fn first_descending(self) -> bool {
        !matches!(self, Self::Probes | Self::Findings)
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its heading.
    pub(super) heading: &'static str,
    /// How wide it is at least.
    pub(super) width: u16,
    /// Texts stand left, numbers right.
    pub(super) left: bool,
    /// Takes what room is left.
    pub(super) grows: bool,
    /// The higher, the sooner it goes where there is no room; 0 stays.
    pub(super) rank: u8,
}

const fn number(heading: &'static str, width: u16, rank: u8) -> Column {
    Column {
        heading,
        width,
        left: false,
        grows: false,
        rank,
    }
}

const fn text(heading: &'static str, width: u16) -> Column {
    Column {
        heading,
        width,
        left: true,
        grows: false,
        rank: 0,
    }
}

const fn growing(heading: &'static str, width: u16) -> Column {
    Column {
        grows: true,
        ..text(heading, width)
    }
}

const RATE: Column = number("rate", 7, 0);
const SHARE: Column = number("share", 7, 0);
const P50: Column = number("p50", 7, 4);
const P99: Column = number("p99", 7, 1);
const MAX: Column = number("max", 7, 3);
const WAIT_P50: Column = number("wait50", 7, 6);
const WAIT_P99: Column = number("wait99", 7, 2);
const WAIT_MAX: Column = number("waitmax", 7, 5);

const SOFTIRQS: [Column; 11] = [
    growing("vector", 8),
    number("CPU", 4, 0),
    text("ran in", 9),
    RATE,
    SHARE,
    P50,
    P99,
    MAX,
    WAIT_P50,
    WAIT_P99,
    WAIT_MAX,
];
const RAISERS: [Column; 5] = [
    text("vector", 8),
    number("CPU", 4, 0),
    growing("raised by", 24),
    RATE,
    number("of runs", 7, 0),
];
const INTERRUPTS: [Column; 9] = [
    number("irq", 5, 0),
    growing("action", 16),
    number("CPU", 4, 0),
    RATE,
    SHARE,
    P50,
    P99,
    MAX,
    number("unhandl", 7, 5),
];
const WORKS: [Column; 10] = [
    text("workqueue", 12),
    growing("function", 16),
    RATE,
    SHARE,
    P50,
    P99,
    MAX,
    WAIT_P50,
    WAIT_P99,
    WAIT_MAX,
];
const NAPI: [Column; 11] = [
    growing("device", 10),
    number("napi", 5, 6),
    number("CPU", 4, 0),
    text("ran in", 9),
    RATE,
    SHARE,
    number("pkts/s", 7, 1),
    number("full", 7, 2),
    P50,
    P99,
    MAX,
];
const KTHREADS: [Column; 10] = [
    growing("thread", 16),
    number("pid", 7, 7),
    RATE,
    SHARE,
    P50,
    P99,
    MAX,
    WAIT_P50,
    WAIT_P99,
    WAIT_MAX,
];
const TASKLETS: [Column; 6] = [growing("function", 24), RATE, SHARE, P50, P99, MAX];
const EVENTS: [Column; 3] = [text("time", 8), text("what", 14), growing("text", 30)];
const PROBES: [Column; 3] = [
    text("probe", 32),
    text("attached", 10),
    growing("reason", 20),
];
const FINDINGS: [Column; 5] = [
    text("severity", 8),
    text("confid.", 7),
    SHARE,
    text("id", 10),
    growing("finding", 30),
];

/// A row: what it is, whatever window it is in, and its cells.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    /// The same in the next window, if that has the row.
    pub(super) key: String,
    /// One for each column.
    pub(super) values: Vec<Value<'a>>,
    /// Where its source is in the summary.
    pub(super) index: usize,
}

impl Row<'_> {
    /// Whether all words of a filter, in lower case, are in its texts; `cpu3` is CPU 3.
    pub(super) fn matches(&self, columns: &[Column], filter: &str) -> bool {
        filter.split_whitespace().all(|word| {
            let mut cells = columns.iter().zip(&self.values);
            cells.any(|(column, value)| match value {
                Value::Text(text) => text.to_lowercase().contains(word),
                Value::Id(Some(id)) if column.heading == "CPU" => word == format!("cpu{id}"),
                Value::Id(Some(id)) => word == id.to_string(),
                _ => false,
            })
        })
    }
}

/// Indices of the columns that find room in so many terminal columns, and how wide each is. The one that is sorted by
/// stays.
pub(super) fn fit(columns: &[Column], sorted_by: usize, room: u16) -> Vec<(usize, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let taken = |kept: &[usize]| -> u16 { kept.iter().map(|i| columns[*i].width + 1).sum() };
    while taken(&kept) > room {
        let goes = (kept.iter().enumerate())
            .filter(|(_, i)| columns[**i].rank > 0 && **i != sorted_by)
            .max_by_key(|(_, i)| columns[**i].rank)
            .map(|(place, _)| place);
        match goes {
            Some(place) => drop(kept.remove(place)),
            None => break,
        }
    }
    let spare = room.saturating_sub(taken(&kept));
    kept.into_iter()
        .map(|i| {
            let more = if columns[i].grows { spare } else { 0 };
            (i, columns[i].width + more)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_their_keys() {
        for (index, tab) in Tab::ALL.into_iter().enumerate() {
            assert_eq!(tab.index(), index);
            let digit = char::from_digit((index as u32 + 1) % 10, 10).unwrap();
            assert_eq!(tab.label().0, digit);
            let heading = tab.columns()[tab.first_sort()].heading;
            assert_eq!(
                heading == tab.columns()[0].heading,
                matches!(tab, Tab::Events | Tab::Findings)
            );
            let growing = tab.columns().iter().filter(|column| column.grows);
            assert_eq!(growing.count(), 1, "{tab:?}");
        }
    }

    #[test]
    fn at_eighty_columns_no_table_is_cut_and_the_quantiles_that_matter_stay() {
        for tab in Tab::ALL {
            let fits = fit(tab.columns(), tab.first_sort(), 79);
            let taken: u16 = fits.iter().map(|(_, width)| width + 1).sum();
            assert!(taken == 79, "{tab:?}: {taken}");
        }
        let headings = |room| -> Vec<&str> {
            let fits = fit(&SOFTIRQS, 4, room);
            fits.iter().map(|(i, _)| SOFTIRQS[*i].heading).collect()
        };
        assert_eq!(
            headings(79),
            [
                "vector", "CPU", "ran in", "rate", "share", "p50", "p99", "max", "wait99"
            ]
        );
        assert_eq!(headings(200).len(), SOFTIRQS.len());
        assert_eq!(headings(10).len(), 5, "what it is stays");
    }

    #[test]
    fn the_column_that_is_sorted_by_stays() {
        let fits = fit(&SOFTIRQS, 8, 60);
        assert!(fits.iter().any(|(i, _)| *i == 8), "{fits:?}");
    }

    #[test]
    fn a_filter_is_words_in_any_column() {
        let row = Row {
            key: String::new(),
            values: vec![
                Value::text("NET_RX"),
                Value::Id(Some(3)),
                Value::text("irq_tail"),
            ],
            index: 0,
        };
        for filter in ["", "net", "net_rx cpu3", "tail  rx"] {
            assert!(row.matches(&SOFTIRQS, filter), "{filter}");
        }
        for filter in ["net cpu1", "cpu", "3", "nett"] {
            assert!(!row.matches(&SOFTIRQS, filter), "{filter}");
        }
    }
}
