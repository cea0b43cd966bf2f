use super::{read, variables};

#[test]
fn a_broken_filter_is_one_line_with_its_variable_and_is_ignored() {
    for (variable, value) in [
        ("CRUDDUR_DROP_SPANS", "/fine,^/api/.*$"),
        ("CRUDDUR_HONEYCOMB_DROP_SPANS", "*"),
        ("CRUDDUR_OTLP_DROP_SPANS", "GET /*"),
        ("CRUDDUR_DROP_ATTRIBUTES", r"db\..+"),
        ("CRUDDUR_MASK_ATTRIBUTES", "a|b"),
        ("CRUDDUR_CLOUDWATCH_LEVEL", "loud"),
    ] {
        let (_, errors) = read(&[(variable, value)]);

        let [error] = &errors[..] else { panic!("{variable}={value}: {errors:?}") };
        assert!(error.to_string().starts_with(&format!("{variable} is ignored")), "{error}");
    }
}

#[test]
fn honeycombs_filter_is_off_if_its_value_is_off_or_empty_and_broken_values_have_its_default() {
    let filter = |value: Option<&str>| {
        let name = "CRUDDUR_HONEYCOMB_DROP_SPANS";
        let vars: Vec<_> = value.map(|value| (name, value)).into_iter().collect();
        format!("{:?}", read(&vars).0.filter.spans)
    };
    let default = filter(None);
    assert!(default.contains("OPTIONS") && default.contains("/health"), "{default}");
    assert_eq!(filter(Some("*")), default);
    assert_eq!(filter(Some("off")), filter(Some(" ")));
    assert!(!filter(Some("off")).contains("OPTIONS"));
    let names = variables::all().filter(|it| it.name.ends_with("_DROP_SPANS")).count();
    assert_eq!(names, 3);
}
