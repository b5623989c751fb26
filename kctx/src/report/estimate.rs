//! `kctx doctor --estimate`, for people.

use std::fmt::Write as _;

use super::{
    columns::Columns,
    human::{bytes, count, cut, duration, name},
};
use crate::meter::estimate::{BpfEstimate, Estimate, ProgramEstimate};

/// Programs that are shown, the most expensive ones.
const PROGRAMS: usize = 8;

/// Widest reason.
const REASON_WIDTH: usize = 200;

/// Renders an estimate.
#[must_use]
pub fn render(estimate: &Estimate) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail, here and below.
    let early = if estimate.interrupted {
        ", ended early"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "What kctx run costs here with this configuration, measured for {}{early}. Shares are of one CPU.",
        duration(estimate.duration_ns)
    );
    kernel(&mut out, &estimate.bpf);
    userspace(&mut out, estimate);
    governor(&mut out, estimate);
    if !estimate.not_attached.is_empty() {
        let _ = writeln!(out, "\nNot attached, and so not in here:");
        for probe in &estimate.not_attached {
            let reason = probe.reason.as_deref().unwrap_or("no reason given");
            let _ = writeln!(
                out,
                "  {}: {}",
                name(&probe.name),
                cut(reason, REASON_WIDTH)
            );
        }
    }
    let _ = writeln!(out, "\nHow to read it:");
    for note in estimate.notes {
        let _ = writeln!(out, "  - {note}");
    }
    out
}

fn kernel(out: &mut String, bpf: &BpfEstimate) {
    let _ = writeln!(out, "\nIn the kernel");
    if let Some(reason) = &bpf.reason {
        let _ = writeln!(out, "  not known: {}", cut(reason, REASON_WIDTH));
        return;
    }
    let mut table = Columns::new(["<", "runs/s", "a run", "share"]);
    let mut row = |what: String, runs: &ProgramEstimate| {
        table.push([
            what,
            rate(runs.runs_per_second),
            duration(runs.mean_ns),
            share(runs.cpu_share),
        ]);
    };
    for family in &bpf.families {
        row(family.family.as_str().to_owned(), &family.programs);
    }
    row("all".to_owned(), &bpf.total);
    for program in bpf.programs.iter().take(PROGRAMS) {
        row(format!("  {}", name(&program.program)), &program.runs);
    }
    lines(out, &table);
    if bpf.programs.len() > PROGRAMS {
        let _ = writeln!(out, "  and {} programs more", bpf.programs.len() - PROGRAMS);
    }
    if let Some(busiest) = bpf.busiest_cpu {
        let _ = writeln!(
            out,
            "  busiest: CPU {}, {} of it",
            busiest.cpu,
            share(busiest.cpu_share)
        );
    }
}

fn userspace(out: &mut String, estimate: &Estimate) {
    let _ = writeln!(out, "\nIn userspace");
    let mut table = Columns::new(["<", "share"]);
    for thread in &estimate.userspace.threads {
        table.push([name(&thread.thread), share(thread.cpu_share)]);
    }
    table.push(["all".to_owned(), share(estimate.userspace.cpu_share)]);
    lines(out, &table);
    let first = duration(estimate.userspace.first_window_cpu_ns);
    let _ = writeln!(out, "  the first window took {first} of CPU time");
    let memory = estimate.userspace.memory_bytes;
    let memory = memory.map_or_else(|| "not known".to_owned(), bytes);
    let rings = &estimate.rings;
    let _ = writeln!(
        out,
        "  memory {memory} resident\n  rings {}/s, {} records/s, the fullest {} full; {} records into the kernel's \
         histograms, lost {}",
        bytes(rings.bytes_per_second as u64),
        rate(rings.records_per_second),
        share(rings.fullest),
        count(rings.spilled),
        count(rings.lost)
    );
}

fn governor(out: &mut String, estimate: &Estimate) {
    let governor = &estimate.governor;
    let limit = share(governor.limit);
    let _ = match (governor.limit > 0.0, governor.acted) {
        (false, _) => writeln!(out, "  governor: off"),
        (true, false) => writeln!(out, "  governor: did not have to act, the limit is {limit}"),
        (true, true) => writeln!(out, "  governor: acted, the limit is {limit}"),
    };
    for one in &governor.limited {
        let _ = writeln!(
            out,
            "    {} only as histograms after {}: {}",
            one.family.as_str(),
            duration(one.after_ns),
            cut(&one.reason, REASON_WIDTH)
        );
    }
    if let Some(reason) = &governor.helpless {
        let _ = writeln!(out, "    {}", cut(reason, REASON_WIDTH));
    }
}

fn lines<const N: usize>(out: &mut String, table: &Columns<N>) {
    for line in table.lines() {
        let _ = writeln!(out, "{line}");
    }
}

fn share(part: f64) -> String {
    if part > 0.0 && part < 0.000_05 {
        return "<0.01 %".to_owned();
    }
    format!("{:.2} %", part * 100.0)
}

fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 10.0 {
        return format!("{per_second:.1}");
    }
    count(per_second.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{governor::CpuShare, meter::estimate::Tally, report::fixture};

    fn estimate(counted: bool, limit: u32) -> String {
        let mut tally = Tally::default();
        let mut window = fixture::window();
        let cost = window.own_cost.as_mut().unwrap();
        if counted {
            cost.bpf.basis = crate::meter::Basis::Counted;
        }
        tally.add(&window);
        render(&tally.finish(CpuShare::from_ppm(limit), false))
    }

    #[test]
    fn all_is_said_and_nothing_escapes() {
        let text = estimate(true, 20_000);
        for expected in [
            "measured for 1.00 s. Shares",
            "  softirq         10,000  600 ns  0.60 %\n",
            "  all             20,000  400 ns  0.80 %\n",
            "busiest: CPU 1, 0.60 % of it",
            "  kctx-pipeline  0.20 %\n",
            "memory 24.0 MiB resident\n  rings 19.5 KiB/s, 454 records/s, the fullest 2.50 % full; 10 records into",
            "governor: acted, the limit is 2.00 %\n    softirq only as histograms after 100 ms: kctx took 3 % of CPU 1",
            "module:module_load: CONFIG_MODULES is off",
            "  - it holds for the load that was there",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn what_is_not_known_is_not_shown_as_a_number() {
        let text = estimate(false, 0);
        assert!(text.contains("In the kernel\n  not known: "), "{text}");
        assert!(!text.contains("runs/s"), "{text}");
        assert!(text.contains("governor: off"), "{text}");
    }

    #[test]
    fn small_numbers_are_not_nothing() {
        assert_eq!(
            [0.0, 0.000_01, 0.5].map(share),
            ["0.00 %", "<0.01 %", "50.00 %"]
        );
        assert_eq!([0.0, 0.25, 12_345.4].map(rate), ["0", "0.2", "12,345"]);
    }
}
