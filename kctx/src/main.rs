//! The `kctx` command.
fn main() -> anyhow::Result<()> {
    use kctx::{source::live::*, aggregate::window::Family, pipeline::Pipeline};
    tracing_subscriber_init();
    let (tx, rx) = std::sync::mpsc::sync_channel(64);
    let s = LiveSettings { families: Family::ALL.to_vec(), softirq_vectors: 0x3ff, sizes: Default::default(), window: None, end_after: Some(std::time::Duration::from_secs(3)) };
    let (session, resolver) = LiveSession::start(&s, tx)?;
    for p in session.probes() { eprintln!("{p:?}"); }
    let mut pl = Pipeline::new(Default::default(), resolver);
    let mut n = 0; let mut spent = std::time::Duration::ZERO;
    for item in rx { let t = std::time::Instant::now(); let w = pl.take(&item); spent += t.elapsed(); n += 1;
        if let Some(w) = w {
        for r in &w.softirq { eprintln!("{} cpu{} n={} unk={} wait p50 {} max {} service p50 {} sum {} net {}", r.vector, r.cpu, r.count, r.wait_unknown, r.wait.quantile_ns(0.5), r.wait.max_ns(), r.service.quantile_ns(0.5), r.service.sum_ns(), r.service_net.sum_ns()); }
        for r in &w.hardirq { eprintln!("{:?} {} cpu{} n={} unh={} p50 {}", r.irq, r.name, r.cpu, r.count, r.unhandled, r.service.quantile_ns(0.5)); }
        for r in &w.workqueue { eprintln!("{} {} n={} unk={} remote {} wait p50 {} act {} service p50 {}", r.workqueue, r.function, r.count, r.wait_unknown, r.remote, r.wait.quantile_ns(0.5), r.activate.count(), r.service.quantile_ns(0.5)); }
        eprintln!("{:?}", w.accounting);
    } }
    eprintln!("{n} items, {spent:?} received {:?} undecoded {}", pl.aggregator().received(), pl.aggregator().undecoded());
    session.finish()
}
fn tracing_subscriber_init() {}
