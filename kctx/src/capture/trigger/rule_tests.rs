use super::*;
use crate::config::Config;

fn rule(keys: &str) -> Result<Rule, String> {
    let text = format!("[[trigger]]\nname = \"r\"\n{keys}\n");
    Config::parse(&text).map(|mut config| config.trigger.remove(0))
}

#[test]
fn rules_are_read_and_said_in_words() {
    for (keys, words) in [
        (
            "when = \"softirq_wait_p99\"\nvector = \"net_rx\"\nabove = \"10ms\"\nover = \"3s\"",
            "the 99th percentile of NET_RX's wait is 10.0 ms or more for 3s (and again once it was below 5.00 ms for as \
             long)",
        ),
        (
            "when = \"context_share\"\ncontext = \"hardirq\"\nabove = \"40%\"\nbelow = \"10%\"",
            "the share of some CPU in interrupts is 40 % or more for 5s (and again once it was below 10 % for as long)",
        ),
        (
            "when = \"time_squeeze\"\nabove = \"100/s\"",
            "time_squeeze of all CPUs is 100/s or more for 5s (and again once it was below 50/s for as long)",
        ),
        (
            "when = \"finding\"\nid = \"NET-FW\"\nover = \"1m\"",
            "a diagnosis finds NET-FW for 1m",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.softirq.wait.duration\"\nof = \"p99\"\nabove = \"20ms\"\nover = \"3s\"\n\
             where = { \"kctx.softirq.vector\" = \"NET_RX\", \"cpu.logical_number\" = 3 }",
            "the 99th percentile of kctx.softirq.wait.duration where cpu.logical_number is 3 and kctx.softirq.vector is \
             NET_RX is 20.0 ms or more for 3s (and again once it was below 10.0 ms for as long)",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.cpu.context.time\"\nof = \"rate\"\nabove = \"150%\"\n\
             where = { \"kctx.context\" = \"softirq\" }",
            "the rate of kctx.cpu.context.time where kctx.context is softirq is 150 % or more for 5s (and again once it \
             was below 75 % for as long)",
        ),
        ("when = \"taint\"", "the kernel's taint changes"),
        (
            "when = \"taint\"\nflags = \"WD\"",
            "the kernel's taint gets one of the flags WD",
        ),
        (
            "when = \"module_load\"\nmodule = \"nvidia*\"",
            "a module is loaded whose name matches nvidia*",
        ),
    ] {
        assert_eq!(rule(keys).unwrap().condition.words(), words, "{keys}");
    }
    let rule = rule("when = \"kernel_oops\"\nwindow = \"20s\"\npause = \"1h\"").unwrap();
    assert_eq!(
        rule.words(Duration::from_secs(300)),
        "r: when the kernel logs an oops, a BUG, a lockup or a stall, captures what the recorder has and 20s more; not \
         again within 1h"
    );
}

#[test]
fn mistakes_are_one_line_that_says_where_and_what() {
    for (keys, wanted) in [
        ("when = \"load\"", "unknown variant `load`"),
        ("when = \"taint\"\ncolour = 3", "unknown field `colour`"),
        ("", "missing field `when`"),
        (
            "when = \"ksoftirqd_share\"",
            "trigger \"r\": it needs a threshold: above = \"50%\"",
        ),
        (
            "when = \"ksoftirqd_share\"\nabove = \"5ms\"",
            "\"5ms\" is no share of a CPU",
        ),
        ("when = \"backlog_drops\"\nabove = \"5\"", "write 100/s"),
        ("when = \"backlog_drops\"\nabove = \"0/s\"", "above 0"),
        (
            "when = \"work_in_flight\"\nabove = \"1s\"\nbelow = \"2s\"",
            "below is higher than above",
        ),
        (
            "when = \"softirq_wait_p99\"\nabove = \"1ms\"\nvector = \"NET\"",
            "unknown softirq vector \"NET\"; the vectors are HI",
        ),
        (
            "when = \"context_share\"\nabove = \"1%\"",
            "it needs a context",
        ),
        (
            "when = \"taint\"\nabove = \"1%\"",
            "above means nothing with when = \"taint\"",
        ),
        (
            "when = \"finding\"\nid = \"NET-FW\"\nabove = \"1\"",
            "above means nothing with when = \"finding\"",
        ),
        (
            "when = \"finding\"\nid = \"NET-FWW\"",
            "there is no finding \"NET-FWW\"; docs/diagnose lists them",
        ),
        (
            "when = \"taint\"\nflags = \"z\"",
            "there is no taint flag 'z'",
        ),
        ("when = \"module_load\"\nmodule = \"a[\"", "is no pattern"),
        (
            "when = \"metric\"\nabove = \"1\"",
            "it needs the name of a metric",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.softirq.wait\"",
            "there is no metric \"kctx.softirq.wait\"; docs/metrics.md lists them (as kctx.softirq.wait.duration)",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.records\"\nabove = \"1\"",
            "it needs of = \"sum\"; kctx.records is a counter: sum, rate",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.records\"\nof = \"p99\"\nabove = \"1\"",
            "there is no \"p99\": kctx.records is a counter: sum, rate",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.kernel.taint\"\nof = \"rate\"\nabove = \"1\"",
            "there is no \"rate\": kctx.kernel.taint is a gauge: value",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.records\"\nof = \"p90\"",
            "unknown variant `p90`",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.records\"\nof = \"rate\"\nwhere = { cpu = 3 }",
            "kctx.records has no attribute \"cpu\"; it has kctx.probe.family, kctx.record.outcome, error.type",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.softirq.raised\"\nof = \"rate\"\n\
             where = { \"kctx.softirq.vector\" = \"NETRX\" }",
            "kctx.softirq.vector is never \"NETRX\"; it is one of HI, TIMER",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.records\"\nof = \"rate\"\nwhere = { \"error.type\" = [] }",
            "where: error.type has to be a text or a number",
        ),
        (
            "when = \"metric\"\nmetric = \"kctx.records\"\nof = \"rate\"\nabove = \"1ms\"",
            "\"1ms\" is no rate; write 100/s",
        ),
        (
            "when = \"taint\"\nof = \"rate\"",
            "of means nothing with when = \"taint\"",
        ),
        (
            "when = \"taint\"\nwindow = \"2h\"",
            "window = \"2h\" is out of range",
        ),
        ("when = \"taint\"\npause = \"1s\"", "a pause is from 10s"),
    ] {
        let message = rule(keys).unwrap_err();
        assert!(message.starts_with("line "), "{keys:?}: {message}");
        assert!(message.contains(wanted), "{keys:?}: {message}");
        assert!(!message.contains('\n'), "{message:?}");
    }
    let twice = "[[trigger]]\nname = \"a\"\nwhen = \"taint\"\n".repeat(2);
    let message = Config::parse(&twice).unwrap_err();
    assert!(
        message.contains("two triggers are called \"a\""),
        "{message}"
    );
    for name in ["", "a b", "../x", "é"] {
        let text = format!("[[trigger]]\nname = {name:?}\nwhen = \"taint\"\n");
        let message = Config::parse(&text).unwrap_err();
        assert!(message.contains("is no name of a trigger"), "{message}");
    }
    let many: String = (0..=RULES)
        .map(|n| format!("[[trigger]]\nname = \"r{n}\"\nwhen = \"taint\"\n"))
        .collect();
    assert!(Config::parse(&many).unwrap_err().contains("too many"));
}
