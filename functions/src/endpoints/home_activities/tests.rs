use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::{
    config::Config,
    domain::{Activity, Counters},
    test_support::{HOME_EVENT, activity, reply, write_thread},
};

fn app(directory: &tempfile::TempDir) -> App {
    let path = directory.path().join("cruddur.db").to_string_lossy().into_owned();
    App::new(Config::from_vars(|name| (name == "CRUDDUR_SQLITE").then(|| path.clone())))
}

async fn body(app: &App) -> Value {
    let reply = handle(app, Request::from_event(HOME_EVENT).unwrap()).await.unwrap();
    assert_eq!(reply.status_code(), 200);
    serde_json::from_str(reply.body()).unwrap()
}

#[tokio::test]
async fn an_empty_store_is_an_empty_array() {
    let directory = tempfile::tempdir().unwrap();

    assert_eq!(body(&app(&directory)).await, json!([]));
}

#[tokio::test]
async fn an_activity_and_its_replies_have_every_field_that_the_page_reads() {
    let directory = tempfile::tempdir().unwrap();
    let app = app(&directory);
    let now = app.now();
    let counters = Counters { likes: 5, replies: 1, reposts: 2, deleted_replies: 0 };
    let activity = Activity { counters, ..activity(1, now - SignedDuration::from_mins(2)) };
    let answer = reply(2, &activity, 1, 1, now - SignedDuration::from_mins(1));
    let table = app.table().await.unwrap();
    write_thread(table, &activity, std::slice::from_ref(&answer)).await;

    let expected = json!([{
        "uuid": "00000000-0000-0000-0000-000000000001",
        "handle": "(gone)", // written to the store without a user
        "display_name": "Gone",
        "message": "Hello",
        "created_at": activity.created_at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
        "expires_at": activity.expires_at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
        "likes_count": 5,
        "replies_count": 1,
        "reposts_count": 2,
        "replies": [{
            "uuid": "00000000-0000-0000-0000-000000000002",
            "reply_to_activity_uuid": "00000000-0000-0000-0000-000000000001",
            "handle": "(gone)",
            "display_name": "Gone",
            "message": "Qapla'",
            "created_at": answer.created_at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
            "likes_count": 0,
            "replies_count": 0,
            "reposts_count": 0,
            "replies": [],
        }],
    }]);
    assert_eq!(body(&app).await, expected);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_a_500_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let app = app(&directory);
    let in_the_way = directory.path().join("cruddur.db");
    std::fs::create_dir(&in_the_way).unwrap();

    let error = handle(&app, Request::from_event(HOME_EVENT).unwrap()).await.unwrap_err();
    assert_eq!(error.reply().body(), "[\"generic_500\"]");

    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(body(&app).await, json!([]));
}
