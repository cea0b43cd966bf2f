//! The settings of all modules, read once before anything is opened.
//!
//! [`Config::from_vars`] never fails, so that a typing error does not stop the function. An invalid
//! value becomes a [`ConfigError`] to be logged, and the default applies.

mod resource;
pub mod variables;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tracing::level_filters::LevelFilter;

use crate::client::network::NetworkSettings;
use crate::delivery::Exporter;
use crate::exporter::ExporterSettings;
use crate::exporter::honeycomb::config::HoneycombConfig;
#[cfg(feature = "page")]
use crate::exporter::page::config::PageConfig;
use crate::exporter::rollbar::config::RollbarConfig;
use crate::flush::credit::HoldSettings;
use crate::flush::policy::{CORE_MEMORY_MB, FlushMode};
use crate::invocation::choice::SamplingSettings;
use crate::invocation::registry::Registry;
use crate::pipeline::PipelineSettings;
use crate::processor::failures::FailureSettings;
use crate::processor::failures::settings::ItemSettings;
use crate::processor::log_lines::{LineSettings, emf::MetricScope};
pub use crate::settings::ConfigError;
use crate::settings::{
    Reader, parse_names, parse_number, parse_revision, parse_share, parse_size, parse_text,
};

/// How Lambda initialized the sandbox, as far as the extension works differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialization {
    /// Also with provisioned concurrency, and for values that are not known yet.
    OnDemand,
    /// Init ends in a snapshot, from which many sandboxes start.
    SnapStart,
    /// Many invocations run at once.
    ManagedInstance,
}

/// Where the extension runs, what it listens on, where it sends to, and how much it may hold.
/// [`variables`] lists the variables.
#[derive(Debug)]
pub struct Config {
    /// `host:port` of the Runtime, Extensions and Telemetry APIs.
    ///
    /// `None` where there is no Lambda: the variable is missing, or holds a path as cargo-lambda's
    /// emulator sets it. [`crate::lifecycle`] explains why the extension does not register there.
    pub lambda_api: Option<String>,
    pub initialization: Initialization,
    pub exporters: ExporterSettings,
    /// The proxy and the trusted certificates of all destinations.
    pub network: NetworkSettings,
    /// Honeycomb for the commands `board` and `deployed`, if there is a key.
    pub management: Option<HoneycombConfig>,
    pub function_name: String,
    pub function_version: Option<String>,
    /// The `service.name` of payloads that have none.
    pub service_name: String,
    /// The `service.version` of payloads that have none.
    pub revision: Option<String>,
    /// Resource attributes of the spans that the extension makes about the function.
    pub resource: Vec<(String, String)>,
    /// Namespace and detail of the metrics in log lines.
    pub metrics: MetricScope,
    /// Names of secrets in addition to the built-in list; `None` masks nothing.
    pub scrub: Option<Vec<String>>,
    pub otlp_listen: SocketAddr,
    /// `None` if the receiver is off.
    pub otlp_grpc_listen: Option<SocketAddr>,
    pub flush: FlushMode,
    /// The longest wait for a flush between the end of an invocation and Next.
    pub max_hold: Duration,
    pub hold_share: f64,
    pub hold_bank: Duration,
    /// Whether the function has at least [`CORE_MEMORY_MB`].
    pub has_core: bool,
    /// The most bytes of payloads held for all destinations together.
    pub buffer_bytes: usize,
    /// Where undelivered batches are kept on disk.
    pub spool_directory: PathBuf,
    /// The most bytes kept there; 0 keeps none.
    pub spool_bytes: u64,
    /// Whether the extension works on Lambda.
    pub is_enabled: bool,
    pub log_level: LevelFilter,
}

impl Config {
    /// Reads every variable through `var`. An empty value counts as unset.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> (Self, Vec<ConfigError>) {
        let mut reader = Reader::new(&var, variables::all());
        let config = Self::read(&mut reader);
        (config, reader.into_errors())
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let lambda_api = reader.get("AWS_LAMBDA_RUNTIME_API").filter(|api| !api.contains('/'));
        let (service_name, resource) = resource::read(reader);
        Self {
            initialization: match reader.get("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() {
                Some("snap-start") => Initialization::SnapStart,
                Some("lambda-managed-instances") => Initialization::ManagedInstance,
                _ => Initialization::OnDemand,
            },
            exporters: ExporterSettings::read(reader, lambda_api.is_some()),
            network: NetworkSettings::read(reader),
            management: HoneycombConfig::read_management(reader),
            service_name,
            revision: reader.parsed("CRUDDUR_REVISION", parse_revision),
            resource,
            function_name: reader.function_name(),
            function_version: reader.get("AWS_LAMBDA_FUNCTION_VERSION"),
            metrics: MetricScope {
                namespace: reader.or_default("CRUDDUR_METRICS_NAMESPACE", parse_namespace),
                is_detailed: reader.or_default("CRUDDUR_METRICS", |text| match text {
                    "detailed" => Ok(true),
                    "totals" => Ok(false),
                    _ => Err("is ignored: neither totals nor detailed".into()),
                }),
            },
            scrub: match reader.get("CRUDDUR_SCRUB") {
                Some(off) if off.trim().eq_ignore_ascii_case("off") => None,
                list => Some(list.map(|list| parse_names(&list)).unwrap_or_default()),
            },
            otlp_listen: reader.or_default("CRUDDUR_OTLP_LISTEN", parse_address),
            otlp_grpc_listen: reader.or_default("CRUDDUR_OTLP_GRPC_LISTEN", parse_address_or_off),
            flush: reader.or_default("CRUDDUR_FLUSH", FlushMode::parse),
            max_hold: Duration::from_millis(reader.or_default("CRUDDUR_MAX_HOLD_MS", parse_number)),
            hold_share: reader.or_default("CRUDDUR_HOLD_SHARE", |text| match parse_share(text)? {
                share if share > 0.0 => Ok(share),
                _ => Err("is ignored: must be above 0".into()),
            }),
            hold_bank: Duration::from_millis(
                reader.or_default("CRUDDUR_HOLD_BANK_MS", parse_number),
            ),
            has_core: reader
                .get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
                .is_some_and(|it| it.parse().is_ok_and(|it: u64| it >= CORE_MEMORY_MB)),
            buffer_bytes: reader.or_default("CRUDDUR_BUFFER_BYTES", parse_size),
            spool_directory: reader.or_default("CRUDDUR_SPOOL_DIR", parse_text).into(),
            spool_bytes: reader.or_default("CRUDDUR_SPOOL_BYTES", parse_number),
            is_enabled: reader.or_default("CRUDDUR_ENABLED", |text| match text {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("is ignored, so the extension works: neither true nor false".into()),
            }),
            log_level: reader.or_default("CRUDDUR_LOG", |text| {
                let reason = "is ignored: not off, error, warn, info, debug or trace";
                text.parse().map_err(|_| reason.into())
            }),
            lambda_api,
        }
    }

    /// The exporters that are configured. `registry` are the X-Ray headers of the invocations.
    pub fn exporters(&self, registry: Option<&Registry>) -> Vec<Box<dyn Exporter>> {
        self.exporters.start(registry)
    }

    /// The resource of platform spans. The variable for resource attributes overrides the account.
    pub fn resource_with(&self, account_id: Option<&str>) -> Vec<(String, String)> {
        const ACCOUNT: &str = "cloud.account.id";
        let mut resource = self.resource.clone();
        let is_new = !resource.iter().any(|(key, _)| key == ACCOUNT);
        let account_id = account_id.filter(|_| is_new);
        resource.extend(account_id.map(|id| (ACCOUNT.to_owned(), id.to_owned())));
        resource
    }

    /// `None` if Honeycomb gets all spans.
    pub fn sampling(&self) -> Option<&SamplingSettings> {
        self.exporters.get::<HoneycombConfig>()?.sampling.as_ref()
    }

    pub fn hold_settings(&self) -> HoldSettings {
        let (share, bank, max_hold) = (self.hold_share, self.hold_bank, self.max_hold);
        HoldSettings { share, bank, max_hold, has_core: self.has_core }
    }

    /// `None` if the local page is off.
    #[cfg(feature = "page")]
    pub fn page(&self) -> Option<&PageConfig> {
        self.exporters.get()
    }

    /// `None` if no exporter takes failures.
    fn item_settings(&self) -> Option<&ItemSettings> {
        let items = self.exporters.get::<RollbarConfig>().map(|config| &config.items);
        #[cfg(feature = "page")]
        let items = items.or_else(|| self.page().map(|page| &page.items));
        items
    }

    /// The part of the buffer that holds what may become failures: an eighth, if an exporter takes them.
    fn failure_bytes(&self) -> usize {
        self.item_settings().map_or(0, |_| self.buffer_bytes / 8)
    }

    pub fn pipeline_settings(&self) -> PipelineSettings {
        PipelineSettings {
            function_name: self.function_name.clone(),
            max_hold: self.max_hold,
            buffer_bytes: self.buffer_bytes - self.failure_bytes(),
            spool_directory: self.spool_directory.clone(),
            spool_bytes: self.spool_bytes,
            has_core: self.has_core,
            is_snapshot: self.initialization == Initialization::SnapStart,
        }
    }
}

impl Config {
    /// Attributes of resources that lack them.
    pub fn resource_defaults(&self) -> Vec<(&'static str, String)> {
        let name = ("service.name", self.service_name.clone());
        let version = self.revision.clone().map(|revision| ("service.version", revision));
        std::iter::once(name).chain(version).collect()
    }

    pub fn line_settings(&self) -> LineSettings {
        LineSettings {
            function_name: self.function_name.clone(),
            function_version: self.function_version.clone(),
            scrub: self.scrub.clone(),
        }
    }

    /// `None` if no exporter takes failures.
    pub fn failure_settings(&self) -> Option<FailureSettings> {
        let items = self.item_settings()?.clone();
        let region = self.resource.iter().find(|(key, _)| key == "cloud.region");
        Some(FailureSettings {
            function_name: self.function_name.clone(),
            function_version: self.function_version.clone(),
            revision: self.revision.clone(),
            region: region.map(|(_, region)| region.clone()),
            scrub: self.scrub.clone(),
            items,
            max_bytes: self.failure_bytes(),
        })
    }
}

/// By <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>;
/// CloudWatch reserves `AWS/`.
fn parse_namespace(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#:".contains(&byte);
    match text.len() <= 255 && text.bytes().all(is_legal) && !text.starts_with("AWS/") {
        true => Ok(text.to_owned()),
        false => Err("is ignored: not a namespace of CloudWatch".into()),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is ignored: not an address:port".into())
}

/// `None` if the receiver is off.
fn parse_address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "off" => Ok(None),
        address => parse_address(address).map(Some),
    }
}

#[cfg(test)]
mod tests;
