use super::*;

const URL: &str = "http://proxy.example:3128";

fn rules(url: &str, exceptions: &str) -> ProxyRules {
    let var = |name: &str| match name {
        "HTTPS_PROXY" => Some(url.to_owned()),
        "NO_PROXY" => Some(exceptions.to_owned()),
        _ => None,
    };
    ProxyRules::from_vars(var).unwrap()
}

fn is_proxied(exceptions: &str, destination: &str) -> bool {
    let rules = rules(URL, exceptions);
    matches!(rules.way(&destination.parse().unwrap()), Way::Proxy(_))
}

#[test]
fn only_destinations_without_an_exception_go_by_the_proxy() {
    let rows = [
        ("", "https://api.honeycomb.io", true),
        ("", "https://api.honeycomb.io:8443/1/auth", true),
        ("", "http://api.honeycomb.io", false),
        ("*", "https://api.honeycomb.io", false),
        ("*", "https://10.1.2.3", false),
        ("*:443", "https://api.honeycomb.io", false),
        ("*:443", "https://api.honeycomb.io:8443", true),
        ("api.honeycomb.io", "https://api.honeycomb.io", false),
        ("API.Honeycomb.IO", "https://api.honeycomb.io", false),
        ("api.honeycomb.io", "https://API.honeycomb.IO", false),
        ("api.honeycomb.io.", "https://api.honeycomb.io", false),
        ("api.honeycomb.io", "https://api.honeycomb.io.", false),
        ("honeycomb.io", "https://api.honeycomb.io", false),
        ("honeycomb.io", "https://api.nothoneycomb.io", true),
        (".honeycomb.io", "https://api.honeycomb.io", false),
        ("*.honeycomb.io", "https://api.honeycomb.io", false),
        ("*.honeycomb.io", "https://honeycomb.io.example", true),
        ("a.example, .honeycomb.io", "https://api.honeycomb.io", false),
        ("a.example .honeycomb.io", "https://api.honeycomb.io", false),
        (",,", "https://api.honeycomb.io", true),
        ("api.honeycomb.io:443", "https://api.honeycomb.io", false),
        ("api.honeycomb.io:443", "https://api.honeycomb.io:443", false),
        ("api.honeycomb.io:8443", "https://api.honeycomb.io", true),
        ("api.honeycomb.io:8443", "https://api.honeycomb.io:8443", false),
        ("api.honeycomb.io:https", "https://api.honeycomb.io", true),
        (".honeycomb.io:8443", "https://api.honeycomb.io:8443", false),
        ("10.0.0.0/8", "https://10.1.2.3", false),
        ("10.0.0.0/8", "https://11.1.2.3", true),
        ("10.1.2.3", "https://10.1.2.3", false),
        ("10.1.2.3:443", "https://10.1.2.3", false),
        ("10.1.2.3:8443", "https://10.1.2.3", true),
        ("10.0.0.0/8:8443", "https://10.1.2.3:8443", false),
        ("10.1", "https://10.1.2.3", true), // no form of an address
        ("fd00::/8", "https://[fd00::1]", false),
        ("fd00::/8", "https://[fe00::1]", true),
        ("fd00::1", "https://[fd00::1]:8443", false),
        ("[fd00::1]", "https://[fd00::1]:8443", false),
        ("[fd00::1]:443", "https://[fd00::1]", false),
        ("[fd00::1]:443", "https://[fd00::1]:8443", true),
        // Local addresses, whatever the list is.
        ("", "https://localhost:4317", false),
        ("", "https://LOCALHOST.", false),
        ("", "https://a.localhost", false),
        ("", "https://127.0.0.1", false),
        ("", "https://127.1.2.3:9001", false),
        ("", "https://[::1]", false),
        ("", "https://[::ffff:127.0.0.1]", false),
        ("", "https://169.254.169.254", false),
        ("", "https://[fe80::1]", false),
        ("", "https://128.0.0.1", true),
        ("", "https://localhost.example", true),
    ];
    for (exceptions, destination, expected) in rows {
        assert_eq!(is_proxied(exceptions, destination), expected, "{exceptions:?} {destination}");
    }
}

#[test]
fn the_upper_case_variable_counts_before_the_other_and_an_empty_one_is_unset() {
    let address = |set: &[(&str, &str)]| {
        let var = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let rules = ProxyRules::from_vars(var)?;
        match rules.way(&Uri::from_static("https://api.honeycomb.io")) {
            Way::Proxy(intercept) => intercept.uri().authority().map(ToString::to_string),
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(address(&[]), None);
    assert_eq!(address(&[("HTTPS_PROXY", " ")]), None);
    assert_eq!(address(&[("https_proxy", "http://b:1")]).as_deref(), Some("b:1"));
    let both = [("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:1")];
    assert_eq!(address(&both).as_deref(), Some("a:1"));
    let empty = [("HTTPS_PROXY", ""), ("https_proxy", "b:1"), ("no_proxy", "c.example")];
    assert_eq!(address(&empty).as_deref(), Some("b:1"));
}

#[test]
fn user_and_password_are_percent_decoded() {
    let authorization = |url: &str| match rules(url, "").way(&Uri::from_static("https://a.example"))
    {
        Way::Proxy(intercept) => intercept.basic_auth().map(|it| it.to_str().unwrap().to_owned()),
        other => panic!("{other:?}"),
    };

    assert_eq!(authorization(URL), None);
    // The example of <https://www.rfc-editor.org/rfc/rfc7617#section-2>.
    let basic = authorization("http://Aladdin:open%20sesame@proxy.example:3128");
    assert_eq!(basic.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    let special = authorization("http://a:p%40ss%2F%3A@proxy.example");
    assert_eq!(special.as_deref(), Some("Basic YTpwQHNzLzo="));
}

#[test]
fn an_invalid_url_closes_the_way_of_all_but_the_exceptions_and_is_never_shown() {
    for url in [
        "http://",
        "http://secret@",
        "https://proxy.example:3128",
        "socks5://secret:secret@proxy.example:1080",
        "http://proxy.example:secret",
        "http://proxy.example:",
        "http://proxy.example:0",
        "http://proxy.example:65536",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?secret",
        "http://user:se#cret@proxy.example:3128",
        "http://user:sec/ret@proxy.example:3128",
        "http://user:sec ret@proxy.example:3128",
        "http://user:se@cret@proxy.example:3128",
        "http://user:%ff@proxy.example:3128",
        "://secret",
        "[::1",
    ] {
        let rules = rules(url, "b.example");

        let closed = rules.way(&Uri::from_static("https://a.example"));
        assert!(matches!(closed, Way::Closed(_)), "{url}: {closed:?}");
        let excepted = rules.way(&Uri::from_static("https://b.example"));
        assert!(matches!(excepted, Way::Direct(DirectReason::Excepted)), "{url}: {excepted:?}");
        let error = rules.error().unwrap().to_string();
        assert!(error.starts_with("HTTPS_PROXY ") && !error.contains("secret"), "{error}");
        assert_eq!(shown(url), "set", "{url}");
        assert!(!format!("{rules:?}").contains("secret"), "{rules:?}");
    }
}

#[test]
fn a_valid_url_is_shown_without_its_user() {
    for (url, expected) in [
        ("proxy.example:3128", "proxy.example:3128"),
        ("http://me:secret@proxy.example:3128/", "proxy.example:3128"),
        ("HTTP://proxy.example", "proxy.example"),
        ("http://[fd00::1]:3128", "[fd00::1]:3128"),
    ] {
        assert_eq!(shown(url), expected, "{url}");
    }
}
