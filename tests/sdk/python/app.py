"""Sends a span, a log record and two metrics by the usual SDK, as opentelemetry-instrument sets it up."""

from opentelemetry import _logs, metrics, trace

START, END = 1_767_225_600_123_456_789, 1_767_225_601_987_654_321
ATTRIBUTES = {"text": "grüße 🚀", "int": 42, "double": 1.5, "bool": True, "list": ["a", "b"]}

tracer = trace.get_tracer("sdk-scope", "1.2.3")
span = tracer.start_span("sdk-span", kind=trace.SpanKind.CLIENT, attributes=ATTRIBUTES, start_time=START)
span.add_event("sdk-event", {"step": 1}, timestamp=START)
span.set_status(trace.Status(trace.StatusCode.ERROR, "sdk-status"))
span.end(END)

_logs.get_logger("sdk-scope").emit(
    _logs.LogRecord(
        timestamp=START,
        severity_number=_logs.SeverityNumber.ERROR,
        severity_text="ERROR",
        body="sdk-log grüße",
        attributes=ATTRIBUTES,
    )
)

meter = metrics.get_meter("sdk-scope")
meter.create_counter("sdk-counter", unit="1").add(7, {"text": "grüße 🚀"})
histogram = meter.create_histogram("sdk-histogram", unit="ms")
histogram.record(1.5)
histogram.record(300)

for provider in (trace.get_tracer_provider(), _logs.get_logger_provider(), metrics.get_meter_provider()):
    assert provider.force_flush(), provider
