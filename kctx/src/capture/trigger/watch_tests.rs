use super::*;
use crate::{
    aggregate::window::{ContextTimes, TaintRow},
    config::Config,
};

const SECOND: u64 = 1_000_000_000;

/// Rules as they are written, and a clock.
struct Watched {
    watch: RuleWatch,
    now_ns: u64,
    busy: bool,
}

impl Watched {
    fn new(rules: &str) -> Self {
        let rules = Config::parse(rules).unwrap().trigger;
        Self {
            watch: RuleWatch::new(rules, Duration::from_secs(60)),
            now_ns: 0,
            busy: false,
        }
    }

    /// A second in which a CPU was so long in softirqs and the taint changed so often; the rule that fired.
    fn second(&mut self, percent: u64, taints: usize) -> Option<Fired> {
        self.now_ns += SECOND;
        let change = TaintRow {
            time_unix_ns: 0,
            before: 0,
            after: 512,
            added: "W".to_owned(),
        };
        let window = Window {
            start_unix_ns: self.now_ns - SECOND,
            duration_ns: SECOND,
            cpu: vec![ContextTimes {
                softirq_ns: percent * SECOND / 100,
                ..ContextTimes::default()
            }],
            taint: vec![change; taints],
            ..Window::default()
        };
        let beside = Beside::default();
        let fired = self.watch.observe(self.now_ns, &window, &beside, self.busy);
        fired.map(|(rule, fired)| {
            assert_eq!(rule.name, fired.rule);
            fired
        })
    }

    /// In which of so many seconds something fired.
    fn seconds(&mut self, percents: &[u64]) -> Vec<usize> {
        let fired = percents.iter().map(|percent| self.second(*percent, 0));
        let fired: Vec<_> = fired.collect();
        (0..fired.len()).filter(|i| fired[*i].is_some()).collect()
    }
}

const SHARE: &str = "[[trigger]]\nname = \"share\"\nwhen = \"context_share\"\ncontext = \"softirq\"\nabove = \"50%\"\n\
                     below = \"20%\"\nover = \"3s\"\npause = \"10s\"\n";
const TAINT: &str = "[[trigger]]\nname = \"taint\"\nwhen = \"taint\"\n";

fn free(rules: &str) -> Watched {
    let mut watched = Watched::new(rules);
    watched.watch.pause = Duration::from_secs(1);
    watched
}

#[test]
fn a_figure_fires_after_it_was_high_for_long_enough() {
    let mut watched = free(SHARE);
    assert!(watched.seconds(&[90, 90, 49, 90, 90]).is_empty());
    let fired = watched.second(51, 0).unwrap();
    assert_eq!(fired.saw, "the share of some CPU in softirqs: 51 % (CPU 0)");
    assert_eq!(fired.time_unix_ns, watched.now_ns);
    assert_eq!(fired.held_back, 0);
}

#[test]
fn it_fires_again_only_once_it_was_low_for_as_long() {
    let mut watched = free(SHARE);
    assert_eq!(watched.seconds(&[50; 30]), [2], "it stays high");
    // Between the thresholds, and low for a moment.
    assert!(
        watched
            .seconds(&[30, 30, 30, 10, 10, 50, 50, 50, 50])
            .is_empty()
    );
    assert_eq!(watched.seconds(&[10, 10, 10, 50, 50, 50]), [5]);
}

#[test]
fn a_figure_that_cannot_be_seen_is_not_high() {
    let rule = SHARE.replace("\"softirq\"", "\"kthread\"");
    let mut watched = free(&rule);
    assert!(watched.seconds(&[90; 10]).is_empty());
}

#[test]
fn a_rule_that_is_held_back_fires_later_if_it_still_holds() {
    let mut watched = free(SHARE);
    watched.busy = true;
    assert!(watched.seconds(&[90; 10]).is_empty());
    assert_eq!(watched.watch.held_back().next(), Some(("share", 1)), "once");
    watched.busy = false;
    assert_eq!(watched.second(90, 0).unwrap().held_back, 1);
    assert_eq!(watched.watch.held_back().next(), Some(("share", 0)));
}

#[test]
fn between_two_captures_lies_the_pause_of_the_rule_and_that_of_all() {
    let rules = format!("{SHARE}{TAINT}");
    let mut watched = Watched::new(&rules);
    assert_eq!(watched.second(0, 1).unwrap().rule, "taint");
    // The other rule has had none, but all together have.
    let fired = watched.seconds(&[90; 70]);
    assert_eq!(fired, [59]);
    watched.watch.pause = Duration::from_secs(1);
    // Its own pause of 10 seconds has been over for as long as it takes it to come down.
    assert_eq!(watched.seconds(&[0, 0, 0, 90, 90, 90, 90]), [5]);
    assert!(
        watched.seconds(&[0, 0, 0, 90, 90, 90, 90]).is_empty(),
        "8 seconds later"
    );
    assert_eq!(watched.seconds(&[90; 5]), [1], "10 seconds later");
}

#[test]
fn an_event_is_held_back_each_time_and_one_rule_fires_at_a_time() {
    let rules = format!(
        "{TAINT}{}",
        TAINT.replace("\"taint\"\nwhen", "\"also\"\nwhen")
    );
    let mut watched = Watched::new(&rules);
    assert_eq!(watched.second(0, 1).unwrap().rule, "taint");
    for _ in 0..3 {
        assert_eq!(watched.second(0, 2), None);
    }
    let held: Vec<_> = watched.watch.held_back().collect();
    assert_eq!(held, [("taint", 3), ("also", 4)]);
    assert_eq!(watched.watch.take_refused(), 7);
    assert_eq!(watched.watch.take_refused(), 0);
    watched.now_ns += 60 * SECOND;
    assert_eq!(watched.second(0, 1).unwrap().held_back, 3);
}

impl Watched {
    fn reload(&mut self, rules: &str) {
        let pause = self.watch.pause;
        (self.watch).replace(Config::parse(rules).unwrap().trigger, pause);
    }
}

#[test]
fn an_unchanged_rule_goes_on_where_it_was_among_others() {
    let mut watched = free(SHARE);
    assert!(watched.seconds(&[90, 90]).is_empty());
    watched.reload(&format!("{TAINT}{SHARE}"));
    assert_eq!(watched.seconds(&[90; 20]), [0], "the third second above");
    watched.reload(SHARE);
    assert!(watched.seconds(&[90; 20]).is_empty(), "it stays high");
    // What it captures is no part of when.
    watched.reload(&format!("{SHARE}window = \"1s\"\n"));
    assert!(watched.seconds(&[90; 20]).is_empty(), "it stays high");
    assert_eq!(watched.seconds(&[0, 0, 0, 90, 90, 90]), [5]);
}

#[test]
fn a_rule_with_another_condition_begins_anew_but_for_its_pause() {
    let mut watched = free(SHARE);
    assert_eq!(watched.seconds(&[90; 4]), [2]);
    watched.reload(&SHARE.replace("50%", "60%"));
    // Three seconds above, the first of them the second one since the capture; its pause is ten.
    assert_eq!(watched.seconds(&[90; 20]), [8]);
    let mut taken_out = free(SHARE);
    assert_eq!(taken_out.seconds(&[90; 4]), [2]);
    taken_out.reload(TAINT);
    assert!(taken_out.seconds(&[90; 20]).is_empty());
}

#[test]
fn the_pause_of_all_outlasts_the_rules() {
    let mut watched = Watched::new(TAINT);
    assert!(watched.second(0, 1).is_some());
    watched.reload(SHARE);
    assert_eq!(watched.seconds(&[90; 70]), [59]);
}
