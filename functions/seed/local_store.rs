//! Refuses every store that is not on this machine: demo users keep their handles permanently.

use std::net::IpAddr;

use http::Uri;

/// The variables that name the endpoint of DynamoDB, the stronger one first.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"];

/// Fails unless the variables name the local file or a DynamoDB on a loopback address.
pub(crate) fn check(var: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let var = |name: &str| var(name).filter(|value| !value.is_empty());
    let Some(table) = var("CRUDDUR_TABLE") else { return Ok(()) };
    let endpoint = ENDPOINTS.into_iter().find_map(|name| Some((name, var(name)?)));
    let place = match &endpoint {
        Some((_, url)) if is_loopback(url) => return Ok(()),
        Some((name, _)) => format!("{name} is not an address of this machine"),
        None => "no endpoint is set, so it is a table on AWS".to_owned(),
    };
    Err(format!(
        "demo data is for a local store only, but CRUDDUR_TABLE={table} is set and {place}. Unset \
         CRUDDUR_TABLE, or set {} to a DynamoDB at 127.0.0.1.",
        ENDPOINTS[0]
    ))
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme().is_some() && is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(vars: &[(&str, &str)]) -> Result<(), String> {
        check(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn only_a_file_and_a_loopback_endpoint_are_local() {
        let (dynamodb, all) = (ENDPOINTS[0], ENDPOINTS[1]);
        for vars in [
            &[][..],
            &[("CRUDDUR_TABLE", "")],
            &[("CRUDDUR_TABLE", "t"), (dynamodb, "http://127.0.0.1:5000")],
            &[("CRUDDUR_TABLE", "t"), (all, "http://localhost:5000/")],
            &[("CRUDDUR_TABLE", "t"), (all, "http://[::1]:5000")],
            &[("CRUDDUR_TABLE", "t"), (dynamodb, "http://127.8.8.8"), (all, "https://aws")],
        ] {
            assert_eq!(checked(vars), Ok(()), "{vars:?}");
        }
        for vars in [
            &[("CRUDDUR_TABLE", "prod")][..],
            &[("CRUDDUR_TABLE", "prod"), (dynamodb, "")],
            &[("CRUDDUR_TABLE", "prod"), (dynamodb, "https://dynamodb.eu-central-1.amazonaws.com")],
            &[("CRUDDUR_TABLE", "prod"), (dynamodb, "http://127.0.0.1.example.com")],
            &[("CRUDDUR_TABLE", "prod"), (dynamodb, "http://localhost@example.com")],
            &[("CRUDDUR_TABLE", "prod"), (dynamodb, "127.0.0.1:x")],
            &[("CRUDDUR_TABLE", "prod"), (dynamodb, "https://aws"), (all, "http://localhost")],
        ] {
            let refused = checked(vars).unwrap_err();
            assert!(refused.contains("CRUDDUR_TABLE=prod"), "{refused}");
        }
    }
}
