//! Builds Rollbar items of the evidence of one failure.
//! <https://docs.rollbar.com/reference/create-item>,
//! <https://github.com/rollbar/rollbar-php/blob/master/POST_FORMAT.md>
//!
//! | part | decided by |
//! |---|---|
//! | title: class and message, and the frames | the first of the [`chain`]: the server span's failure, the outermost span's, or the first line with an exception; else the platform's end; else the first line |
//! | `level` | the highest of all failures; `critical` if the platform reported the end |
//! | `timestamp` | the failure of the title |
//! | `request`, `person`, `context`, `code_version`, `language`, `server` | the server span, else the last span or record |
//! | `custom` | the attempt, then the span |
//! | `fingerprint` | environment, `context`, and each exception's class and innermost method of the program |
//! | `uuid` | function and [key](ItemContext::key) |
//!
//! A message that the function asked to report is a separate item: title, level and time are the message's.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use trace_context::{TraceId, XrayHeader};

use crate::invocation::attempt::Attempt;
use crate::invocation::registry::Registry;
use crate::lambda::telemetry_event::OUT_OF_MEMORY;
use crate::otlp::payload::XRAY_HEADER_KEY;
use crate::processor::failures::attributes::{SelectedAttributes, Texts};
use crate::processor::failures::evidence::{
    Evidence, FailedPhase, PlatformEnd, ReportedMessage, SpanContext,
};
use crate::processor::failures::fingerprint::{fingerprint, hash};
use crate::processor::failures::item::{ItemLevel, cleaned};
use crate::processor::failures::out_of_memory;
use crate::processor::failures::request;
use crate::processor::failures::settings::{FailureSettings, ItemSettings};
use crate::processor::failures::traces::{chain, content, place, trace};
use crate::processor::failures::truncate::cut_to;
use crate::scrub::{MASK, Scrubber};

/// The directory of the function's code on Lambda.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const ROOT: &str = "/var/task";

/// Longest name in characters, the limit that Rollbar sets for most names.
const MAX_NAME_CHARS: usize = 255;

/// Keys in `custom`: the number of failures of the invocation, and of messages that were left out.
pub(super) const FAILURES: &str = "failures";
pub(super) const FURTHER_MESSAGES: &str = "further_messages";

/// An item with the keys that decide whether it is sent.
#[derive(Clone, Debug)]
pub(super) struct NewItem {
    /// The item's `uuid`: every process makes the same, and Rollbar drops the second of two.
    pub(super) id: String,
    /// Failures with one fingerprint are repetitions.
    pub(super) fingerprint: String,
    /// The member `data` of the request to Rollbar.
    pub(super) data: Value,
    /// Number of failed invocations and messages that the item stands for.
    pub(super) items: u64,
}

/// The facts about a failure beside its evidence.
#[derive(Debug, Default)]
pub(super) struct ItemContext {
    /// The [attempt's key](Attempt::key), else the trace id, else the time of the failed init, else time and
    /// message of the first failure.
    pub(super) key: String,
    pub(super) attempt: Option<Attempt>,
    /// The resource of the function's last spans or log records that held evidence.
    pub(super) resource: Arc<Texts>,
    /// The last log lines, oldest first.
    pub(super) lines: Vec<Value>,
}

#[derive(Debug)]
pub(super) struct ItemBuilder {
    config: ItemSettings,
    scrubber: Scrubber,
    function: String,
    version: Option<String>,
    revision: Option<String>,
    region: Option<String>,
    registry: Registry,
}

impl ItemBuilder {
    pub(super) fn new(settings: FailureSettings, registry: Registry) -> Self {
        let FailureSettings {
            function_name, function_version, revision, region, scrub, items, ..
        } = settings;
        Self {
            config: items,
            scrubber: Scrubber::configured(scrub.as_deref()),
            function: function_name,
            version: function_version,
            revision,
            region,
            registry,
        }
    }

    /// The highest level of the evidence, unless it is below the configured level.
    pub(super) fn level(&self, evidence: &Evidence) -> Option<ItemLevel> {
        let levels = evidence.failures.iter().map(|failure| failure.level);
        let level = levels.chain(evidence.end.as_ref().map(|_| ItemLevel::Critical)).max();
        level.filter(|level| *level >= self.config.min_level)
    }

    /// Builds the item of the failure, if it has a [level](Self::level).
    pub(super) fn failure(&self, evidence: &Evidence, known: &ItemContext) -> Option<NewItem> {
        let level = self.level(evidence)?;
        let end = evidence.end.as_ref();
        let chain = chain(&evidence.failures, end.is_some());
        let (content, time_ms) = match (&chain[..], end) {
            ([], Some(end)) => (self.platform(end, evidence.max_memory_mb), end.time_ms),
            ([], None) => return None,
            ([one], _) if one.class.is_empty() && one.stack.is_empty() => {
                (message_content(&one.message, Map::new()), one.time_ms)
            }
            (chain, _) => (content(chain, &self.function), chain[0].time_ms),
        };
        let mut data = self.data(evidence, known, content, (level, time_ms));
        if evidence.count() > 1 {
            data["custom"][FAILURES] = json!(evidence.count());
        }
        if let Some(end) = end {
            data["custom"]["platform_error"] = json!(end.error_type);
        }
        if out_of_memory::has_sign(evidence, &known.lines) {
            data["custom"]["out_of_memory"] = json!(true);
        }
        Some(self.item(data, "failure", evidence, &known.key))
    }

    /// Builds an item for each message. Their level does not matter, since the function asked for them.
    pub(super) fn messages(&self, evidence: &Evidence, known: &ItemContext) -> Vec<NewItem> {
        let left_out = evidence.message_count - evidence.messages.len() as u64;
        let messages = evidence.messages.iter();
        let mut items: Vec<_> = messages.map(|it| self.message(it, evidence, known)).collect();
        if let Some(last) = items.last_mut().filter(|_| left_out > 0) {
            last.data["custom"][FURTHER_MESSAGES] = json!(left_out);
            last.items += left_out;
        }
        items
    }

    fn message(
        &self,
        message: &ReportedMessage,
        evidence: &Evidence,
        known: &ItemContext,
    ) -> NewItem {
        let more = message.more.iter().map(|(key, value)| {
            let is_secret = self.scrubber.is_secret(key);
            (key.clone(), json!(if is_secret { MASK } else { value }))
        });
        let content = message_content(&message.body, more.collect());
        let data = self.data(evidence, known, content, (message.level, message.time_ms));
        self.item(data, "message", evidence, &format!("{} {}", known.key, message.key))
    }

    fn data(
        &self,
        evidence: &Evidence,
        known: &ItemContext,
        mut body: Value,
        (level, time_ms): (ItemLevel, i64),
    ) -> Value {
        let facts = SelectedAttributes { resource: Arc::clone(&known.resource), own: Texts::new() };
        let unknown = SpanContext { facts, ..SpanContext::default() };
        let context = evidence.context.as_ref().unwrap_or(&unknown);
        let facts = &context.facts;
        let name = |text: &str| cut_to(text, MAX_NAME_CHARS);
        let own = self.revision.as_deref().or(self.version.as_deref());
        let version = facts.first(&["service.version"]).or(own);
        let version = version.map(|version| cut_to(version, 40)); // Rollbar's limit
        let host = facts.first(&["faas.instance", "host.name"]);
        let host = host.or(self.config.host.as_deref()).unwrap_or(&self.function);
        let service = facts.first(&["faas.name", "service.name"]).unwrap_or(&self.function);
        let language = facts.first(&["telemetry.sdk.language", "process.runtime.name"]);
        body["telemetry"] = json!(known.lines);
        json!({
            "environment": self.config.environment,
            "body": body,
            "level": level.name(),
            "timestamp": time_ms.max(0) / 1_000,
            "code_version": version,
            "platform": "linux", // `browser` and the like would need another kind of token
            "language": language.map(name),
            "framework": "aws-lambda",
            "context": name(request::route(facts).unwrap_or(service)), // searched by prefix
            "request": request::request(facts, &self.scrubber, self.config.client_address),
            "person": request::person(facts),
            "server": { "host": name(host), "root": ROOT, "code_version": version },
            "custom": self.custom(evidence, context, known.attempt.as_ref()),
            "notifier": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
        })
    }

    fn custom(
        &self,
        evidence: &Evidence,
        context: &SpanContext,
        attempt: Option<&Attempt>,
    ) -> Value {
        let facts = &context.facts;
        let header = attempt.and_then(|it| Some(it.xray_header.as_ref()?.parsed));
        let header = header.or_else(|| XrayHeader::parse(facts.first(&[XRAY_HEADER_KEY])?));
        let server = attempt.and_then(|it| it.server);
        let (trace_id, span_id) =
            server.map(|it| (it.trace_id.to_string(), it.span_id.to_string())).unzip();
        let own = Some(&context.trace_id).filter(|id| context.is_server && !id.is_empty());
        let gathered = || own.or(evidence.trace_ids.first()).cloned();
        let root = || header.map(|header| header.root.to_string());
        let trace_id = trace_id.or_else(gathered).or_else(root);
        let xray = header.map(|header| header.root.to_xray());
        let end = Some(context.end_ms).filter(|_| context.is_server);
        let deadline = attempt.and_then(|it| i64::try_from(it.deadline_ms?).ok());
        let cold_start = facts.first(&["faas.coldstart"]).map(|text| text == "true");
        let begun = attempt.filter(|it| it.has_begun());
        let is_unknown = attempt.is_none() && trace_id.is_none() && self.registry.is_concurrent();
        json!({
            "request_id": attempt.map(|it| &*it.request_id),
            "tenant_id": attempt.and_then(|it| it.tenant_id.as_deref()),
            "invocation": (is_unknown && self.registry.has_begun()).then_some("unknown"),
            "function": facts.first(&["faas.name"]).unwrap_or(&self.function),
            "function_version": facts.first(&["faas.version"]).or(self.version.as_deref()),
            "service": facts.first(&["service.name"]),
            "memory_mb": self.config.memory_mb,
            "max_memory_used_mb": evidence.max_memory_mb,
            "cold_start": cold_start.or(begun.map(|it| it.is_first)),
            "remaining_ms": deadline.zip(end).map(|(deadline, end)| deadline - end),
            "status": facts.first(&["http.response.status_code", "http.status_code"]),
            "trace_url": trace_id.as_ref().and_then(|id| self.trace_url(id)),
            "xray_url": xray.as_ref().and_then(|id| self.xray_url(id)),
            "trace_id": trace_id,
            "span_id": Some(context.span_id.clone()).filter(|id| !id.is_empty()).or(span_id),
            "xray_trace_id": xray,
        })
    }

    /// `None` also for a trace that sampling left out.
    fn trace_url(&self, trace_id: &str) -> Option<String> {
        let is_left_out = |id| self.registry.is_left_out(id);
        if TraceId::from_hex(trace_id).is_some_and(is_left_out) {
            return None;
        }
        Some(self.config.trace_url.as_ref()?.replace("{trace_id}", trace_id))
    }

    /// <https://docs.aws.amazon.com/xray/latest/devguide/xray-console-traces.html>
    fn xray_url(&self, trace_id: &str) -> Option<String> {
        let region = self.region.as_ref()?;
        Some(format!(
            "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#xray:traces/{trace_id}"
        ))
    }

    /// The content of an end that only the platform reported.
    fn platform(&self, end: &PlatformEnd, max_memory_mb: Option<f64>) -> Value {
        let (class, outcome) = match end.error_type.as_str() {
            "timeout" | "Sandbox.Timedout" | "Sandbox.Timeout" => ("Timeout", "ran out of time"),
            OUT_OF_MEMORY => ("OutOfMemory", "ran out of memory"),
            "failure" => ("Crash", "ended with its sandbox"),
            other => (other, "failed"),
        };
        let subject = match end.phase {
            FailedPhase::Init => "The function's init",
            FailedPhase::Restore => "The function's restore",
            FailedPhase::Invocation => "The invocation",
        };
        let memory = max_memory_mb.zip(self.config.memory_mb);
        let memory =
            memory.map(|(used, size)| format!(", {used} of {size} MB")).unwrap_or_default();
        let message = format!("{subject} {outcome}: {}{memory}", end.error_type);
        json!({ "trace": trace(class, &message, Vec::new(), place(&self.function, "")) })
    }

    /// Masks secrets and the client's address in every text, and adds the ids.
    fn item(&self, data: Value, kind: &str, evidence: &Evidence, key: &str) -> NewItem {
        let facts = evidence.context.as_ref().map(|context| &context.facts);
        let client = facts.and_then(request::client).unwrap_or_default();
        let clean = |text: &str| {
            let text = self.scrubber.text(text).into_owned();
            request::without_address(text, client, self.config.client_address)
        };
        let mut data = cleaned(data, &clean).unwrap_or_default();
        let fingerprint = fingerprint(&data);
        let digest = hash(&[kind, data["custom"]["function"].as_str().unwrap_or_default(), key]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string();
        data["fingerprint"] = json!(fingerprint);
        data["uuid"] = json!(id);
        NewItem { id, fingerprint, data, items: 1 }
    }
}

/// Rollbar rejects an empty text.
fn message_content(body: &str, mut message: Map<String, Value>) -> Value {
    let body = if body.trim().is_empty() { "(empty)" } else { body };
    message.insert("body".to_owned(), json!(body));
    json!({ "message": message })
}
