//! The stages, each as something that can be done again and again.

use std::{convert::Infallible, hint::black_box};

use bytes::{Bytes, BytesMut};
use kctx::{
    aggregate::{
        table::RowLimits,
        window::{FAMILIES, FamilyAccounting, Window},
    },
    capture::{events::Encoder, evidence_set::EvidenceSet},
    decode::{self, Entry},
    diagnose::{Case, diagnose},
    export::{
        cumulative::{Cumulative, Limits},
        otlp::{
            points::metrics,
            request::{proto_resource, split},
            settings::HistogramKind,
        },
        resource::Resource,
    },
    host::HostIdentity,
    pipeline::Pipeline,
    report::{summary::Summary, text},
    resolve::{Recorded, Resolver},
    source::{Control, Item, batches},
};
use prost::Message as _;

use crate::{load::Load, rings::FullRing};

/// A part of the records' way through userspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The rings' committed entries are copied out.
    Drain,
    /// Batches to records.
    Decode,
    /// Batches into the rows of the open window; decoding is part of it.
    Aggregate,
    /// From the rings into the rows, on one thread.
    DrainToAggregate,
    /// Batches into a bundle's segments.
    Encode,
    /// A window closes: its rows are made ready for the sinks.
    Close,
    /// A closed window to the bytes of OTLP requests.
    Export,
    /// A closed window to its summary and text.
    Report,
    /// A closed window to its summary and findings, as the daemon does now and then; the unit is a window.
    Diagnose,
}

/// What a stage does, and on how much.
pub(crate) struct Round {
    /// Does it once.
    pub(crate) once: Box<dyn FnMut()>,
    /// What is done before each, and is not part of it.
    pub(crate) before: Option<Box<dyn FnMut()>>,
    /// Records, rows of the window, or windows.
    pub(crate) units: u64,
    /// Which of these.
    pub(crate) unit: &'static str,
}

impl Stage {
    /// All, in the records' order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Drain,
        Self::Decode,
        Self::Aggregate,
        Self::DrainToAggregate,
        Self::Encode,
        Self::Close,
        Self::Export,
        Self::Report,
        Self::Diagnose,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Decode => "decode",
            Self::Aggregate => "aggregate",
            Self::DrainToAggregate => "drain_to_aggregate",
            Self::Encode => "encode",
            Self::Close => "close",
            Self::Export => "export",
            Self::Report => "report",
            Self::Diagnose => "diagnose",
        }
    }

    /// Makes it ready for a load.
    pub(crate) fn prepare(self, load: &Load) -> anyhow::Result<Round> {
        let once: Box<dyn FnMut()> = match self {
            Self::Drain => {
                let mut rings = Rings::new(load)?;
                Box::new(move || {
                    rings.drain(|_, batch| {
                        black_box(&batch);
                    });
                })
            }
            Self::Decode => {
                let batches = batches_of(load)?;
                Box::new(move || {
                    for (_, batch) in &batches {
                        for entry in decode::entries(batch) {
                            if let Entry::Softirqs(runs) = entry {
                                runs.iter().for_each(|run| {
                                    black_box(run);
                                });
                            } else {
                                black_box(entry);
                            }
                        }
                    }
                })
            }
            Self::Aggregate => {
                let batches = batches_of(load)?;
                let items: Vec<_> = (batches.into_iter())
                    .map(|(cpu, batch)| Item::Records { cpu, batch })
                    .collect();
                let mut pipeline = pipeline(load);
                Box::new(move || {
                    for item in &items {
                        black_box(pipeline.take(item));
                    }
                })
            }
            Self::DrainToAggregate => {
                let mut rings = Rings::new(load)?;
                let mut pipeline = pipeline(load);
                Box::new(move || {
                    rings.drain(|cpu, batch| {
                        black_box(pipeline.take(&Item::Records { cpu, batch }));
                    });
                })
            }
            Self::Encode => {
                let batches = batches_of(load)?;
                Box::new(move || {
                    let mut encoder = Encoder::default();
                    for (cpu, batch) in &batches {
                        encoder.records(*cpu, batch);
                        if encoder.len() > 1 << 20 {
                            black_box(encoder.finish());
                        }
                    }
                    black_box(encoder.finish());
                })
            }
            Self::Close => return close(load),
            Self::Export => return Ok(export(window_of(load)?)),
            Self::Report => {
                let window = window_of(load)?;
                return Ok(Round {
                    units: rows(&window),
                    unit: "row",
                    before: None,
                    once: Box::new(move || {
                        let summary = Summary::from_window(&window, HostIdentity::default(), None);
                        black_box(text::render(&summary));
                    }),
                });
            }
            Self::Diagnose => {
                let window = window_of(load)?;
                let evidence = EvidenceSet::default();
                return Ok(Round {
                    units: 1,
                    unit: "window",
                    before: None,
                    once: Box::new(move || {
                        let summary = Summary::from_window(&window, HostIdentity::default(), None);
                        black_box(diagnose(&Case {
                            summary: &summary,
                            evidence: &evidence,
                        }));
                    }),
                });
            }
        };
        Ok(Round {
            once,
            before: None,
            units: load.records,
            unit: "record",
        })
    }
}

/// All CPUs' rings, and the buffer that batches are made in.
struct Rings {
    rings: Vec<(u32, FullRing)>,
    buffer: BytesMut,
}

impl Rings {
    fn new(load: &Load) -> anyhow::Result<Self> {
        let mut rings = Vec::new();
        for (cpu, data) in (0..).zip(&load.rings) {
            rings.push((cpu, FullRing::new(data)?));
        }
        Ok(Self {
            rings,
            buffer: BytesMut::new(),
        })
    }

    fn drain(&mut self, mut take: impl FnMut(u32, Bytes)) {
        for (cpu, full) in &mut self.rings {
            full.fill().expect("a memfd that was written before");
            let drained = batches::of_ring(&mut full.ring, &mut self.buffer, |batch| {
                take(*cpu, batch);
                Ok::<_, Infallible>(())
            });
            assert_eq!(drained, Ok(full.ring.size()));
        }
    }
}

/// What a drain hands on.
fn batches_of(load: &Load) -> anyhow::Result<Vec<(u32, Bytes)>> {
    let mut all = Vec::new();
    Rings::new(load)?.drain(|cpu, batch| all.push((cpu, batch)));
    Ok(all)
}

fn control(control: Control) -> Item {
    Item::Control(Box::new(control))
}

/// A pipeline whose first window is open and that knows all names.
fn pipeline(load: &Load) -> Pipeline {
    let mut pipeline = Pipeline::new(RowLimits::default(), Resolver::new(Box::new(Recorded)));
    let start = Control::Start {
        monotonic_ns: 1_000_000_000,
        unix_ns: 1_700_000_000_000_000_000,
        probes: Vec::new(),
        host: Box::new(HostIdentity::default()),
    };
    pipeline.take(&control(start));
    for name in &load.names {
        pipeline.take(&control(name.clone()));
    }
    pipeline
}

fn end() -> Item {
    control(Control::WindowEnd {
        monotonic_ns: 2_000_000_000,
        unix_ns: 1_700_000_001_000_000_000,
        taint: Some(0),
    })
}

fn window_of(load: &Load) -> anyhow::Result<Window> {
    let mut pipeline = pipeline(load);
    for (cpu, batch) in batches_of(load)? {
        pipeline.take(&Item::Records { cpu, batch });
    }
    let counted: [FamilyAccounting; FAMILIES] = std::array::from_fn(|_| Default::default());
    pipeline.take(&control(Control::Counted(Box::new(counted))));
    let window = pipeline.take(&end());
    window.ok_or_else(|| anyhow::anyhow!("no window was closed"))
}

fn rows(window: &Window) -> u64 {
    let rows = window.softirq.len()
        + window.hardirq.len()
        + window.tasklet.len()
        + window.workqueue.len()
        + window.napi.len()
        + window.kthread.len();
    rows as u64
}

/// Closing takes the rows away: they are filled again each time.
fn close(load: &Load) -> anyhow::Result<Round> {
    use std::{cell::RefCell, rc::Rc};

    let units = rows(&window_of(load)?);
    let items: Vec<_> = (batches_of(load)?.into_iter())
        .map(|(cpu, batch)| Item::Records { cpu, batch })
        .collect();
    let pipeline = Rc::new(RefCell::new(pipeline(load)));
    let filled = Rc::clone(&pipeline);
    Ok(Round {
        units,
        unit: "row",
        before: Some(Box::new(move || {
            for item in &items {
                filled.borrow_mut().take(item);
            }
        })),
        once: Box::new(move || {
            black_box(pipeline.borrow_mut().take(&end()));
        }),
    })
}

fn export(mut window: Window) -> Round {
    let limits = Limits {
        max_buckets: 160,
        per_cpu: false,
        ..Limits::default()
    };
    let mut state = Cumulative::new(limits);
    let resource = proto_resource(&Resource::detect());
    Round {
        units: rows(&window),
        unit: "row",
        before: None,
        once: Box::new(move || {
            // The next window: one that is no later than the last would be taken for a clock that was set.
            window.start_unix_ns += window.duration_ns;
            state.fold(&window);
            let metrics = metrics(&state, HistogramKind::Exponential);
            for part in split(metrics, &resource, 3 << 20) {
                black_box(part.message.encode_to_vec());
            }
        }),
    }
}
