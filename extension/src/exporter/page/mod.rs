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
//! `limit` is 200 by default and 10,000 at most; `matched` counts all that match. `route` is exact;
//! `status` is exact or a class (`5xx`); `user` is a part of the user; `since_ms` and `until_ms` bound the
//! start; `text` is a part of any text in the trace, of its id or request id, in any case of ASCII letters;
//! `attr` is `key:value` or a `key`, of any span or resource, and may be repeated: all must match.
//!
//! SUMMARY = `{id, name, route, method, status, error, cold, user, service, request_id, start_ms,
//! duration_ms, spans, lines, failures, orphans}`. `name`, `service`: text, perhaps empty. `status`: a
//! number. `error`: a text if the request failed, else `null`. `cold`: a boolean. `orphans`: spans whose
//! parent is not there, although it should be in the same process.
//!
//! **`GET /api/traces/ID`** → `{"summary": SUMMARY, "spans": [SPAN…], "lines": [LINE…], "failures": [GROUP…],
//! "dropped": n}`; spans in the order of their start, lines in that of their time. `dropped`: spans beyond
//! the first 5,000, and other items without room. 404 for an unknown id.
//!
//! SPAN = `{id, parent, name, kind, service, start_ms, duration_ms, error, status_message, platform,
//! cut, attributes: {}, resource: {}, events: [{name, time_ms, attributes: {}}], links: [{trace, span}]}`.
//! `kind`: `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`. `error`, `cut`: booleans;
//! `cut` if values were cut for the store. `platform`: `init`, `restore`, `overhead`, `report` or
//! `invocation` for a span that the extension made of a platform event, else `null`.
//!
//! **`GET /api/traces/ID/text`** → the trace as text: waterfall, errors, lines.
//! **`GET /api/traces/ID/otlp`** → its spans as OTLP/JSON, as a download.
//! **`GET /api/traces/ID/previews`** → `{"honeycomb": [text…], "xray": […], "cloudwatch": […], "rollbar": […]}`:
//! the documents that each destination would get, most of them JSON.
//!
//! **`GET /api/lines`** `?text=&level=&trace=&limit=` → `{"lines": [LINE…], "matched": n}`, the newest first.
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
//! the percentiles leave cold starts out, and are `null` if all were cold. `route` is the trace's name where
//! there is none.
//!
//! **`GET /api/destinations`** → `{"destinations": [{name, enabled, endpoint, breaker, received, delivered, held,
//! spooled, dropped: {reason: n}, requests, failed_requests, signals: {traces: {…}}}…], "holds": {count,
//! longest_ms, total_ms}, "refused": {…}, "trace_url": text}`. `breaker`: `closed`, `open`, `half-open`, or
//! `null` if the destination is not enabled. `trace_url`: `CRUDDUR_TRACE_URL`, with `{trace_id}` in it.
//!
//! **`GET /api/stream`** → server-sent events. `hello`: a number that is another after each start of the
//! extension. `trace`: `[SUMMARY…]` of new and changed traces, at most four times a second. `clear`: the store
//! was cleared. A comment comes each 15 s. 503 beyond 16 readers.
