//! The signals of one attempt in a random order, before and after its end.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    ServerSpan,
    InnerSpan,
    ExceptionLine,
    ErrorLine,
    ErrorRecord,
    Message,
}

use Sign::*;

const ALL: [Sign; 6] = [ServerSpan, InnerSpan, ExceptionLine, ErrorLine, ErrorRecord, Message];

fn add(world: &mut World, sign: Sign) {
    let line = |message: &str| json!({ "level": "ERROR", "message": message, "requestId": "r" });
    match sign {
        ServerSpan => world.spans(vec![server("r")]),
        InnerSpan => world.spans(vec![child()]),
        ExceptionLine => world
            .event("function", line("ValueError: bad\n  File \"/var/task/a.py\", line 3, in f\n")),
        ErrorLine => world.event("function", line("no luck")),
        ErrorRecord => world.logs(vec![record("r")]),
        Message => {
            let name = "rollbar.message".to_owned();
            let events = vec![span::Event { name, ..span::Event::default() }];
            world.spans(vec![Span { events, ..plain(7) }]);
        }
    }
}

/// The exception of the item that these signals make before a failed end.
fn class(signs: &[Sign]) -> &'static str {
    let by_rank =
        [(ServerSpan, "StoreError"), (InnerSpan, "Timeout"), (ExceptionLine, "ValueError")];
    let found = by_rank.iter().find(|(sign, _)| signs.contains(sign));
    found.map_or("OutOfMemory", |(_, class)| class)
}

fn signs() -> impl Strategy<Value = Vec<Sign>> {
    prop::sample::subsequence([ALL, ALL].concat(), 0..=12).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_signals_of_a_failed_attempt_make_one_item_with_one_title_in_any_order(
        early in signs(),
        late in signs(),
        reports_early in any::<bool>(),
    ) {
        let mut world = World::new(&[]);
        world.on_invoke("r");
        early.iter().for_each(|sign| add(&mut world, *sign));
        world.step(if reports_early { &Step::Report } else { &Step::Done }, "r");
        late.iter().for_each(|sign| add(&mut world, *sign));
        world.step(if reports_early { &Step::Done } else { &Step::Report }, "r");

        let items = world.finish();

        let (messages, failures): (Vec<_>, Vec<_>) =
            items.iter().partition(|item| item["level"] == "info");
        prop_assert_eq!(failures.len(), 1, "{:#?}", items);
        let trace = &failures[0]["body"]["trace_chain"][0];
        let trace = if trace.is_null() { &failures[0]["body"]["trace"] } else { trace };
        prop_assert_eq!(&trace["exception"]["class"], class(&early));
        prop_assert_eq!(&failures[0]["level"], "critical");
        prop_assert_eq!(&failures[0]["custom"]["request_id"], "r");
        let asked = [early, late].concat().iter().filter(|sign| **sign == Message).count();
        prop_assert_eq!(messages.len(), asked);
    }
}
