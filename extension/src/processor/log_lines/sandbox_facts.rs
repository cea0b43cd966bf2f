//! The function and the state of its sandbox, as lines show them.
//!
//! | `phase` | when |
//! |---|---|
//! | `init` | the function is starting, before its first invocation or again within one |
//! | `invoke` | an invocation is running |
//! | `after` | the runtime has finished the invocation, or ended with it |

use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LambdaPhase {
    #[default]
    Init,
    Invoke,
    /// The last invocation is over.
    After,
}

/// The facts about the sandbox that lines show.
#[derive(Clone, Debug)]
pub struct SandboxFacts {
    pub function: String,
    pub version: Option<String>,
    pub initialization_type: Option<String>,
    pub phase: LambdaPhase,
    has_started: bool,
}

impl SandboxFacts {
    pub fn new(function: String, version: Option<String>) -> Self {
        let phase = LambdaPhase::Init;
        Self { function, version, initialization_type: None, phase, has_started: false }
    }

    /// Handles a platform event, before its own line is made.
    pub fn on_platform_event(&mut self, kind: &str, record: &Value) {
        if let Some(kind) = record["initializationType"].as_str() {
            self.initialization_type = Some(kind.to_owned());
        }
        for version in [&record["functionVersion"], &record["version"]] {
            if let Some(version) = version.as_str() {
                self.version = Some(version.to_owned());
            }
        }
        match kind {
            "platform.initStart" | "platform.restoreStart" => self.phase = LambdaPhase::Init,
            "platform.initReport" | "platform.restoreReport" if self.has_started => {
                self.phase = LambdaPhase::Invoke;
            }
            "platform.start" => self.on_start(),
            "platform.runtimeDone" => self.phase = LambdaPhase::After,
            _ => {}
        }
    }

    /// An invocation begins, by its start event or by its first line.
    pub fn on_start(&mut self) {
        self.has_started = true;
        self.phase = LambdaPhase::Invoke;
    }

    pub fn has_started(&self) -> bool {
        self.has_started
    }
}
