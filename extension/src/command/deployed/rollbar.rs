//! A deploy. <https://docs.rollbar.com/reference/post_api-1-deploy>

use serde_json::json;

use crate::command::command_error::CommandError;
use crate::command::deployed::deploy::{Deploy, DeployOutcome};
use crate::exporter::rollbar::config::RollbarConfig;
use crate::exporter::rollbar::request::{RollbarApi, confirmed, refusal};

pub(super) async fn record(
    deploy: &Deploy<'_>,
    config: &RollbarConfig,
) -> Result<DeployOutcome, CommandError> {
    let endpoint = deploy_endpoint(&config.endpoint).ok_or_else(|| {
        CommandError::Refused(
            "ROLLBAR_ENDPOINT does not end with /item/, so deploys have no address".into(),
        )
    })?;
    let environment = &config.items.environment;
    let mut body = json!({
        "environment": environment, "revision": deploy.revision, "status": "succeeded",
    });
    if let Some(url) = deploy.url {
        body["comment"] = url.into();
    }
    let mut api = RollbarApi::new(&RollbarConfig { endpoint, ..config.clone() });
    let reply = api.post(body.to_string().into()).await?;
    if !reply.status.is_success() {
        return Err(refusal(&reply).into());
    }
    confirmed(&reply)?;
    let revision = deploy.revision;
    Ok(DeployOutcome::Recorded(format!("deploy of {revision} to the environment {environment}")))
}

/// Beside the URL of the items.
fn deploy_endpoint(items: &str) -> Option<String> {
    let base = items.strip_suffix('/').unwrap_or(items).strip_suffix("/item")?;
    Some(format!("{base}/deploy"))
}
