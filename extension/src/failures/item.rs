//! What was gathered becomes items of Rollbar's.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trace_context::XrayHeader;

use super::{
    gathered::{Context, Ended, Failure, Gathered, Message, Phase, Source, cut_to},
    request::{self, first},
};
use crate::{
    backtrace::{self, frames},
    config::{Config, Rollbar},
    exporter::rollbar::payload::{
        Body, Content, Data, Entry, Exception, Frame, Item, Level, Message as Words, Notifier,
        Server, Trace,
    },
    lines::context::xray_trace_id,
    platform::Traces,
    scrub::Scrubber,
};

/// Most exceptions of a chain. Our choice.
const MAX_CHAIN: usize = 5;

/// Most frames of an exception. Our choice, well above what anybody reads.
const MAX_FRAMES: usize = 200;

/// Where Lambda puts the function's code.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const ROOT: &str = "/var/task";

/// An item, and what decides over it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// `uuid` of the item: the same for the same failure, whoever makes it when.
    pub(super) id: String,
    /// Failures with the same one are the same failure again.
    pub(super) fingerprint: String,
    pub(super) item: Item,
    pub(super) is_error: bool,
}

/// What is known of a failure beside what was gathered.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What the id is made of: the request's id, else the trace's.
    pub(super) key: String,
    pub(super) request_id: Option<String>,
    pub(super) traces: Traces,
    /// When the invocation would time out.
    pub(super) deadline_ms: Option<i64>,
    pub(super) max_memory_mb: Option<f64>,
    /// The last lines before.
    pub(super) lines: Vec<Entry>,
}

/// Makes items.
#[derive(Debug)]
pub(super) struct Maker {
    config: Rollbar,
    scrubber: Scrubber,
    function: String,
    version: Option<String>,
    region: Option<String>,
}

impl Maker {
    pub(super) fn new(rollbar: &Rollbar, config: &Config) -> Self {
        let region = config.resource.iter().find(|(key, _)| *key == "cloud.region");
        Self {
            config: rollbar.clone(),
            scrubber: Scrubber::new(&config.scrub),
            function: config.function_name.clone(),
            version: config.function_version.clone(),
            region: region.map(|(_, region)| region.clone()),
        }
    }

    /// How bad it is, unless it is nothing, or below the level that is asked for.
    pub(super) fn level(&self, gathered: &Gathered) -> Option<Level> {
        let levels = gathered.failures.iter().map(|failure| failure.level);
        let level = levels.chain(gathered.ended.as_ref().map(|_| Level::Critical)).max();
        level.filter(|level| *level >= self.config.min_level)
    }

    /// The failure, if it has a [level](Self::level).
    pub(super) fn failure(&self, gathered: &Gathered, known: &Known) -> Option<Made> {
        let level = self.level(gathered)?;
        let chain = chain(&gathered.failures, gathered.ended.is_some());
        let ended = gathered.ended.as_ref();
        let mut data = self.data(gathered, known);
        data.level = Some(level);
        let (content, time_ms) = match (&chain[..], ended) {
            ([], Some(ended)) => (Content::Trace(self.platform(ended, known)), ended.time_ms),
            ([], None) => return None,
            ([one], _) if one.class.is_empty() && one.stack.is_empty() => {
                let body = self.words(&one.message);
                (Content::Message(Words { body, more: BTreeMap::new() }), one.time_ms)
            }
            ([one], _) => (Content::Trace(self.trace(one)), one.time_ms),
            (chain, _) => {
                let traces = chain.iter().map(|failure| self.trace(failure)).collect();
                (Content::TraceChain(traces), chain[0].time_ms)
            }
        };
        data.timestamp = Some(time_ms.max(0) / 1_000);
        data.body.content = content;
        if gathered.count() > 1 {
            data.custom.insert("failures".to_owned(), json!(gathered.count()));
        }
        if let Some(ended) = ended {
            data.custom.insert("platform_error".to_owned(), json!(ended.error_type));
        }
        Some(made(data, "failure", &known.key))
    }

    /// The messages, whatever their level: somebody asked for them.
    pub(super) fn messages(&self, gathered: &Gathered, known: &Known) -> Vec<Made> {
        let left_out = gathered.message_count - gathered.messages.len() as u64;
        let mut made: Vec<_> = gathered
            .messages
            .iter()
            .map(|message| self.message(message, gathered, known))
            .collect();
        if let Some(last) = made.last_mut().filter(|_| left_out > 0) {
            last.item.data.custom.insert("further_messages".to_owned(), json!(left_out));
        }
        made
    }

    fn message(&self, message: &Message, gathered: &Gathered, known: &Known) -> Made {
        let mut data = self.data(gathered, known);
        let more = message.more.iter().filter(|(key, _)| *key != "body").map(|(key, value)| {
            let is_secret = self.scrubber.is_secret(key);
            let value = if is_secret { "***".into() } else { self.scrubber.text(value) };
            (key.clone(), json!(value))
        });
        let body = self.words(&message.body);
        data.body.content = Content::Message(Words { body, more: more.collect() });
        data.level = Some(message.level);
        data.timestamp = Some(message.time_ms.max(0) / 1_000);
        made(data, "message", &format!("{} {}", known.key, message.key))
    }

    /// All but what happened.
    fn data(&self, gathered: &Gathered, known: &Known) -> Data {
        let nothing = Context::default();
        let context = gathered.context.as_ref().unwrap_or(&nothing);
        let facts = &context.facts;
        let version = first(facts, &["service.version"]).or(self.version.as_deref());
        let version = version.map(|version| cut_to(version, 40));
        let host = first(facts, &["faas.instance", "host.name"]);
        let host = host.or(self.config.host.as_deref()).unwrap_or(&self.function);
        Data {
            environment: self.config.environment.clone(),
            body: Body { telemetry: known.lines.clone(), ..Body::default() },
            code_version: version.clone(),
            platform: Some("linux".to_owned()),
            language: first(facts, &["telemetry.sdk.language", "process.runtime.name"])
                .map(str::to_owned),
            framework: Some("aws-lambda".to_owned()),
            context: Some(request::route(facts).unwrap_or(self.service(context)).to_owned()),
            request: request::request(facts, &self.scrubber, self.config.client_address),
            person: request::person(facts),
            server: Some(Server {
                host: Some(host.to_owned()),
                root: Some(ROOT.to_owned()),
                code_version: version,
                ..Server::default()
            }),
            custom: self.custom(gathered, context, known),
            notifier: Some(Notifier {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            ..Data::default()
        }
    }

    fn service<'a>(&'a self, context: &'a Context) -> &'a str {
        first(&context.facts, &["service.name", "faas.name"]).unwrap_or(&self.function)
    }

    fn custom(
        &self,
        gathered: &Gathered,
        context: &Context,
        known: &Known,
    ) -> BTreeMap<String, Value> {
        let facts = &context.facts;
        let header = known.traces.xray_header.as_deref();
        let header = header.or(first(facts, &["cruddur.xray_header"]));
        let root = header.and_then(XrayHeader::parse).map(|header| header.root.to_string());
        let server = known.traces.server.map(|(trace, span)| (trace.to_string(), span.to_string()));
        let (trace_id, span_id) = server.unzip();
        let trace_id = gathered.trace_ids.first().cloned().or(trace_id).or(root);
        let span_id = Some(context.span_id.clone()).filter(|id| !id.is_empty()).or(span_id);
        let xray = header.and_then(xray_trace_id);
        let end = Some(context.end_ms).filter(|_| context.is_server);
        let remaining = known.deadline_ms.zip(end).map(|(deadline, end)| deadline - end);
        let text = |keys: &[&str]| first(facts, keys).map(|text| json!(text));
        let told = [
            ("request_id", known.request_id.as_ref().map(|id| json!(id))),
            ("function", text(&["faas.name"]).or(Some(json!(self.function)))),
            (
                "function_version",
                text(&["faas.version"]).or(self.version.as_ref().map(|v| json!(v))),
            ),
            ("service", text(&["service.name"])),
            ("memory_mb", self.config.memory_mb.map(|mb| json!(mb))),
            ("max_memory_used_mb", known.max_memory_mb.map(|mb| json!(mb))),
            ("cold_start", text(&["faas.coldstart"]).map(|text| json!(text == "true"))),
            ("remaining_ms", remaining.map(|ms| json!(ms))),
            ("status", text(&["http.response.status_code", "http.status_code"])),
            ("trace_url", trace_id.as_ref().and_then(|id| self.trace_url(id)).map(Value::from)),
            ("xray_url", xray.as_ref().and_then(|id| self.xray_url(id)).map(Value::from)),
            ("trace_id", trace_id.map(Value::from)),
            ("span_id", span_id.map(Value::from)),
            ("xray_trace_id", xray.map(Value::from)),
        ];
        told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Rollbar takes no empty ones.
    fn words(&self, text: &str) -> String {
        let text = if text.trim().is_empty() { "(empty)" } else { text };
        self.scrubber.text(text).into_owned()
    }

    fn trace_url(&self, trace_id: &str) -> Option<String> {
        Some(self.config.trace_url.as_ref()?.replace("{trace_id}", trace_id))
    }

    /// <https://docs.aws.amazon.com/xray/latest/devguide/xray-console-traces.html>
    fn xray_url(&self, trace_id: &str) -> Option<String> {
        let region = self.region.as_ref()?;
        Some(format!(
            "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#xray:traces/{trace_id}"
        ))
    }

    fn trace(&self, failure: &Failure) -> Trace {
        let mut told: Vec<Frame> =
            frames(&failure.stack).iter().take(MAX_FRAMES).map(frame).collect();
        // Rollbar wants the most recent call last.
        told.reverse();
        if told.is_empty() {
            told.push(self.place(&failure.place));
        }
        let class = if failure.class.is_empty() { "Error" } else { &failure.class };
        let message = self.scrubber.text(&failure.message).into_owned();
        Trace {
            frames: told,
            exception: Exception {
                class: class.to_owned(),
                message: Some(message).filter(|message| !message.is_empty()),
                description: None,
            },
        }
    }

    /// An end that nobody in the function has seen.
    fn platform(&self, ended: &Ended, known: &Known) -> Trace {
        let (class, what) = match ended.error_type.as_str() {
            "timeout" | "Sandbox.Timedout" | "Sandbox.Timeout" => ("Timeout", "ran out of time"),
            "Runtime.OutOfMemory" => ("OutOfMemory", "ran out of memory"),
            "failure" => ("Crash", "ended with its sandbox"),
            other => (other, "failed"),
        };
        let who = match ended.phase {
            Phase::Init => "The function's init",
            Phase::Restore => "The function's restore",
            Phase::Invocation => "The invocation",
        };
        let memory = known.max_memory_mb.zip(self.config.memory_mb);
        let memory =
            memory.map(|(used, size)| format!(", {used} of {size} MB")).unwrap_or_default();
        let exception = Exception {
            class: class.to_owned(),
            message: Some(format!("{who} {what}: {}{memory}", ended.error_type)),
            description: None,
        };
        Trace { frames: vec![self.place("")], exception }
    }

    /// In the place of a stack, since it is not known whether Rollbar takes an empty one.
    fn place(&self, span: &str) -> Frame {
        let method = Some(span.to_owned()).filter(|span| !span.is_empty());
        Frame { filename: self.function.clone(), method, ..Frame::default() }
    }
}

/// What was thrown, the outermost first: the server span tells what became of the request, and
/// spans end before those around them. A line counts if nothing else does, or the platform ended
/// the invocation and the line says where.
fn chain(failures: &[Failure], is_ended: bool) -> Vec<&Failure> {
    let mut spans: Vec<_> = failures.iter().filter(|it| it.source != Source::Line).rev().collect();
    spans.sort_by_key(|failure| failure.source);
    let mut chain: Vec<&Failure> = Vec::new();
    for failure in spans {
        // Told by each span that it passed.
        let is_same =
            |known: &&Failure| known.class == failure.class && known.message == failure.message;
        match chain.iter().position(is_same) {
            Some(index) if chain[index].stack.is_empty() => chain[index] = failure,
            Some(_) => {}
            None => chain.push(failure),
        }
    }
    // A call that failed with nothing to say but that, beside an exception that says why.
    let says_more = chain.iter().any(|failure| failure.level >= Level::Error);
    chain.retain(|failure| failure.level >= Level::Error || !says_more);
    chain.truncate(MAX_CHAIN);
    if chain.is_empty() {
        let lines = || failures.iter().filter(|failure| failure.source == Source::Line);
        let thrown = lines().find(|failure| !failure.class.is_empty());
        let first = if is_ended { None } else { lines().next() };
        chain.extend(thrown.or(first));
    }
    chain
}

fn frame(frame: &backtrace::Frame<'_>) -> Frame {
    Frame {
        filename: cut_to(frame.file.unwrap_or("(unknown)"), 500),
        lineno: frame.line,
        colno: frame.column,
        method: frame.function.map(|function| cut_to(function, 500)),
        in_project: frame.is_ours(),
        ..Frame::default()
    }
}

/// Gives it its ids.
fn made(mut data: Data, kind: &str, key: &str) -> Made {
    let fingerprint = fingerprint(&data);
    let service = data.custom.get("function").and_then(Value::as_str).unwrap_or_default();
    let digest = hash(&[kind, service, key]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    let id = uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string();
    data.fingerprint = Some(fingerprint.clone());
    data.uuid = Some(id.clone());
    let is_error = data.level >= Some(Level::Error);
    Made { id, fingerprint, item: Item { data }, is_error }
}

/// The same for failures of the same kind at the same place: their texts and lines of code do not
/// count, since they differ from one to the next, and from one version to the next.
fn fingerprint(data: &Data) -> String {
    let place = |trace: &Trace| {
        let innermost = trace.frames.iter().rev().find(|frame| frame.in_project);
        let method = innermost.and_then(|frame| frame.method.clone()).unwrap_or_default();
        format!("{} {method}", trace.exception.class)
    };
    let level = data.level.map(Level::name).unwrap_or_default();
    let what = match &data.body.content {
        Content::Trace(trace) => place(trace),
        Content::TraceChain(chain) => chain.iter().map(place).collect::<Vec<_>>().join(" "),
        Content::Message(message) => format!("{level} {}", without_numbers(&message.body)),
        Content::CrashReport(report) => report.raw.clone(),
    };
    let context = data.context.as_deref().unwrap_or_default();
    hex(&hash(&[&data.environment, context, &what])[..20])
}

/// `user 17 is gone` is `user # is gone`.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        let char = if char.is_ascii_digit() { '#' } else { char };
        if char != '#' || !out.ends_with('#') {
            out.push(char);
        }
    }
    out
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unix milliseconds.
pub(super) fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
