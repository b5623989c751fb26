//! A bundle, read once from front to back for whoever reports it.

use anyhow::Context as _;

use super::{
    narrow::{Narrowing, SpanStream, Which, check_cpus, spilled},
    summary::{ContextsFrom, Damaged, Narrowed, SpanSummary, Summary},
    timeline::Timeline,
};
use crate::{
    aggregate::{
        table::RowLimits,
        window::{FAMILIES, Family, FamilyAccounting, Window},
    },
    capture::{bundle::Manifest, evidence_set::EvidenceSet},
    pipeline::Pipeline,
    resolve::{Recorded, Resolver, SOFTIRQ_VECTORS},
    source::{Control, Item, recorded::RecordedSource},
};

/// What was read.
pub struct Reading {
    /// The summary: the recorded one; of a part, or where the bundle was cut short before it, one made from records.
    pub summary: Summary,
    /// The evidence in it.
    pub evidence: EvidenceSet,
    /// What it says of itself, where it has its end.
    pub manifest: Option<Manifest>,
    /// It lost its summary, or the end of a part: this was made from so many records.
    pub made_from: Option<u64>,
    /// It was cut short.
    pub truncated: bool,
    /// What happened when, where that was wanted.
    pub(super) timeline: Option<Timeline>,
    /// Knows the names that the stream brought.
    pub(super) pipeline: Pipeline,
}

/// What is to be made of a bundle.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which part of it.
    pub narrowing: Narrowing,
    /// With what happened when.
    pub timeline: bool,
}

/// Reads a bundle.
pub fn read(mut source: RecordedSource, wanted: &Wanted) -> anyhow::Result<Reading> {
    let mut pass = Pass::new(wanted);
    while let Some(item) = source.next_item()? {
        pass.take(&item)?;
    }
    let is_part = !wanted.narrowing.is_all();
    let recorded = source.summary().filter(|_| !is_part);
    let recorded: Option<Summary> = recorded
        .map(serde_json::from_slice)
        .transpose()
        .context("its summary.json is not of a version this kctx reads")?;
    let (mut made, pass) = match recorded {
        Some(recorded) => (recorded, pass),
        None => pass.summary()?,
    };
    let truncated = source.truncated();
    let is_made = source.summary().is_none() || (is_part && truncated);
    let records = pass.pipeline.aggregator().received().iter().sum();
    let not_whole = source.damage();
    made.damaged = (!not_whole.is_empty()).then(|| Damaged {
        summary_is_whole: source.summary().is_some() && !is_part,
        records,
        not_whole,
    });
    Ok(Reading {
        summary: made,
        made_from: is_made.then_some(records),
        truncated,
        evidence: source.take_evidence(),
        manifest: source.manifest().cloned(),
        timeline: pass.timeline,
        pipeline: pass.pipeline,
    })
}

impl Reading {
    /// Why the summary is not the recorded one, where it should be: goes on after the bundle's name.
    #[must_use]
    pub fn made(&self) -> Option<String> {
        let records = self.made_from?;
        let why = match self.truncated {
            true => "was cut short",
            false => "lost its summary",
        };
        // The kernel's counts come with the last segment, and say nothing of records that were lost since.
        let streamed = self.summary.accounting.total.streamed;
        let of = match streamed > records {
            true => {
                format!(" (the kernel streamed {streamed}: the accounting below is the kernel's)")
            }
            false => String::new(),
        };
        Some(format!(
            "{why}; this is made from the {records} records in it{of}"
        ))
    }

    /// What of the bundle is not whole.
    #[must_use]
    pub fn not_whole(&self) -> &[String] {
        let damaged = self.summary.damaged.as_ref();
        damaged.map_or(&[], |damaged| &damaged.not_whole)
    }

    /// What has to be known of the bundle before its figures are taken for all that there was.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let made = self.made().map(|made| format!("this bundle {made}"));
        let damage = self
            .not_whole()
            .iter()
            .map(|what| format!("damaged: {what}"));
        made.into_iter().chain(damage).collect()
    }
}

/// What a stream has come to so far.
struct Pass {
    wanted: Wanted,
    which: Which,
    span: SpanStream,
    pipeline: Pipeline,
    timeline: Option<Timeline>,
    window: Option<Window>,
    /// Spilled executions by family that are in the part.
    spilled: [u64; FAMILIES],
    /// The machine's CPUs, where only some are wanted.
    cpu_list: String,
    /// Switches between tasks were followed: the stream knows what threads ran.
    knows_threads: bool,
}

impl Pass {
    fn new(wanted: &Wanted) -> Self {
        let resolver = Resolver::new(Box::new(Recorded));
        Self {
            which: Which::new(&wanted.narrowing),
            span: SpanStream::new(&wanted.narrowing),
            wanted: wanted.clone(),
            pipeline: Pipeline::new(RowLimits::default(), resolver),
            timeline: None,
            window: None,
            spilled: [0; FAMILIES],
            cpu_list: String::new(),
            knows_threads: false,
        }
    }

    fn take(&mut self, item: &Item) -> anyhow::Result<()> {
        if self.wanted.narrowing.is_all() {
            self.look(item);
            if let Some(timeline) = &mut self.timeline {
                timeline.item(item, &self.which);
            }
            self.window = self.pipeline.take(item).or(self.window.take());
            return Ok(());
        }
        if let (Item::Control(control), Some(cpus)) = (item, &self.wanted.narrowing.cpus)
            && let Control::Start { host, .. } = &**control
        {
            check_cpus(cpus, host)?;
            self.cpu_list.clone_from(&host.cpu_list);
        }
        let Some(item) = self.which.of_cpus(item) else {
            return Ok(());
        };
        let is_span = self.wanted.narrowing.is_span();
        // The span is known from the start on, and the timeline needs it.
        let started =
            matches!(&item, Item::Control(control) if matches!(**control, Control::Start { .. }));
        let of_vectors = self.which.of_vectors(item.clone());
        let kept = match of_vectors {
            Some(item) => self.span.take(&item)?,
            None => None,
        };
        if started {
            self.look(&item);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.item(&item, &self.which);
        }
        if let Item::Control(control) = &item
            && let Control::Contexts(times) = &**control
        {
            self.knows_threads |= times.iter().any(|time| time.rest_ns.is_some());
        }
        let kept = match is_span {
            true => kept,
            // All of the time: only the books are made anew.
            false => self.whole_time(item),
        };
        if let Some(item) = kept {
            self.pipeline.take(&item);
        }
        Ok(())
    }

    /// What of a stream of some CPUs and vectors goes on.
    fn whole_time(&mut self, item: Item) -> Option<Item> {
        if let Item::Control(control) = &item
            && let Control::WindowEnd { .. } | Control::Counted(_) = **control
        {
            return None;
        }
        let item = self.which.of_vectors(item)?;
        if let Item::Control(control) = &item
            && let Control::Spill(delta) = &**control
        {
            let family = family_of(delta.family);
            if let Some(family) = family {
                let sum = &mut self.spilled[family as usize];
                *sum = sum.saturating_add(spilled(delta));
            }
        }
        Some(item)
    }

    /// At the stream's start: what the timeline needs to know.
    fn look(&mut self, item: &Item) {
        let wants = self.wanted.timeline || self.wanted.narrowing.is_span();
        if let Item::Control(control) = item
            && let Control::Start {
                monotonic_ns, host, ..
            } = &**control
            && wants
        {
            let cpus = match &self.wanted.narrowing.cpus {
                Some(cpus) => cpus.len(),
                None => host.cpus_online as usize,
            };
            self.timeline = Some(Timeline::new(*monotonic_ns, cpus, self.span.span()));
        }
    }

    /// A summary of what came.
    fn summary(mut self) -> anyhow::Result<(Summary, Self)> {
        const TOO_SHORT: &str = "it lost its records, or was cut short before the first were written; the evidence in it can be read with tar";
        if self.wanted.narrowing.is_all() {
            let window = self.window.take();
            let window = window
                .or_else(|| self.pipeline.finish())
                .context(TOO_SHORT)?;
            return Ok((self.of_window(&window), self));
        }
        let span = self.span.span().context(TOO_SHORT)?;
        let mut narrowed = self.narrowed();
        let stream = std::mem::take(&mut self.span);
        let [baseline, running, end] = stream.close()?.context(TOO_SHORT)?;
        let is_span = self.wanted.narrowing.is_span();
        if let Control::WindowEnd { monotonic_ns, .. } = &end {
            let begin_ns = span.begin_ns();
            if is_span {
                narrowed.span = Some(SpanSummary {
                    from_ns: begin_ns - span.start_ns,
                    to_ns: monotonic_ns.saturating_sub(span.start_ns),
                });
                let whole_ns = monotonic_ns.saturating_sub(begin_ns);
                let times = self.timeline.as_ref();
                let times = times.map(|timeline| timeline.contexts(whole_ns, self.knows_threads));
                self.give(Control::Contexts(times.unwrap_or_default()));
                self.give(baseline);
                self.give(running);
            }
        }
        self.give(Control::Counted(Box::new(self.counted())));
        let window = self.pipeline.take(&Item::Control(Box::new(end)));
        let window = window.context(TOO_SHORT)?;
        let mut summary = self.of_window(&window);
        if narrowed.cpus.is_some() {
            summary.host.cpu_list.clone_from(&self.cpu_list);
        }
        let start = summary.window.start_unix_ns;
        let is_over = |until: Option<u64>| until.is_some_and(|until| until <= start);
        summary.governor.retain(|row| !is_over(row.until_unix_ns));
        summary.narrowed = Some(narrowed);
        Ok((summary, self))
    }

    fn give(&mut self, control: Control) {
        self.pipeline.take(&Item::Control(Box::new(control)));
    }

    fn of_window(&self, window: &Window) -> Summary {
        let host = self.pipeline.aggregator().host().clone();
        let taint = host.taint;
        Summary::from_window(window, host, taint)
    }

    /// The books of the part: what came is what was observed. What was lost has no CPU and no time.
    fn counted(&self) -> [FamilyAccounting; FAMILIES] {
        let streamed = self.pipeline.aggregator().received();
        std::array::from_fn(|family| FamilyAccounting {
            observed: streamed[family].saturating_add(self.spilled[family]),
            streamed: streamed[family],
            spilled: self.spilled[family],
            ..FamilyAccounting::default()
        })
    }

    fn narrowed(&self) -> Narrowed {
        let narrowing = &self.wanted.narrowing;
        let is_span = narrowing.is_span();
        let of_span = |count: u64| if is_span { count } else { 0 };
        let name = |vector: &u8| SOFTIRQ_VECTORS.get(usize::from(*vector)).copied();
        Narrowed {
            cpus: (narrowing.cpus.as_ref()).map(|cpus| cpus.iter().copied().collect()),
            vectors: (narrowing.vectors.as_ref())
                .map(|vectors| vectors.iter().filter_map(name).map(str::to_owned).collect()),
            span: None,
            contexts: match is_span {
                true => ContextsFrom::Records,
                false => ContextsFrom::Accounts,
            },
            spilled_left_out: of_span(self.span.spilled_left_out()),
            stacks_left_out: (self.which.stacks_left_out())
                .saturating_add(of_span(self.span.stacks_left_out())),
            log_lines_left_out: of_span(self.span.log_lines_left_out()),
        }
    }
}

fn family_of(number: u8) -> Option<Family> {
    use kctx_common::record::kind;
    match number {
        kind::SOFTIRQ => Some(Family::Softirq),
        kind::HARDIRQ => Some(Family::Hardirq),
        kind::WORK => Some(Family::Workqueue),
        kind::TASKLET => Some(Family::Tasklet),
        kind::NAPI => Some(Family::Napi),
        kind::KTHREAD => Some(Family::Kthread),
        _ => None,
    }
}
