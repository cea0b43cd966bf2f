//! The signs that memory ran out: each makes one marked item of the request.

use super::*;

fn ended(world: &mut World, id: &str, (status, error): (&str, &str), used: u64) {
    let record = json!({ "requestId": id, "status": status, "errorType": error });
    world.event("platform.runtimeDone", record.clone());
    let mut report = record;
    report["metrics"] = json!({ "maxMemoryUsedMB": used, "memorySizeMB": 128 });
    world.event("platform.report", report);
}

fn begun(world: &mut World, id: &str) {
    world.failures.expect_end_events();
    world.on_invoke(id);
    world.event("platform.start", json!({ "requestId": id }));
}

#[test]
fn memory_is_out_by_the_error_type_or_by_a_full_memory_with_a_failed_status() {
    for (outcome, used, is_out) in [
        (("error", "Runtime.OutOfMemory"), 100, true),
        (("error", "Runtime.ExitError"), 128, true),
        (("error", "Runtime.ExitError"), 127, false),
    ] {
        let mut world = World::new(&[]);
        begun(&mut world, "first");
        ended(&mut world, "first", outcome, used);
        let items = world.finish();

        assert_eq!(items.len(), 1, "{outcome:?}");
        let class = &items[0]["body"]["trace"]["exception"]["class"];
        assert_eq!(class == "OutOfMemory", is_out, "{outcome:?} {class}");
        let is_marked = items[0]["custom"]["out_of_memory"] == true;
        assert_eq!(is_marked, is_out, "{outcome:?}");
    }
}

#[test]
fn a_full_memory_without_a_failure_is_none() {
    let mut world = World::new(&[]);
    begun(&mut world, "first");
    let metrics = json!({ "maxMemoryUsedMB": 128, "memorySizeMB": 128 });
    let report = json!({ "requestId": "first", "status": "success", "metrics": metrics });
    world.event("platform.runtimeDone", json!({ "requestId": "first", "status": "success" }));
    world.event("platform.report", report);

    assert_eq!(world.finish(), Vec::<Value>::new());
}

#[test]
fn the_texts_of_runtimes_mark_the_item_of_the_request_once() {
    for text in [
        "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space",
        "Unhandled exception. System.OutOfMemoryException: Insufficient memory",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
    ] {
        let mut world = World::new(&[]);
        begun(&mut world, "first");
        world.event("function", json!(text));
        ended(&mut world, "first", ("error", "Runtime.ExitError"), 128);
        let items = world.finish();

        assert_eq!(items.len(), 1, "{text}: {items:#?}");
        assert_eq!(items[0]["custom"]["out_of_memory"], true, "{text}");
    }
}
