"""A function with nothing of ours but the layer: the usual SDK, which sends OTLP to localhost."""

import json
import logging
import os

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

resource = Resource.create({"service.name": os.environ["AWS_LAMBDA_FUNCTION_NAME"]})
traces, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
logging.getLogger().addHandler(LoggingHandler(logger_provider=logs))
logging.getLogger().setLevel(logging.INFO)
tracer = traces.get_tracer(__name__)


def handle(event, context):
    route = event["routeKey"]
    method, _, path = route.partition(" ")
    try:
        with tracer.start_as_current_span(
            route,
            context=propagate.extract(event["headers"]),
            kind=trace.SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": path,
                "faas.invocation_id": context.aws_request_id,
            },
        ) as span:
            reply = answer(event)
            span.set_attribute("http.response.status_code", reply["statusCode"])
            return reply
    finally:
        # To the extension, before the function may be frozen. The server span goes last: by it the
        # extension knows that this was all.
        logs.force_flush()
        traces.force_flush()


def answer(event):
    name = event.get("queryStringParameters", {}).get("name", "world")
    with tracer.start_as_current_span("greet", attributes={"app.name_length": len(name)}):
        if name == "nobody":
            raise ValueError("nobody is there to be greeted")
        logging.info("Hello %s", name)
        return {"statusCode": 200, "body": json.dumps({"hello": name})}
