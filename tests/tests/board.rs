//! The board at Honeycomb: made once, renewed after that, and refused in words.

use cruddur_tests::{Answer, Cli, HoneycombApi};
use serde_json::Value;

const PERMISSIONS: [&str; 4] = ["queries", "columns", "boards", "createDatasets"];

fn board(honeycomb: &HoneycombApi) -> Cli {
    Cli::new(&["board"])
        .env("HONEYCOMB_CONFIGURATION_KEY", honeycomb.key())
        .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
}

#[tokio::test]
async fn the_board_has_the_seven_queries_each_with_its_name() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;

    let printed = board(&honeycomb).run().await;

    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{printed:?}");
    assert!(printed.out.contains("https://ui.honeycomb.io/cruddur/"), "{printed:?}");
    let boards = honeycomb.boards();
    let [board] = &boards[..] else { panic!("not one board: {boards:?}") };
    assert_eq!(board["panels"].as_array().map(Vec::len), Some(7));
    let names: Vec<Value> =
        honeycomb.annotations().into_iter().map(|annotation| annotation["name"].clone()).collect();
    let expected = [
        "Latency",
        "p90 by route",
        "Latency by user",
        "Errors by type",
        "Cold starts",
        "Recent traces",
        "Cost of the layer",
    ];
    assert_eq!(names, expected);
    assert_eq!(honeycomb.queries()[0]["calculations"][0]["op"], "HEATMAP");
}

#[tokio::test]
async fn a_second_run_makes_nothing_new() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;
    board(&honeycomb).run().await;
    let (boards, queries) = (honeycomb.boards(), honeycomb.queries());
    let calls = honeycomb.calls().len();

    let printed = board(&honeycomb).run().await;

    assert_eq!(printed.code, 0, "{printed:?}");
    assert_eq!((honeycomb.boards(), honeycomb.queries()), (boards, queries));
    let second = &honeycomb.calls()[calls..];
    assert!(second.iter().all(|call| !call.starts_with("POST")), "{second:?}");
}

#[tokio::test]
async fn a_query_that_has_changed_is_made_anew_and_its_old_name_removed() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;
    board(&honeycomb).run().await;
    honeycomb.age_annotation("Cold starts");

    let printed = board(&honeycomb).run().await;

    assert_eq!(printed.code, 0, "{printed:?}");
    assert_eq!((honeycomb.queries().len(), honeycomb.annotations().len()), (8, 7));
    assert_eq!(honeycomb.boards().len(), 1);
}

#[tokio::test]
async fn a_key_without_permission_makes_nothing_and_the_permission_is_named() {
    let honeycomb = HoneycombApi::start(&["queries", "columns"]).await;

    let printed = board(&honeycomb).run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.err.contains("Manage Public Boards"), "{printed:?}");
    assert_eq!(honeycomb.calls(), ["GET /1/auth"]);
}

#[tokio::test]
async fn a_wrong_key_and_a_refusal_in_the_middle_are_told() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;

    let wrong = board(&honeycomb).env("HONEYCOMB_CONFIGURATION_KEY", "not-the-key").run().await;
    // The fourth call makes the dataset for the columns: the key may not.
    for _ in 0..3 {
        honeycomb.next_answer(Answer::Proper);
    }
    honeycomb.next_answer(Answer::json(403, &serde_json::json!({ "error": "no such permission" })));
    let refused = board(&honeycomb).run().await;

    assert_eq!((wrong.code, refused.code), (1, 1), "{wrong:?} {refused:?}");
    assert!(wrong.err.contains("unknown API key"), "{wrong:?}");
    assert!(!wrong.err.contains("not-the-key"), "{wrong:?}");
    assert!(refused.err.contains("POST /1/datasets"), "{refused:?}");
    assert!(refused.err.contains("no such permission"), "{refused:?}");
}

#[tokio::test]
async fn columns_are_made_in_a_dataset_that_is_there_and_none_beside_it() {
    let honeycomb = HoneycombApi::start(&["queries", "columns", "boards"]).await;
    honeycomb.add_dataset("home-activities");

    let printed = board(&honeycomb).run().await;

    assert_eq!((printed.code, honeycomb.boards().len()), (0, 1), "{printed:?}");
    let calls = honeycomb.calls();
    assert!(calls.contains(&"POST /1/columns/home-activities".to_owned()), "{calls:?}");
    assert!(!calls.contains(&"POST /1/datasets".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn a_dataset_that_is_named_is_used_and_made_if_it_is_not_there() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;
    honeycomb.add_dataset("home-activities");
    let variables = |cli: Cli| {
        cli.env("HONEYCOMB_CONFIGURATION_KEY", honeycomb.key())
            .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
    };

    let printed = variables(Cli::new(&["board", "--dataset", "cruddur"])).run().await;

    assert_eq!(printed.code, 0, "{printed:?}");
    let calls = honeycomb.calls();
    assert!(calls.contains(&"POST /1/datasets".to_owned()), "{calls:?}");
    assert!(calls.contains(&"POST /1/columns/cruddur".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn a_refusal_is_told_with_the_fields_that_it_is_about() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;
    honeycomb.next_answer(Answer::Proper);
    let refusal = serde_json::json!({
        "title": "The provided input is invalid.",
        "type_detail": [{ "field": "orders[0]", "code": "invalid", "description": "no such column" }],
    });
    honeycomb.next_answer(Answer::json(422, &refusal));

    let printed = board(&honeycomb).run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.err.contains("input is invalid.; orders[0]: no such column"), "{printed:?}");
}

#[tokio::test]
async fn a_wrong_endpoint_is_not_taken_for_a_missing_key() {
    let printed = Cli::new(&["board"])
        .env("HONEYCOMB_CONFIGURATION_KEY", "a-key")
        .env("HONEYCOMB_API_ENDPOINT", "api.honeycomb.io")
        .run()
        .await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.err.starts_with("HONEYCOMB_API_ENDPOINT is not"), "{printed:?}");
    assert!(!printed.err.contains("no key"), "{printed:?}");
}

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    let honeycomb = HoneycombApi::start(&PERMISSIONS).await;
    honeycomb.next_answer(Answer::retry_after(429, "0"));

    let printed = board(&honeycomb).run().await;

    assert_eq!((printed.code, honeycomb.boards().len()), (0, 1), "{printed:?}");
}

#[tokio::test]
async fn print_shows_the_json_and_asks_nobody() {
    let printed = Cli::new(&["board", "--print"]).run().await;

    assert_eq!(printed.code, 0, "{printed:?}");
    assert_eq!(printed.json()["panels"].as_array().map(Vec::len), Some(7));
}

#[tokio::test]
async fn without_a_key_it_says_which_one_is_missing() {
    let printed = Cli::new(&["board"]).run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.err.contains("HONEYCOMB_CONFIGURATION_KEY"), "{printed:?}");
}
