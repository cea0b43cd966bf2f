//! Builds Rollbar items of gathered evidence.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use trace_context::{TraceId, XrayHeader};

use crate::invocation::attempt::Attempt;
use crate::invocation::registry::Registry;
use crate::lambda::telemetry_event::OUT_OF_MEMORY;
use crate::otlp::payload::XRAY_HEADER_KEY;
use crate::processor::failures::attributes::SelectedAttributes;
use crate::processor::failures::evidence::{
    Evidence, FailedPhase, PlatformEnd, ReportedMessage, SpanContext, each_text,
};
use crate::processor::failures::fingerprint::{fingerprint, hash};
use crate::processor::failures::item::{
    Item, ItemBody, ItemContent, ItemData, ItemException, ItemLevel, ItemMessage, ItemServer,
    ItemTrace, Notifier, TelemetryEntry, Texts,
};
use crate::processor::failures::out_of_memory;
use crate::processor::failures::request;
use crate::processor::failures::settings::{FailureSettings, ItemSettings};
use crate::processor::failures::traces::{chain, content, place};
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
    /// The item's `uuid`, derived from the function and the [key](ItemContext::key), so that every process
    /// makes the same.
    pub(super) id: String,
    /// Failures with one fingerprint are repetitions.
    pub(super) fingerprint: String,
    pub(super) item: Item,
    /// Number of failed invocations and messages that the item stands for.
    pub(super) items: u64,
}

/// The facts about a failure beside its evidence.
#[derive(Debug, Default)]
pub(super) struct ItemContext {
    /// The item's id is derived from this: the [attempt's key](Attempt::key), else the trace id, else the
    /// time of the failed init, else time and message of the first failure.
    pub(super) key: String,
    pub(super) attempt: Option<Attempt>,
    pub(super) max_memory_mb: Option<f64>,
    /// The resource of the function's last spans or log records that held evidence.
    pub(super) resource: Arc<Texts>,
    pub(super) lines: Vec<TelemetryEntry>,
}

#[derive(Debug)]
pub(super) struct ItemBuilder {
    config: ItemSettings,
    scrubber: Scrubber,
    function: String,
    version: Option<String>,
    region: Option<String>,
    registry: Registry,
}

impl ItemBuilder {
    pub(super) fn new(settings: FailureSettings, registry: Registry) -> Self {
        let FailureSettings { function_name, function_version, region, scrub, items, .. } =
            settings;
        Self {
            config: items,
            scrubber: Scrubber::configured(scrub.as_deref()),
            function: function_name,
            version: function_version,
            region,
            registry,
        }
    }

    /// The highest level of the evidence, unless it is below the configured level.
    pub(super) fn level(&self, gathered: &Evidence) -> Option<ItemLevel> {
        let levels = gathered.failures.iter().map(|failure| failure.level);
        let level = levels.chain(gathered.ended.as_ref().map(|_| ItemLevel::Critical)).max();
        level.filter(|level| *level >= self.config.min_level)
    }

    /// Builds the item of the failure, if it has a [level](Self::level).
    pub(super) fn failure(&self, gathered: &Evidence, known: &ItemContext) -> Option<NewItem> {
        let level = self.level(gathered)?;
        let chain = chain(&gathered.failures, gathered.ended.is_some());
        let ended = gathered.ended.as_ref();
        let mut data = self.data(gathered, known);
        data.level = Some(level);
        let (content, time_ms) = match (&chain[..], ended) {
            ([], Some(ended)) => (ItemContent::Trace(self.platform(ended, known)), ended.time_ms),
            ([], None) => return None,
            ([one], _) if one.class.is_empty() && one.stack.is_empty() => {
                let body = non_empty(&one.message);
                (ItemContent::Message(ItemMessage { body, more: BTreeMap::new() }), one.time_ms)
            }
            (chain, _) => (content(chain, &self.function), chain[0].time_ms),
        };
        data.timestamp = Some(time_ms.max(0) / 1_000);
        data.body.content = content;
        if gathered.count() > 1 {
            data.custom.insert(FAILURES.to_owned(), json!(gathered.count()));
        }
        if let Some(ended) = ended {
            data.custom.insert("platform_error".to_owned(), json!(ended.error_type));
        }
        if out_of_memory::has_sign(gathered, &known.lines) {
            data.custom.insert("out_of_memory".to_owned(), json!(true));
        }
        Some(self.made(data, "failure", gathered, &known.key))
    }

    /// Builds an item for each message. Their level does not matter, since the function asked for them.
    pub(super) fn messages(&self, gathered: &Evidence, known: &ItemContext) -> Vec<NewItem> {
        let left_out = gathered.message_count - gathered.messages.len() as u64;
        let mut made: Vec<_> = gathered
            .messages
            .iter()
            .map(|message| self.message(message, gathered, known))
            .collect();
        if let Some(last) = made.last_mut().filter(|_| left_out > 0) {
            last.item.data.custom.insert(FURTHER_MESSAGES.to_owned(), json!(left_out));
            last.items += left_out;
        }
        made
    }

    fn message(
        &self,
        message: &ReportedMessage,
        gathered: &Evidence,
        known: &ItemContext,
    ) -> NewItem {
        let mut data = self.data(gathered, known);
        let more = message.more.iter().filter(|(key, _)| *key != "body").map(|(key, value)| {
            let is_secret = self.scrubber.is_secret(key);
            (key.clone(), json!(if is_secret { MASK } else { value }))
        });
        let body = non_empty(&message.body);
        data.body.content = ItemContent::Message(ItemMessage { body, more: more.collect() });
        data.level = Some(message.level);
        data.timestamp = Some(message.time_ms.max(0) / 1_000);
        self.made(data, "message", gathered, &format!("{} {}", known.key, message.key))
    }

    /// The item without its content.
    fn data(&self, gathered: &Evidence, known: &ItemContext) -> ItemData {
        let facts = SelectedAttributes { resource: Arc::clone(&known.resource), own: Texts::new() };
        let unknown = SpanContext { facts, ..SpanContext::default() };
        let context = gathered.context.as_ref().unwrap_or(&unknown);
        let facts = &context.facts;
        let name = |text: &str| cut_to(text, MAX_NAME_CHARS);
        let version = facts.first(&["service.version"]).or(self.version.as_deref());
        let version = version.map(|version| cut_to(version, 40));
        let host = facts.first(&["faas.instance", "host.name"]);
        let host = host.or(self.config.host.as_deref()).unwrap_or(&self.function);
        ItemData {
            environment: self.config.environment.clone(),
            body: ItemBody { telemetry: known.lines.clone(), ..ItemBody::default() },
            code_version: version.clone(),
            platform: Some("linux".to_owned()),
            language: facts.first(&["telemetry.sdk.language", "process.runtime.name"]).map(name),
            framework: Some("aws-lambda".to_owned()),
            context: Some(name(request::route(facts).unwrap_or(self.service(context)))),
            request: request::request(facts, &self.scrubber, self.config.client_address),
            person: request::person(facts),
            server: Some(ItemServer {
                host: Some(name(host)),
                root: Some(ROOT.to_owned()),
                code_version: version,
            }),
            custom: self.custom(gathered, context, known),
            notifier: Some(Notifier {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            ..ItemData::default()
        }
    }

    fn service<'a>(&'a self, context: &'a SpanContext) -> &'a str {
        context.facts.first(&["faas.name", "service.name"]).unwrap_or(&self.function)
    }

    fn custom(
        &self,
        gathered: &Evidence,
        context: &SpanContext,
        known: &ItemContext,
    ) -> BTreeMap<String, Value> {
        let facts = &context.facts;
        let attempt = known.attempt.as_ref();
        let header = attempt.and_then(|it| Some(it.xray_header.as_ref()?.parsed));
        let header = header.or_else(|| XrayHeader::parse(facts.first(&[XRAY_HEADER_KEY])?));
        let root = header.map(|header| header.root.to_string());
        let server = attempt.and_then(|it| it.server);
        let server = server.map(|it| (it.trace_id.to_string(), it.span_id.to_string()));
        let (trace_id, span_id) = server.unzip();
        let own = Some(&context.trace_id).filter(|id| context.is_server && !id.is_empty());
        let gathered_id = own.or(gathered.trace_ids.first()).cloned();
        let trace_id = trace_id.or(gathered_id).or(root);
        let span_id = Some(context.span_id.clone()).filter(|id| !id.is_empty()).or(span_id);
        let xray = header.map(|header| header.root.to_xray());
        let end = Some(context.end_ms).filter(|_| context.is_server);
        let deadline = attempt.and_then(|it| i64::try_from(it.deadline_ms?).ok());
        let remaining = deadline.zip(end).map(|(deadline, end)| deadline - end);
        let cold_start = facts.first(&["faas.coldstart"]).map(|text| text == "true");
        let begun = attempt.filter(|it| it.has_begun());
        let cold_start = cold_start.or(begun.map(|it| it.is_first));
        let text = |keys: &[&str]| facts.first(keys).map(|text| json!(text));
        let is_unknown = attempt.is_none() && trace_id.is_none() && self.registry.is_concurrent();
        let fields = [
            ("request_id", attempt.map(|it| json!(&*it.request_id))),
            ("tenant_id", attempt.and_then(|it| it.tenant_id.as_deref()).map(Value::from)),
            ("invocation", (is_unknown && self.registry.has_begun()).then(|| json!("unknown"))),
            ("function", text(&["faas.name"]).or(Some(json!(self.function)))),
            (
                "function_version",
                text(&["faas.version"]).or(self.version.as_ref().map(|v| json!(v))),
            ),
            ("service", text(&["service.name"])),
            ("memory_mb", self.config.memory_mb.map(|mb| json!(mb))),
            ("max_memory_used_mb", known.max_memory_mb.map(|mb| json!(mb))),
            ("cold_start", cold_start.map(|it| json!(it))),
            ("remaining_ms", remaining.map(|ms| json!(ms))),
            ("status", text(&["http.response.status_code", "http.status_code"])),
            ("trace_url", trace_id.as_ref().and_then(|id| self.trace_url(id)).map(Value::from)),
            ("xray_url", xray.as_ref().and_then(|id| self.xray_url(id)).map(Value::from)),
            ("trace_id", trace_id.map(Value::from)),
            ("span_id", span_id.map(Value::from)),
            ("xray_trace_id", xray.map(Value::from)),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
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

    /// The trace of an end that only the platform reported.
    fn platform(&self, ended: &PlatformEnd, known: &ItemContext) -> ItemTrace {
        let (class, outcome) = match ended.error_type.as_str() {
            "timeout" | "Sandbox.Timedout" | "Sandbox.Timeout" => ("Timeout", "ran out of time"),
            OUT_OF_MEMORY => ("OutOfMemory", "ran out of memory"),
            "failure" => ("Crash", "ended with its sandbox"),
            other => (other, "failed"),
        };
        let subject = match ended.phase {
            FailedPhase::Init => "The function's init",
            FailedPhase::Restore => "The function's restore",
            FailedPhase::Invocation => "The invocation",
        };
        let memory = known.max_memory_mb.zip(self.config.memory_mb);
        let memory =
            memory.map(|(used, size)| format!(", {used} of {size} MB")).unwrap_or_default();
        let exception = ItemException {
            class: class.to_owned(),
            message: Some(format!("{subject} {outcome}: {}{memory}", ended.error_type)),
            description: None,
        };
        ItemTrace { frames: vec![place(&self.function, "")], exception }
    }

    /// Masks secrets and adds the ids.
    fn made(&self, data: ItemData, kind: &str, gathered: &Evidence, key: &str) -> NewItem {
        let facts = gathered.context.as_ref().map(|context| &context.facts);
        let client = facts.and_then(request::client).unwrap_or_default();
        let mut data = self.scrubbed(data, client);
        let fingerprint = fingerprint(&data);
        let service = data.custom.get("function").and_then(Value::as_str).unwrap_or_default();
        let digest = hash(&[kind, service, key]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string();
        data.fingerprint = Some(fingerprint.clone());
        data.uuid = Some(id.clone());
        NewItem { id, fingerprint, item: Item { data }, items: 1 }
    }

    /// Masks secrets and addresses in every text of the item.
    fn scrubbed(&self, data: ItemData, client: &str) -> ItemData {
        let address = self.config.client_address;
        let clean = |text: &str| {
            let text = self.scrubber.text(text).into_owned();
            request::without_address(text, client, address)
        };
        // Texts stay texts, so the item keeps its form.
        let clean = serde_json::to_value(data).map(|data| each_text(data, &clean));
        clean.and_then(serde_json::from_value).unwrap_or_default()
    }
}

/// Replaces an empty text, which Rollbar rejects.
fn non_empty(text: &str) -> String {
    let text = if text.trim().is_empty() { "(empty)" } else { text };
    text.to_owned()
}
