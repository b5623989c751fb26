//! The kernel's own books: /proc/interrupts and /proc/softirqs.
//!
//! Written by `show_interrupts` (kernel/irq/proc.c), `arch_show_interrupts` (arch/*/kernel/irq.c)
//! and `show_softirqs` (fs/proc/softirqs.c). /proc/interrupts has a column for each CPU that is
//! online, /proc/softirqs for each that is possible.

/// /proc/interrupts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterruptTable {
    /// The CPUs that have a column, in order.
    pub cpus: Vec<u32>,
    /// The lines, in order.
    pub rows: Vec<InterruptRow>,
}

/// One line of /proc/interrupts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterruptRow {
    /// `24`, `LOC`, `IPI0`: without its colon.
    pub label: String,
    /// The interrupt number, where the label is one.
    pub irq: Option<u32>,
    /// One count a CPU, in the order of [`InterruptTable::cpus`]; empty where the line has but a total.
    pub counts: Vec<u64>,
    /// The total of a line without per-CPU counts (`ERR`, `MIS`).
    pub total_only: Option<u64>,
    /// Interrupt controller, for example `PCI-MSIX-0000:00:01.0` or `RISC-V INTC`.
    pub chip: String,
    /// The controller's own number for the line.
    pub hwirq: Option<u64>,
    /// `edge`, `fasteoi`, `Level`: the flow's name or, on other architectures, the trigger.
    pub trigger: String,
    /// Names of the actions on this line: more than one when it is shared.
    pub actions: Vec<String>,
    /// What the kernel says a named vector is.
    pub description: String,
}

impl InterruptRow {
    /// All CPUs together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let sum = self.counts.iter().fold(0u64, |a, b| a.saturating_add(*b));
        self.total_only.unwrap_or(sum)
    }
}

impl InterruptTable {
    /// Parses the text. Lines that make no sense are passed over; nothing here can fail, since the
    /// text is the kernel's and a future line must not cost us the others.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let cpus = parse_header(lines.next().unwrap_or_default());
        let rows = lines
            .filter_map(|line| parse_row(line, cpus.len()))
            .collect();
        Self { cpus, rows }
    }

    /// The line of that label (`24`, `LOC`).
    #[must_use]
    pub fn row(&self, label: &str) -> Option<&InterruptRow> {
        self.rows.iter().find(|row| row.label == label)
    }

    /// The line of that interrupt number.
    #[must_use]
    pub fn irq(&self, irq: u32) -> Option<&InterruptRow> {
        self.rows.iter().find(|row| row.irq == Some(irq))
    }

    /// The count of that label on that CPU; `None` where the CPU has no column.
    #[must_use]
    pub fn count(&self, label: &str, cpu: u32) -> Option<u64> {
        let column = self.cpus.iter().position(|&known| known == cpu)?;
        self.row(label)?.counts.get(column).copied()
    }
}

fn parse_header(line: &str) -> Vec<u32> {
    line.split_whitespace()
        .filter_map(|column| column.strip_prefix("CPU")?.parse().ok())
        .collect()
}

fn parse_row(line: &str, columns: usize) -> Option<InterruptRow> {
    let (label, rest) = line.split_once(':')?;
    let label = label.trim();
    if label.is_empty() || label.contains(char::is_whitespace) {
        return None;
    }
    let (counts, rest) = take_counts(rest, columns);
    let mut row = InterruptRow {
        label: label.to_owned(),
        irq: label.parse().ok(),
        ..InterruptRow::default()
    };
    if counts.len() == columns {
        row.counts = counts;
    } else {
        // `ERR` and `MIS` are one number; a line cut short has counts that belong to no known CPU.
        row.total_only = match counts.as_slice() {
            [total] => Some(*total),
            _ => return None,
        };
    }
    if row.irq.is_some() {
        fill_line(&mut row, rest);
    } else {
        row.description = rest.trim().to_owned();
    }
    Some(row)
}

/// Takes up to `columns` numbers off the front.
fn take_counts(mut rest: &str, columns: usize) -> (Vec<u64>, &str) {
    let mut counts = Vec::with_capacity(columns);
    while counts.len() < columns {
        let trimmed = rest.trim_start();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let Ok(count) = trimmed[..end].parse() else {
            break;
        };
        counts.push(count);
        rest = &trimmed[end..];
    }
    (counts, rest)
}

/// Splits `IO-APIC   5-edge      ACPI:Ged`, `GICv3  27 Level     arch_timer`,
/// `RISC-V INTC   5 Edge      riscv-timer` and `xen-dyn    -event     xenbus`.
///
/// A controller's name may have blanks in it, and an action's too (`PCIe PME`); what stands between
/// them, the hardware number with or without a flow name, has a shape of its own.
fn fill_line(row: &mut InterruptRow, rest: &str) {
    let mut position = 0;
    let mut middle = None;
    for word in rest.split_whitespace() {
        // `split_whitespace` yields slices in order, so each is found at or after the last one's end.
        let start = position + rest[position..].find(word).unwrap_or(0);
        position = start + word.len();
        if start > rest.len() - rest.trim_start().len()
            && let Some((hwirq, flow)) = hardware_number(word)
        {
            middle = Some((start, hwirq, flow));
            break;
        }
    }
    let Some((start, hwirq, flow)) = middle else {
        let (chip, actions) = rest.trim().split_once("  ").unwrap_or((rest.trim(), ""));
        chip.clone_into(&mut row.chip);
        row.actions = split_actions(actions);
        return;
    };
    rest[..start].trim().clone_into(&mut row.chip);
    row.hwirq = hwirq;
    flow.clone_into(&mut row.trigger);
    let mut actions = rest[position..].trim();
    // CONFIG_GENERIC_IRQ_SHOW_LEVEL: a column of its own.
    for level in ["Level", "Edge"] {
        if let Some(after) = actions.strip_prefix(level)
            && (after.is_empty() || after.starts_with(char::is_whitespace))
        {
            level.clone_into(&mut row.trigger);
            actions = after.trim();
        }
    }
    row.actions = split_actions(actions);
}

/// `5-edge`, `27`, `-event`: hardware number and flow name.
fn hardware_number(word: &str) -> Option<(Option<u64>, &str)> {
    let digits = word
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(word.len());
    let (number, flow) = word.split_at(digits);
    let hwirq = number.parse().ok();
    match flow.strip_prefix('-') {
        Some(flow) if !flow.is_empty() => Some((hwirq, flow)),
        None if flow.is_empty() && hwirq.is_some() => Some((hwirq, "")),
        _ => None,
    }
}

fn split_actions(text: &str) -> Vec<String> {
    text.split(", ")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// /proc/softirqs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoftirqTable {
    /// The CPUs that have a column.
    pub cpus: Vec<u32>,
    /// Vector name and one count a CPU.
    pub rows: Vec<(String, Vec<u64>)>,
}

impl SoftirqTable {
    /// Parses the text, passing over lines that make no sense.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let cpus = parse_header(lines.next().unwrap_or_default());
        let rows = lines
            .filter_map(|line| {
                let (name, rest) = line.split_once(':')?;
                let (counts, _) = take_counts(rest, cpus.len());
                (counts.len() == cpus.len()).then(|| (name.trim().to_owned(), counts))
            })
            .collect();
        Self { cpus, rows }
    }

    /// The count of that vector on that CPU.
    #[must_use]
    pub fn count(&self, vector: &str, cpu: u32) -> Option<u64> {
        let column = self.cpus.iter().position(|&known| known == cpu)?;
        let (_, counts) = self.rows.iter().find(|(name, _)| name == vector)?;
        counts.get(column).copied()
    }

    /// All CPUs' counts of that vector.
    #[must_use]
    pub fn total(&self, vector: &str) -> Option<u64> {
        let (_, counts) = self.rows.iter().find(|(name, _)| name == vector)?;
        Some(counts.iter().fold(0u64, |a, b| a.saturating_add(*b)))
    }
}

#[cfg(test)]
#[path = "irqs_tests.rs"]
mod tests;
