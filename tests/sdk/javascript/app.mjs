// Sends a span, a log record and two metrics by the usual SDK, as its variables set it up.
import { SpanKind, SpanStatusCode, metrics, trace } from "@opentelemetry/api";
import { SeverityNumber, logs } from "@opentelemetry/api-logs";
import { NodeSDK } from "@opentelemetry/sdk-node";

const START = [1_767_225_600, 123_456_789];
const END = [1_767_225_601, 987_654_321];
const ATTRIBUTES = { text: "grüße 🚀", int: 42, double: 1.5, bool: true, list: ["a", "b"] };

const sdk = new NodeSDK();
sdk.start();

const tracer = trace.getTracer("sdk-scope", "1.2.3");
const options = { kind: SpanKind.CLIENT, attributes: ATTRIBUTES, startTime: START };
const span = tracer.startSpan("sdk-span", options);
span.addEvent("sdk-event", { step: 1 }, START);
span.setStatus({ code: SpanStatusCode.ERROR, message: "sdk-status" });
span.end(END);

logs.getLogger("sdk-scope").emit({
  timestamp: START,
  severityNumber: SeverityNumber.ERROR,
  severityText: "ERROR",
  body: "sdk-log grüße",
  attributes: ATTRIBUTES,
});

const meter = metrics.getMeter("sdk-scope");
meter.createCounter("sdk-counter", { unit: "1" }).add(7, { text: "grüße 🚀" });
const histogram = meter.createHistogram("sdk-histogram", { unit: "ms" });
histogram.record(1.5);
histogram.record(300);

await sdk.shutdown();
