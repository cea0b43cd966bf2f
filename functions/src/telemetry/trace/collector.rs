//! Where the ended spans of an invocation wait until its reply is posted.

use std::time::Duration;

use opentelemetry::{Context, KeyValue, trace::SpanKind};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use crate::telemetry::current_invocation::PerInvocation;

/// Most spans of one invocation, the server span not counted. OpenTelemetry's own queue holds as
/// many; they take about 1 MiB, a hundred times what an endpoint makes.
const MAX_SPANS: usize = 2048;

/// The spans of each running invocation that have ended.
#[derive(Clone, Debug, Default)]
pub(in crate::telemetry) struct FinishedSpans(PerInvocation<Finished>);

/// The ended spans of one invocation.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Finished {
    /// In the order in which they ended: children before parents.
    pub(in crate::telemetry) spans: Vec<SpanData>,
    /// How many more there would be, but for the bound.
    pub(in crate::telemetry) dropped: u64,
}

impl FinishedSpans {
    /// Takes the spans of the present invocation, and those that ended outside invocations.
    pub(in crate::telemetry) fn take(&self) -> Finished {
        let mut finished = self.0.take_outside();
        let own = self.0.take();
        finished.spans.extend(own.spans);
        finished.dropped += own.dropped;
        finished
    }
}

impl SpanProcessor for FinishedSpans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        keep_last_of_each_key(&mut span.attributes);
        // The server span ends last, and without it the extension would not know of the end.
        self.0.update(|finished| {
            match finished.spans.len() < MAX_SPANS || span.span_kind == SpanKind::Server {
                true => finished.spans.push(span),
                false => finished.dropped += 1,
            }
        });
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // sending is not its business
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// A later value of a key replaces the earlier one; the SDK would keep both.
fn keep_last_of_each_key(attributes: &mut Vec<KeyValue>) {
    let mut position = 0;
    while position < attributes.len() {
        let later = &attributes[position + 1..];
        match later.iter().any(|later| later.key == attributes[position].key) {
            true => drop(attributes.remove(position)),
            false => position += 1,
        }
    }
}
