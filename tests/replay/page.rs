//! The report as a page: what is in it, and what cannot be.

use anyhow::{Context as _, Result};
use kctx::{
    host::HostIdentity,
    report::{
        html,
        reading::{self, Wanted},
    },
    source::{Control, Item, recorded::RecordedSource},
};
use kctx_tests::{
    program,
    stream::{
        self, Names, START_NS, START_UNIX_NS, batch, control, counted, hardirq, kthread, module,
        napi, softirq, window_end,
    },
};

use crate::{SECOND, sample_path};

/// What a page would load, run or end its script by.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

fn page_of(items: &[Item], names: &Names) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.kctx.tar.zst");
    stream::record(items, names, &path)?;
    let wanted = Wanted {
        timeline: true,
        ..Wanted::default()
    };
    html::render(&mut reading::read(RecordedSource::open(&path)?, &wanted)?)
}

fn start_of(host: HostIdentity) -> Item {
    control(Control::Start {
        monotonic_ns: START_NS,
        unix_ns: START_UNIX_NS,
        probes: Vec::new(),
        host: Box::new(host),
    })
}

/// Elements that are opened are closed, in that order.
fn check_well_formed(page: &str) -> Result<()> {
    const EMPTY: [&str; 3] = ["meta", "!DOCTYPE", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').context("a tag without an end")?;
        rest = after;
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap_or("");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "in {open:?}");
        } else if !EMPTY.contains(&name) {
            open.push(name);
            if matches!(name, "script" | "style") {
                // What is in it is no markup, up to its end.
                let end = format!("</{name}>");
                let (_, after) = rest.split_once(&end).context("no end of it")?;
                rest = after;
                open.pop();
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    Ok(())
}

/// Nothing is fetched: no address, no element that has one.
fn check_self_contained(page: &str) {
    for never in [
        "http://", "https://", " src=", "<link", "<iframe", "url(", "@import", "import(",
    ] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_sample_is_one_page() -> Result<()> {
    let sample = sample_path();
    let arguments = ["report", "--format", "html", &sample.to_string_lossy()];
    let page = program::run(arguments)?.success()?.stdout;
    check_well_formed(&page)?;
    check_self_contained(&page);
    for expected in [
        "NET_RX",
        "virtio",
        "events_unbound",
        "Nothing is hot",
        "Counters that changed",
    ] {
        assert!(page.contains(expected), "no {expected}");
    }
    assert!(page.len() < 300_000, "{} bytes", page.len());
    Ok(())
}

#[test]
fn a_part_of_the_sample_says_that_it_is_one() -> Result<()> {
    let sample = sample_path();
    let sample = sample.to_string_lossy();
    let arguments = [
        "report", "--format", "html", &sample, "--cpu", "1", "--from", "100ms",
    ];
    let page = program::run(arguments)?.success()?.stdout;
    check_well_formed(&page)?;
    assert!(page.contains("This is a part of the bundle"));
    Ok(())
}

#[test]
fn hostile_names_are_text() -> Result<()> {
    let names = Names::new(&[(7, HOSTILE), (8, HOSTILE)], &[]);
    let host = HostIdentity {
        hostname: HOSTILE.to_owned(),
        cpu_list: "0".to_owned(),
        cpus_online: 1,
        ..HostIdentity::default()
    };
    let end = START_NS + SECOND / 2;
    let items = [
        start_of(host),
        batch(0, &[hardirq(36, 7, 1, end, 2_000)]),
        batch(0, &[napi(8, 5, end, 3, 5_000)]),
        batch(0, &[module(1, "<b>evil</b>", 0, end)]),
        batch(0, &[kthread(11, "<i>x</i>", end, 10, 3_000)]),
        control(Control::Stacks(vec![kctx::aggregate::window::StackRow {
            context: HOSTILE.to_owned(),
            frames: vec![HOSTILE.to_owned()],
            count: 3,
        }])),
        counted([0; 4]),
        window_end(SECOND),
    ];
    let page = page_of(&items, &names)?;
    check_well_formed(&page)?;
    assert!(page.contains("&lt;img") && page.contains("\\u003cimg"));
    for never in ["<img", "<b>evil", "<i>x"] {
        assert!(!page.contains(never), "{never}");
    }
    assert_eq!(page.matches("</script>").count(), 2);
    Ok(())
}

#[test]
fn a_page_of_many_cpus_stays_small() -> Result<()> {
    let host = HostIdentity {
        cpus_online: 256,
        cpu_list: "0-255".to_owned(),
        ..HostIdentity::default()
    };
    let mut items = vec![start_of(host)];
    for cpu in 0..256 {
        let runs: Vec<_> = (1..400)
            .flat_map(|i| {
                let end = START_NS + i * SECOND / 400;
                // No two alike, so that nothing is short by repetition.
                let service = 1_000 + (u64::from(cpu) * 7_919 + i * 104_729) % 900_000;
                [3, 1, 9].map(|vector| softirq(vector, end, Some(service / 2), service / 3))
            })
            .collect();
        items.push(batch(cpu, &runs));
        let end = START_NS + SECOND / 2;
        items.push(batch(cpu, &[hardirq(cpu, 7, 1, end, 5_000)]));
    }
    items.extend([counted([0; 4]), window_end(SECOND)]);
    let page = page_of(&items, &Names::default())?;
    check_well_formed(&page)?;
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    Ok(())
}
