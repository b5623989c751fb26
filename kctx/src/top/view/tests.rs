use ratatui_core::style::{Color, Modifier};
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::{
    aggregate::window::{ContextTimes, Window},
    diagnose::{Confidence, Finding, NextStep, Safety, Scope, Severity, Share},
    report::fixture,
    top::Frame,
    top::model::Event,
};

fn model_of(window: &Window, size: (u16, u16)) -> Model {
    let mut model = Model::new(1 << 20, size);
    let frame = Frame::new(0, window, fixture::host());
    model.take(Event::Window(Box::new(frame)));
    model
}

fn press(model: &mut Model, keys: &str) {
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            letter => KeyCode::Char(letter),
        };
        model.take(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
}

fn drawn(model: &Model, (width, height): (u16, u16)) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(model, Palette::new(true), area, &mut buffer);
    buffer
}

/// The lines, without blanks at their ends.
fn text(model: &Model, size: (u16, u16)) -> Vec<String> {
    let buffer = drawn(model, size);
    let rows = buffer.content().chunks(usize::from(size.0.max(1)));
    rows.map(|row| {
        let line: String = row.iter().map(ratatui_core::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    })
    .collect()
}

const SMALL: (u16, u16) = (80, 24);

#[test]
fn eighty_by_twenty_four_says_what_is_hot_on_which_cpu_and_what_kctx_costs() {
    let lines = text(&model_of(&fixture::window(), SMALL), SMALL);
    let wanted = [
        "kctx top  LIVE  2026-11-22 03:04:05 UTC  1.00 s  db-3",
        "Busiest: softirq NET_RX took 40.00 % of CPU 1, mostly raised by irq 36",
        "  virtio1\\u{1b}[2J.",
        "kctx 0.35 % + ~0.80 % in the kernel, 24.0 MiB  lost 3  not attached 2 (9)  spill",
        "limited softirq since 2026-11-22 03:04:05 UTC: kctx took 3 % of CPU 1",
        "3 CPUs, busiest first: I interrupts  S softirqs  K ksoftirqd  T other kthreads",
        "cpu1    SSSSSSSSSSTT............  50 %  cpu0    ST......................  10 %",
        "cpu2    ........................   0 %",
        "[1softirq] 2raiser 3irq 4work 5napi 6kthread 7tasklet 8event 9probe 0finding",
        " vector           CPU ran in       rate  vshare     p50     p99     max  wait99",
        ">NET_RX             1 irq tail      400 40.00 % 1.00 ms 1.00 ms 1.00 ms 2.00 ms",
        " NET_RX             0 irq tail       50  5.00 % 1.00 ms 1.00 ms 1.00 ms 2.00 ms",
        " RCU                0 irq tail       10 <0.01 % 1.00 µs 1.00 µs 1.00 µs 2.00 µs",
    ];
    assert_eq!(lines[..wanted.len()], wanted, "{}", lines.join("\n"));
    assert!(lines[23].starts_with("? help"), "{}", lines[23]);
}

#[test]
fn a_large_terminal_has_every_column_and_what_happened() {
    let size = (200, 60);
    let lines = text(&model_of(&fixture::window(), size), size).join("\n");
    for wanted in [
        "wait50",
        "waitmax",
        "Modules, taint and kernel log, newest 6 (8)",
        "module load",
    ] {
        assert!(lines.contains(wanted), "{wanted}:\n{lines}");
    }
    assert!(!lines.contains('\x1b'));
}

#[test]
fn a_tiny_terminal_still_has_the_table() {
    let lines = text(&model_of(&fixture::window(), (40, 10)), (40, 10));
    assert!(
        lines.iter().any(|line| line.starts_with(">NET_RX")),
        "{lines:?}"
    );
    for size in [(0, 0), (1, 1), (40, 1), (1, 40), (7, 3)] {
        text(&model_of(&fixture::window(), size), size);
    }
}

#[test]
fn before_the_first_window_there_is_something_to_read() {
    let lines = text(&Model::new(1 << 20, SMALL), SMALL);
    assert_eq!(lines[1], "the first window is still open");
}

#[test]
fn an_idle_window_says_so_and_does_not_read_as_not_measured() {
    let mut model = model_of(&Window::default(), SMALL);
    let lines = text(&model, SMALL);
    assert_eq!(lines[1], "No kernel context took time in this window.");
    assert!(
        lines.contains(&"  none in this window".to_owned()),
        "{lines:?}"
    );
    let mut blind = fixture::window();
    blind.tasklet.clear();
    blind.probes[0].family = crate::aggregate::window::Family::Tasklet.into();
    blind.probes[0].attached = false;
    model = model_of(&blind, SMALL);
    press(&mut model, "7");
    let lines = text(&model, SMALL);
    assert!(lines.contains(&"  not measured, or not whole: see the probes (9)".to_owned()));
}

#[test]
fn findings_come_first_and_their_table_says_what_to_do() {
    let mut frame = Frame::new(0, &fixture::window(), fixture::host());
    frame.diagnosis.findings = vec![Finding {
        id: "NET-FW".to_owned(),
        severity: Severity::Crit,
        confidence: Confidence::High,
        title: "NET_RX of eth0 fills CPU 1".to_owned(),
        statement: "It took 40 % of CPU 1.".to_owned(),
        share: Some(Share {
            cpu: 1,
            context: "softirq NET_RX".to_owned(),
            percent: 40.0,
        }),
        scope: Scope::default(),
        chain: Vec::new(),
        evidence: Vec::new(),
        missing: Vec::new(),
        next: vec![NextStep {
            what: "look at the rules".to_owned(),
            command: Some("nft list ruleset".to_owned()),
            safety: Safety::ReadOnly,
        }],
        do_not: vec!["raise netdev_budget".to_owned()],
        doc: "docs/diagnose/NET-FW.md".to_owned(),
    }];
    let mut model = Model::new(1 << 20, SMALL);
    model.take(Event::Window(Box::new(frame)));
    assert_eq!(
        text(&model, SMALL)[1],
        "CRIT NET-FW: NET_RX of eth0 fills CPU 1 (confidence high)"
    );
    press(&mut model, "0");
    let lines = text(&model, SMALL);
    let row = lines.iter().find(|line| line.starts_with(">CRIT")).unwrap();
    assert!(row.contains("40.00 %") && row.contains("NET-FW"), "{row}");
    press(&mut model, "\n");
    let lines = text(&model, SMALL).join("\n");
    for wanted in [
        "look at the rules (only reads): nft list ruleset",
        "raise netdev_budget",
    ] {
        assert!(lines.contains(wanted), "{wanted}:\n{lines}");
    }
}

#[test]
fn many_cpus_are_a_grid_and_scroll() {
    let mut window = fixture::window();
    window.cpu = (0..64)
        .map(|cpu| ContextTimes {
            cpu,
            softirq_ns: u64::from(cpu) * 1_000_000,
            ..ContextTimes::default()
        })
        .collect();
    let mut model = model_of(&window, SMALL);
    let find = |model: &Model, what: &str| {
        let lines = text(model, SMALL);
        let line = lines.iter().find(|line| line.contains(what));
        line.cloned()
            .unwrap_or_else(|| panic!("{what}:\n{}", lines.join("\n")))
    };
    assert!(find(&model, "busiest first").starts_with("CPUs 1-8 of 64 ([ ])"));
    let first = find(&model, "cpu63");
    assert!(
        first.starts_with("cpu63") && first.contains("cpu62"),
        "{first}"
    );
    press(&mut model, "]");
    assert!(find(&model, "busiest first").starts_with("CPUs 3-10 of 64"));
    assert!(find(&model, "cpu61").starts_with("cpu61"));
    press(&mut model, &"]".repeat(99));
    assert!(find(&model, "busiest first").starts_with("CPUs 63-64 of 64"));
    press(&mut model, &"[".repeat(99));
    assert!(find(&model, "cpu63").starts_with("cpu63"));
}

#[test]
fn a_long_table_scrolls_so_that_the_selected_row_is_seen() {
    let mut window = fixture::window();
    window.softirq = (0..200)
        .map(|cpu| fixture::softirq("NET_RX", cpu, 2, 1_000))
        .collect();
    let mut model = model_of(&window, SMALL);
    for steps in [0, 7, 60, 132] {
        press(&mut model, &"j".repeat(steps));
        let lines = text(&model, SMALL);
        let marked = lines.iter().filter(|line| line.starts_with('>'));
        let shown: Vec<_> = marked.collect();
        assert_eq!(shown.len(), 1, "{lines:?}");
        assert_eq!(
            shown[0].split_whitespace().nth(1),
            Some(model.cursor().to_string().as_str())
        );
    }
    assert_eq!(model.cursor(), 199);
}

#[test]
fn the_help_has_all_keys_and_the_filter_is_seen_while_it_is_typed() {
    let mut model = model_of(&fixture::window(), SMALL);
    press(&mut model, "?");
    let mut lines = text(&model, SMALL).join("\n");
    for _ in 0..20 {
        press(&mut model, "j");
        lines.push_str(&text(&model, SMALL).join("\n"));
    }
    for keys in &KEYS {
        assert!(lines.contains(keys.names), "{}:\n{lines}", keys.names);
    }
    press(&mut model, "?/rcu");
    let lines = text(&model, SMALL);
    assert!(lines[23].starts_with("filter: rcu_"), "{}", lines[23]);
    assert!(
        !lines.iter().any(|line| line.contains("NET_RX  ")),
        "{lines:?}"
    );
    press(&mut model, "zz\n");
    assert!(text(&model, SMALL).contains(&"  no row has \"rcuzz\"".to_owned()));
}

#[test]
fn without_colour_it_says_the_same_and_no_colour_needs_a_dark_background() {
    let model = model_of(&fixture::window(), SMALL);
    let coloured = drawn(&model, SMALL);
    let area = Rect::new(0, 0, 80, 24);
    let mut plain = Buffer::empty(area);
    draw(&model, Palette::new(false), area, &mut plain);
    let mut colours = 0;
    for (with, without) in coloured.content().iter().zip(plain.content()) {
        assert_eq!(with.symbol(), without.symbol());
        assert_eq!(
            (without.fg, without.bg, with.bg),
            (Color::Reset, Color::Reset, Color::Reset)
        );
        let dark_only = [Color::White, Color::Yellow, Color::Gray];
        assert!(!dark_only.contains(&with.fg));
        colours += usize::from(with.fg != Color::Reset);
    }
    assert!(colours > 10);
    let marked = plain
        .content()
        .iter()
        .any(|cell| cell.modifier.contains(Modifier::REVERSED));
    assert!(marked);
}

#[test]
fn what_a_name_brings_cannot_reach_the_terminal() {
    let mut model = model_of(&fixture::window(), SMALL);
    model.take(Event::Note("warning\x1b[2J".to_owned()));
    for keys in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "3\n", "1\n"] {
        press(&mut model, keys);
        assert!(
            text(&model, SMALL)
                .iter()
                .all(|line| !line.contains('\x1b'))
        );
    }
}

#[test]
fn a_line_that_is_too_long_is_folded_between_words_and_stands_in() {
    assert_eq!(fold("short", 5), ["short"]);
    assert_eq!(fold("  two words", 7), ["  two", "    words"]);
    assert_eq!(fold("a bb ccc", 4), ["a bb", "  ccc"]);
    assert_eq!(fold("longer than that", 3), ["longer", "  than", "  that"]);
    assert_eq!(fold("x", 0), ["x"]);
}
