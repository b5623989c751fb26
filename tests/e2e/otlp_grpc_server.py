#!/usr/bin/env python3
"""An OTLP/gRPC server of metrics and logs made with the official protobufs, for tests.

Needs the packages grpcio and opentelemetry-proto. Listens on 127.0.0.1 only. Prints `{"port": N}` as its
first line, then each request received as one line of JSON:

  {"time": ..., "metadata": {...}, "resource": {...}, "metrics": [
     {"name", "unit", "kind", "temporality", "monotonic", "points": [{"attributes", "start", "time", ...}]}]}

or, of logs,

  {"time": ..., "metadata": {...}, "resource": {...}, "scope": ..., "logs": [
     {"event", "time", "observed", "severity", "severity_text", "body", "attributes"}]}

A point of an exponential histogram has count, sum, max, scale, zero_count, offset, buckets and, computed
from these here, p50, p90, p99 and p999. Ends on SIGTERM or SIGINT.

  --port N            the port; 0 (the default) for any free one
  --fail CODE[:N]     answer the first N requests (all, without N) with this status, such as UNAVAILABLE:2
  --reject N          claim in each answer that N data points or log records were rejected
  --metrics-only      have no service for logs: they are UNIMPLEMENTED
"""

import argparse
import json
import math
import signal
import sys
import threading
import time
from concurrent import futures

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as service_grpc

TEMPORALITY = {0: "unspecified", 1: "delta", 2: "cumulative"}


def value(any_value):
    """An AnyValue as Python has it."""
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def quantile(point, q):
    """The quantile in an exponential histogram, log-linear within the bucket as Prometheus has it."""
    rank = q * point.count
    seen = point.zero_count
    if rank <= seen:
        return 0.0
    step = 2.0**-point.scale
    for k, count in enumerate(point.positive.bucket_counts):
        if count and seen + count >= rank:
            index = point.positive.offset + k
            return math.pow(2.0, (index + (rank - seen) / count) * step)
        seen += count
    return math.nan


def common(point):
    return {
        "attributes": attributes(point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
    }


def number(point):
    return common(point) | {"value": getattr(point, point.WhichOneof("value"))}


def explicit(point):
    return common(point) | {
        "count": point.count,
        "sum": point.sum,
        "max": point.max,
        "bounds": list(point.explicit_bounds),
        "buckets": list(point.bucket_counts),
    }


def exponential(point):
    return common(point) | {
        "count": point.count,
        "sum": point.sum,
        "max": point.max,
        "scale": point.scale,
        "zero_count": point.zero_count,
        "offset": point.positive.offset,
        "buckets": list(point.positive.bucket_counts),
        "p50": quantile(point, 0.5),
        "p90": quantile(point, 0.9),
        "p99": quantile(point, 0.99),
        "p999": quantile(point, 0.999),
    }


POINTS = {
    "gauge": number,
    "sum": number,
    "histogram": explicit,
    "exponential_histogram": exponential,
}


def metric(message):
    kind = message.WhichOneof("data")
    data = getattr(message, kind)
    return {
        "name": message.name,
        "unit": message.unit,
        "description": message.description,
        "kind": kind,
        "temporality": TEMPORALITY.get(getattr(data, "aggregation_temporality", 0)),
        "monotonic": getattr(data, "is_monotonic", None),
        "points": [POINTS[kind](point) for point in data.data_points],
    }


def record(message):
    return {
        "event": message.event_name,
        "time": message.time_unix_nano,
        "observed": message.observed_time_unix_nano,
        "severity": message.severity_number,
        "severity_text": message.severity_text,
        "body": value(message.body),
        "attributes": attributes(message.attributes),
    }


class Script:
    """What to answer, and one place that prints."""

    def __init__(self, code, failures, rejected):
        self.code, self.failures, self.rejected = code, failures, rejected
        self.lock = threading.Lock()

    def take(self, request, context, parts):
        """Prints the parts of a request; fails it where that was asked for."""
        metadata = {pair.key: str(pair.value) for pair in context.invocation_metadata()}
        head = {"time": time.time(), "bytes": request.ByteSize(), "metadata": metadata}
        with self.lock:
            print("\n".join(json.dumps(head | part) for part in parts), flush=True)
            failing = self.code is not None and self.failures != 0
            if failing:
                self.failures -= 1
        if failing:
            context.abort(self.code, "as told by --fail")


class Metrics(service_grpc.MetricsServiceServicer):
    def __init__(self, script):
        self.script = script

    def Export(self, request, context):
        parts = [
            {
                "resource": attributes(part.resource.attributes),
                "metrics": [metric(m) for scope in part.scope_metrics for m in scope.metrics],
            }
            for part in request.resource_metrics
        ]
        self.script.take(request, context, parts)
        response = service_pb2.ExportMetricsServiceResponse()
        if self.script.rejected:
            response.partial_success.rejected_data_points = self.script.rejected
            response.partial_success.error_message = "as told by --reject"
        return response


class Logs(logs_grpc.LogsServiceServicer):
    def __init__(self, script):
        self.script = script

    def Export(self, request, context):
        parts = [
            {
                "resource": attributes(part.resource.attributes),
                "scope": scope.scope.name,
                "logs": [record(r) for r in scope.log_records],
            }
            for part in request.resource_logs
            for scope in part.scope_logs
        ]
        self.script.take(request, context, parts)
        response = logs_pb2.ExportLogsServiceResponse()
        if self.script.rejected:
            response.partial_success.rejected_log_records = self.script.rejected
            response.partial_success.error_message = "as told by --reject"
        return response


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fail", default="")
    parser.add_argument("--reject", type=int, default=0)
    parser.add_argument("--metrics-only", action="store_true")
    arguments = parser.parse_args()
    name, _, times = arguments.fail.partition(":")
    if name and name not in grpc.StatusCode.__members__:
        parser.error(f"--fail: {name} is no gRPC status")
    code = grpc.StatusCode[name] if name else None

    # Before the server starts its threads, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    script = Script(code, int(times) if times else -1, arguments.reject)
    service_grpc.add_MetricsServiceServicer_to_server(Metrics(script), server)
    if not arguments.metrics_only:
        logs_grpc.add_LogsServiceServicer_to_server(Logs(script), server)
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    if not port:
        sys.exit(f"cannot listen on 127.0.0.1:{arguments.port}")
    server.start()
    print(json.dumps({"port": port}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
