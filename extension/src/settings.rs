//! Environment variables, read into the settings of each module.
//!
//! Reading never fails, so that a typing error does not stop the function: an invalid value is
//! recorded as a [`ConfigError`] to be logged, and the default applies.

use http::Uri;

/// An ignored variable and the reason. Never shows a secret's value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub struct ConfigError {
    variable: &'static str,
    reason: String,
}

impl ConfigError {
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// A variable is set but cannot be used; the reason is among the reader's errors.
#[derive(Clone, Copy, Debug)]
pub struct Rejected;

/// Reads variables through a function, so that tests pass values instead of changing the process.
pub struct Reader<'a> {
    var: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub fn new(var: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { var, errors: Vec::new() }
    }

    /// The trimmed value. An empty value counts as unset.
    pub fn get(&self, variable: &str) -> Option<String> {
        (self.var)(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The value as `parse` reads it; `None` if it is unset or invalid.
    pub fn parsed<T>(
        &mut self,
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(&self.get(variable)?) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.reject(variable, reason);
                None
            }
        }
    }

    /// A variable that two modules read is reported once.
    pub fn reject(&mut self, variable: &'static str, reason: impl Into<String>) {
        let error = ConfigError { variable, reason: reason.into() };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub fn region(&self) -> Option<String> {
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION"))
    }

    /// The function's name; `function` where there is no Lambda.
    pub fn function_name(&self) -> String {
        self.get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "function".to_owned())
    }

    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }
}

pub fn parse_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "is ignored: not a whole number".into())
}

pub fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("is ignored: not a whole number above 0".into()),
    }
}

/// A share from 0 to 1.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "is ignored: not a number from 0 to 1".into())
}

/// A comma list in lower case.
pub fn parse_names(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// The URL of an exporter that is off without it. A user in the URL is rejected: `doctor` would
/// print it, but no request would carry it.
pub fn parse_http_url(text: &str, exporter: &str) -> Result<Uri, String> {
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("is not a URL, so {exporter} gets nothing: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(host)) if !host.as_str().contains('@') => Ok(uri),
        (Some("http" | "https"), Some(_)) => {
            Err(format!("has a user in it, so {exporter} gets nothing: a key has its own variable"))
        }
        _ => Err(format!("is not an http or https URL, so {exporter} gets nothing")),
    }
}
