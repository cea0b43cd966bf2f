use super::*;

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
        assert_eq!(
            read(address).0.exporters.get::<XrayConfig>().unwrap().daemon.as_deref(),
            Some("xray:2000")
        );
    }
    for address in ["xray", "2000", ":2000", "xray:port", "tcp:xray:2000"] {
        let (config, errors) = read(address);
        assert!(config.exporters.get::<XrayConfig>().is_none(), "not the API instead: {address}");
        assert!(errors[0].to_string().starts_with("AWS_XRAY_DAEMON_ADDRESS"), "{errors:?}");
    }
}
