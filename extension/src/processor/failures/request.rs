//! The request and the person of an item, from the attributes of a span or log record.
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, and the names before those.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::processor::failures::attributes::{SelectedAttributes, Texts};
use crate::processor::failures::settings::ClientAddress;
use crate::processor::failures::truncate::cut_to;
use crate::scrub::{MASK, Scrubber};

/// The field of a line, or the attribute of a log record, that holds the client's address.
pub(super) const CLIENT_ADDRESS: &str = "client_address";

/// Attributes that may hold the client's address.
const CLIENT_ADDRESSES: [&str; 3] = ["client.address", "http.client_ip", "net.sock.peer.addr"];

/// Headers that may hold the client's address.
const ADDRESS_HEADERS: [&str; 6] = [
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Such as `/api/activities/{key}`.
pub(super) fn route(facts: &SelectedAttributes) -> Option<&str> {
    facts.first(&["http.route"])
}

/// `None` without an HTTP method. Bodies are never sent.
pub(super) fn request(
    facts: &SelectedAttributes,
    scrubber: &Scrubber,
    address: ClientAddress,
) -> Option<Value> {
    let method =
        facts.first(&["http.request.method_original", "http.request.method", "http.method"])?;
    let (path, query) = target(facts);
    let shown_query = masked_query(&query, scrubber);
    Some(json!({
        "url": url(facts, &path, &shown_query),
        "method": cut_to(method, 255),
        "headers": headers(facts, scrubber, address),
        "params": route(facts).map(|route| route_parameters(route, &path, scrubber)),
        "GET": parameters(&query, scrubber),
        "query_string": Some(shown_query).filter(|query| !query.is_empty()),
        "user_ip": client(facts).and_then(|ip| redact_address(ip, address)),
    }))
}

pub(super) fn client(facts: &SelectedAttributes) -> Option<&str> {
    facts.first(&CLIENT_ADDRESSES)
}

/// Redacts the client's address in a text, as configured.
pub(super) fn without_address(text: String, client: &str, how: ClientAddress) -> String {
    if how == ClientAddress::Whole {
        return text;
    }
    let addresses = client.split(',').map(str::trim).filter(|it| it.parse::<IpAddr>().is_ok());
    addresses.fold(text, |text, address| {
        text.replace(address, &redact_address(address, how).unwrap_or_else(|| MASK.to_owned()))
    })
}

/// Rollbar rejects longer names.
pub(super) fn person(facts: &SelectedAttributes) -> Option<Value> {
    let id = facts.first(&["app.user_id", "enduser.id", "user.id"])?;
    let username = facts.first(&["app.user_handle", "user.name", "enduser.pseudo.id"]);
    Some(json!({ "id": cut_to(id, 40), "username": username.map(|name| cut_to(name, 255)) }))
}

/// Scheme, authority without the user, and the rest of the URL, if the whole URL is known.
fn whole_url(facts: &SelectedAttributes) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = facts.first(&["url.full", "http.url"])?.split_once("://")?;
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some((scheme, host, target))
}

fn target(facts: &SelectedAttributes) -> (String, String) {
    let whole = || whole_url(facts).map(|(_, _, target)| target);
    let target = facts.first(&["http.target"]).or_else(whole).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = facts.first(&["url.query"]).unwrap_or(query).split('#').next().unwrap_or_default();
    let path = facts.first(&["url.path"]).unwrap_or(path).split('#').next().unwrap_or_default();
    (path.to_owned(), query.to_owned())
}

fn url(facts: &SelectedAttributes, path: &str, query: &str) -> String {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let whole = whole_url(facts);
    let of_whole = whole.map(|(scheme, _, _)| scheme);
    let scheme = facts.first(&["url.scheme", "http.scheme"]).or(of_whole).unwrap_or("https");
    let host = facts.first(&["server.address", "http.host", "net.host.name"]);
    let (None, Some((_, authority, _))) = (host, whole) else {
        let host = host.unwrap_or("unknown");
        let usual = if scheme == "http" { "80" } else { "443" };
        let port = facts.first(&["server.port", "net.host.port"]).filter(|port| *port != usual);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        return format!("{scheme}://{host}{port}{path}{query}");
    };
    format!("{scheme}://{authority}{path}{query}")
}

/// `http.request.header.user-agent` is `User-Agent`.
fn headers(facts: &SelectedAttributes, scrubber: &Scrubber, address: ClientAddress) -> Texts {
    let recorded = facts.own.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix("http.request.header.")?;
        Some((name.replace('_', "-"), value.as_str()))
    });
    let agent = facts.first(&["user_agent.original", "http.user_agent"]);
    let host = facts.first(&["server.address", "http.host"]);
    let known = [("user-agent", agent), ("host", host)];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let header = |(name, value): (String, &str)| {
        let has_address = ADDRESS_HEADERS.contains(&name.to_ascii_lowercase().as_str());
        let is_masked = scrubber.is_secret(&name) || has_address && address != ClientAddress::Whole;
        (capitalised(&name), if is_masked { MASK } else { value }.to_owned())
    };
    known.chain(recorded).map(header).collect()
}

fn capitalised(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut word = word.to_owned();
        // The first character may have more than one byte: `get_mut` then gives nothing.
        word.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
        word
    });
    words.collect::<Vec<_>>().join("-")
}

/// The values of `{key}`, `:key` and `<key>` in the route, by position from the end.
fn route_parameters(route: &str, path: &str, scrubber: &Scrubber) -> Texts {
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    // The path may begin with the name of a stage.
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
        let value = if scrubber.is_secret(&name) { MASK.to_owned() } else { decoded(value) };
        (name, value)
    });
    pairs.collect()
}

fn masked_query(query: &str, scrubber: &Scrubber) -> String {
    let hides = |value: &str| {
        let decoded = decoded(value); // a URL may hold secrets
        scrubber.text(&decoded) != decoded
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if scrubber.is_secret(decoded(name)) || hides(value) => {
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Redacts an address as configured.
fn redact_address(address: &str, how: ClientAddress) -> Option<String> {
    // Behind proxies the value may be a list that begins with the client's address. Other forms are
    // not sent.
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
            // A provider assigns 48 bits or more to each customer.
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
        let own = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let facts = SelectedAttributes { own: own.collect(), ..SelectedAttributes::default() };
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
            ("http.request.header.referer", "https://x/"),
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
                "Referer": "https://x/", "X-Forwarded-For": "203.0.113.9",
            },
            "user_ip": "203.0.113.9",
        });
        assert_eq!(request, expected);
    }

    #[test]
    fn a_header_name_of_any_characters_is_capitalised() {
        let facts = [
            ("http.request.method", "GET"),
            ("http.request.header.über-größe", "1"),
            ("http.request.header.x--é", "2"),
            ("http.request.header.", "3"),
        ];
        let headers = request_of(&facts, ClientAddress::Whole)["headers"].clone();
        assert_eq!(headers, json!({"über-Größe": "1", "X--é": "2", "": "3"}));
    }

    #[test]
    fn older_names_will_do_and_without_a_method_there_is_no_request() {
        for (url, expected) in [
            ("http://x:8080/a?token=1#b", "http://x:8080/a?token=***"),
            ("https://user:s3cret@x/a#b", "https://x/a"),
            ("https://x?a", "https://x?a"),
            ("/a", "https://unknown"),
        ] {
            let facts = [("http.method", "POST"), ("http.url", url)];
            assert_eq!(request_of(&facts, ClientAddress::Whole)["url"], expected, "{url}");
        }
        assert_eq!(request_of(&[("url.path", "/")], ClientAddress::Whole), Value::Null);
    }

    #[test]
    fn a_url_within_a_parameter_has_no_secrets_either() {
        let query = "next=https%3A%2F%2Fx%2F%3Ftoken%3Ds3cret&a=%3D";
        let facts = [("http.method", "GET"), ("url.query", query), ("server.address", "x")];
        let request = request_of(&facts, ClientAddress::Whole);
        assert_eq!(request["query_string"], "next=***&a=%3D");
        assert_eq!(request["url"], "https://x?next=***&a=%3D");
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
