use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{aggregate::window::Window, report::fixture};

fn frame(number: u64, window: &Window) -> Event {
    Event::Window(Box::new(Frame::new(number, window, fixture::host())))
}

fn model() -> Model {
    let mut model = Model::new(1 << 20, (80, 24));
    model.take(frame(0, &fixture::window()));
    model
}

fn press(model: &mut Model, keys: &str) -> Outcome {
    let mut outcome = Outcome::Same;
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '←' => KeyCode::Left,
            '→' => KeyCode::Right,
            letter => KeyCode::Char(letter),
        };
        outcome = model.take(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
    outcome
}

fn keys_of(model: &Model) -> Vec<String> {
    model.rows().into_iter().map(|row| row.key).collect()
}

#[test]
fn the_largest_share_is_first_and_can_be_turned_round() {
    let mut model = model();
    let rows = ["NET_RX 1 irq_tail", "NET_RX 0 irq_tail", "RCU 0 irq_tail"];
    assert_eq!(keys_of(&model), rows);
    press(&mut model, "r");
    assert_eq!(keys_of(&model)[0], rows[2]);
    // By CPU, the highest first; those of the same in the summary's order.
    press(&mut model, "r<<<");
    assert_eq!(model.sorting(), (1, true));
    assert_eq!(keys_of(&model), rows);
    press(&mut model, "<<<<r");
    assert_eq!(model.sorting(), (0, false), "the first column is the last");
}

#[test]
fn the_selected_row_is_followed_where_it_moves() {
    let mut model = model();
    press(&mut model, "↓");
    assert_eq!(model.cursor(), 1);
    let mut turned = fixture::window();
    turned.softirq.retain(|row| row.cpu == 0);
    turned
        .softirq
        .push(fixture::softirq("TIMER", 1, 10, 1_000_000));
    model.take(frame(1, &turned));
    assert_eq!(
        (model.cursor(), keys_of(&model)[0].as_str()),
        (0, "NET_RX 0 irq_tail")
    );
    // It is away for a window: whatever is in its place is shown, and it is found again.
    turned.softirq.retain(|row| row.vector != "NET_RX");
    model.take(frame(2, &turned));
    press(&mut model, "\n");
    press(&mut model, "\x1b");
    model.take(frame(3, &fixture::window()));
    assert!(model.is_in_range());
}

#[test]
fn a_row_that_did_not_run_is_not_taken_for_another() {
    let mut model = model();
    press(&mut model, "\n");
    assert!(model.detail()[0].contains("NET_RX on CPU 1"));
    let mut without = fixture::window();
    without.softirq.retain(|row| row.cpu == 0);
    model.take(frame(1, &without));
    assert_eq!(model.detail(), ["It did not run in this window."]);
    model.take(frame(2, &fixture::window()));
    assert!(model.detail()[0].contains("NET_RX on CPU 1"));
}

#[test]
fn nobody_chose_a_row_so_the_first_is_whichever_is_first() {
    let mut model = model();
    let mut other = fixture::window();
    other.softirq = vec![fixture::softirq("BLOCK", 0, 9, 90_000_000)];
    other.softirq.extend(fixture::window().softirq);
    model.take(frame(1, &other));
    assert_eq!(
        (model.cursor(), keys_of(&model)[0].as_str()),
        (0, "BLOCK 0 irq_tail")
    );
}

#[test]
fn paused_nothing_moves_until_it_goes_on() {
    let mut model = model();
    press(&mut model, " ");
    let busy = Window::default();
    assert_eq!(model.take(frame(1, &busy)), Outcome::Same);
    assert_eq!(model.take(Event::Missed(3)), Outcome::Same);
    assert_eq!((model.shown().unwrap().number, model.place()), (0, (1, 2)));
    press(&mut model, " ");
    assert_eq!(model.shown().unwrap().number, 1);
    assert_eq!(model.take(frame(2, &busy)), Outcome::Redraw);
    assert_eq!(model.shown().unwrap().number, 2);
}

#[test]
fn back_and_forward_go_through_the_windows_kept_and_hold() {
    let mut model = model();
    for number in 1..4 {
        model.take(frame(number, &fixture::window()));
    }
    let mut after = |keys| {
        press(&mut model, keys);
        (model.shown().unwrap().number, model.is_held())
    };
    assert_eq!(after("←"), (2, true));
    assert_eq!(after("←←←←"), (0, true));
    assert_eq!(after("→"), (1, true));
    assert_eq!(after("→→→→"), (3, true));
    assert_eq!(after(" "), (3, false));
}

#[test]
fn a_window_that_is_looked_at_and_has_to_go_is_followed_by_the_next() {
    let mut model = Model::new(1, (80, 24));
    model.take(frame(0, &fixture::window()));
    press(&mut model, " ");
    assert_eq!(model.take(frame(1, &fixture::window())), Outcome::Redraw);
    assert_eq!((model.shown().unwrap().number, model.is_held()), (1, true));
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut model = model();
    press(&mut model, "/RCUq");
    assert_eq!(model.filter(), ("rcuq", true), "q is a letter here");
    model.take(Event::Key(KeyEvent::new(
        KeyCode::Backspace,
        KeyModifiers::NONE,
    )));
    assert_eq!(keys_of(&model), ["RCU 0 irq_tail"]);
    press(&mut model, "\n");
    assert_eq!(model.filter(), ("rcu", false));
    assert_ne!(
        press(&mut model, "\x1b"),
        Outcome::Quit,
        "Esc drops it first"
    );
    assert_eq!(keys_of(&model).len(), 3);
    press(&mut model, "/cpu1\n");
    assert_eq!(keys_of(&model), ["NET_RX 1 irq_tail"]);
}

#[test]
fn q_and_control_c_quit_and_escape_only_where_nothing_is_open() {
    assert_eq!(press(&mut model(), "q"), Outcome::Quit);
    assert_eq!(press(&mut model(), "\x1b"), Outcome::Quit);
    let mut model = model();
    for open in ["?", "\n", "/"] {
        press(&mut model, open);
        assert_eq!(press(&mut model, "\x1b"), Outcome::Redraw, "{open:?}");
        assert_eq!(model.open(), Open::Table);
    }
    press(&mut model, "/");
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(model.take(Event::Key(control_c)), Outcome::Quit);
}

#[test]
fn each_table_keeps_its_own_selection_and_sorting() {
    let mut model = model();
    press(&mut model, "↓r3↓");
    assert_eq!((model.tab(), model.cursor()), (Tab::Interrupts, 1));
    press(&mut model, "1");
    assert_eq!((model.cursor(), model.sorting().1), (1, false));
    press(&mut model, "0\t");
    assert_eq!(model.tab(), Tab::Softirqs, "after the last comes the first");
}

#[test]
fn events_are_those_of_all_windows_and_have_their_detail() {
    let mut model = model();
    model.take(frame(1, &fixture::window()));
    press(&mut model, "8↓↓\n");
    assert_eq!(model.rows().len(), 14);
    assert_eq!(model.detail().len(), 2);
}

#[test]
fn a_note_is_the_newest_until_a_key_is_pressed() {
    let mut model = model();
    for line in ["first", "second"] {
        model.take(Event::Note(line.to_owned()));
    }
    assert_eq!(model.note(), Some("second"));
    assert_eq!(
        press(&mut model, "x"),
        Outcome::Redraw,
        "a key that does nothing else"
    );
    assert_eq!(model.note(), None);
    assert_eq!(press(&mut model, "x"), Outcome::Same);
}

/// Any event, in such numbers that keys are in the majority.
fn any_event() -> impl Strategy<Value = Step> {
    let key = prop::sample::select(
        "jk↓↑←→\n\x1b\t<>r/? []1234567890abnNvx"
            .chars()
            .collect::<Vec<_>>(),
    );
    prop_oneof![
        8 => key.prop_map(Step::Key),
        2 => prop::collection::vec((0usize..3, 0u32..4, 1u64..50), 0..8).prop_map(Step::Window),
        1 => (0u16..220, 0u16..70).prop_map(|(w, h)| Step::Size(w, h)),
        1 => Just(Step::PageDown),
        1 => Just(Step::End),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Key(char),
    Window(Vec<(usize, u32, u64)>),
    Size(u16, u16),
    PageDown,
    End,
}

/// A window whose rows come and go.
fn window(rows: &[(usize, u32, u64)]) -> Window {
    let mut window = fixture::window();
    let vectors = ["NET_RX", "RCU", "TIMER"];
    let softirq = |(vector, cpu, ms): &(usize, u32, u64)| {
        fixture::softirq(vectors[*vector], *cpu, 2, ms * 1_000_000)
    };
    window.softirq = rows.iter().map(softirq).collect();
    window.softirq.sort_by_key(|row| (row.vector, row.cpu));
    window.softirq.dedup_by_key(|row| (row.vector, row.cpu));
    window.kthread.truncate(rows.len());
    window.cpu.truncate(rows.len());
    if let Some(row) = window.kthread.first_mut() {
        row.comm = Arc::from("other");
    }
    window
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_pressed_the_selection_is_on_a_row_and_it_can_be_drawn(
        steps in prop::collection::vec(any_event(), 1..60)
    ) {
        let mut model = Model::new(200_000, (80, 24));
        let mut area = Rect::new(0, 0, 80, 24);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Key(letter) => drop(press(&mut model, &letter.to_string())),
                Step::Window(rows) => drop(model.take(frame(number as u64, &window(&rows)))),
                Step::Size(w, h) => {
                    area = Rect::new(0, 0, w, h);
                    model.take(Event::Size(w, h));
                }
                Step::PageDown | Step::End => {
                    let code = if matches!(step, Step::End) { KeyCode::End } else { KeyCode::PageDown };
                    model.take(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
                }
            }
            prop_assert!(model.is_in_range());
            let mut buffer = ratatui_core::buffer::Buffer::empty(area);
            view::draw(&model, crate::top::Palette::new(false), area, &mut buffer);
        }
    }
}
