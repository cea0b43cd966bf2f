//! The revision of the code.

use super::read;

#[test]
fn the_revision_is_the_version_of_resources_without_one() {
    let version = |vars: &[(&str, &str)]| {
        let (config, errors) = read(vars);
        let of = |attributes: Vec<(String, String)>| {
            attributes.into_iter().find(|(key, _)| key == "service.version").map(|(_, it)| it)
        };
        let defaults = config.resource_defaults();
        let defaults = defaults.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        (of(config.resource), of(defaults), errors.len())
    };
    let text = |text: &str| Some(text.to_owned());
    let own = ("OTEL_RESOURCE_ATTRIBUTES", "service.version=own");

    assert_eq!(version(&[]), (None, None, 0));
    assert_eq!(version(&[("CRUDDUR_REVISION", "v1+a")]), (text("v1+a"), text("v1+a"), 0));
    assert_eq!(version(&[("CRUDDUR_REVISION", "v1"), own]), (text("own"), text("v1"), 0));
    for invalid in ["two words", "é", &"a".repeat(41)] {
        assert_eq!(version(&[("CRUDDUR_REVISION", invalid)]), (None, None, 1), "{invalid}");
    }
}
