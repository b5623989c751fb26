//! kctx itself.

use super::{Attribute, CPU, Group, Kind, Metric};

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
    values: "why: of records that are `lost` or `partial`, of probes that are not attached, of points and log records that \
             failed (`rejected`, an HTTP or gRPC status, `connect`, `timeout`), of log records that no export took \
             (`queue_full`, `window_full` for `[otlp.logs] records`, `log_limit` for `[log]`, `no_receiver` where the \
             endpoint takes no logs, `shutdown`), of reloads (the file is `unreadable` or `invalid`; `unusable`: what it \
             says could not be put in force)",
};

static COMPONENT_TYPE: Attribute = Attribute {
    key: "otel.component.type",
    values: "`otlp_http_metric_exporter`, `otlp_grpc_metric_exporter`, `otlp_http_log_exporter`, \
             `otlp_grpc_log_exporter`; of collections `periodic_metric_reader`, of log records that are processed \
             `batching_log_processor`",
};

static COMPONENT_NAME: Attribute = Attribute {
    key: "otel.component.name",
    values: "the type with `/0`",
};

static ADDRESS: Attribute = Attribute {
    key: "server.address",
    values: "the endpoint's host",
};

static PORT: Attribute = Attribute {
    key: "server.port",
    values: "the endpoint's port",
};

/// The exporter.
static COMPONENT: [&Attribute; 4] = [&COMPONENT_TYPE, &COMPONENT_NAME, &ADDRESS, &PORT];

/// An export, and how it failed.
static EXPORT: [&Attribute; 5] = [&COMPONENT_TYPE, &COMPONENT_NAME, &ADDRESS, &PORT, &ERROR];

pub(super) const KCTX: Group = Group {
    family: "kctx",
    title: "kctx itself",
    metrics: &[
        Metric {
            name: "kctx.records",
            kind: Kind::ObservedCounter,
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
            place: count!(records),
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
            place: count!(probe_attached),
        },
        Metric {
            name: "kctx.finding.active",
            kind: Kind::UpDownCounter,
            unit: "{finding}",
            description: "Whether the last diagnosis had a finding that is a warning or worse: 1 or 0.",
            meaning: "Of findings that there were once. One window in ten seconds is diagnosed, without the evidence that \
                      `kctx diagnose` takes but for softnet_stat: run that to see why.",
            attributes: &[&Attribute {
                key: "kctx.finding.id",
                values: "`NET-FW` and so on: [the causes](diagnose/README.md)",
            }],
            sources: &["a diagnosis of a window", "/proc/net/softnet_stat"],
            cardinality: "44 ids",
            place: count!(finding_active),
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
            place: count!(governor_limited),
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
            place: seconds!(governor_since_ns),
        },
        Metric {
            name: "kctx.config.reloads",
            kind: Kind::Counter,
            unit: "{reload}",
            description: "Times that the configuration was read again, on SIGHUP.",
            meaning: "With an error: nothing changed. Of `kctx run`, from 0 on; told with the window in which it was.",
            attributes: &[&ERROR],
            sources: &["the configuration file"],
            cardinality: "4",
            place: count!(config_reloads),
        },
        Metric {
            name: "kctx.self.cpu.time",
            kind: Kind::ObservedCounter,
            unit: "s",
            description: "CPU time of kctx's own threads.",
            meaning: "",
            attributes: &[&Attribute {
                key: "thread.name",
                values: "`main`, `kctx-drain`, `kctx-pipeline`, `kctx-otlp`, `kctx-prometheus`, `kctx-control`, `kctx-trigger`, `kctx-evidence`, \
                         `other`",
            }],
            sources: &["/proc/self/task/*/schedstat"],
            cardinality: "9 threads",
            place: seconds!(self_cpu_ns),
        },
        Metric {
            name: "kctx.self.bpf.time",
            kind: Kind::ObservedCounter,
            unit: "s",
            description: "Time in kctx's BPF programs: counted by the kernel for the first seconds, then estimated from that.",
            meaning: "The kernel's counts for the first seconds (`[meter] sample`), then each program's mean run then, times \
                      its family's executions since. Nothing where the kernel's counting was refused, and none of a family \
                      that had no execution meanwhile.",
            attributes: &[&FAMILY],
            sources: &["the kernel's run times of its programs"],
            cardinality: "8 families",
            place: seconds!(self_bpf_ns),
        },
        Metric {
            name: "kctx.self.bpf.runs",
            kind: Kind::ObservedCounter,
            unit: "{run}",
            description: "Runs of kctx's BPF programs, known in the same way.",
            meaning: "",
            attributes: &[&FAMILY],
            sources: &["the kernel's run times of its programs"],
            cardinality: "8 families",
            place: count!(self_bpf_runs),
        },
        Metric {
            name: "kctx.self.memory.usage",
            kind: Kind::UpDownCounter,
            unit: "By",
            description: "Resident memory of kctx.",
            meaning: "The rings that userspace reads are in it.",
            attributes: &[],
            sources: &["/proc/self/statm"],
            cardinality: "1",
            place: count!(self_memory),
        },
        Metric {
            name: "kctx.recorder.memory",
            kind: Kind::UpDownCounter,
            unit: "By",
            description: "What the flight recorder holds of the past.",
            meaning: "Encoded records of whole windows; `[recorder] memory` bounds it with the open one.",
            attributes: &[],
            sources: &["the flight recorder"],
            cardinality: "1",
            place: count!(recorder_bytes),
        },
        Metric {
            name: "kctx.recorder.length",
            kind: Kind::UpDownCounter,
            unit: "s",
            description: "How much of the past the flight recorder holds.",
            meaning: "Under `[recorder] length` for longer than that after the start: its memory is too small for what happens \
                      here.",
            attributes: &[],
            sources: &["the flight recorder"],
            cardinality: "1",
            place: seconds!(recorder_length_ns),
        },
        Metric {
            name: "kctx.trigger.fired",
            kind: Kind::Counter,
            unit: "{firing}",
            description: "Times that a trigger's rule fired, and had a capture begun.",
            meaning: "Of rules that fired once.",
            attributes: &[&Attribute {
                key: "kctx.trigger.rule",
                values: "the rule's `name`",
            }],
            sources: &["the triggers"],
            cardinality: "rules (64 at most)",
            place: count!(trigger_fired),
        },
        Metric {
            name: "kctx.trigger.bundles",
            kind: Kind::Counter,
            unit: "{bundle}",
            description: "Bundles of triggers, by what became of them.",
            meaning: "`refused`: a rule would have fired, but a capture was under way or a pause was not over; a figure that stays \
                      high is refused once. Each that fired is `written` or `failed` when its capture has ended.",
            attributes: &[&Attribute {
                key: "kctx.trigger.result",
                values: "`written`, `failed`, `refused`",
            }],
            sources: &["the triggers"],
            cardinality: "3",
            place: count!(trigger_bundles),
        },
        Metric {
            name: "kctx.ring.utilization",
            kind: Kind::Gauge,
            unit: "1",
            description: "How full a ring was found, at its fullest in the last minute.",
            meaning: "What was in it when it was drained, of its size; at 1 records may have been spilled. With \
                      `cpu.logical_number` each CPU's ring, without it the fullest. A peak is seen for a minute, so that no \
                      export misses it.",
            attributes: &[&CPU],
            sources: &["the rings"],
            cardinality: "CPUs",
            place: millionths!(ring_fill_ppm),
        },
        Metric {
            name: "kctx.ring.read",
            kind: Kind::Counter,
            unit: "By",
            description: "Bytes that came through the rings.",
            meaning: "",
            attributes: &[],
            sources: &["the rings"],
            cardinality: "1",
            place: count!(ring_bytes),
        },
        Metric {
            name: "kctx.export.queue.size",
            kind: Kind::UpDownCounter,
            unit: "{window}",
            description: "Closed windows that the endpoint does not have yet.",
            meaning: "As of the last export's start or end: some (`[otlp] interval` over `[run] interval`) at a start, 0 at an \
                      end, more while exports fail. It has no capacity: what waits is merged, so memory is bounded by the \
                      series and no count is dropped.",
            attributes: &COMPONENT,
            sources: &["the OTLP export"],
            cardinality: "1",
            place: count!(export_queue),
        },
        Metric {
            name: "kctx.export.merged",
            kind: Kind::Counter,
            unit: "{export}",
            description: "Exports that were due while another was under way: the next one has their counts.",
            meaning: "What is lost by that is resolution in time.",
            attributes: &COMPONENT,
            sources: &["the OTLP export"],
            cardinality: "1",
            place: count!(exports_merged),
        },
        Metric {
            name: "kctx.export.dropped",
            kind: Kind::Counter,
            unit: "{data_point}",
            description: "Data points of deltas that were given up: no later export has their counts.",
            meaning: "Of cumulative exports there are none.",
            attributes: &EXPORT,
            sources: &["the OTLP export"],
            cardinality: "kinds of failure",
            place: count!(points_dropped),
        },
        Metric {
            name: "otel.sdk.exporter.metric_data_point.inflight",
            kind: Kind::UpDownCounter,
            unit: "{data_point}",
            description: "Data points that were passed to the exporter, and of which it is not known yet whether they arrived.",
            meaning: "0 in every push, which is made when none is under way; what a scrape finds may be more.",
            attributes: &COMPONENT,
            sources: &["the OTLP export"],
            cardinality: "1",
            place: count!(points_inflight),
        },
        Metric {
            name: "otel.sdk.exporter.metric_data_point.exported",
            kind: Kind::Counter,
            unit: "{data_point}",
            description: "Data points for which the export has finished, either successful or failed.",
            meaning: "",
            attributes: &EXPORT,
            sources: &["the OTLP export"],
            cardinality: "kinds of failure",
            place: count!(exported_points),
        },
        Metric {
            name: "otel.sdk.exporter.log.exported",
            kind: Kind::Counter,
            unit: "{log_record}",
            description: "Log records for which the export has finished, either successful or failed.",
            meaning: "Of the OTLP export of logs; told with the next one of metrics. A record that is sent again counts once, when \
                      that is over.",
            attributes: &EXPORT,
            sources: &["the OTLP export"],
            cardinality: "kinds of failure",
            place: count!(exported_logs),
        },
        Metric {
            name: "otel.sdk.processor.log.processed",
            kind: Kind::Counter,
            unit: "{log_record}",
            description: "Log records for which the processing has finished, either successful or failed.",
            meaning: "Without an error: those that an export has finished with, well or not. With one: those that no export \
                      took.",
            attributes: &[&COMPONENT_TYPE, &COMPONENT_NAME, &ERROR],
            sources: &["the OTLP export"],
            cardinality: "6",
            place: count!(processed_logs),
        },
        Metric {
            name: "otel.sdk.exporter.operation.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "The duration of exporting a batch of telemetry records.",
            meaning: "One export, its retries included; told with the next one. Its count by `error.type` is how many exports \
                      failed, and why.",
            attributes: &EXPORT,
            sources: &["the OTLP export"],
            cardinality: "kinds of failure",
            place: durations!(export_duration),
        },
        Metric {
            name: "otel.sdk.metric_reader.collection.duration",
            kind: Kind::Histogram,
            unit: "s",
            description: "The duration of the collect operation of the metric reader.",
            meaning: "Making an export's requests; told with the next one.",
            attributes: &[&COMPONENT_TYPE, &COMPONENT_NAME],
            sources: &["the OTLP export"],
            cardinality: "1",
            place: durations!(collection_duration),
        },
    ],
};
