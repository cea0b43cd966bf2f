//! Environment variables, read into the settings of each module.
//!
//! Reading never fails, so that a typing error does not stop the function: an invalid value is
//! recorded as a [`ConfigError`] to be logged, and the default applies.

use http::Uri;

/// An environment variable: what the reader accepts, `doctor` shows and the documents list.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    /// Read in place of an unset variable; empty without a default.
    pub default: &'static str,
    pub meaning: &'static str,
    show: fn(&str) -> String,
    /// The meaning of an empty value: unset, if this is `None`.
    if_empty: Option<&'static str>,
}

impl Variable {
    pub const fn new(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { name, default, meaning, show: str::to_owned, if_empty: None }
    }

    /// An empty value means `off`, since the default is on.
    pub const fn off_if_empty(self) -> Self {
        Self { if_empty: Some("off"), ..self }
    }

    /// Its value is never shown.
    pub const fn secret(self) -> Self {
        Self { show: |_| "set".to_owned(), ..self }
    }

    /// Its user and query are not shown, since they may hold a secret.
    pub const fn url(self) -> Self {
        Self { show: without_secrets, ..self }
    }

    /// Its valid values are shown by this function, which hides secrets in them.
    pub const fn shown_by(self, show: fn(&str) -> String) -> Self {
        Self { show, ..self }
    }

    /// The trimmed value; `None` if it counts as unset.
    pub fn value<'a>(&self, value: &'a str) -> Option<&'a str> {
        Some(value.trim()).filter(|value| !value.is_empty()).or(self.if_empty)
    }

    /// The value as people may see it, or the default.
    pub fn shown(&self, value: Option<&str>) -> String {
        match value {
            Some(value) => (self.show)(value),
            None if self.default.is_empty() => "not set".to_owned(),
            None => self.default.to_owned(),
        }
    }
}

fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.find("://").map_or(("", url), |index| url.split_at(index + 3));
    let host = rest.split('/').next().unwrap_or_default();
    let user = host.rfind('@').map_or(0, |index| index + 1);
    format!("{scheme}{}", &rest[user..])
}

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
    known: Vec<&'static Variable>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    /// `known` are all variables that may be read.
    pub fn new(
        var: &'a dyn Fn(&str) -> Option<String>,
        known: impl Iterator<Item = &'static Variable>,
    ) -> Self {
        Self { var, known: known.collect(), errors: Vec::new() }
    }

    /// The trimmed value. An empty value counts as unset, or as `off` ([`Variable::off_if_empty`]).
    pub fn get(&self, variable: &str) -> Option<String> {
        let known = self.known.iter().find(|known| known.name == variable);
        debug_assert!(
            known.is_some() || variable.starts_with("AWS_ENDPOINT_URL"),
            "{variable} is not in a list of variables"
        );
        let value = (self.var)(variable)?;
        let value = match known {
            Some(known) => known.value(&value)?,
            None => Some(value.trim()).filter(|value| !value.is_empty())?,
        };
        Some(value.to_owned())
    }

    /// The value as `parse` reads it, or the default if the variable is unset. An invalid value is
    /// rejected, because the default would do something that was not asked for.
    pub fn valid_or_default<T>(
        &mut self,
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Rejected> {
        match self.get(variable) {
            Some(_) => self.parsed(variable, parse).ok_or(Rejected),
            None => Ok(self.or_default(variable, parse)),
        }
    }

    /// The value as `parse` reads it; the default if the variable is unset or invalid.
    pub fn or_default<T>(
        &mut self,
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let valid = self.parsed(variable, &parse);
        let known = self.known.iter().find(|known| known.name == variable);
        let default = || parse(known.map_or("", |known| known.default));
        // A test reads every default.
        valid.unwrap_or_else(|| default().unwrap_or_else(|reason| panic!("{variable} {reason}")))
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

    /// Reads from other values. Errors among those are not reported.
    pub fn read_from<T>(
        &self,
        var: &dyn Fn(&str) -> Option<String>,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        read(&mut Reader { var, known: self.known.clone(), errors: Vec::new() })
    }

    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }
}

/// Any text.
pub fn parse_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// The revision of the code: Rollbar keeps 40 characters of it.
pub fn parse_revision(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    match (1..=40).contains(&text.len()) && text.bytes().all(is_legal) {
        true => Ok(text.to_owned()),
        false => Err("is ignored: not 1 to 40 letters, digits, dots, underscores, + and -".into()),
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

/// The URL of a trace, with a place for its id.
pub fn parse_trace_url(text: &str) -> Result<String, String> {
    match text.starts_with("http") && text.contains("{trace_id}") {
        true => Ok(text.to_owned()),
        false => Err("is ignored: not a URL with {trace_id} in it".into()),
    }
}
