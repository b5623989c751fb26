//! Counters by name, out of the text of the kernel's files. What is no counter is passed over.

use std::collections::BTreeMap;

type Counters = BTreeMap<String, u64>;

/// What reads a file of evidence.
pub(super) fn parser(file: &str) -> Option<fn(&str) -> Counters> {
    Some(match file {
        "proc/softirqs" | "proc/interrupts" => per_cpu,
        "proc/net/softnet_stat" => softnet_stat,
        "proc/net/dev" => net_dev,
        "proc/net/snmp" | "proc/net/netstat" => snmp,
        "proc/stat" => stat,
        "proc/vmstat" | "proc/net/snmp6" => pairs,
        _ if file.starts_with("sys/class/net/") && file.contains("/statistics/") => single,
        _ => return None,
    })
}

/// Rows of one number a CPU, under a heading that names the CPUs: summed (fs/proc/softirqs.c,
/// kernel/irq/proc.c). An interrupt's row goes on with what it is.
fn per_cpu(text: &str) -> Counters {
    let mut lines = text.lines();
    let cpus = lines
        .next()
        .map_or(0, |line| line.split_whitespace().count());
    let row = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let mut words = rest.split_whitespace();
        let counts = words.by_ref().take(cpus).map(str::parse::<u64>);
        let sum = counts.map_while(Result::ok).fold(0, u64::wrapping_add);
        let what: Vec<&str> = rest
            .split_whitespace()
            .skip_while(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
            .collect();
        let name = format!("{} {}", name.trim(), what.join(" "));
        Some((name.trim_end().to_owned(), sum))
    };
    lines.filter_map(row).collect()
}

/// `softnet_seq_show` (net/core/net-procfs.c): a row a CPU, in hex. The CPU's number is in the 13th column since
/// 5.10, since rows of CPUs that are offline are left out.
fn softnet_stat(text: &str) -> Counters {
    const COLUMNS: [(usize, &str); 5] = [
        (0, "processed"),
        (1, "dropped"),
        (2, "time_squeeze"),
        (9, "received_rps"),
        (10, "flow_limit_count"),
    ];
    let mut counters = Counters::new();
    for (row, line) in (0..).zip(text.lines()) {
        let number = |word: &str| u64::from_str_radix(word, 16).unwrap_or(0);
        let words: Vec<u64> = line.split_whitespace().map(number).collect();
        let cpu = words.get(12).copied().unwrap_or(row);
        for (column, name) in COLUMNS {
            if let Some(count) = words.get(column) {
                counters.insert(format!("CPU {cpu} {name}"), *count);
            }
        }
    }
    counters
}

/// `dev_seq_printf_stats` (net/core/net-procfs.c).
fn net_dev(text: &str) -> Counters {
    const COLUMNS: [&str; 16] = [
        "rx bytes",
        "rx packets",
        "rx errs",
        "rx drop",
        "rx fifo errs",
        "rx frame errs",
        "rx compressed",
        "rx multicast",
        "tx bytes",
        "tx packets",
        "tx errs",
        "tx drop",
        "tx fifo errs",
        "tx colls",
        "tx carrier errs",
        "tx compressed",
    ];
    let mut counters = Counters::new();
    for (device, rest) in text.lines().filter_map(|line| line.rsplit_once(':')) {
        for (name, count) in COLUMNS.iter().zip(rest.split_whitespace()) {
            if let Ok(count) = count.parse() {
                counters.insert(format!("{} {name}", device.trim()), count);
            }
        }
    }
    counters
}

/// A line of names and a line of numbers, both after `Tcp:` and the like (net/ipv4/proc.c).
fn snmp(text: &str) -> Counters {
    let mut counters = Counters::new();
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let Some(((protocol, names), (_, numbers))) =
            names.split_once(':').zip(numbers.split_once(':'))
        else {
            continue;
        };
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            // Some are settings, and may be -1.
            if let Ok(number) = number.parse() {
                counters.insert(format!("{protocol} {name}"), number);
            }
        }
    }
    counters
}

/// The counters of fs/proc/stat.c that are no CPU's, and all CPUs' ticks.
fn stat(text: &str) -> Counters {
    const TICKS: [&str; 8] = [
        "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
    ];
    let mut counters = Counters::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("cpu") => {
                for (name, count) in TICKS.iter().zip(words) {
                    if let Ok(count) = count.parse() {
                        counters.insert(format!("all CPUs {name} (ticks)"), count);
                    }
                }
            }
            Some(name @ ("ctxt" | "processes")) => {
                if let Some(count) = words.next().and_then(|word| word.parse().ok()) {
                    counters.insert(name.to_owned(), count);
                }
            }
            _ => {}
        }
    }
    counters
}

/// A name and a number a line.
fn pairs(text: &str) -> Counters {
    let pair = |line: &str| {
        let (name, count) = line.split_once(char::is_whitespace)?;
        // Gauges: they are no counters, and come and go.
        let is_gauge = name.starts_with("nr_");
        let count = count.trim().parse().ok().filter(|_| !is_gauge)?;
        Some((name.to_owned(), count))
    };
    text.lines().filter_map(pair).collect()
}

/// One number.
fn single(text: &str) -> Counters {
    let count = text.trim().parse().ok();
    count
        .map(|count| (String::new(), count))
        .into_iter()
        .collect()
}
