//! The names of the tables, a table, and what happened last.

use ratatui_core::{buffer::Buffer, layout::Rect};

use super::{put, put_at};
use crate::{
    aggregate::window::Family,
    report::human::{count, cut, name},
    top::{
        model::Model,
        palette::Palette,
        table::{Column, Row, Tab, fit},
        value::Value,
    },
};

pub(super) fn tabs(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut x = area.x;
    for tab in Tab::ALL {
        let (key, label) = tab.label();
        let (text, style) = match tab == model.tab() {
            true => (format!("[{key}{label}]"), palette.selected()),
            false => (format!("{key}{label}"), palette.strong()),
        };
        x = put_at(buffer, area, x, area.y, &text, style);
        x = put_at(buffer, area, x, area.y, " ", palette.plain());
    }
}

pub(super) fn table(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let columns = model.tab().columns();
    let (sorted_by, descending) = model.sorting();
    // The first column of the terminal marks the selected row.
    let fits = fit(columns, sorted_by, area.width.saturating_sub(1));
    let headings = fits.iter().map(|(i, width)| {
        let mark = match (*i == sorted_by, descending) {
            (false, _) => "",
            (true, true) => "v",
            (true, false) => "^",
        };
        let text = format!("{mark}{}", columns[*i].heading);
        aligned(&columns[*i], &text, *width)
    });
    let heading: String = headings.collect();
    put(
        buffer,
        area,
        area.y,
        &format!(" {heading}"),
        palette.strong(),
    );
    model.with_rows(|rows| {
        let room = usize::from(area.height - 1);
        if rows.is_empty() && room > 0 {
            put(buffer, area, area.y + 1, &nothing(model), palette.plain());
        }
        let cursor = model.cursor();
        // The selected row is in the middle where it can be.
        let from = cursor
            .saturating_sub(room / 2)
            .min(rows.len().saturating_sub(room));
        let shown = rows.iter().enumerate().skip(from).take(room);
        for ((place, row), y) in shown.zip(area.y + 1..) {
            let (mark, style) = match place == cursor {
                true => ('>', palette.selected()),
                false => (' ', palette.plain()),
            };
            let cells: String = fits.iter().map(|fit| cell(columns, row, *fit)).collect();
            put(buffer, area, y, &format!("{mark}{cells}"), style);
        }
    });
}

fn cell(columns: &[Column], row: &Row<'_>, (index, width): (usize, u16)) -> String {
    let value = &row.values[index];
    let text = match value {
        Value::Text(text) if !text.is_empty() => cut(text, usize::from(width)),
        value => value.shown(),
    };
    aligned(&columns[index], &text, width)
}

/// A text in a column's width and the gap after it.
fn aligned(column: &Column, text: &str, width: u16) -> String {
    let width = usize::from(width);
    let text: String = text.chars().take(width).collect();
    match column.left {
        true => format!("{text:<width$} "),
        false => format!("{text:>width$} "),
    }
}

/// An empty table must not read as an idle machine when nobody looked.
fn nothing(model: &Model) -> String {
    let Some(frame) = model.shown() else {
        return String::new();
    };
    let (filter, _) = model.filter();
    if !filter.is_empty() {
        return format!("  no row has \"{}\"", name(filter));
    }
    let family = match model.tab() {
        Tab::Softirqs | Tab::Raisers => Family::Softirq,
        Tab::Interrupts => Family::Hardirq,
        Tab::Works => Family::Workqueue,
        Tab::Napi => Family::Napi,
        Tab::Kthreads => Family::Kthread,
        Tab::Tasklets => Family::Tasklet,
        Tab::Events => return "  no module, taint or log event in the windows kept".to_owned(),
        Tab::Probes => return "  the recording says nothing of its probes".to_owned(),
        Tab::Findings => return "  no finding in this window".to_owned(),
    };
    let mut probes = frame.summary.probes.iter();
    match probes.any(|probe| probe.family == family.into() && !probe.attached) {
        true => "  not measured, or not whole: see the probes (9)".to_owned(),
        false => "  none in this window".to_owned(),
    }
}

pub(super) fn happened(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let newest = model.happened(usize::from(area.height) - 1);
    let heading = match newest.len() {
        0 => "Modules, taint and kernel log: nothing in the windows kept".to_owned(),
        shown => format!(
            "Modules, taint and kernel log, newest {} (8)",
            count(shown as u64)
        ),
    };
    put(buffer, area, area.y, &heading, palette.strong());
    for (one, y) in newest.iter().zip(area.y + 1..) {
        let time = Value::Time(one.time_unix_ns).shown();
        let line = format!("  {time} {:<14} {}", cut(&one.what, 14), name(&one.text));
        put(buffer, area, y, &line, palette.plain());
    }
}
