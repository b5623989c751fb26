#!/usr/bin/env python3
"""An OTLP server of metrics and logs, over gRPC or HTTP, made with the official protobufs, for tests.

Needs the packages grpcio and opentelemetry-proto. Listens on 127.0.0.1 only. Prints `{"port": N}` as its
first line, then each request received as one line of JSON:

  {"time": ..., "metadata": {...}, "resource": {...}, "metrics": [
     {"name", "unit", "kind", "temporality", "monotonic", "points": [{"attributes", "start", "time", ...}]}]}

or, of logs,

  {"time": ..., "metadata": {...}, "resource": {...}, "scope": ..., "logs": [
     {"event", "time", "observed", "severity", "severity_text", "body", "attributes"}]}

A point of an exponential histogram has count, sum, max, scale, zero_count, offset, buckets and, computed
from these here, p50, p90, p99 and p999. Ends on SIGTERM or SIGINT.

  --protocol P        grpc (the default) or http
  --port N            the port; 0 (the default) for any free one
  --fail CODE[:N]     answer the first N requests (all, without N) with this status, such as UNAVAILABLE:2; over HTTP with 503
  --retry-after S     with --fail over gRPC: say by RetryInfo to come again after S seconds
  --reject N          claim in each answer that N data points or log records were rejected
  --metrics-only      have no service for logs: they are UNIMPLEMENTED
"""

import argparse
import gzip
import json
import math
import signal
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import any_pb2, duration_pb2
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


def status_with_retry(code, seconds):
    """A google.rpc.Status {code = 1, details = 3} with a google.rpc.RetryInfo {retry_delay = 1}."""

    def field(number, payload):
        assert len(payload) < 128
        return bytes([number << 3 | 2, len(payload)]) + payload

    delay = duration_pb2.Duration(seconds=seconds).SerializeToString()
    detail = any_pb2.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=field(1, delay))
    return bytes([1 << 3, code]) + field(3, detail.SerializeToString())


class Script:
    """What to answer, and one place that prints."""

    def __init__(self, code, failures, rejected, retry_after):
        self.code, self.failures, self.rejected = code, failures, rejected
        self.retry_after = retry_after
        self.lock = threading.Lock()

    def take(self, request, metadata, parts):
        """Prints the parts of a request; true where it is to fail."""
        head = {"time": time.time(), "bytes": request.ByteSize(), "metadata": metadata}
        with self.lock:
            print("\n".join(json.dumps(head | part) for part in parts), flush=True)
            failing = self.code is not None and self.failures != 0
            if failing:
                self.failures -= 1
        return failing

    def take_grpc(self, request, context, parts):
        metadata = {pair.key: str(pair.value) for pair in context.invocation_metadata()}
        if self.take(request, metadata, parts):
            if self.retry_after:
                details = status_with_retry(self.code.value[0], self.retry_after)
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(self.code, "as told by --fail")


def metric_parts(request):
    return [
        {
            "resource": attributes(part.resource.attributes),
            "metrics": [metric(m) for scope in part.scope_metrics for m in scope.metrics],
        }
        for part in request.resource_metrics
    ]


def log_parts(request):
    return [
        {
            "resource": attributes(part.resource.attributes),
            "scope": scope.scope.name,
            "logs": [record(r) for r in scope.log_records],
        }
        for part in request.resource_logs
        for scope in part.scope_logs
    ]


def metrics_answer(script):
    response = service_pb2.ExportMetricsServiceResponse()
    if script.rejected:
        response.partial_success.rejected_data_points = script.rejected
        response.partial_success.error_message = "as told by --reject"
    return response


def logs_answer(script):
    response = logs_pb2.ExportLogsServiceResponse()
    if script.rejected:
        response.partial_success.rejected_log_records = script.rejected
        response.partial_success.error_message = "as told by --reject"
    return response


class Metrics(service_grpc.MetricsServiceServicer):
    def __init__(self, script):
        self.script = script

    def Export(self, request, context):
        self.script.take_grpc(request, context, metric_parts(request))
        return metrics_answer(self.script)


class Logs(logs_grpc.LogsServiceServicer):
    def __init__(self, script):
        self.script = script

    def Export(self, request, context):
        self.script.take_grpc(request, context, log_parts(request))
        return logs_answer(self.script)


def http_handler(script, metrics_only):
    """The class that answers HTTP, as http.server wants it."""
    paths = {"/v1/metrics": (service_pb2.ExportMetricsServiceRequest, metric_parts, metrics_answer)}
    if not metrics_only:
        paths["/v1/logs"] = (logs_pb2.ExportLogsServiceRequest, log_parts, logs_answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path not in paths:
                return self.answer(404, b"")
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            message, parts, respond = paths[self.path]
            request = message.FromString(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            failing = script.take(request, headers, parts(request))
            self.answer(503 if failing else 200, respond(script).SerializeToString())

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--protocol", choices=["grpc", "http"], default="grpc")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fail", default="")
    parser.add_argument("--retry-after", type=int, default=0)
    parser.add_argument("--reject", type=int, default=0)
    parser.add_argument("--metrics-only", action="store_true")
    arguments = parser.parse_args()
    name, _, times = arguments.fail.partition(":")
    if name and name not in grpc.StatusCode.__members__:
        parser.error(f"--fail: {name} is no gRPC status")
    code = grpc.StatusCode[name] if name else None

    # Before the server starts its threads, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    script = Script(code, int(times) if times else -1, arguments.reject, arguments.retry_after)
    if arguments.protocol == "http":
        handler = http_handler(script, arguments.metrics_only)
        server = ThreadingHTTPServer(("127.0.0.1", arguments.port), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"port": server.server_port}), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        return
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
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
