//! The model as it is drawn: pure, a model to a buffer.

mod cpus;
mod head;
mod list;

use ratatui_core::{buffer::Buffer, layout::Rect, style::Style};

pub(super) use cpus::columns as cpu_columns;

use super::{
    keys::KEYS,
    model::{Model, Open},
    palette::Palette,
};
use crate::report::human;

/// From so many lines on, what happened has lines of its own below the table.
const TALL: u16 = 36;

/// That many of them, heading included.
const HAPPENED_LINES: u16 = 7;

/// Where each part is.
struct Layout {
    head: Rect,
    cpus: Rect,
    /// Names of the tables, then the table, what is open instead, or nothing.
    tabs: Rect,
    body: Rect,
    happened: Rect,
    foot: Rect,
}

fn layout(model: &Model, area: Rect) -> Layout {
    let cpus = model.shown().map_or(0, |frame| frame.summary.cpu.len());
    let mut top = area.y;
    let mut left = area.height;
    // In the order of what is given up last.
    let mut take = |lines: u16| {
        let lines = lines.min(left);
        left -= lines;
        lines
    };
    let foot = take(1);
    let head = take(head::lines(model, area));
    let cpus = take(cpus::lines(cpus, area));
    let tabs = take(1);
    let happened = match area.height >= TALL {
        true => take(HAPPENED_LINES),
        false => 0,
    };
    let body = left;
    let mut next = |height: u16| {
        let part = Rect {
            y: top,
            height,
            ..area
        };
        top += height;
        part
    };
    Layout {
        head: next(head),
        cpus: next(cpus),
        tabs: next(tabs),
        body: next(body),
        happened: next(happened),
        foot: next(foot),
    }
}

/// Rows of the table, or lines of what is open, that are seen at once.
pub(super) fn page(model: &Model, area: Rect) -> u16 {
    // A heading, and a line that is seen before and after.
    layout(model, area).body.height.saturating_sub(2)
}

/// Draws the model.
pub fn draw(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let parts = layout(model, area);
    head::draw(model, palette, parts.head, buffer);
    cpus::draw(model, palette, parts.cpus, buffer);
    list::tabs(model, palette, parts.tabs, buffer);
    match model.open() {
        Open::Table => list::table(model, palette, parts.body, buffer),
        Open::Detail(from) => {
            lines(&model.detail(), from, palette.plain(), parts.body, buffer);
        }
        Open::Help(from) => lines(&help(), from, palette.plain(), parts.body, buffer),
    }
    list::happened(model, palette, parts.happened, buffer);
    foot(model, palette, parts.foot, buffer);
}

fn help() -> Vec<String> {
    let line = KEYS
        .iter()
        .map(|keys| format!("{:<20} {}", keys.names, keys.does));
    line.collect()
}

/// Lines from one on, those that are too long in several.
fn lines(all: &[String], from: usize, style: Style, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let fitting = all.iter().skip(from).flat_map(|line| fold(line, width));
    for (line, y) in fitting.zip(area.y..area.bottom()) {
        put(buffer, area, y, &line, style);
    }
}

/// A line in several that are narrow enough, broken between words; those after the first stand in by two more than it.
/// A word that is too long for any line is cut where it is drawn.
fn fold(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let mut lines = Vec::new();
    let mut open = " ".repeat(indent);
    let mut words = 0;
    for word in text.split(' ') {
        if words > 0 && open.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut open, " ".repeat(indent + 2)));
            words = 0;
        }
        if words > 0 {
            open.push(' ');
        }
        open.push_str(word);
        words += 1;
    }
    lines.push(open);
    lines
}

fn foot(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let (filter, typing) = model.filter();
    let text = match (typing, model.open(), model.note()) {
        (true, ..) => format!("filter: {filter}_   (Enter keeps it, Esc drops it)"),
        (_, Open::Detail(_) | Open::Help(_), _) => "Esc back  Up Down scroll  q quit".to_owned(),
        (_, _, Some(note)) => format!("note: {}", human::name(note)),
        _ if !filter.is_empty() => {
            format!(
                "rows with \"{}\"; Esc drops the filter  ? help  q quit",
                human::name(filter)
            )
        }
        _ => "? help  q quit  Enter detail  / filter  < > r sort  Space pause  Left Right back"
            .to_owned(),
    };
    put(buffer, area, area.y, &text, palette.strong());
}

/// A text at the beginning of one of an area's lines, cut where the area ends.
fn put(buffer: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
    put_at(buffer, area, area.x, y, text, style);
}

/// The same from a column on; where it ended.
fn put_at(buffer: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let room = area.right().saturating_sub(x);
    if room == 0 || !(area.y..area.bottom()).contains(&y) {
        return x;
    }
    let (end, _) = buffer.set_stringn(x, y, text, usize::from(room), style);
    end
}

#[cfg(test)]
mod tests;
