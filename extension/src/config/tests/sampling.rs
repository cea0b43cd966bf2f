//! The variables of sampling for Honeycomb.

use super::*;

const KEY: (&str, &str) = ("HONEYCOMB_API_KEY", "k");
const RATE: &str = "CRUDDUR_HONEYCOMB_SAMPLE_RATE";

#[test]
fn all_spans_are_sent_unless_a_rate_above_1_is_set() {
    assert!(read(&[KEY]).0.sampling().is_none());
    assert!(read(&[KEY, (RATE, "1")]).0.sampling().is_none());
    assert!(read(&[(RATE, "20")]).0.sampling().is_none(), "honeycomb is off");

    let (config, errors) = read(&[
        KEY,
        (RATE, "20"),
        ("CRUDDUR_HONEYCOMB_SAMPLE_SALT", "s"),
        ("CRUDDUR_HONEYCOMB_SAMPLE_LOGS", "true"),
    ]);
    assert_eq!(errors, []);
    let sampling = config.sampling().unwrap();
    assert_eq!((sampling.rate, sampling.salt.as_str(), sampling.samples_logs), (20, "s", true));
    assert_eq!(sampling.slow, Duration::from_secs(2));
}

#[test]
fn an_invalid_value_is_named_with_what_applies_instead() {
    for rate in ["0", "-1", "1.5", "many", "1000000000", "18446744073709551616"] {
        let (config, errors) = read(&[KEY, (RATE, rate)]);
        assert!(config.sampling().is_none(), "{rate}");
        let expected = format!(
            "{RATE} is ignored, so all spans are sent: not a whole number from 1 to 1000000"
        );
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
    for (variable, value, instead) in [
        ("CRUDDUR_HONEYCOMB_SLOW_MS", "0", "it is 2000"),
        ("CRUDDUR_HONEYCOMB_SLOW_MS", "2s", "it is 2000"),
        ("CRUDDUR_HONEYCOMB_SAMPLE_LOGS", "yes", "all log records are sent"),
    ] {
        let (config, errors) = read(&[KEY, (RATE, "20"), (variable, value)]);
        let sampling = config.sampling().unwrap();
        assert_eq!((sampling.slow, sampling.samples_logs), (Duration::from_secs(2), false));
        let error = errors[0].to_string();
        assert!(error.starts_with(variable) && error.contains(instead), "{error}");
    }
}
