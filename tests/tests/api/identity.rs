//! Callers: which claims make a user, and which requests do.

use cruddur_tests::{Event, event};
use serde_json::{Value, json};

use super::{Api, request_of, text};

on_both_stores! {
    reading_and_taking_back_a_like_create_no_user,
    claims_that_are_not_texts_refuse_nothing,
    the_same_sub_of_two_issuers_is_two_users,
    handles_that_differ_in_case_alone_are_one,
    a_sub_is_published_nowhere,
}

fn publication(claims: Value) -> Event {
    event("create-activity").claims(claims)
}

async fn reading_and_taking_back_a_like_create_no_user(api: Api) {
    let activity = api.get("create-activity", request_of("data", "create-activity")).await;
    let before = api.store.dump().await;

    let unlike = request_of("worf", "like-activity").method("DELETE");
    let unlike = unlike.path_parameter("key", text(&activity["uuid"]));
    let unliked = api.get("like-activity", unlike).await;
    for function in ["notifications-activities", "message-groups"] {
        api.get(function, request_of("worf", function)).await;
    }
    let messages = request_of("worf", "show-messages").path_parameter("key", "@data");
    api.get("show-messages", messages).await;

    let expected = json!({"uuid": activity["uuid"], "liked": false, "likes_count": 0});
    assert_eq!(unliked, expected);
    assert_eq!(api.store.dump().await, before);
}

async fn claims_that_are_not_texts_refuse_nothing(api: Api) {
    let odd = [json!(null), json!(7), json!(1.5), json!(true), json!(["a"]), json!({"a": "b"})];
    for value in odd {
        let claims = json!({
            "sub": "sub-worf", "username": "worf", "iss": value, "name": value, "exp": value,
            "preferred_username": value, "cognito:username": value,
        });

        let reply = api.call("create-activity", publication(claims)).await;

        assert_eq!((reply.status, &reply.json["handle"]), (200, &json!("worf")), "{value}");
        assert_eq!(reply.json["display_name"], "worf");
    }
    let no_sub = publication(json!({"sub": 7, "username": "worf"}));
    assert_eq!(api.call("create-activity", no_sub).await.status, 401);
}

async fn the_same_sub_of_two_issuers_is_two_users(api: Api) {
    let mut uuids = Vec::new();
    for (issuer, handle) in [("https://a.example", "worf"), ("https://b.example", "data")] {
        let claims = json!({"iss": issuer, "sub": "7", "username": handle});
        let body = json!({"display_name": handle});
        let updated = event("update-profile").claims(claims).json(&body);
        uuids.push(api.get("update-profile", updated).await["uuid"].clone());
    }
    let thief = json!({"iss": "https://b.example", "sub": "7-2", "username": "worf"});
    let refused = api.call("create-activity", publication(thief)).await;

    assert_ne!(uuids[0], uuids[1]);
    assert_eq!((refused.status, refused.json), (409, json!(["user_handle_taken"])));
}

async fn handles_that_differ_in_case_alone_are_one(api: Api) {
    for (n, (first, second)) in
        [("οδός", "ΟΔΌΣ"), ("Straße", "STRASSE"), ("ꭰ", "Ꭰ")].into_iter().enumerate()
    {
        let claims =
            |who: &str, handle: &str| json!({"sub": format!("{who}-{n}"), "username": handle});

        let owner = api.call("create-activity", publication(claims("first", first))).await;
        let other = api.call("create-activity", publication(claims("second", second))).await;

        assert_eq!((owner.status, other.status), (200, 409), "{first} {second}");
        let short = event("user-short").path_parameter("handle", second);
        assert_eq!(api.get("user-short", short).await["handle"], owner.json["handle"]);
    }
}

async fn a_sub_is_published_nowhere(api: Api) {
    let sub = "c0ffee00-1111-4222-8333-444455556666";
    let by = |function: &str| event(function).caller(sub, "worf");
    let activity = api.call("create-activity", by("create-activity")).await;
    let short = event("user-short").path_parameter("handle", "worf");
    let key = text(&activity.json["uuid"]).to_owned();
    let to_self = json!({"message": "Hello", "user_receiver_handle": "worf"});

    let replies = [
        api.call("user-short", short).await.body,
        api.call("update-profile", by("update-profile")).await.body,
        api.call("create-message", by("create-message").json(&to_self)).await.body,
        api.call("message-groups", by("message-groups")).await.body,
        api.call("like-activity", by("like-activity").path_parameter("key", &key)).await.body,
        activity.body,
    ];

    assert!(replies.iter().all(|body| !body.contains(sub)), "{replies:?}");
    assert!(api.store.dump().await.iter().all(|item| !item.contains(sub)));
}
