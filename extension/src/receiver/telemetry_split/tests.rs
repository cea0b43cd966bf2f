//! POSTs as the Telemetry API cuts them, and worse ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TIME: &str = "2026-01-01T00:00:00.000Z";

fn event(kind: &str, record: Value) -> String {
    envelope(kind) + &record.to_string() + "}"
}

fn envelope(kind: &str) -> String {
    format!(r#"{{"time":"{TIME}","type":"{kind}","record":"#)
}

fn line(text: &str) -> String {
    event("function", json!(text))
}

/// Cuts the JSON of events behind so many bytes each, as the API does.
fn cut(events: &[String], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut posts, mut post, mut offset) = (Vec::new(), b"[".to_vec(), 0);
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            post.push(b',');
        }
        let (bytes, head) = (event.as_bytes(), envelope_length(event.as_bytes()).unwrap());
        let mut from = 0;
        for at in cuts.iter().filter(|at| (offset..offset + bytes.len()).contains(at)) {
            let end = at - offset;
            post.extend(&bytes[from.min(end)..end]);
            posts.push(std::mem::replace(&mut post, b"[".to_vec()));
            from = if end > 0 { end.max(head) } else { 0 };
            if end > 0 {
                post.extend(&bytes[..head]);
            }
        }
        post.extend(&bytes[from..]);
        offset += bytes.len();
    }
    post.push(b']');
    posts.push(post);
    posts
}

/// Every event and the number of unreadable stretches, after all POSTs.
fn read(posts: &[Vec<u8>]) -> (Vec<String>, usize) {
    let (mut splitter, mut events, mut unreadable) = (Splitter::default(), Vec::new(), 0);
    for post in posts {
        let post = splitter.read(post);
        events.extend(post.events.into_iter().map(Cow::into_owned));
        unreadable += post.unreadable;
    }
    events.extend(splitter.finish());
    (events, unreadable)
}

fn partial_texts(events: &[String]) -> Vec<String> {
    let records = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let partial = records.filter(|event| event["record"]["partial"] == true);
    partial.map(|event| event["record"]["message"].as_str().unwrap().to_owned()).collect()
}

fn posts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_record_cut_in_two_is_joined_and_its_neighbours_are_kept() {
    let long = event("function", json!({"level": "ERROR", "message": "q".repeat(1_000)}));
    let events = [line("before"), long, line("after")];

    let parts = cut(&events, &[events[0].len() + 500]);

    assert_eq!(parts.len(), 2);
    assert!(parts.iter().all(|part| serde_json::from_slice::<Value>(part).is_err()));
    assert_eq!(read(&parts), (events.to_vec(), 0));
}

#[test]
fn a_cut_at_every_byte_of_escapes_sequences_numbers_and_envelopes_is_joined() {
    let record = json!({"a\"b": [1.5e-7, -2.25, true, null, "ü€😀\u{1}\\\"\n"], "type": "x"});
    let escaped = envelope("function") + r#""\ud83d\ude00 \"a\" \u00fc" }"#;
    let events = [event("function", record), escaped, event("function", json!("\"{[\\\""))];
    let length: usize = events.iter().map(String::len).sum();

    for at in 0..length {
        assert_eq!(read(&cut(&events, &[at])), (events.to_vec(), 0), "cut at {at}");
    }
}

#[test]
fn a_complete_post_between_the_two_parts_is_read_and_the_parts_are_joined() {
    let (events, between) = ([line("0123456789"), line("after")], line("between"));
    let mut parts = cut(&events, &[events[0].len() - 5]);
    parts.insert(1, format!("[{between}]").into_bytes());

    assert_eq!(read(&parts), ([&[between], &events[..]].concat(), 0));
}

#[test]
fn a_part_without_its_continuation_is_a_partial_line() {
    let start = format!("[{},{}\"an \\\"open\\\" en\\ud8", line("before"), envelope("function"));
    let other = format!("[{}]", line("other"));
    let mut all = vec![start];
    all.extend(std::iter::repeat_n(other, MAX_POSTS_BETWEEN as usize + 1));
    let mut splitter = Splitter::default();

    let kept: Vec<usize> =
        all.iter().map(|post| splitter.read(post.as_bytes()).events.len()).collect();

    assert_eq!(kept, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
    assert_eq!(splitter.finish(), None);
    let (events, unreadable) = read(&posts(&[&all[0]]));
    assert_eq!((events.len(), unreadable), (2, 0));
    assert_eq!(partial_texts(&events), ["an \"open\" en"]);
}

#[test]
fn a_continuation_without_its_beginning_is_a_partial_line() {
    let post = format!("[{}the \\\"end\\\"\"}},{}]", envelope("function"), line("after"));

    let (events, unreadable) = read(&posts(&[&post]));

    assert_eq!((&events[1], unreadable), (&line("after"), 0));
    assert_eq!(partial_texts(&events), ["the \"end\""]);
}

#[test]
fn another_cut_record_replaces_the_one_that_waits() {
    let [first, second] = ["function", "platform.fault"].map(envelope);

    let (events, _) = read(&posts(&[&format!("[{first}\"one"), &format!("[{second}\"two")]));

    assert_eq!(partial_texts(&events), ["one", "two"]);
}

#[test]
fn a_record_that_never_ends_is_bounded_in_memory_and_kept_in_parts() {
    let part = format!("[{}\"{}", envelope("function"), "x".repeat(MAX_CUT_BYTES / 4));
    let more = format!("[{}{}", envelope("function"), "x".repeat(MAX_CUT_BYTES / 4));
    let mut splitter = Splitter::default();
    let (mut kept, mut given) = (0, 0);

    for index in 0..12 {
        let post = if index == 0 { &part } else { &more };
        given += MAX_CUT_BYTES / 4;
        let events: Vec<_> =
            splitter.read(post.as_bytes()).events.into_iter().map(Cow::into_owned).collect();
        kept += partial_texts(&events).iter().map(String::len).sum::<usize>();
        let waiting = splitter.cut.as_ref().map_or(0, |cut| cut.bytes.len());
        assert!(waiting <= MAX_CUT_BYTES, "{waiting}");
    }

    let rest = partial_texts(&Vec::from_iter(splitter.finish()));
    assert_eq!(kept + rest.iter().map(String::len).sum::<usize>(), given);
}

#[test]
fn garbage_costs_no_event_beside_it_and_is_counted_once() {
    let (one, two) = (line("one"), line("two"));
    for (body, expected) in [
        (format!("[{one},garbage \" {{,{two}]"), 1),
        (format!("[{one},{{\"time\":\"a\"b\"}},{two}]"), 1),
        (format!("{one},{two}"), 0),
        (format!("garbage [{one},{two}]"), 1),
        (format!("[{one},17,{two},]"), 1),
        (format!("[{one} {two}"), 0),
    ] {
        let (events, unreadable) = read(&posts(&[&body]));
        assert_eq!((events, unreadable), (vec![one.clone(), two.clone()], expected), "{body}");
    }
    assert_eq!(read(&posts(&["not JSON"])), (vec![], 1));
    assert_eq!(read(&posts(&["{}"])), (vec![], 1));
}

#[test]
fn the_extensions_own_line_never_becomes_a_line_of_the_function() {
    let (events, _) = read(&posts(&[&format!("[{}\"own", envelope("extension"))]));

    assert_eq!(events, Vec::<String>::new());
}

fn records() -> impl Strategy<Value = Value> {
    let text = prop_oneof![".{0,20}", r#"["\\{}\[\],:ü😀]{0,12}"#].prop_map(Value::from);
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), text];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("(record|type|time|[a-z\"]{0,3})", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn events_cut_at_any_bytes_are_all_read(
        records in prop::collection::vec(records(), 1..5),
        at in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
    ) {
        let events: Vec<String> = records.into_iter().map(|it| event("function", it)).collect();
        let length: usize = events.iter().map(String::len).sum();
        let mut cuts: Vec<usize> = at.iter().map(|at| at.index(length)).collect();
        cuts.sort_unstable();
        cuts.dedup();

        prop_assert_eq!(read(&cut(&events, &cuts)), (events, 0));
    }

    #[test]
    fn no_bytes_make_the_reader_panic_and_what_waits_is_bounded(
        bodies in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            r#"[\[{]?(\{"time":"t","type":"function","record":)?["\\a-c,{}\[\]:1.e-]{0,12}"#.prop_map(String::into_bytes),
        ], 0..5),
    ) {
        read(&bodies);
    }
}
