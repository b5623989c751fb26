//! A bundle in other programs' formats: each is compared with the records, or with the others.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use kctx::{
    decode,
    formats::{self, Converted, Format},
    source::{Control, Item, recorded::RecordedSource},
};
use kctx_common::record::{context, origin, vector_class};
use kctx_tests::{
    bundle::Bundle,
    protobuf::Message,
    stream::{
        self, Names, START_NS, control, hardirq, module, napi, raised_by, softirq, start, timer,
        window_end, work,
    },
};
use serde_json::Value;

use crate::{SECOND, sample_path};

const NET_RX: u8 = 3;

fn converted(path: &Path, format: Format) -> Result<(Vec<u8>, Converted)> {
    let mut source = RecordedSource::open(path)?;
    let first = source.next_item()?;
    let mut out = Vec::new();
    let mut writer = format.writer(Box::new(&mut out));
    let converted = formats::convert(first, &mut source, writer.as_mut())?;
    drop(writer);
    Ok((out, converted))
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let (out, _) = converted(path, Format::Jsonl)?;
    let lines = out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    Ok(lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?)
}

/// A slice as both formats have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slice {
    cpu: String,
    category: String,
    name: String,
    start_ns: u64,
    end_ns: u64,
    net_ns: Option<u64>,
    wait_ns: Option<u64>,
}

/// A trace, taken apart without a schema. Field numbers are those of Perfetto's.
#[derive(Default)]
struct Trace {
    slices: Vec<Slice>,
    by_track: BTreeMap<u64, Vec<(u64, u64)>>,
    instants: Vec<(String, String, u64)>,
    /// By its id: name and times of the slice it begins in, and of those that it ends in.
    flows: BTreeMap<u64, (Vec<Slice>, Vec<Slice>)>,
    clocks: Vec<Vec<(u64, u64)>>,
    counters: Vec<(String, u64, u64)>,
}

#[derive(Default)]
struct Texts(BTreeMap<(u64, u64), String>);

impl Texts {
    fn learn(&mut self, data: &Message) -> Result<()> {
        for kind in [1, 2, 3, 29] {
            for one in data.messages(kind)? {
                let id = one.number(1).context("an interned text has an id")?;
                let text = one.text(2).context("an interned text has a text")?;
                assert!(self.0.insert((kind, id), text).is_none(), "told twice");
            }
        }
        Ok(())
    }

    fn get(&self, kind: u64, id: Option<u64>) -> Result<String> {
        let id = id.context("an id")?;
        let text = self.0.get(&(kind, id));
        text.cloned()
            .with_context(|| format!("text {kind}/{id} was not told"))
    }
}

fn trace(bytes: &[u8]) -> Result<Trace> {
    let (mut trace, mut texts) = (Trace::default(), Texts::default());
    let mut tracks: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    let mut open: BTreeMap<u64, (Slice, Vec<u64>, Vec<u64>)> = BTreeMap::new();
    for packet in Message::parse(bytes)?.messages(1)? {
        if packet.number(13) == Some(1) {
            texts = Texts::default();
            let defaults = packet.messages(59)?;
            assert_eq!(defaults[0].number(58), Some(3), "CLOCK_MONOTONIC");
        }
        for data in packet.messages(12)? {
            texts.learn(&data)?;
        }
        for snapshot in packet.messages(6)? {
            assert_eq!(snapshot.number(2), Some(3), "CLOCK_MONOTONIC");
            let clocks = snapshot.messages(1)?;
            let both = |clock: &Message| clock.number(1).zip(clock.number(2));
            trace.clocks.push(clocks.iter().filter_map(both).collect());
        }
        for track in packet.messages(60)? {
            let uuid = track.number(1).context("a track has a uuid")?;
            let name = track.text(2).context("a track has a name")?;
            let known = tracks.insert(uuid, (name, track.number(5).unwrap_or(0)));
            assert_eq!(known, None, "described twice");
        }
        for event in packet.messages(11)? {
            let at_ns = packet.number(8).context("an event has a time")?;
            let uuid = event.number(11).context("an event has a track")?;
            let (track, parent) = tracks.get(&uuid).context("a track was described")?;
            let parent = tracks.get(parent).map_or("", |(name, _)| name).to_owned();
            if event.number(9) == Some(2) {
                let (mut slice, begins, ends) = open.remove(&uuid).context("an end has a begin")?;
                slice.end_ns = at_ns;
                let times = (slice.start_ns, slice.end_ns);
                trace.by_track.entry(uuid).or_default().push(times);
                for id in begins {
                    trace.flows.entry(id).or_default().0.push(slice.clone());
                }
                for id in ends {
                    trace.flows.entry(id).or_default().1.push(slice.clone());
                }
                trace.slices.push(slice);
                continue;
            }
            let name = texts.get(2, event.number(10))?;
            if event.number(9) == Some(3) {
                trace.instants.push((track.clone(), name, at_ns));
                continue;
            }
            for (counter, value) in event.numbers(31).zip(event.numbers(12)) {
                let (name, parent) = tracks.get(&counter).context("a counter was described")?;
                let (cpu, _) = tracks.get(parent).context("a counter is of a CPU")?;
                trace.counters.push((format!("{cpu} {name}"), at_ns, value));
            }
            let mut slice = Slice {
                cpu: parent,
                category: texts.get(1, event.number(3))?,
                name,
                start_ns: at_ns,
                end_ns: 0,
                net_ns: None,
                wait_ns: None,
            };
            for note in event.messages(4)? {
                match texts.get(3, note.number(1))?.as_str() {
                    "net_ns" => slice.net_ns = note.number(3),
                    "wait_ns" => slice.wait_ns = note.number(3),
                    _ => {}
                }
            }
            let flows = (event.numbers(47).collect(), event.numbers(48).collect());
            let before = open.insert(uuid, (slice, flows.0, flows.1));
            assert!(before.is_none(), "slices of a track do not overlap");
        }
    }
    assert!(open.is_empty(), "every slice has an end");
    Ok(trace)
}

/// The slices that the lines of JSON tell of.
fn slices(lines: &[Value]) -> Vec<Slice> {
    let slices = lines.iter().filter_map(|line| {
        let text = |field: &str| line[field].as_str().unwrap_or("").to_owned();
        let (category, name) = match line["type"].as_str()? {
            "softirq" => ("softirq", text("vector")),
            "hardirq" => match line["irq"].as_u64() {
                Some(irq) => ("hardirq", format!("irq {irq} {}", text("name"))),
                None => ("hardirq", text("name")),
            },
            "work" => ("workqueue", text("function")),
            "tasklet" => ("tasklet", text("function")),
            "kthread" => ("kthread", text("comm")),
            "napi" => match line["napi_id"].as_u64() {
                Some(0) | None => ("napi", text("device")),
                Some(id) => ("napi", format!("{} {id}", text("device"))),
            },
            _ => return None,
        };
        Some(Slice {
            cpu: format!("CPU {}", line["cpu"]),
            category: category.to_owned(),
            name,
            start_ns: line["start_ns"].as_u64()?,
            end_ns: line["end_ns"].as_u64()?,
            net_ns: line["net_ns"].as_u64(),
            wait_ns: line["wait_ns"].as_u64(),
        })
    });
    let mut slices: Vec<Slice> = slices.collect();
    slices.sort();
    slices
}

#[test]
fn the_trace_of_the_sample_has_every_record_as_a_slice() -> Result<()> {
    let lines = lines(&sample_path())?;
    let (out, converted) = converted(&sample_path(), Format::Perfetto)?;
    let mut trace = trace(&out)?;
    trace.slices.sort();
    let expected = slices(&lines);
    assert_eq!(trace.slices.len(), expected.len());
    assert!(trace.slices == expected);
    assert_eq!(converted.records, expected.len() as u64);
    assert_eq!(converted.left_out, formats::LeftOut::default());
    for times in trace.by_track.values_mut() {
        times.sort_unstable();
        assert!(times.windows(2).all(|two| two[0].1 <= two[1].0));
    }
    let waits = lines
        .iter()
        .filter(|line| line["type"] == "softirq" && !line["wait_ns"].is_null());
    assert_eq!(trace.counters.len(), waits.count());
    Ok(())
}

#[test]
fn each_flow_of_the_sample_goes_from_what_ran_at_the_raise() -> Result<()> {
    let (out, _) = converted(&sample_path(), Format::Perfetto)?;
    let flows = trace(&out)?.flows;
    assert!(flows.len() > 1000, "{}", flows.len());
    for (id, (begins, ends)) in flows {
        assert_eq!((begins.len(), ends.len()), (1, 1), "flow {id}");
        let (from, to) = (&begins[0], &ends[0]);
        let raised_ns = to.start_ns - to.wait_ns.context("a raise that was seen")?;
        assert!(from.cpu == to.cpu && to.category == "softirq");
        assert!((from.start_ns..=from.end_ns).contains(&raised_ns));
    }
    Ok(())
}

#[test]
fn the_lines_of_the_sample_are_its_records_in_their_order() -> Result<()> {
    let lines = lines(&sample_path())?;
    let mut source = RecordedSource::open(&sample_path())?;
    let mut records = Vec::new();
    while let Some(item) = source.next_item()? {
        if let Item::Records { cpu, batch } = item {
            records.extend(decode::records(&batch).map(|record| (cpu, record)));
        }
    }
    let of_records = lines.iter().filter(|line| !line["end_ns"].is_null());
    let of_records: Vec<&Value> = of_records.collect();
    assert_eq!(of_records.len(), records.len());
    for (line, (cpu, record)) in of_records.into_iter().zip(records) {
        let (kind, end_ns, service_ns) = match record {
            decode::Record::Softirq(r) => ("softirq", r.end_ns, r.service_ns),
            decode::Record::Hardirq(r) => ("hardirq", r.end_ns, r.service_ns),
            decode::Record::Work(r) => ("work", r.end_ns, r.service_ns),
            decode::Record::Tasklet(r) => ("tasklet", r.end_ns, r.service_ns),
            decode::Record::Napi(r) => ("napi", r.end_ns, r.duration_ns),
            decode::Record::Kthread(r) => ("kthread", r.end_ns, r.service_ns),
            decode::Record::Module(_) | decode::Record::Unknown => continue,
        };
        assert_eq!(line["type"], kind);
        assert_eq!(line["cpu"], cpu);
        assert_eq!(line["end_ns"], end_ns);
        assert_eq!(line["service_ns"], service_ns);
        assert_eq!(line["start_ns"], end_ns - service_ns);
    }
    Ok(())
}

#[test]
fn folded_stacks_of_the_sample_are_those_of_its_summary() -> Result<()> {
    let (out, _) = converted(&sample_path(), Format::Folded)?;
    let mut folded = BTreeMap::new();
    for line in String::from_utf8(out)?.lines() {
        let (stack, count) = line.rsplit_once(' ').context("a count")?;
        folded.insert(stack.to_owned(), count.parse::<u64>()?);
    }
    let summary = Bundle::read(&sample_path())?.summary;
    let rows = summary.stack.iter().map(|row| {
        let parts = std::iter::once(&row.context).chain(&row.frames);
        (parts.cloned().collect::<Vec<_>>().join(";"), row.count)
    });
    assert!(!folded.is_empty());
    assert_eq!(folded, rows.collect());
    Ok(())
}

fn made(items: Vec<Item>, names: &Names) -> Result<(tempfile::TempDir, std::path::PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.kctx.tar.zst");
    let mut all = vec![start()];
    all.extend(items);
    all.push(window_end(SECOND));
    stream::record(&all, names, &path)?;
    Ok((folder, path))
}

fn at(after_ns: u64) -> u64 {
    START_NS + after_ns
}

#[test]
fn what_overlaps_has_tracks_of_its_own_and_raisers_are_found() -> Result<()> {
    let names = Names::new(&[(7, "eth0"), (8, "events")], &[&[(0x10, "slow_fn")]]);
    let run = |end_ns, wait_ns, by| {
        raised_by(
            softirq(NET_RX, at(end_ns), Some(wait_ns), 100),
            context::IRQ_TAIL,
            by,
        )
    };
    let items = vec![
        // A handler called by another's.
        stream::batch(
            0,
            &[
                hardirq(30, 7, 1, at(900), 100),
                hardirq(31, 7, 1, at(1000), 300),
            ],
        ),
        stream::batch(0, &[timer(at(2000), 50)]),
        stream::batch(
            0,
            &[
                // Raised at 850, in the first; and at 700, before it: nobody's flow.
                run(1200, 250, (origin::IRQ, 30)),
                run(1300, 500, (origin::IRQ, 30)),
                // Raised at 1960 by the timer, which another run was raised by too.
                run(2100, 40, (origin::VECTOR, vector_class::LOC)),
                run(2200, 130, (origin::VECTOR, vector_class::LOC)),
            ],
        ),
        // Two works that sleep at the same time.
        stream::batch(
            1,
            &[
                work(8, 0x10, at(5000), 10, 3000),
                work(8, 0x10, at(5500), 10, 3000),
            ],
        ),
        stream::batch(0, &[napi(7, 9, at(2190), 3, 60)]),
        stream::batch(0, &[module(1, "mod_a", 0, at(6000))]),
        control(Control::Taint {
            monotonic_ns: at(7000),
            before: 0,
            after: 512,
        }),
    ];
    let (_folder, path) = made(items, &names)?;
    let (out, converted) = converted(&path, Format::Perfetto)?;
    let mut trace = trace(&out)?;
    trace.slices.sort();
    assert_eq!(trace.slices, slices(&lines(&path)?));
    assert_eq!((trace.slices.len(), converted.records), (10, 11));
    // Interrupts two, softirqs, NAPI; works two.
    assert_eq!(trace.by_track.len(), 6);
    let flows: Vec<(String, u64)> = (trace.flows.values())
        .map(|(from, to)| (from[0].name.clone(), to[0].end_ns - START_NS))
        .collect();
    let expected = [("irq 30 eth0", 1200), ("LOC", 2100), ("LOC", 2200)];
    assert_eq!(flows, expected.map(|(name, end)| (name.to_owned(), end)));
    let instants = [
        ("modules", "load mod_a", at(6000)),
        ("taint", "taint W", at(7000)),
    ];
    let instants = instants.map(|(track, name, ns)| (track.to_owned(), name.to_owned(), ns));
    assert_eq!(trace.instants, instants);
    let unix = stream::START_UNIX_NS;
    assert_eq!(trace.clocks[0], [(3, START_NS), (1, unix)]);
    assert_eq!(trace.clocks[1], [(3, at(SECOND)), (1, unix + SECOND)]);
    Ok(())
}

#[test]
fn more_texts_than_are_kept_are_told_anew() -> Result<()> {
    let records: Vec<_> = (0..40_000_u32)
        .map(|n| stream::kthread(n, &format!("t{n}"), at(u64::from(n) * 100 + 100), 5, 50))
        .collect();
    let batches = records.chunks(1000).map(|chunk| stream::batch(0, chunk));
    let (_folder, path) = made(batches.collect(), &Names::default())?;
    let (out, _) = converted(&path, Format::Perfetto)?;
    let cleared = Message::parse(&out)?.messages(1)?;
    let cleared = cleared.iter().filter(|packet| packet.number(13) == Some(1));
    assert_eq!(cleared.count(), 2);
    let mut slices_of_trace = trace(&out)?.slices;
    slices_of_trace.sort();
    assert!(slices_of_trace == slices(&lines(&path)?));
    Ok(())
}
