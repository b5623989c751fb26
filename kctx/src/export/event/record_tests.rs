use std::collections::BTreeSet;

use super::*;
use crate::aggregate::window::ModuleRequester;
use crate::export::event::EVENTS;
use crate::export::testing::{SECOND, window};

const END: u64 = 101 * SECOND;
const EARLY: u64 = 100 * SECOND + 7;

fn loaded() -> ModuleRow {
    ModuleRow {
        event: ModuleEvent::Load,
        name: "nf_tables".to_owned(),
        time_unix_ns: EARLY,
        taints: String::new(),
        pid: 71,
        comm: "modprobe".to_owned(),
        cpu: 3,
        init_ns: None,
        ret: None,
        requested_by: None,
    }
}

fn initialized(ret: i32) -> ModuleRow {
    ModuleRow {
        event: ModuleEvent::Init,
        init_ns: Some(1_500),
        ret: Some(ret),
        ..loaded()
    }
}

fn logged(seq: u64, level: u8, time_unix_ns: u64) -> LogRow {
    LogRow {
        seq,
        level,
        time_unix_ns,
        text: format!("line {seq}"),
        fragment: false,
    }
}

/// `key=value` of each attribute, joined by commas.
fn attributes(record: &Record) -> String {
    let pairs = record.attributes.iter().map(|(key, value)| {
        let value = match value {
            Value::Text(text) => text.as_ref().to_owned(),
            Value::Static(text) => (*text).to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
        };
        format!("{key}={value}")
    });
    pairs.collect::<Vec<_>>().join(",")
}

fn records(change: impl FnOnce(&mut Window)) -> Vec<Record> {
    let mut window = window(101);
    change(&mut window);
    let told = told(&window, Bounds::default());
    assert_eq!(told.left_out, LeftOut::default());
    told.records
}

fn one(change: impl FnOnce(&mut Window)) -> Record {
    let mut records = records(change);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[test]
fn a_load_says_what_was_loaded_by_whom_and_where() {
    let record = one(|window| window.module = vec![loaded()]);
    assert_eq!(record.event.name, "kctx.module.loaded");
    assert_eq!((record.time_unix_ns, record.observed_unix_ns), (EARLY, END));
    assert_eq!(record.severity, Severity::INFO);
    assert_eq!(record.body, "module nf_tables was loaded");
    assert_eq!(
        attributes(&record),
        "kctx.module.name=nf_tables,process.pid=71,thread.name=modprobe,cpu.logical_number=3"
    );
}

#[test]
fn a_load_says_who_had_the_kernel_ask_for_it() {
    let record = one(|window| {
        window.module = vec![ModuleRow {
            taints: "OE".to_owned(),
            requested_by: Some(ModuleRequester {
                name: "net-pf-16".to_owned(),
                pid: 70,
                comm: "ip".to_owned(),
                guess: true,
            }),
            ..loaded()
        }];
    });
    assert_eq!(
        attributes(&record),
        "kctx.module.name=nf_tables,kctx.module.taints=OE,process.pid=71,thread.name=modprobe,\
         cpu.logical_number=3,kctx.module.request.name=net-pf-16,kctx.module.request.pid=70,\
         kctx.module.request.comm=ip,kctx.module.request.guess=true"
    );
}

#[test]
fn an_init_that_failed_is_an_error() {
    let well = one(|window| window.module = vec![initialized(0)]);
    assert_eq!(well.event.name, "kctx.module.initialized");
    assert_eq!(well.severity, Severity::INFO);
    assert!(
        attributes(&well).ends_with("kctx.module.init.duration_ns=1500,kctx.module.init.result=0")
    );
    let failed = one(|window| window.module = vec![initialized(-19)]);
    assert_eq!(failed.event.name, "kctx.module.init_failed");
    assert_eq!(failed.severity, Severity::ERROR);
    assert_eq!(
        failed.body,
        "module nf_tables could not be initialized: its init function returned -19"
    );
}

#[test]
fn an_unload_is_told_and_a_request_is_not() {
    let of = |event| ModuleRow { event, ..loaded() };
    let record = one(|window| {
        window.module = vec![of(ModuleEvent::Request), of(ModuleEvent::Free)];
    });
    assert_eq!(record.event.name, "kctx.module.unloaded");
    assert_eq!(record.body, "module nf_tables was unloaded");
}

#[test]
fn each_new_flag_of_the_taint_is_a_record() {
    let records = records(|window| {
        window.taint = vec![TaintRow {
            time_unix_ns: EARLY,
            before: 1,
            after: 1 | 1 << 7 | 1 << 12 | 1 << 40,
            added: "DO?".to_owned(),
        }];
    });
    let told: Vec<_> = (records.iter())
        .map(|record| {
            let flag = attributes(record);
            (
                record.severity.text,
                flag.split(',').next().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("ERROR", "kctx.kernel.taint.flag=die".to_owned()),
            ("WARN", "kctx.kernel.taint.flag=oot_module".to_owned()),
            ("WARN", "kctx.kernel.taint.flag=bit_40".to_owned()),
        ]
    );
    assert_eq!(
        records[1].body,
        "the kernel is tainted: oot_module (O): A module built outside of the kernel tree was loaded."
    );
    let after = (1_u64 | 1 << 7 | 1 << 12 | 1 << 40).to_string();
    assert!(attributes(&records[1]).ends_with(&format!(
        "kctx.kernel.taint.before=1,kctx.kernel.taint.after={after}"
    )));
}

/// OpenTelemetry logs data model appendix, "Appendix B".
#[test]
fn levels_have_the_severity_of_syslogs() {
    let numbers: Vec<_> = (0..8)
        .map(|level| Severity::of_level(level).number)
        .collect();
    assert_eq!(numbers, [21, 19, 18, 17, 13, 10, 9, 5]);
    assert_eq!(Severity::of_level(4).text, "warning");
    assert_eq!(Severity::of_level(200), Severity::of_level(7));
}

#[test]
fn lines_at_the_level_or_worse_are_told() {
    let mut window = window(101);
    window.log.lines = (0..8)
        .map(|level| logged(u64::from(level), level, EARLY))
        .collect();
    window.log.by_level = [1; 8];
    let seqs = |level| {
        let bounds = Bounds {
            level,
            ..Bounds::default()
        };
        let told = told(&window, bounds);
        assert_eq!(told.left_out, LeftOut::default());
        told.records.len()
    };
    assert_eq!(seqs(Level::at(4)), 5);
    assert_eq!(seqs(Level::at(0)), 1);
    assert_eq!(seqs(Level::at(7)), 8);
    assert_eq!(seqs(Level::NONE), 0);
    let record = &told(&window, Bounds::default()).records[3];
    assert_eq!(record.event.name, "kctx.kernel.log");
    assert_eq!(
        (record.body.as_str(), record.severity.number),
        ("line 3", 17)
    );
    assert_eq!(
        attributes(record),
        "kctx.kernel.log.level=err,kctx.kernel.log.sequence=3"
    );
}

#[test]
fn parts_of_lines_are_left_out_and_have_no_level() {
    let records = records(|window| {
        let part = LogRow {
            fragment: true,
            ..logged(1, 3, EARLY)
        };
        window.log.lines = vec![part, logged(2, 4, EARLY)];
        window.log.by_level[4] = 1;
        window.log.fragments = 1;
    });
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].body, "line 2");
}

#[test]
fn levels_are_read_by_the_kernels_names() {
    assert_eq!("warning".parse(), Ok(Level::at(4)));
    assert_eq!("debug".parse(), Ok(Level::at(7)));
    assert_eq!("none".parse(), Ok(Level::NONE));
    let error = "warn".parse::<Level>().unwrap_err();
    assert!(
        error.contains("\"warn\"") && error.contains("err, warning, notice"),
        "{error}"
    );
}

#[test]
fn records_are_in_the_order_of_time_and_seen_no_earlier_than_they_happened() {
    let late = END + 5;
    let records = records(|window| {
        window.module = vec![loaded()];
        window.taint = vec![TaintRow {
            time_unix_ns: EARLY + 20,
            before: 0,
            after: 1,
            added: "P".to_owned(),
        }];
        window.log.lines = vec![logged(1, 4, EARLY - 3), logged(2, 4, late)];
        window.log.by_level[4] = 2;
    });
    let names: Vec<_> = records.iter().map(|record| record.event.name).collect();
    assert_eq!(
        names,
        [
            "kctx.kernel.log",
            "kctx.module.loaded",
            "kctx.kernel.taint.changed",
            "kctx.kernel.log"
        ]
    );
    let observed: Vec<_> = records
        .iter()
        .map(|record| record.observed_unix_ns)
        .collect();
    assert_eq!(observed, [END, END, END, late]);
}

#[test]
fn over_the_bound_lines_are_left_out_first_and_all_is_counted() {
    let mut window = window(101);
    window.module = vec![loaded(), initialized(0)];
    window.log.lines = (0..5).map(|seq| logged(seq, 4, EARLY - seq)).collect();
    // Of 40 warnings the log's own bounds left 5; the rest was not severe enough.
    window.log.by_level = [0, 0, 0, 0, 40, 9, 9, 9];
    window.log.dropped = 62;
    let bounds = Bounds {
        records: 3,
        ..Bounds::default()
    };
    let told = told(&window, bounds);
    let bodies: Vec<_> = told
        .records
        .iter()
        .map(|record| record.body.as_str())
        .collect();
    assert_eq!(
        bodies,
        [
            "module nf_tables was loaded",
            "module nf_tables was initialized",
            "line 0"
        ]
    );
    let left_out = LeftOut {
        over_window: 4,
        over_log: 35,
    };
    assert_eq!(told.left_out, left_out);
}

/// Of every event there is: what its records have is what is listed.
#[test]
fn records_have_the_attributes_that_are_listed_and_no_others() {
    let records = records(|window| {
        let requested_by = Some(ModuleRequester {
            name: "x".to_owned(),
            pid: 1,
            comm: "c".to_owned(),
            guess: true,
        });
        let tainted = ModuleRow {
            taints: "O".to_owned(),
            requested_by,
            ..loaded()
        };
        let freed = ModuleRow {
            event: ModuleEvent::Free,
            requested_by: None,
            ..tainted.clone()
        };
        window.module = vec![tainted, initialized(0), initialized(-1), freed];
        window.taint = vec![TaintRow {
            time_unix_ns: EARLY,
            before: 0,
            after: 1,
            added: "P".to_owned(),
        }];
        window.log.lines = vec![logged(1, 4, EARLY)];
        window.log.by_level[4] = 1;
    });
    let names: BTreeSet<_> = records.iter().map(|record| record.event.name).collect();
    assert_eq!(names, EVENTS.iter().map(|event| event.name).collect());
    for record in &records {
        let seen: BTreeSet<_> = record.attributes.iter().map(|(key, _)| key).collect();
        let listed: BTreeSet<_> = record.event.attributes.iter().map(|a| a.key).collect();
        assert_eq!(seen, listed, "{}", record.event.name);
    }
}
