//! Sends a span, a log record and two metrics by the usual SDK over tonic, as its variables set it up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn at(seconds: u64, nanos: u32) -> SystemTime {
    UNIX_EPOCH + Duration::new(seconds, nanos)
}

#[tokio::main]
async fn main() -> Outcome {
    let traces = SdkTracerProvider::builder()
        .with_batch_exporter(SpanExporter::builder().with_tonic().build()?)
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_batch_exporter(LogExporter::builder().with_tonic().build()?)
        .build();
    let metrics = SdkMeterProvider::builder()
        .with_periodic_exporter(MetricExporter::builder().with_tonic().build()?)
        .build();
    trace(&traces);
    log(&logs);
    measure(&metrics);
    // The exporters use the runtime, which a blocked worker would stop.
    tokio::task::spawn_blocking(move || -> Outcome {
        traces.shutdown()?;
        logs.shutdown()?;
        metrics.shutdown()?;
        Ok(())
    })
    .await?
}

fn trace(provider: &SdkTracerProvider) {
    let scope = InstrumentationScope::builder("sdk-scope").with_version("1.2.3").build();
    let tracer = provider.tracer_with_scope(scope);
    let list = Array::String(vec![StringValue::from("a"), StringValue::from("b")]);
    let start = at(1_767_225_600, 123_456_789);
    let mut span = tracer
        .span_builder("sdk-span")
        .with_kind(SpanKind::Client)
        .with_start_time(start)
        .with_attributes([
            KeyValue::new("text", "grüße 🚀"),
            KeyValue::new("int", 42),
            KeyValue::new("double", 1.5),
            KeyValue::new("bool", true),
            KeyValue::new("list", Value::Array(list)),
        ])
        .start(&tracer);
    span.add_event_with_timestamp("sdk-event", start, vec![KeyValue::new("step", 1)]);
    span.set_status(Status::error("sdk-status"));
    span.end_with_timestamp(at(1_767_225_601, 987_654_321));
}

fn log(provider: &SdkLoggerProvider) {
    let logger = provider.logger("sdk-scope");
    let mut record = logger.create_log_record();
    record.set_timestamp(at(1_767_225_600, 123_456_789));
    record.set_severity_number(Severity::Error);
    record.set_severity_text("ERROR");
    record.set_body(AnyValue::from("sdk-log grüße"));
    let list = AnyValue::ListAny(Box::new(vec![AnyValue::from("a"), AnyValue::from("b")]));
    record.add_attribute("text", "grüße 🚀");
    record.add_attribute("int", 42);
    record.add_attribute("double", 1.5);
    record.add_attribute("bool", true);
    record.add_attribute("list", list);
    logger.emit(record);
}

fn measure(provider: &SdkMeterProvider) {
    let meter = provider.meter("sdk-scope");
    let counter = meter.u64_counter("sdk-counter").with_unit("1").build();
    counter.add(7, &[KeyValue::new("text", "grüße 🚀")]);
    let histogram = meter.f64_histogram("sdk-histogram").with_unit("ms").build();
    histogram.record(1.5, &[]);
    histogram.record(300.0, &[]);
}
