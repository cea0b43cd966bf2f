//! Extensions API, version 2020-01-01, and the subscription of the Telemetry API.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Machine, Phase, Waiting};
use crate::sandbox::journal::What;
use crate::sandbox::platform;
use crate::sandbox::reply::FailureKind;
use crate::sandbox::routes::Answer;
use crate::sandbox::telemetry;

/// Internal and external ones together.
const MAX_EXTENSIONS: usize = 10;

/// A registered extension.
pub(super) struct Agent {
    pub(super) name: String,
    identifier: String,
    /// Has a process of its own; else it lives inside the runtime's.
    pub(super) external: bool,
    pub(super) wants_invoke: bool,
    pub(super) wants_shutdown: bool,
    state: State,
    waiting: Waiting,
    /// An event that came while it worked on the last one.
    missed: Option<Value>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Registered,
    Ready,
    Running,
    Failed,
}

impl Agent {
    /// In Next.
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    pub(super) fn events(&self) -> Vec<&'static str> {
        let invoke = self.wants_invoke.then_some("INVOKE");
        let shutdown = self.wants_shutdown.then_some("SHUTDOWN");
        invoke.into_iter().chain(shutdown).collect()
    }

    /// Answers its Next, or the one that it calls next.
    pub(super) fn send(&mut self, event: Value) {
        match self.waiting.take() {
            Some(next) => {
                self.state = State::Running;
                let id = uuid::Uuid::new_v4().to_string();
                let answer =
                    Answer::new(200, event).header("lambda-extension-event-identifier", id);
                let _ = next.send(answer);
            }
            None => self.missed = Some(event),
        }
    }
}

impl Machine {
    pub(super) fn register(
        &mut self,
        name: Option<String>,
        account_id: bool,
        body: &[u8],
    ) -> Answer {
        let name = name.unwrap_or_default();
        let is_refused = account_id && !self.setup.gives_account_id;
        let answer = match self.new_agent(&name, body) {
            Ok(_) if is_refused => Answer::error(400, "InvalidRequestFormat", "unknown feature"),
            Ok(agent) => {
                let answer = self.registered(&agent, account_id);
                self.agents.push(agent);
                answer
            }
            Err(refusal) => refusal,
        };
        let error_type = answer.body["errorType"].as_str().map(str::to_owned);
        self.notes.write(What::Register { name, status: answer.status, error_type });
        if self.phase() == Phase::Init {
            self.start_runtime_if_registered();
        }
        answer
    }

    fn new_agent(&self, name: &str, body: &[u8]) -> Result<Agent, Answer> {
        let refused = |error_type: &str| Err(Answer::error(403, error_type, "register refused"));
        if name.is_empty() {
            return refused("Extension.InvalidExtensionName");
        }
        if self.agents.iter().any(|agent| agent.name == name) {
            return refused("Extension.InvalidExtensionState");
        }
        if self.phase() != Phase::Init {
            return refused("Extension.RegistrationClosed");
        }
        if self.agents.len() == MAX_EXTENSIONS {
            return refused("Extension.TooManyExtensions");
        }
        let body: Value = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(_) => return refused("InvalidRequestFormat"),
        };
        let external = self.setup.extensions.contains_key(name);
        let events: Vec<&str> =
            body["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // An extension without a process of its own is not told of the end.
        let known = |event: &&str| match *event {
            "INVOKE" => self.setup.invoke_events,
            event => external && event == "SHUTDOWN",
        };
        if !events.iter().all(known) {
            return refused("Extension.InvalidEventType");
        }
        Ok(Agent {
            name: name.to_owned(),
            identifier: uuid::Uuid::new_v4().to_string(),
            external,
            wants_invoke: events.contains(&"INVOKE"),
            wants_shutdown: events.contains(&"SHUTDOWN"),
            state: State::Registered,
            waiting: None,
            missed: None,
        })
    }

    fn registered(&self, agent: &Agent, account_id: bool) -> Answer {
        let mut body = json!({
            "functionName": self.setup.function_name,
            "functionVersion": "$LATEST",
            "handler": "bootstrap",
        });
        if account_id {
            body["accountId"] = json!("123456789012");
        }
        Answer::new(200, body).header("lambda-extension-identifier", &agent.identifier)
    }

    /// Ends the present event for this extension; answered with the next one.
    pub(super) fn extension_next(
        &mut self,
        identifier: Option<String>,
        answer: oneshot::Sender<Answer>,
    ) {
        let agent = match self.agent(identifier) {
            Ok(at) => &mut self.agents[at],
            Err(refusal) => return drop(answer.send(refusal)),
        };
        self.notes.write(What::ExtensionNext { name: agent.name.clone() });
        // A second Next is fine if the first one's connection is gone.
        let already = agent.waiting.as_ref().is_some_and(|next| !next.is_closed());
        if already || agent.state == State::Failed {
            let refusal = "Next is not allowed now";
            let refusal = Answer::error(403, "Extension.InvalidExtensionState", refusal);
            return drop(answer.send(refusal));
        }
        agent.state = State::Ready;
        agent.waiting = Some(answer);
        if let Some(event) = agent.missed.take() {
            return agent.send(event);
        }
        match self.phase() {
            Phase::Init => self.end_init_if_ready(),
            Phase::Invoking => self.end_invocation_if_done(),
            _ => {}
        }
    }

    /// init/error and exit/error: after either, the extension is done.
    pub(super) fn extension_error(
        &mut self,
        identifier: Option<String>,
        error_type: Option<String>,
        in_init: bool,
    ) -> Answer {
        let at = match self.agent(identifier) {
            Ok(at) => at,
            Err(refusal) => return refusal,
        };
        let agent = &mut self.agents[at];
        let name = agent.name.clone();
        let answer = if error_type.is_none() {
            Answer::error(403, "Extension.MissingHeader", "the error type's header is absent")
        } else if agent.state == State::Failed || (in_init && agent.state != State::Registered) {
            Answer::error(403, "Extension.InvalidExtensionState", "not allowed now")
        } else {
            agent.state = State::Failed;
            Answer::new(202, json!({ "status": "OK" }))
        };
        let status = answer.status;
        self.notes.write(match in_init {
            true => What::ExtensionInitError { name, status },
            false => What::ExtensionExitError { name, status },
        });
        if status == 202 {
            self.extension_failed(in_init);
        }
        answer
    }

    fn extension_failed(&mut self, in_init: bool) {
        let error_type = if in_init { "Extension.InitError" } else { "Extension.ExitError" };
        match self.phase() {
            Phase::Init => self.fail_init(FailureKind::Init(error_type)),
            Phase::Ready => self.broken = Some(FailureKind::ExtensionExitError),
            Phase::Invoking => self.fail(FailureKind::ExtensionExitError),
            _ => {}
        }
    }

    pub(super) fn subscribe(&mut self, identifier: Option<String>, body: &[u8]) -> Answer {
        let name = match self.agent(identifier) {
            Ok(at) => self.agents[at].name.clone(),
            Err(refusal) => return refusal,
        };
        let answer = if !self.telemetry.subscriptions_are_open() {
            Answer::error(403, "Telemetry.SubscriptionClosed", "init is over")
        } else {
            match telemetry::Request::parse(body) {
                Ok(request) => {
                    let event = platform::subscription(&name, &request.types);
                    self.telemetry.subscribe(&name, request);
                    self.telemetry.emit(event);
                    Answer::new(200, json!("OK"))
                }
                Err(message) => Answer::error(400, "ValidationError", &message),
            }
        };
        self.notes.write(What::Subscribe { name, status: answer.status });
        answer
    }

    fn agent(&self, identifier: Option<String>) -> Result<usize, Answer> {
        let refusal = |error_type: &str| Answer::error(403, error_type, "identifier refused");
        let Some(identifier) = identifier else {
            return Err(refusal("Extension.MissingExtensionIdentifier"));
        };
        if uuid::Uuid::parse_str(&identifier).is_err() {
            return Err(refusal("Extension.InvalidExtensionIdentifier"));
        }
        let known = self.agents.iter().position(|agent| agent.identifier == identifier);
        known.ok_or_else(|| refusal("Extension.UnknownExtensionIdentifier"))
    }
}
