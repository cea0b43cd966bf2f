use super::*;
use crate::exporter::xray::config::XrayTransport;

#[test]
fn xray_runs_only_when_named_and_says_what_it_lacks() {
    let region = ("AWS_REGION", "eu-central-1");
    let (config, errors) = read(&[region, ("HONEYCOMB_API_KEY", "k")]);
    assert!(config.exporters.get::<XrayConfig>().is_none() && errors.is_empty());

    let named = ("CRUDDUR_EXPORTERS", "xray");
    let (config, errors) = read(&[named, region, ("CRUDDUR_XRAY_UNDECIDED", "0.5")]);
    assert_eq!((config.exporters.get::<XrayConfig>().unwrap().undecided, errors), (0.5, vec![]));

    let (config, errors) = read(&[named]);
    assert!(
        config.exporters.get::<XrayConfig>().is_none()
            && errors[0].to_string().contains("AWS_REGION"),
        "{errors:?}"
    );

    for rate in ["1.5", "-1", "NaN", "all"] {
        let (config, errors) = read(&[named, region, ("CRUDDUR_XRAY_UNDECIDED", rate)]);
        assert_eq!(config.exporters.get::<XrayConfig>().unwrap().undecided, 0.0, "{rate}");
        assert!(errors[0].to_string().starts_with("CRUDDUR_XRAY_UNDECIDED"), "{errors:?}");
    }
}

#[test]
fn a_daemons_address_is_taken_as_x_rays_own_sdks_take_it() {
    let read =
        |address| read(&[("CRUDDUR_EXPORTERS", "xray"), ("AWS_XRAY_DAEMON_ADDRESS", address)]);
    for address in ["xray:2000", "udp:xray:2000", "tcp:other:3000 udp:xray:2000"] {
        let (config, errors) = read(address);
        let daemon = XrayTransport::Daemon("xray:2000".to_owned());
        assert_eq!(config.exporters.get::<XrayConfig>().unwrap().transport, daemon);
        assert!(errors.is_empty(), "{errors:?}");
    }
    for address in ["xray", "2000", ":2000", "xray:port", "tcp:xray:2000"] {
        let (config, errors) = read(address);
        assert!(config.exporters.get::<XrayConfig>().is_none(), "not the API instead: {address}");
        assert!(errors[0].to_string().starts_with("AWS_XRAY_DAEMON_ADDRESS"), "{errors:?}");
    }
}

#[test]
fn the_transport_is_chosen_by_name_and_auto_takes_a_daemon_that_is_set() {
    let region = ("AWS_REGION", "eu-central-1");
    let daemon = ("AWS_XRAY_DAEMON_ADDRESS", "xray:2000");
    let to_daemon = || XrayTransport::Daemon("xray:2000".to_owned());
    for (name, address, expected) in [
        ("", None, XrayTransport::Auto),
        ("auto", None, XrayTransport::Auto),
        ("OTLP", None, XrayTransport::Otlp),
        ("segments", None, XrayTransport::Segments),
        ("auto", Some(daemon), to_daemon()),
        ("daemon", Some(daemon), to_daemon()),
        ("otlp", Some(daemon), XrayTransport::Otlp),
        ("segments", Some(daemon), XrayTransport::Segments),
    ] {
        let mut vars =
            vec![("CRUDDUR_EXPORTERS", "xray"), region, ("CRUDDUR_XRAY_TRANSPORT", name)];
        vars.extend(address);

        let (config, errors) = read(&vars);

        assert_eq!(config.exporters.get::<XrayConfig>().unwrap().transport, expected, "{name}");
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn an_unknown_transport_is_reported_and_a_daemon_without_address_switches_xray_off() {
    let named = [("CRUDDUR_EXPORTERS", "xray"), ("AWS_REGION", "eu-central-1")];
    for (name, expected) in [("udp", Some(XrayTransport::Auto)), ("daemon", None)] {
        let vars = [named[0], named[1], ("CRUDDUR_XRAY_TRANSPORT", name)];

        let (config, errors) = read(&vars);

        let transport = config.exporters.get::<XrayConfig>().map(|config| config.transport.clone());
        assert_eq!((transport, errors.len()), (expected, 1), "{errors:?}");
        assert!(errors[0].to_string().starts_with("CRUDDUR_XRAY_TRANSPORT"), "{errors:?}");
    }
}
