//! kctx itself.

use super::{Attribute, Group, Kind, Metric, SeriesOf};

static FAMILY: Attribute = Attribute {
    key: "kctx.probe.family",
    values: "`softirq`, `hardirq`, `workqueue`, `module`, `tasklet`, `napi`, `kthread`, `stack`; of files \
             `log`, `taint`, `symbols`",
};

static REASON: Attribute = Attribute {
    key: "kctx.governor.reason",
    values: "`cpu_limit`",
};

static ERROR: Attribute = Attribute {
    key: "error.type",
    values: "why: of records that are `lost` or `partial`, of probes that are not attached, of points that failed \
             (`rejected`, an HTTP or gRPC status)",
};

pub(super) const KCTX: Group = Group {
    title: "kctx itself",
    metrics: &[
        Metric {
            name: "kctx.records",
            kind: Kind::Counter,
            unit: "{record}",
            description: "Executions seen by the probes, by where their record went.",
            meaning: "",
            attributes: &[
                &FAMILY,
                &Attribute {
                    key: "kctx.record.outcome",
                    values: "`streamed` went through a ring, `spilled` into the in-kernel histogram, `lost` nowhere \
                             (0 in a healthy run); `partial` was no whole execution (an end without a start, a \
                             cancelled work)",
                },
                &ERROR,
            ],
            sources: &["the kernel's counters"],
            cardinality: "8 families × 4 outcomes × reasons",
            series: |state| SeriesOf::Count(&state.records),
        },
        Metric {
            name: "kctx.probe.attached",
            kind: Kind::UpDownCounter,
            unit: "{probe}",
            description: "Whether a probe is attached: 1 or 0.",
            meaning: "The files that are read beside the probes too: `log:/dev/kmsg`, `taint:/proc/sys/kernel/tainted`, \
                      `symbols:/proc/kallsyms`, with the mechanism `read`.",
            attributes: &[
                &Attribute {
                    key: "kctx.probe.name",
                    values: "the tracepoint, as `group:name`",
                },
                &FAMILY,
                &Attribute {
                    key: "kctx.probe.mechanism",
                    values: "`tp_btf`, `raw_tp`, `tracepoint`, `perf_event`, `read`; where attached",
                },
                &ERROR,
            ],
            sources: &["each probe"],
            cardinality: "probes and files (35)",
            series: |state| SeriesOf::Count(&state.probe_attached),
        },
        Metric {
            name: "kctx.governor.limited",
            kind: Kind::UpDownCounter,
            unit: "{family}",
            description: "Whether the governor keeps a family from the rings, because kctx used more than its limit: 1 or 0.",
            meaning: "Of families that were limited once. A limited family goes into the kernel's histograms only. With \
                      which figures, the log and the live view say.",
            attributes: &[&FAMILY, &REASON],
            sources: &["kctx's own CPU time", "the kernel's counters"],
            cardinality: "8 families",
            series: |state| SeriesOf::Count(&state.governor_limited),
        },
        Metric {
            name: "kctx.governor.limited.since",
            kind: Kind::UpDownCounter,
            unit: "s",
            description: "Since when the governor keeps a family from the rings, since the Unix epoch; only while it does.",
            meaning: "",
            attributes: &[&FAMILY, &REASON],
            sources: &["kctx's own CPU time", "the kernel's counters"],
            cardinality: "8 families",
            series: |state| SeriesOf::Seconds(&state.governor_since_ns),
        },
        Metric {
            name: "otel.sdk.exporter.metric_data_point.exported",
            kind: Kind::Counter,
            unit: "{data_point}",
            description: "Data points for which the export has finished, either successful or failed.",
            meaning: "Of the OTLP export; in a scrape as of its last push.",
            attributes: &[
                &Attribute {
                    key: "otel.component.type",
                    values: "`otlp_http_metric_exporter`, `otlp_grpc_metric_exporter`",
                },
                &Attribute {
                    key: "otel.component.name",
                    values: "the type with `/0`",
                },
                &Attribute {
                    key: "server.address",
                    values: "the endpoint's host",
                },
                &Attribute {
                    key: "server.port",
                    values: "the endpoint's port",
                },
                &ERROR,
            ],
            sources: &["the OTLP export"],
            cardinality: "kinds of failure",
            series: |state| SeriesOf::Count(&state.exported_points),
        },
    ],
};
