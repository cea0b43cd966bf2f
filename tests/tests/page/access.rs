//! Who may see the page, and its files.

use cruddur_tests::http_client;
use http::Method;
use serde_json::json;

use super::{LocalExtension, request};

#[tokio::test]
async fn each_view_has_the_pages_address_and_each_file_its_type_and_the_policy() {
    let extension = LocalExtension::start("127.78.2.1:4318").await;
    let index = extension.get("/").await;
    let text = String::from_utf8(index.body.to_vec()).expect("UTF-8");
    let files =
        text.split("=\"/assets/").skip(1).map(|rest| rest.split('"').next().expect("a name"));
    let files: Vec<String> = files.map(|file| format!("/assets/{file}")).collect();
    assert!(files.len() >= 2, "{text}");

    for path in ["/", "/traces/0123456789abcdef0123456789abcdef", "/latency", "/lines", "/failures"]
    {
        let reply = extension.get(path).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &index.body), "{path}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    }
    for path in &files {
        let reply = extension.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        let expected = match path.rsplit('.').next().expect("an ending") {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(reply.header("content-type"), Some(expected), "{path}");
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    for path in ["/assets/none.js", "/assets/../mod.rs", "/api/none", "/api/traces/no-id"] {
        let reply = extension.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.json()["error"].is_string(), "{path}");
    }
    assert_eq!(extension.send_with(Method::HEAD, "/", &[]).await, 200);
    assert_eq!(extension.send_with(Method::GET, "/api/clear", &[]).await, 405);
}

#[tokio::test]
async fn another_sites_requests_are_refused_and_otlp_is_received_as_before() {
    let extension = LocalExtension::start("127.78.2.2:4318").await;
    extension.send(vec![request("/api/home", 200, 1)]).await;
    extension.shows("/api/traces", |listed| listed["matched"] == 1).await;

    for (host, origin, expected) in [
        ("localhost:4318", None, 200),
        ("127.0.0.1:4318", Some("http://127.0.0.1:4318"), 200),
        ("[::1]:4318", None, 200),
        ("rebound.example:4318", None, 403),
        ("127.0.0.1.example:4318", None, 403),
        ("", None, 403),
        ("localhost:4318", Some("http://localhost:9000"), 403),
        ("localhost:4318", Some("https://localhost:4318"), 403),
        ("localhost:4318", Some("http://attacker.example"), 403),
        ("localhost:4318", Some("null"), 403),
    ] {
        let mut headers = vec![("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        for path in ["/", "/api/traces", "/api/stream?", "/assets/index.html"] {
            if expected == 200 && path == "/api/stream?" {
                continue; // it does not end
            }
            let status = extension.send_with(Method::GET, path, &headers).await;
            assert_eq!(status, expected, "{path} {headers:?}");
        }
        let cleared = extension.send_with(Method::POST, "/api/clear", &headers).await;
        assert_eq!(cleared, if expected == 200 { 204 } else { 403 }, "{headers:?}");
    }
    // SDKs in containers name their host in their own way.
    let headers = [("host", "telemetry.internal"), ("content-type", "application/json")];
    let reply = http_client::post(&extension.url("/v1/traces"), &headers, "{}").await;
    assert_eq!(reply.expect("an answer").status, 200);
    assert_eq!(extension.send_with(Method::GET, "/v1/traces", &[]).await, 405);
    assert_eq!(extension.send_with(Method::POST, "/other", &[]).await, 404);
}

#[tokio::test]
async fn there_is_no_page_if_it_is_off_or_other_machines_could_ask_for_it() {
    for (listen, variables) in [
        ("127.78.2.3:4318", &[("CRUDDUR_PAGE", "off")][..]),
        ("127.78.2.4:4318", &[("CRUDDUR_EXPORTERS", "console"), ("CRUDDUR_CONSOLE", "line")]),
        ("0.0.0.0:43189", &[]),
    ] {
        let extension = LocalExtension::with(listen, variables).await;

        let reply = extension.get("/").await;

        assert_eq!(reply.status, 404, "{listen} {variables:?}: {:?}", reply.body);
        extension.send(vec![request("/api/home", 200, 1)]).await;
    }
}

#[tokio::test]
async fn a_cleared_page_is_empty_and_shows_what_arrives_later() {
    let extension = LocalExtension::start("127.78.2.5:4318").await;
    extension.send(vec![request("/api/home", 200, 1)]).await;
    extension.shows("/api/traces", |listed| listed["matched"] == 1).await;

    assert_eq!(extension.send_with(Method::POST, "/api/clear", &[]).await, 204);

    assert_eq!(extension.json("/api/traces").await["traces"], json!([]));
    extension.send(vec![request("/api/search", 200, 1)]).await;
    let shown = extension.shows("/api/traces", |listed| listed["matched"] == 1).await;
    assert_eq!(shown["traces"][0]["route"], "/api/search");
}
