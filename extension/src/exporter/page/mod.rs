//! The local page: keeps what arrived in memory, and shows it at the address of OTLP/HTTP.
//!
//! ```text
//! worker ─▶ split by trace ─▶ store ◀─ views ◀─ api ◀─ the OTLP port
//!           on a blocking     bytes,            loopback only, `Host` and `Origin` checked
//!           thread            oldest out
//! ```
//! It runs where the console runs: beside an emulator, and on Lambda only if `CRUDDUR_EXPORTERS` names it.
//! The cargo feature `page` includes it; the layer is built without.
//!
//! # Addresses
//! All times are milliseconds since 1970 as a fraction; all durations are milliseconds. A value that is not
//! known is `null`. Errors are `{"error": "…"}` with 400, 403, 404 or 405. Parameters of a query are
//! percent-encoded; an empty one counts as missing, an invalid one is answered 400.
//!
//! | address | answer |
//! |---|---|
//! | `GET /assets/NAME` | a file of `assets/` |
//! | `GET /api/…` | JSON, below; an unknown address is 404 |
//! | `GET` of any other address, such as `/`, `/traces/ID`, `/latency` | `index.html` |
//! | `POST /api/clear` | 204; removes all traces, lines and failures |
//! | `POST` of other addresses, and `/v1/…` | as without the page: OTLP |
//!
//! **`GET /api/traces`** `?limit=&route=&method=&status=&error=1&cold=1&user=&min_ms=&max_ms=&since_ms=&until_ms=&text=&attr=`
//! → `{"traces": [SUMMARY…], "matched": n, "spans_dropped": n, "traces_evicted": n}`, the newest first.
//! `limit` is 200 by default and 10,000 at most; `matched` counts all that match. `route` is exact, or the
//! name of a request without one;
//! `status` is exact or a class (`5xx`); `user` is a part of the user; `since_ms` and `until_ms` bound the
//! start; `text` is a part of any text in the trace, of its id or request id, in any case of ASCII letters;
//! `attr` is `key:value` or a `key`, of any span or resource, and may be repeated: all must match.
//!
//! SUMMARY = `{id, name, route, method, status, error, cold, user, service, request_id, start_ms,
//! duration_ms, spans, lines, failures, orphans}`. `name`, `service`: text, perhaps empty. `status`: a
//! number. `error`: a text if the request failed, else `null`. `cold`: a boolean. Start and duration are
//! those of the request, else of all spans together. `orphans`: spans whose
//! parent is not there, although it should be in the same process.
//!
//! **`GET /api/traces/ID`** → `{"summary": SUMMARY, "resources": [{}…], "spans": [SPAN…], "lines": [LINE…],
//! "failures": [GROUP…], "dropped": n}`; spans in the order of their start, lines in that of their time. `dropped`: spans beyond
//! the first 5,000, and other items without room. 404 for an unknown id.
//!
//! SPAN = `{id, parent, name, kind, service, start_ms, duration_ms, error, status_message, platform,
//! cut, attributes: {}, resource, events: [{name, time_ms, attributes: {}}], links: [{trace, span}]}`.
//! `kind`: `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`. `error`, `cut`: booleans;
//! `cut` if values were cut for the store. `resource`: an index of `resources`. `platform`: `init`, `restore`, `overhead`, `report` or
//! `invocation` for a span that the extension made of a platform event, else `null`.
//!
//! **`GET /api/traces/ID/text`** → the trace as text: waterfall, errors, lines.
//! **`GET /api/traces/ID/otlp`** → its spans as OTLP/JSON, as a download.
//! **`GET /api/traces/ID/previews`** → `{"honeycomb": [text…], "xray": […], "cloudwatch": […], "rollbar": […]}`:
//! the documents that each destination would get of the first 1,000 items of each signal, most of them JSON.
//!
//! **`GET /api/lines`** `?text=&level=&trace=&limit=` → `{"lines": [LINE…], "matched": n, "lines_dropped": n}`,
//! the newest first. `lines_dropped` counts failures, too.
//! `level` is the lowest one: `trace`, `debug`, `info`, `warn`, `error` or `fatal`. `limit` is 500 by
//! default and 5,000 at most.
//!
//! LINE = `{time_ms, level, message, trace, span, request_id, service, fields: {}}`; `level` is one of those
//! six in capital letters.
//!
//! **`GET /api/failures`** → `{"groups": [GROUP…]}`, the latest first, grouped as Rollbar groups items.
//! GROUP = `{key, title, level, count, first_ms, last_ms, traces: [id…], frames: [{file, line, column,
//! function, own}], causes: [{title, frames}], lines: [{time_ms, level, message}], request, person,
//! custom: {}}`. The most recent call is the first frame; `own` frames are of the program. `level`: `debug`,
//! `info`, `warning`, `error` or `critical`. `request`, `person`: objects as Rollbar takes them, or `null`.
//! Frames, causes, lines and the rest are of the latest occurrence.
//!
//! **`GET /api/points`** `?since_ms=&route=&method=` → `{"points": [[start_ms, duration_ms, flags, id]…]}`,
//! the oldest first; flags: 1 failed, 2 cold.
//! **`GET /api/routes`** `?since_ms=` → `{"routes": [{route, method, count, errors, cold, p50_ms, p90_ms, p99_ms}…]}`;
//! the percentiles leave cold starts out, and are `null` if all were cold. A request without a route
//! counts under its name.
//!
//! **`GET /api/destinations`** → `{"destinations": [{name, enabled, endpoint, breaker, received, delivered, held,
//! spooled, dropped: {reason: n}, requests, failed_requests, signals: {traces: {…}}}…], "holds": {count,
//! longest_ms, total_ms}, "refused": {…}, "trace_url": text}`. `breaker`: `closed`, `open`, `half-open`, or
//! `null` if the destination is not enabled. `trace_url`: `CRUDDUR_TRACE_URL`, with `{trace_id}` in it.
//!
//! **`GET /api/stream`** → server-sent events. `hello`: a number that is another after each start of the
//! extension. `trace`: `[SUMMARY…]` of new and changed traces, at most four times a second. `clear`: the store
//! was cleared. A comment comes each 15 s. 503 beyond 16 readers.

pub mod facts;
pub mod split;
pub mod store;
pub mod query;
pub mod views;
pub mod config;
pub mod previews;
mod access;
mod assets;
mod stream;
mod api;
pub mod server;

use futures_util::future::BoxFuture;

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::exporter::page::config::PageConfig;
use crate::exporter::page::split::split;
use crate::exporter::page::store::PageStore;
use crate::exporter::page::views::lines::of_payload;
use crate::exporter::page::views::trace::ShownTrace;
use crate::invocation::registry::Registry;
use crate::otlp::failure_codec;
use crate::otlp::payload::{Payload, SignalKind};

pub const KIND: ExporterKind = ExporterKind {
    name: "page",
    variables: config::VARIABLES,
    read: |reader, selection| PageConfig::read(reader, selection).map(|it| Box::new(it) as _),
};

impl ExporterConfig for PageConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        let address = self.address.clone();
        Box::new(PageExporter { store: self.store.clone(), address })
    }
}

/// Keeps batches in the store.
#[derive(Debug)]
pub struct PageExporter {
    store: PageStore,
    address: Option<String>,
}

impl PageExporter {
    /// On a blocking thread, since a batch may have thousands of spans.
    async fn keep(&self, batch: Batch) -> Result<ExportOutcome, ExportError> {
        let store = self.store.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let bytes = batch.to_plain()?;
            store.append(split(batch.kind, &bytes));
            std::io::Result::Ok(())
        });
        let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
        kept.await.map_err(|_| ExportError::Panicked)?.map_err(unreadable)?;
        Ok(ExportOutcome::default())
    }
}

impl Exporter for PageExporter {
    fn spec(&self) -> DestinationSpec {
        use SignalKind::{Failures, Lines, Logs, Traces};
        DestinationSpec {
            name: "page",
            kinds: vec![Traces, Logs, Lines, Failures],
            durable: false,
            max_items: u64::MAX,
            keeps_duplicates: true,
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.keep(batch.clone()))
    }

    /// The JSON of each trace, line or failure, as the page's API has it.
    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        let unreadable = |error: serde_json::Error| ExportError::Unreadable(error.to_string());
        let store = PageStore::default();
        store.append(split(payload.kind, &payload.bytes));
        let snapshot = store.snapshot();
        let traces = snapshot.traces.iter().map(|it| serde_json::to_string(&ShownTrace::of(it)));
        let lines = snapshot.loose.iter().flat_map(of_payload);
        let shown = traces.chain(lines.map(|line| serde_json::to_string(&line)));
        let failures = snapshot.loose.iter().filter(|it| it.kind == SignalKind::Failures);
        let failures = failures.flat_map(|payload| failure_codec::read(&payload.bytes));
        let failures = failures.map(|failure| Ok(failure.json.to_owned()));
        shown.chain(failures).map(|document| document.map_err(unreadable)).collect()
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        let address = self.address.as_deref().unwrap_or("the address of OTLP/HTTP");
        let finding = Finding::fine(format!("is at {address} while the extension runs"));
        Box::pin(std::future::ready(vec![finding]))
    }
}

#[cfg(test)]
mod measure;
