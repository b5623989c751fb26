//! CPUs as bars by context, the busiest first.

use std::cmp::Reverse;

use ratatui_core::{buffer::Buffer, layout::Rect, style::Style};

use super::{put, put_at};
use crate::{
    aggregate::window::ContextTimes,
    report::human::percent,
    top::{model::Model, palette::Palette},
};

/// A CPU's label, bar, share and the gap after it.
const CELL: u16 = 36;

/// Of that: the label, and the share with its gaps.
const LABEL: u16 = 8;
const SHARE: u16 = 8;

/// How many CPUs stand side by side.
pub(in crate::top) fn columns(width: u16, cpus: usize) -> usize {
    usize::from(width / CELL).clamp(1, cpus.max(1))
}

/// How many lines: a heading, and at most a fifth of the terminal.
pub(super) fn lines(cpus: usize, area: Rect) -> u16 {
    if cpus == 0 {
        return 0;
    }
    let rows = cpus.div_ceil(columns(area.width, cpus));
    let most = (area.height / 5).max(1);
    1 + most.min(u16::try_from(rows).unwrap_or(u16::MAX))
}

/// Time in all that is neither a user task nor idle.
fn in_kernel(cpu: &ContextTimes) -> u64 {
    let threads = [cpu.ksoftirqd_ns, cpu.kthread_ns].into_iter().flatten();
    threads.fold(
        cpu.hardirq_ns.saturating_add(cpu.softirq_ns),
        u64::saturating_add,
    )
}

pub(super) fn draw(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let Some(frame) = model.shown() else { return };
    if area.height == 0 {
        return;
    }
    let mut cpus: Vec<&ContextTimes> = frame.summary.cpu.iter().collect();
    // Stable: CPUs with the same time stay in the order of their numbers.
    cpus.sort_by_key(|cpu| Reverse(in_kernel(cpu)));
    let side_by_side = columns(area.width, cpus.len());
    let rows = usize::from(area.height - 1);
    let from = model.cpus_from().min(cpus.len().saturating_sub(1));
    let shown = (rows * side_by_side).min(cpus.len() - from);
    heading(from, shown, cpus.len(), palette, area, buffer);
    let width = area.width / u16::try_from(side_by_side).unwrap_or(1);
    for (place, cpu) in cpus.iter().skip(from).take(shown).enumerate() {
        let (row, column) = (place / side_by_side, place % side_by_side);
        let cell = Rect {
            x: area.x + column as u16 * width,
            y: area.y + 1 + row as u16,
            width,
            height: 1,
        };
        bar(cpu, frame.summary.window.duration_ns, palette, cell, buffer);
    }
}

fn heading(
    from: usize,
    shown: usize,
    all: usize,
    palette: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let which = match shown == all {
        true => format!("{all} CPUs"),
        false => format!("CPUs {}-{} of {all} ([ ])", from + 1, from + shown),
    };
    let mut x = put_at(
        buffer,
        area,
        area.x,
        area.y,
        &format!("{which}, busiest first: "),
        palette.strong(),
    );
    for (letter, what, style) in [
        ('I', "interrupts", palette.hardirq()),
        ('S', "softirqs", palette.softirq()),
        ('K', "ksoftirqd", palette.ksoftirqd()),
        ('T', "other kthreads", palette.kthread()),
    ] {
        x = put_at(
            buffer,
            area,
            x,
            area.y,
            &format!("{letter} {what}  "),
            style,
        );
    }
}

fn bar(cpu: &ContextTimes, window: u64, palette: Palette, area: Rect, buffer: &mut Buffer) {
    put(
        buffer,
        area,
        area.y,
        &format!("cpu{}", cpu.cpu),
        palette.plain(),
    );
    let parts: [(char, u64, Style); 4] = [
        ('I', cpu.hardirq_ns, palette.hardirq()),
        ('S', cpu.softirq_ns, palette.softirq()),
        ('K', cpu.ksoftirqd_ns.unwrap_or(0), palette.ksoftirqd()),
        ('T', cpu.kthread_ns.unwrap_or(0), palette.kthread()),
    ];
    let length = area.width.saturating_sub(LABEL + SHARE);
    let mut x = area.x + LABEL;
    let (mut before, mut drawn) = (0u64, 0);
    for (letter, ns, style) in parts {
        before = before.saturating_add(ns);
        // Ends are rounded, not lengths: so the whole has the length of the whole.
        let end = cells(before, window, length);
        let text: String = std::iter::repeat_n(letter, usize::from(end - drawn)).collect();
        x = put_at(buffer, area, x, area.y, &text, style);
        drawn = end;
    }
    let rest: String = std::iter::repeat_n('.', usize::from(length - drawn)).collect();
    x = put_at(buffer, area, x, area.y, &rest, palette.plain());
    let share = percent(in_kernel(cpu), window);
    put_at(
        buffer,
        area,
        x,
        area.y,
        &format!(" {share:>5}"),
        palette.plain(),
    );
}

fn cells(part: u64, whole: u64, length: u16) -> u16 {
    let cells = (u128::from(part) * u128::from(length) + u128::from(whole) / 2)
        .checked_div(u128::from(whole))
        .unwrap_or(0);
    u16::try_from(cells).unwrap_or(length).min(length)
}
