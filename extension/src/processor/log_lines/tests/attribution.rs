//! The invocation to which a line belongs.

use super::*;

#[test]
fn a_request_id_that_the_platform_has_not_told_is_a_claim() {
    let mut lines = lines();
    started(&mut lines, "a");

    let forged = json!({"requestId": "forged", "xray_trace_id": 7, "lambda": "mine"});
    let line = function(&mut lines, forged.clone());

    assert_eq!((&line["requestId"], &line["xray_trace_id"]), (&json!("a"), &json!(XRAY_TRACE)));
    assert_eq!(line["claimed"], forged);
    assert_eq!(line["lambda"]["function"], "home");
}

#[test]
fn lines_of_init_of_the_end_and_of_the_invocation_before_are_told_apart() {
    let mut lines = lines();
    let early = function(&mut lines, json!("starting"));
    started(&mut lines, "a");
    take(&mut lines, &[("platform.runtimeDone", json!({"requestId": "a", "status": "success"}))]);
    let after = function(&mut lines, json!("background"));
    report(&mut lines, "a");
    started(&mut lines, "b");
    let late = function(&mut lines, json!({"requestId": "a"}));
    let current = function(&mut lines, json!("b's"));

    let shown = |line: &Value| {
        let lambda = &line["lambda"];
        json!([line["requestId"], lambda["phase"], lambda["coldStart"]])
    };
    assert_eq!(shown(&early), json!([null, "init", true]));
    assert_eq!(shown(&after), json!(["a", "after", true]));
    assert_eq!(shown(&late), json!(["a", "invoke", true]));
    assert_eq!(shown(&current), json!(["b", "invoke", false]));
}

#[test]
fn where_several_run_at_once_a_line_is_the_ones_that_it_names_or_nobodys() {
    let mut lines = lines();
    for id in ["a", "b", "c"] {
        started(&mut lines, id);
    }

    let named = function(&mut lines, json!({"requestId": "a"}));
    assert_eq!((&named["requestId"], &named["claimed"]), (&json!("a"), &Value::Null));
    assert_eq!(function(&mut lines, json!("anybody's"))["requestId"], Value::Null);
    assert_eq!(report(&mut lines, "c")["Invocations"], 1);
    assert_eq!(report(&mut lines, "a")["Invocations"], 1);
    assert_eq!(function(&mut lines, json!("b's alone"))["requestId"], "b");
    started(&mut lines, "d");
    let shown: Vec<_> =
        shut_down(&mut lines, "spindown").iter().map(|line| line["requestId"].clone()).collect();
    assert_eq!(shown, ["b", "d"]);
}

#[test]
fn an_event_that_is_tried_again_under_its_id_is_two_invocations() {
    let mut lines = lines();
    for expected in [json!([1, 1]), json!([1, 0])] {
        lines.invoked(&invoke("a"), now());
        started(&mut lines, "a");
        let line = report(&mut lines, "a");
        assert_eq!(json!([line["Invocations"], line["ColdStarts"]]), expected);
    }
    assert_eq!(lines.unreported(), None);
}

#[test]
fn an_invocation_of_which_the_telemetry_has_told_nothing_is_told_at_the_end() {
    let mut lines = lines();
    lines.invoked(&invoke("a"), now());
    started(&mut lines, "a");
    report(&mut lines, "a");
    lines.invoked(&invoke("b"), now());

    assert_eq!(lines.unreported().as_deref(), Some("b"));
    assert_eq!(function(&mut lines, json!("a's"))["requestId"], "a");
    let shown = shut_down(&mut lines, "timeout");

    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["requestId"], &shown[0]["Timeouts"]), (&json!("b"), &json!(1)));
    assert_eq!(
        (&shown[0]["ColdStarts"], &shown[0]["xray_trace_id"]),
        (&json!(0), &json!(XRAY_TRACE))
    );
    assert_eq!(lines.unreported(), None);
}

#[test]
fn the_telemetry_of_one_before_leaves_the_next_known() {
    let mut lines = lines();
    lines.invoked(&invoke("b"), now() + Duration::from_secs(9));
    started(&mut lines, "a");

    assert_eq!(lines.unreported().as_deref(), Some("b"));
    take(&mut lines, &[("platform.start", json!({"requestId": "b"}))]);
    assert_eq!(function(&mut lines, json!("b's"))["xray_trace_id"], XRAY_TRACE);
}

#[test]
fn a_process_that_began_in_the_middle_of_an_invocation_asks_the_extensions_api() {
    let mut lines = lines();

    lines.invoked(&invoke("a"), now() + Duration::from_secs(1));
    assert_eq!(function(&mut lines, json!("before"))["requestId"], Value::Null);
    lines.invoked(&invoke("a"), now());
    let line = function(&mut lines, json!("within"));

    assert_eq!((&line["requestId"], &line["xray_trace_id"]), (&json!("a"), &json!(XRAY_TRACE)));
}

#[test]
fn an_invocation_whose_report_never_comes_is_told_at_the_end() {
    for (reason, done, errors, timeouts) in
        [("spindown", "success", 0, 0), ("TIMEOUT", "", 1, 1), ("spindown", "error", 1, 0)]
    {
        let mut lines = lines();
        started(&mut lines, "a");
        if !done.is_empty() {
            let done = json!({"requestId": "a", "status": done});
            take(&mut lines, &[("platform.runtimeDone", done)]);
        }

        assert_eq!(lines.unreported().as_deref(), Some("a"));
        let line = shut_down(&mut lines, reason).remove(0);

        assert_is_emf(&line);
        assert_eq!((&line["Errors"], &line["Timeouts"]), (&json!(errors), &json!(timeouts)));
        assert_eq!(line["requestId"], "a");
        assert!(shut_down(&mut lines, reason).is_empty());
    }
}

#[test]
fn on_a_managed_instance_a_line_belongs_to_its_request_id_or_trace_id_else_to_none() {
    let mut lines = lines();
    lines.registry.set_concurrent();
    let early = function(&mut lines, json!("starting"));
    started(&mut lines, "a");

    let named = function(&mut lines, json!({"requestId": "a"}));
    let root = XRAY_TRACE[2..].replace('-', "");
    let traced = function(&mut lines, json!({"message": "x", "trace_id": root}));
    let plain = function(&mut lines, json!("the only running one's, perhaps"));
    let other = function(&mut lines, json!({"trace_id": "0af7651916cd43dd8448eb211c80319c"}));

    let shown = |line: &Value| json!([line["requestId"], line["lambda"]["invocation"]]);
    assert_eq!(shown(&early), json!([null, null]), "of init");
    assert_eq!(shown(&named), json!(["a", null]));
    assert_eq!(shown(&traced), json!(["a", null]));
    assert_eq!(shown(&plain), json!([null, "unknown"]));
    assert_eq!(shown(&other), json!([null, "unknown"]));
}

#[test]
fn a_line_has_the_tenant_of_its_sandbox_unless_it_names_one_itself() {
    let mut lines = lines();
    let start = json!({"requestId": "a", "tenantId": format!(" acme\n{} ", "x".repeat(400))});
    take(&mut lines, &[("platform.start", start)]);

    let expected = format!("acme{}", "x".repeat(252));
    assert_eq!(function(&mut lines, json!("plain"))["tenantId"], expected);
    assert_eq!(function(&mut lines, json!({"message": "x"}))["tenantId"], expected);
    assert_eq!(function(&mut lines, json!({"tenantId": "own"}))["tenantId"], "own");
    for absurd in [json!(7), json!(null), json!({}), json!(""), json!("\u{0}\n")] {
        let mut lines = self::lines();
        take(&mut lines, &[("platform.start", json!({"requestId": "a", "tenantId": absurd}))]);
        assert_eq!(function(&mut lines, json!("plain"))["tenantId"], Value::Null, "{absurd}");
    }
}
