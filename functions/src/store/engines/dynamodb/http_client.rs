//! The HTTP client of the table: its certificates, and the proxy where there is one.

use std::path::Path;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use forward_proxy::{ProxyRules, Way};
use http::Uri;

use super::trust::tls_context;
use crate::store::StoreError;

const HTTPS_PORT: u16 = 443;

/// `endpoint` is that of a variable, and `region` has AWS's own. Connects to nothing yet.
///
/// Fails if the endpoint needs a proxy whose URL is invalid, instead of bypassing the proxy.
pub(super) fn http_client(
    ca_bundle: Option<&Path>,
    proxy: Option<&ProxyRules>,
    endpoint: Option<&str>,
    region: Option<&str>,
) -> Result<SharedHttpClient, StoreError> {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let context = tls_context(ca_bundle);
    let Some(proxy) = proxy_of(proxy, endpoint, region)? else {
        return Ok(Builder::new().tls_provider(tls).tls_context(context).build_https());
    };
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder();
        connector
            .set_connector_settings(settings.cloned())
            .set_sleep_impl(components.and_then(|components| components.sleep_impl()))
            .set_proxy_config(Some(proxy.clone()));
        connector.tls_provider(tls.clone()).tls_context(context.clone()).build()
    }))
}

/// Hosts are matched by the SDK, which knows the endpoint's name in all its forms.
fn proxy_of(
    rules: Option<&ProxyRules>,
    endpoint: Option<&str>,
    region: Option<&str>,
) -> Result<Option<ProxyConfig>, StoreError> {
    let Some(rules) = rules else { return Ok(None) };
    let own = || format!("https://dynamodb.{}.amazonaws.com", region.unwrap_or_default());
    let endpoint: Uri = endpoint.map_or_else(own, str::to_owned).parse().unwrap_or_default();
    let unusable = |source| StoreError::Engine { operation: "open", code: None, source };
    match rules.at_port(endpoint.port_u16().unwrap_or(HTTPS_PORT)) {
        None => Ok(None),
        Some(Ok((url, exceptions))) => {
            let proxy = ProxyConfig::https(url).map_err(|error| unusable(error.into()))?;
            Ok(Some(proxy.no_proxy(exceptions)))
        }
        Some(Err(error)) => match rules.way(&endpoint) {
            Way::Closed(_) => Err(unusable(error.clone().into())),
            Way::Direct(_) | Way::Proxy(_) => Ok(None),
        },
    }
}
