//! The request and the person of an item, from the server span's attributes.
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, and the names before those.

use std::{collections::BTreeMap, net::IpAddr};

use percent_encoding::percent_decode_str;

use crate::{
    config::ClientAddress,
    exporter::rollbar::payload::{Person, Request, Texts},
    scrub::{MASK, Scrubber},
};

type Facts = BTreeMap<String, String>;

/// The value of the first attribute that is there.
pub(super) fn first<'a>(facts: &'a Facts, keys: &[&str]) -> Option<&'a str> {
    let found = keys.iter().find_map(|key| facts.get(*key));
    found.map(String::as_str).filter(|text| !text.is_empty())
}

/// Such as `/api/activities/{key}`.
pub(super) fn route(facts: &Facts) -> Option<&str> {
    first(facts, &["http.route"])
}

/// `None` if the span is not one of HTTP. Never has a body.
pub(super) fn request(
    facts: &Facts,
    scrubber: &Scrubber,
    address: ClientAddress,
) -> Option<Request> {
    let method =
        first(facts, &["http.request.method_original", "http.request.method", "http.method"])?;
    let (path, query) = target(facts);
    let get = parameters(&query, scrubber);
    let query = masked_query(&query, scrubber);
    Some(Request {
        url: Some(url(facts, &path, &query)),
        method: Some(method.to_owned()),
        headers: headers(facts, scrubber),
        params: route(facts)
            .map(|route| route_parameters(route, &path, scrubber))
            .unwrap_or_default(),
        get,
        query_string: (!query.is_empty()).then_some(query),
        user_ip: first(facts, &["client.address", "http.client_ip", "net.sock.peer.addr"])
            .and_then(|ip| shown(ip, address)),
        ..Request::default()
    })
}

/// Who had asked.
pub(super) fn person(facts: &Facts) -> Option<Person> {
    let id = first(facts, &["app.user_id", "enduser.id", "user.id"])?;
    let username = first(facts, &["app.user_handle", "user.name", "enduser.pseudo.id"]);
    Some(Person {
        // Rollbar refuses longer ones.
        id: id.chars().take(40).collect(),
        username: username.map(|name| name.chars().take(255).collect()),
        email: None,
    })
}

fn target(facts: &Facts) -> (String, String) {
    let target = first(facts, &["http.target"]).unwrap_or_default();
    let target = match first(facts, &["url.full", "http.url"]) {
        Some(url) if target.is_empty() => {
            let path = url.split_once("://").map_or(url, |(_, rest)| rest);
            path.find(['/', '?']).map_or("", |start| &path[start..])
        }
        _ => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = first(facts, &["url.query"]).unwrap_or(query).split('#').next().unwrap_or_default();
    (first(facts, &["url.path"]).unwrap_or(path).to_owned(), query.to_owned())
}

fn url(facts: &Facts, path: &str, query: &str) -> String {
    let scheme = first(facts, &["url.scheme", "http.scheme"]).unwrap_or("https");
    let host = first(facts, &["server.address", "http.host", "net.host.name"]).unwrap_or("unknown");
    let usual = if scheme == "http" { "80" } else { "443" };
    let port = first(facts, &["server.port", "net.host.port"]).filter(|port| *port != usual);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("{scheme}://{host}{port}{path}{query}")
}

/// `http.request.header.user-agent` is `User-Agent`.
fn headers(facts: &Facts, scrubber: &Scrubber) -> Texts {
    let recorded = facts.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix("http.request.header.")?;
        Some((name.replace('_', "-"), value.as_str()))
    });
    let agent = first(facts, &["user_agent.original", "http.user_agent"]);
    let host = first(facts, &["server.address", "http.host"]);
    let known = [("user-agent", agent), ("host", host)];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let header = |(name, value): (String, &str)| {
        let value = match scrubber.is_secret(&name) {
            true => MASK.to_owned(),
            false => scrubber.text(value).into_owned(),
        };
        (capitalised(&name), value)
    };
    known.chain(recorded).map(header).collect()
}

fn capitalised(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

/// `{key}`, `:key` and `<key>` of the route, by their place in the path.
fn route_parameters(route: &str, path: &str, scrubber: &Scrubber) -> Texts {
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    // A stage's name may stand before the route.
    let Some(skipped) = path.len().checked_sub(route.len()) else { return Texts::new() };
    let pairs = route.iter().zip(&path[skipped..]).filter_map(|(part, value)| {
        let inner = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let inner = inner.or_else(|| part.strip_prefix('<')?.strip_suffix('>'));
        let name = inner.or_else(|| part.strip_prefix(':'))?.trim_end_matches('+');
        let value = if scrubber.is_secret(name) { MASK.to_owned() } else { decoded(value) };
        Some((name.to_owned(), value))
    });
    pairs.collect()
}

fn parameters(query: &str, scrubber: &Scrubber) -> Texts {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name);
        let value = if is_secret(&name, scrubber) { MASK.to_owned() } else { decoded(value) };
        (name, value)
    });
    pairs.collect()
}

fn masked_query(query: &str, scrubber: &Scrubber) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(&decoded(name), scrubber) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// `user[password]` is a `password`, as forms name it.
fn is_secret(name: &str, scrubber: &Scrubber) -> bool {
    let inner = name.rsplit('[').next().map(|inner| inner.trim_end_matches(']'));
    scrubber.is_secret(name) || inner.is_some_and(|inner| scrubber.is_secret(inner))
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// An address as it may be sent.
fn shown(address: &str, how: ClientAddress) -> Option<String> {
    // Behind proxies there may be a list, the client's first; anything else is not sent.
    let client = address.split(',').next()?.trim();
    let ip: IpAddr = client.parse().ok()?;
    match (how, ip) {
        (ClientAddress::None, _) => None,
        (ClientAddress::Whole, ip) => Some(ip.to_string()),
        (ClientAddress::Anonymized, IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            Some(format!("{a}.{b}.{c}.0"))
        }
        (ClientAddress::Anonymized, IpAddr::V6(ip)) => {
            // A provider gives each of its customers 48 bits or more of their own.
            let [a, b, c, ..] = ip.segments();
            Some(format!("{a:x}:{b:x}:{c:x}::"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request_of(facts: &[(&str, &str)], address: ClientAddress) -> Value {
        let facts =
            facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        json!(request(&facts, &Scrubber::new(&["pin".to_owned()]), address))
    }

    #[test]
    fn a_request_is_told_without_its_secrets() {
        let facts = [
            ("http.request.method", "GET"),
            ("http.route", "/api/activities/{key}"),
            ("url.path", "/prod/api/activities/a%20b"),
            ("url.query", "q=a+b&%74oken=s3cret&user[password]=s3cret&pin=1&x"),
            ("url.scheme", "https"),
            ("server.address", "api.example.com"),
            ("server.port", "443"),
            ("client.address", "203.0.113.9"),
            ("user_agent.original", "curl/8"),
            ("http.request.header.authorization", "Bearer s3cret"),
            ("http.request.header.x-forwarded-for", "203.0.113.9"),
            ("http.request.header.referer", "https://x/?token=s3cret"),
        ];

        let request = request_of(&facts, ClientAddress::Whole);

        let query = "q=a+b&%74oken=***&user[password]=***&pin=***&x";
        let expected = json!({
            "method": "GET",
            "url": format!("https://api.example.com/prod/api/activities/a%20b?{query}"),
            "params": { "key": "a b" },
            "GET": { "q": "a b", "token": "***", "user[password]": "***", "pin": "***", "x": "" },
            "query_string": query,
            "headers": {
                "Authorization": "***", "Host": "api.example.com", "User-Agent": "curl/8",
                "Referer": "https://x/?token=***", "X-Forwarded-For": "203.0.113.9",
            },
            "user_ip": "203.0.113.9",
        });
        assert_eq!(request, expected);
    }

    #[test]
    fn older_names_will_do_and_without_a_method_there_is_no_request() {
        let facts = [("http.method", "POST"), ("http.url", "http://x:8080/a?token=1#b")];
        let request = request_of(&facts, ClientAddress::Whole);
        assert_eq!(request["url"], "https://unknown/a?token=***");
        assert_eq!(request_of(&[("url.path", "/")], ClientAddress::Whole), Value::Null);
    }

    #[test]
    fn an_address_is_sent_as_asked_and_nothing_else_in_its_place() {
        for (address, how, expected) in [
            ("203.0.113.9", ClientAddress::Anonymized, json!("203.0.113.0")),
            ("2001:db8:1:2::3", ClientAddress::Anonymized, json!("2001:db8:1::")),
            ("203.0.113.9, 10.0.0.1", ClientAddress::Whole, json!("203.0.113.9")),
            ("203.0.113.9", ClientAddress::None, Value::Null),
            ("s3cret", ClientAddress::Whole, Value::Null),
        ] {
            let facts = [("http.method", "GET"), ("client.address", address)];
            assert_eq!(request_of(&facts, how)["user_ip"], expected, "{address} {how:?}");
        }
    }
}
