//! What the page's script draws, as JSON: bounded, whatever the bundle.

use serde::Serialize;

use super::{
    coded::{coded, magnitude, part},
    flame::{self, Frame},
};
use crate::{
    host::kmsg::{LEVEL_NAMES, WARNING},
    report::{
        human::{count, cut, duration},
        reading::Reading,
        summary::Summary,
        timeline::{BUCKETS, Heat, LANES, Lane, LineKey, SLOTS_A_COLUMN, Timeline, lowest_ns},
    },
    resolve::{SOFTIRQ_VECTORS, VECTOR_CLASSES},
};

/// Interrupt lines whose latency is drawn, those with most calls first.
const LINES: usize = 16;

/// Devices whose packets are drawn.
const DEVICES: usize = 12;

/// Events on the axis; a table has more.
const EVENTS: usize = 300;

/// Widest name and text of an event.
const NAME: usize = 40;
const TEXT: usize = 160;

/// Of a CPU's time in all, in millionths: a lane that took less everywhere is not drawn.
const LANE_PPM: u64 = 100;

#[derive(Serialize)]
pub(super) struct Data {
    window_ns: u64,
    slot_ns: u64,
    slots: usize,
    lanes: Vec<LaneData>,
    cpus: Vec<CpuData>,
    /// Records of CPUs that are not among these.
    left_out: u64,
    /// Executions that have no time, and so are not drawn.
    spilled: u64,
    column_ns: u64,
    columns: usize,
    /// The shortest duration of each bucket.
    bucket_ns: Vec<u64>,
    heats: Vec<HeatData>,
    devices: Vec<DeviceData>,
    events: Vec<EventData>,
    flame: Option<Frame>,
}

#[derive(Serialize)]
struct LaneData {
    name: String,
    kind: &'static str,
}

/// Shares of each slot, a lane after the other.
#[derive(Serialize)]
struct CpuData {
    cpu: u32,
    shares: Vec<String>,
}

/// Magnitudes of counts by column, then bucket.
#[derive(Serialize)]
struct HeatData {
    of: &'static str,
    name: String,
    what: &'static str,
    count: u64,
    cells: String,
}

#[derive(Serialize)]
struct DeviceData {
    name: String,
    packets: u64,
    polls: u64,
    /// Most packets of a slot: shares are of this.
    most: u64,
    shares: String,
}

#[derive(Serialize)]
struct EventData {
    at_ns: u64,
    kind: &'static str,
    text: String,
}

impl Data {
    pub(super) fn of(reading: &mut Reading) -> Option<Self> {
        let timeline = reading.timeline.take()?;
        let summary = &reading.summary;
        let window_ns = summary.window.duration_ns;
        let used = window_ns.div_ceil(timeline.slot_ns());
        let slots = usize::try_from(used)
            .unwrap_or(usize::MAX)
            .min(timeline.slots());
        let lanes = lanes_shown(&timeline, window_ns);
        let mut heats = vector_heats(&timeline);
        let mut names = |id| reading.pipeline.name(id).to_string();
        heats.extend(line_heats(&timeline, &mut names));
        let devices = devices(&timeline, slots, &mut names);
        Some(Self {
            window_ns,
            slot_ns: timeline.slot_ns(),
            slots,
            cpus: cpus(&timeline, &lanes, slots, window_ns),
            left_out: timeline.cpus_left_out(),
            spilled: spilled(summary),
            lanes: lanes.into_iter().map(|(_, lane)| lane_data(lane)).collect(),
            column_ns: timeline.slot_ns() * SLOTS_A_COLUMN as u64,
            columns: slots.div_ceil(SLOTS_A_COLUMN),
            bucket_ns: (0..BUCKETS).map(lowest_ns).collect(),
            heats,
            devices,
            events: events(&reading.summary),
            flame: flame::tree(&reading.summary.stack),
        })
    }
}

/// In a span they are not even in the tables.
fn spilled(summary: &Summary) -> u64 {
    let left_out = (summary.narrowed.as_ref()).map_or(0, |part| part.spilled_left_out);
    summary.accounting.total.spilled.saturating_add(left_out)
}

/// The lanes that took some time of a CPU, by their places in a slot.
fn lanes_shown(timeline: &Timeline, window_ns: u64) -> Vec<(usize, Lane)> {
    let mut most = [0_u64; LANES];
    for lanes in timeline.lanes().values() {
        for (lane, most) in most.iter_mut().enumerate() {
            let sum = lanes.slots().iter().map(|slot| slot[lane]);
            *most = (*most).max(sum.fold(0, u64::saturating_add));
        }
    }
    let all = Lane::all().enumerate();
    all.filter(|(index, _)| {
        let ppm = u128::from(most[*index]) * 1_000_000 / u128::from(window_ns.max(1));
        ppm >= u128::from(LANE_PPM)
    })
    .collect()
}

fn lane_data(lane: Lane) -> LaneData {
    let (name, kind) = match lane {
        Lane::Hardirq => ("interrupts", "hardirq"),
        Lane::Softirq(vector) => {
            let name = SOFTIRQ_VECTORS.get(usize::from(vector));
            (name.copied().unwrap_or("?"), "softirq")
        }
        Lane::Ksoftirqd => ("ksoftirqd", "ksoftirqd"),
        Lane::Kthread => ("kernel threads", "kthread"),
    };
    LaneData {
        name: name.to_owned(),
        kind,
    }
}

/// A slot at the window's end may reach beyond it.
fn slot_length(timeline: &Timeline, slot: usize, window_ns: u64) -> u64 {
    let begin_ns = slot as u64 * timeline.slot_ns();
    let left_ns = window_ns.saturating_sub(begin_ns);
    left_ns.min(timeline.slot_ns()).max(1)
}

fn cpus(
    timeline: &Timeline,
    shown: &[(usize, Lane)],
    slots: usize,
    window_ns: u64,
) -> Vec<CpuData> {
    let one = |(cpu, lanes): (&u32, &crate::report::timeline::Lanes)| CpuData {
        cpu: *cpu,
        shares: (shown.iter())
            .map(|(index, _)| {
                coded((0..slots).map(|slot| {
                    let ns = lanes.slots().get(slot).map_or(0, |slot| slot[*index]);
                    part(ns, slot_length(timeline, slot, window_ns))
                }))
            })
            .collect(),
    };
    timeline.lanes().iter().map(one).collect()
}

fn heat(of: &'static str, name: String, what: &'static str, heat: &Heat) -> Option<HeatData> {
    (heat.count() > 0).then(|| HeatData {
        of,
        name,
        what,
        count: heat.count(),
        cells: coded((heat.columns().iter().flatten()).map(|count| magnitude(u64::from(*count)))),
    })
}

fn vector_heats(timeline: &Timeline) -> Vec<HeatData> {
    let vectors = SOFTIRQ_VECTORS.iter().enumerate();
    vectors
        .filter_map(|(number, name)| Some((name, timeline.vector(number)?)))
        .flat_map(|(name, (wait, service))| {
            [
                heat("softirq", (*name).to_owned(), "wait", wait),
                heat("softirq", (*name).to_owned(), "service", service),
            ]
        })
        .flatten()
        .collect()
}

fn line_heats(timeline: &Timeline, names: &mut impl FnMut(u64) -> String) -> Vec<HeatData> {
    let (lines, others) = timeline.lines();
    let mut lines: Vec<(&LineKey, &Heat)> = lines.iter().collect();
    lines.sort_by_key(|(key, heat)| (std::cmp::Reverse(heat.count()), **key));
    let mut heats = Vec::new();
    for (key, one) in lines.into_iter().take(LINES) {
        let name = match key.is_vector {
            true => (VECTOR_CLASSES
                .get(key.number as usize)
                .copied()
                .unwrap_or("?"))
            .to_owned(),
            false => format!("{} {}", key.number, cut(&names(key.name_id), NAME)),
        };
        heats.extend(heat("interrupt", name, "service", one));
    }
    heats.extend(heat("interrupt", "(others)".to_owned(), "service", others));
    heats
}

fn devices(
    timeline: &Timeline,
    slots: usize,
    names: &mut impl FnMut(u64) -> String,
) -> Vec<DeviceData> {
    let (devices, others) = timeline.devices();
    let mut named: Vec<_> = devices
        .iter()
        .map(|(id, series)| {
            let name = match id {
                0 => "backlog".to_owned(),
                id => cut(&names(*id), NAME),
            };
            (name, series.as_slice())
        })
        .chain([("(others)".to_owned(), others)])
        .map(|(name, series)| {
            let sum =
                |part: fn(&crate::report::timeline::Polled) -> u64| series.iter().map(part).sum();
            let most = series.iter().map(|slot| slot.packets).max().unwrap_or(0);
            DeviceData {
                name,
                packets: sum(|slot| slot.packets),
                polls: sum(|slot| slot.polls),
                most,
                shares: coded(
                    (0..slots)
                        .map(|slot| part(series.get(slot).map_or(0, |slot| slot.packets), most)),
                ),
            }
        })
        .filter(|device| device.polls > 0)
        .collect();
    named.sort_by(|a, b| (b.packets, &a.name).cmp(&(a.packets, &b.name)));
    named.truncate(DEVICES);
    named
}

/// What happened at a time: modules, taint, warnings of the log, the governor.
fn events(summary: &Summary) -> Vec<EventData> {
    let start = summary.window.start_unix_ns;
    let event = |unix_ns: u64, kind, text: String| EventData {
        at_ns: unix_ns.saturating_sub(start),
        kind,
        text: cut(&text, TEXT),
    };
    let modules = summary.module.iter().map(|row| {
        let what = row.event.as_str();
        let took = row.init_ns.map(|ns| format!(", took {}", duration(ns)));
        let took = took.unwrap_or_default();
        let text = format!(
            "module {what}: {} by {}[{}]{took}",
            row.name, row.comm, row.pid
        );
        event(row.time_unix_ns, "module", text)
    });
    let taints = summary.taint.changes.iter().map(|row| {
        let text = format!("taint {} to {} (+{})", row.before, row.after, row.added);
        event(row.time_unix_ns, "taint", text)
    });
    let lines = summary.log.lines.iter().map(|line| {
        let level = LEVEL_NAMES.get(usize::from(line.level)).unwrap_or(&"?");
        let kind = match line.level <= WARNING && !line.fragment {
            true => "warning",
            false => "log",
        };
        event(line.time_unix_ns, kind, format!("{level}: {}", line.text))
    });
    let governed = summary.governor.iter().map(|row| {
        let text = format!("governor limits {}: {}", row.family.as_str(), row.reason);
        event(row.since_unix_ns, "governor", text)
    });
    let mut all: Vec<_> = taints.chain(modules).chain(governed).chain(lines).collect();
    let left_out = all.len().saturating_sub(EVENTS);
    all.truncate(EVENTS);
    all.sort_by_key(|event| event.at_ns);
    if left_out > 0 {
        all.push(EventData {
            at_ns: summary.window.duration_ns,
            kind: "log",
            text: format!("{} more: see the tables", count(left_out as u64)),
        });
    }
    all
}
