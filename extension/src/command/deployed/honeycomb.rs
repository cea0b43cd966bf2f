//! A marker. <https://api-docs.honeycomb.io/api/markers>

use http::{Method, StatusCode};
use serde_json::json;

use crate::command::command_error::CommandError;
use crate::command::deployed::deploy::{Deploy, DeployOutcome};
use crate::command::honeycomb_client::Client;
use crate::exporter::honeycomb::config::HoneycombConfig;

/// All datasets of an environment.
const ENVIRONMENT: &str = "__all__";

/// Without a dataset the marker is the environment's, or that of the service's dataset where Honeycomb
/// has no markers of environments.
pub(super) async fn mark(
    deploy: &Deploy<'_>,
    config: HoneycombConfig,
    dataset: Option<&str>,
    service_name: &str,
) -> Result<DeployOutcome, CommandError> {
    let mut client = Client::new(config);
    let auth = client.call(Method::GET, "/1/auth", None, &[]).await?.unwrap_or_default();
    if auth["api_key_access"]["markers"] != true {
        return Err(CommandError::Refused(format!(
            "this {} key lacks the permission Manage Markers: create a configuration key with it, \
             and set it as HONEYCOMB_CONFIGURATION_KEY",
            auth["type"].as_str().unwrap_or_default()
        )));
    }
    let environment = auth["environment"]["name"].as_str().filter(|name| !name.is_empty());
    let service = slug(service_name);
    let wanted = match (dataset, environment) {
        (Some(dataset), _) => &[dataset][..],
        (None, Some(_)) => &[ENVIRONMENT, &service],
        (None, None) => &[&*service],
    };
    let message = format!("deploy {}", deploy.revision);
    let mut marker = json!({ "message": message, "type": "deploy" });
    if let Some(url) = deploy.url {
        marker["url"] = url.into();
    }
    for place in wanted {
        let (path, expected) = (format!("/1/markers/{place}"), [StatusCode::NOT_FOUND]);
        if client.call(Method::POST, &path, Some(&marker), &expected).await?.is_some() {
            let place = match *place {
                ENVIRONMENT => format!("environment {}", environment.unwrap_or_default()),
                dataset => format!("dataset {dataset}"),
            };
            return Ok(DeployOutcome::Recorded(format!("marker {message:?} in the {place}")));
        }
    }
    Err(CommandError::Refused(format!(
        "there is no dataset {} in the environment of the key: --dataset names another",
        wanted.last().unwrap_or(&ENVIRONMENT)
    )))
}

/// The slug of the dataset that a service's spans create.
fn slug(service_name: &str) -> String {
    let kept =
        |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '-' };
    service_name.trim().to_ascii_lowercase().chars().map(kept).collect()
}
