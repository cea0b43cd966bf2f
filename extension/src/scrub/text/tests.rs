use std::time::Instant;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

fn masked(text: &str) -> String {
    Scrubber::new(&[]).text(text).into_owned()
}

#[test]
fn what_follows_a_secrets_name_is_masked_wherever_it_stands() {
    for (text, expected) in [
        // Queries.
        ("GET /a?token=x&b=1#token=y f=token", "GET /a?token=***&b=1#token=*** f=token"),
        (
            "?pass%77ord=x&user[password]=x&a[token][]=x",
            "?pass%77ord=***&user[password]=***&a[token][]=***",
        ),
        ("?a=1&amp;token=x&amp;b=1", "?a=1&amp;token=***&amp;b=1"),
        ("?a=1;token=x;y z", "?a=1;token=*** z"),
        ("redirect=https%3A%2F%2Fh%3Ftoken%3Dx&b=1", "redirect=https%3A%2F%2Fh%3Ftoken%3D***&b=1"),
        ("body=%7B%22token%22%3A%22x%22%7D&b=1", "body=%7B%22token%22%3A***&b=1"),
        ("token=it's; token=a\"b", "token=*** token=***\"b"),
        ("?token=&b=1", "?token=&b=1"),
        // Messages.
        ("connect failed: password=x", "connect failed: password=***"),
        ("password: a&b#c d", "password: *** d"),
        ("Invalid token: password: x", "Invalid token: *** ***"),
        (
            "--password=x $password = 'x y' 'pw' => \"x\"",
            "--password=*** $password = '***' 'pw' => \"***\"",
        ),
        ("Login { password: Some(\"x y\"), n: 1 }", "Login { password: Some(\"***\"), n: 1 }"),
        ("{b'password': b'x y', 'n': 1}", "{b'password': b'***', 'n': 1}"),
        // Headers.
        ("a\nAuthorization: Digest u=\"x\", r=\"x\"\nb", "a\nAuthorization: ***\nb"),
        ("curl -H \"Authorization: Bearer x\" h", "curl -H \"Authorization: ***\" h"),
        ("auth=Bearer x h", "auth=*** h"),
        ("Cookie: a=x; b=x", "Cookie: ***"),
        // JSON.
        ("INFO login {\"password\":\"x\",\"n\":1}", "INFO login {\"password\":\"***\",\"n\":1}"),
        ("[{\"password\" : \"a\\\"b\\\\\"}]", "[{\"password\" : \"***\"}]"),
        ("{\"a\":1}\n{\"pass\\u0077ord\":1}", "{\"a\":1}\n{\"pass\\u0077ord\":\"***\"}"),
        (
            "{\"b\":\"{\\\"token\\\":\\\"a\\\\\\\"b\\\"}\"}",
            "{\"b\":\"{\\\"token\\\":\\\"***\\\"}\"}",
        ),
        (
            "{\"\\ud800\":1,\"token\":[\"x\",{\"a\":\"]\"}],\"n\":1}",
            "{\"\\ud800\":1,\"token\":\"***\",\"n\":1}",
        ),
        // URLs.
        ("postgres://u:x@y@h/db", "postgres://u:***@h/db"),
        ("https://x@h/a@b https://h:80/@", "https://***@h/a@b https://h:80/@"),
        // No secrets.
        ("auth::login: cruddur::session: begins", "auth::login: cruddur::session: begins"),
        ("my_password=x passwordless: 1 token x", "my_password=x passwordless: 1 token x"),
    ] {
        assert_eq!(masked(text), expected, "{text}");
    }
}

#[test]
fn a_megabyte_of_anything_is_looked_at_once() {
    for piece in [
        "token:",
        "token= ",
        "token%3D",
        "://a",
        "\"token\":\\\"",
        "token: [",
        "\\\"",
        "a=b",
        " ",
        "%3D",
        "token=Basic ",
        "token",
        "token=a",
        "\\",
    ] {
        let began = Instant::now();

        masked(&piece.repeat(1_000_000 / piece.len()));

        // A square law would take hours.
        assert!(began.elapsed().as_secs() < 20, "{piece}");
    }
}

/// Nested so often, as text within text.
fn quoted_json(secret: &str, name: &str, levels: usize) -> String {
    let mut json =
        format!("{{\"n\":1,{}: {}}}", serde_json::json!(name), serde_json::json!(secret));
    for _ in 0..levels {
        json = serde_json::json!({ "body": json }).to_string();
    }
    json
}

proptest! {
    #[test]
    fn no_secret_survives(
        name in prop::sample::select(vec!["password", "Token", "x-api-key", "db.secret", "a[pw]"]),
        // Only the secret has this letter.
        (word, any) in ("§[^\\s&#\"\\\\'§]{0,9}§", "§\\PC{0,9}§"),
        before in "[^'\"{\\[§]{0,20}[ ?&;\n]",
        after in "[^§]{0,9}",
        levels in 0..4_usize,
    ) {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        // Else the name would have been another one, or the value a header's scheme.
        for secret in [
            format!("{name}={word} "),
            format!("{name}: {word} "),
            format!("{name} = \"{}\"", any.replace(['"', '\\'], "")),
            format!("Authorization: Bearer {word}\n"),
            format!("https://user:{}@host/", encoded(&word)),
            format!("to={} ", encoded(&format!("https://h/?{name}={any}"))).replace("%C2%A7", "§"),
            quoted_json(&any, name, levels),
        ] {
            let text = masked(&format!("{before}{secret}{after}"));

            prop_assert!(!text.contains('§'), "{secret} became {text}");
        }
    }
}
