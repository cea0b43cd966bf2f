//! What users do with it, through the functions, in the shapes that the page reads.

use cruddur_tests::eventually;
use serde_json::{Value, json};

use super::{Api, request_of, text};

on_both_stores! {
    an_activity_is_published_answered_liked_and_found,
    a_status_is_shown_with_its_replies_under_the_handle_of_its_author,
    texts_of_any_kind_come_back_as_they_were,
    the_longest_texts_are_taken,
    a_conversation_is_readable_by_its_two_participants_only,
    a_profile_is_shown_in_short,
    a_profile_has_the_bio_and_counts_all_that_was_ever_published,
    a_list_is_read_along_its_links,
    bodies_in_base64_and_with_a_charset_are_read,
    a_request_that_comes_again_gets_the_first_answer,
    handles_are_found_in_whatever_form_the_path_has,
    who_writes_is_said_by_the_token_alone,
}

/// The names of an object's fields.
fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

/// `2026-11-20T09:20:00.000000+00:00`
fn assert_date(value: &Value) {
    let digits: String =
        text(value).chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    assert_eq!(digits, "0000-00-00T00:00:00.000000+00:00");
}

async fn publish(api: &Api, user: &str, message: &str) -> Value {
    let body = json!({"message": message, "ttl": "7-days"});
    api.get("create-activity", request_of(user, "create-activity").json(&body)).await
}

async fn answer(api: &Api, user: &str, to: &Value, message: &str) -> Value {
    let event = request_of(user, "reply-activity").path_parameter("key", text(&to["uuid"]));
    api.get("reply-activity", event.json(&json!({"message": message}))).await
}

async fn show(api: &Api, key: &str) -> Value {
    api.get("show-activities", request_of("q", "show-activities").path_parameter("key", key)).await
}

async fn an_activity_is_published_answered_liked_and_found(api: Api) {
    let activity = publish(&api, "andrew brown", "Cloud is #fun, @worf!").await;
    let first = answer(&api, "worf", &activity, "It is honourable").await;
    let second = answer(&api, "andrew brown", &first, "Qapla'").await;
    let like = request_of("worf", "like-activity").path_parameter("key", text(&activity["uuid"]));
    let liked = api.get("like-activity", like).await;

    let full = [
        "created_at",
        "display_name",
        "expires_at",
        "handle",
        "likes_count",
        "message",
        "replies",
        "replies_count",
        "reposts_count",
        "uuid",
    ];
    assert_eq!(fields(&activity), full);
    assert_date(&activity["created_at"]);
    assert_date(&activity["expires_at"]);
    assert_eq!((&activity["replies"], &activity["likes_count"]), (&json!([]), &json!(0)));
    assert_eq!(
        (&activity["handle"], &activity["display_name"]),
        (&json!("andrew brown"), &json!("andrew brown"))
    );
    assert_eq!(
        (&first["reply_to_activity_uuid"], &first["replies"]),
        (&activity["uuid"], &json!([]))
    );
    assert_eq!(liked["likes_count"], 1);

    let home = || api.get("home-activities", request_of("q", "home-activities"));
    let home = eventually(home, |home| home[0]["replies"][0]["replies"][0].is_object()).await;
    assert_eq!(home.as_array().unwrap().len(), 1); // replies are no activities
    assert_eq!(fields(&home[0]), full);
    assert_eq!((&home[0]["likes_count"], &home[0]["replies_count"]), (&json!(1), &json!(1)));
    assert_eq!(home[0]["replies"][0]["replies"][0]["uuid"], second["uuid"]);
    assert_eq!(show(&api, text(&activity["uuid"])).await[0], home[0]);
    assert_eq!(show(&api, text(&first["uuid"])).await[0]["replies"][0]["uuid"], second["uuid"]);

    let feed = show(&api, "@andrew brown").await;
    assert_eq!(feed, home); // later pages show counters and replies there too
    let search = request_of("q", "search-activities").query("term", "#FUN");
    let found = api.get("search-activities", search).await;
    assert_eq!(fields(&found[0]), ["created_at", "handle", "message", "uuid"]);
    let uuids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| text(&one["uuid"]).to_owned()).collect()
    };
    let notices =
        |user| api.get("notifications-activities", request_of(user, "notifications-activities"));
    let worfs = notices("worf").await;
    assert_eq!(uuids(&worfs), [text(&second["uuid"]), text(&activity["uuid"])]);
    assert_eq!(uuids(&notices("andrew brown").await), [text(&first["uuid"])]);
    for notice in worfs.as_array().unwrap() {
        for field in ["replies", "likes_count", "replies_count", "reposts_count", "expires_at"] {
            assert!(!notice[field].is_null(), "{field} in {notice}");
        }
    }
}

async fn a_status_is_shown_with_its_replies_under_the_handle_of_its_author(api: Api) {
    let activity = publish(&api, "andrew brown", "Hello").await;
    let first = answer(&api, "worf", &activity, "It is honourable").await;
    let second = answer(&api, "data", &first, "Indeed").await;
    let status = |handle: &str, entry: &Value| {
        let event = request_of("q", "show-status").path_parameter("key", handle);
        api.call("show-status", event.path_parameter("uuid", text(&entry["uuid"])))
    };

    let shown = status("@Andrew Brown", &activity).await.json;
    let below = status("@worf", &first).await.json;
    let of_another = status("@worf", &activity).await;

    let mut full = show(&api, text(&activity["uuid"])).await[0].clone();
    let replies = full["replies"].take();
    full["replies"] = json!([]);
    assert_eq!(shown, json!({"activity": full, "replies": replies}));
    assert_eq!(below["replies"], json!([second]));
    assert_eq!((of_another.status, of_another.json), (404, json!(["activity_not_found"])));
}

async fn texts_of_any_kind_come_back_as_they_were(api: Api) {
    for message in [
        " ",
        "\0",
        "NUL \0 and \u{1b}[31m",
        "e\u{301}",
        "🖖🏽",
        "\u{FFFF}",
        "<script>alert(1)</script>",
        "'; DROP TABLE items; --",
        "\\ \" \n \t",
        "\u{202e}right to left",
    ] {
        let activity = publish(&api, "worf", message).await;
        assert_eq!(activity["message"], message);
        let shown = show(&api, text(&activity["uuid"])).await;
        assert_eq!(shown[0]["message"], message, "{message:?}");
    }
}

async fn the_longest_texts_are_taken(api: Api) {
    let combining = |chars: usize| "e\u{301}".repeat(chars / 2);
    for message in ["x".repeat(280), "🖖".repeat(280), combining(280), "\0".repeat(280)] {
        let activity = publish(&api, "worf", &message).await;
        let long = match message.chars().next() {
            Some('🖖') => "🖖".repeat(1024),
            _ => combining(1024),
        };
        let reply = answer(&api, "data", &activity, &long).await;
        assert_eq!((text(&activity["message"]), text(&reply["message"])), (&*message, &*long));
    }
    let many_words: Vec<String> = (0..93).map(|n| format!("{n:02}")).collect();
    publish(&api, "worf", &many_words.join(" ")).await;
    let mentions: Vec<String> = (0..70).map(|n| format!("@{n:02}")).collect();
    publish(&api, "worf", &mentions.join(" ")).await;
}

async fn a_conversation_is_readable_by_its_two_participants_only(api: Api) {
    for user in ["andrew", "worf", "q"] {
        publish(&api, user, "Hello").await;
    }
    let hello = json!({"message": "Hello", "user_receiver_handle": "worf"});
    let sent = api.get("create-message", request_of("andrew", "create-message").json(&hello)).await;
    let group = text(&sent["message_group_uuid"]);
    let back = json!({"message": "What?", "message_group_uuid": group});
    let other = api.get("create-message", request_of("worf", "create-message").json(&back)).await;

    let shape = ["created_at", "display_name", "handle", "message", "message_group_uuid", "uuid"];
    assert_eq!(fields(&sent), shape);
    for (reader, by_handle) in [("andrew", "@worf"), ("worf", "@andrew")] {
        for key in [by_handle, group] {
            let event = request_of(reader, "show-messages").path_parameter("key", key);
            let read = api.get("show-messages", event).await;
            assert_eq!(read, json!([sent, other]), "{reader} {key}"); // oldest first
        }
        let groups = || api.get("message-groups", request_of(reader, "message-groups"));
        let groups = eventually(groups, |groups| groups[0]["message"] == "What?").await;
        assert_eq!(fields(&groups[0]), ["created_at", "display_name", "handle", "message", "uuid"]);
        assert_eq!(
            (&groups[0]["uuid"], &groups[0]["handle"]),
            (&json!(group), &json!(by_handle[1..]))
        );
    }
    let event = |key| request_of("q", "show-messages").path_parameter("key", key);
    let by_id = api.call("show-messages", event(group)).await;
    assert_eq!((by_id.status, by_id.json), (404, json!(["message_group_not_found"])));
    assert_eq!(api.get("show-messages", event("@worf")).await, json!([]));
    assert_eq!(api.get("message-groups", request_of("q", "message-groups")).await, json!([]));
}

async fn a_profile_is_shown_in_short(api: Api) {
    let body = json!({"display_name": " Lt. Worf ", "bio": "Son of Mogh"});
    for method in ["POST", "PUT"] {
        let event = request_of("worf", "update-profile").method(method).json(&body);
        let updated = api.get("update-profile", event).await;
        let short = request_of("q", "user-short").path_parameter("handle", "@worf");
        let short = api.get("user-short", short).await;

        assert_eq!(fields(&short), ["display_name", "handle", "uuid"]);
        assert_eq!(
            (&short["display_name"], &short["handle"]),
            (&json!("Lt. Worf"), &json!("worf"))
        );
        assert_eq!(short, updated);
    }
    assert_eq!(publish(&api, "worf", "Hello").await["display_name"], "Lt. Worf");
}

async fn a_profile_has_the_bio_and_counts_all_that_was_ever_published(api: Api) {
    let profile = |handle: &str| {
        let event = request_of("q", "user-profile").path_parameter("handle", handle);
        api.get("user-profile", event)
    };
    let once = request_of("worf", "create-activity").header("idempotency-key", "once");
    let activity = api.get("create-activity", once.clone()).await;
    api.get("create-activity", once).await;
    let new = profile("worf").await;
    assert_eq!(
        fields(&new),
        ["activities_count", "bio", "display_name", "handle", "replies_count", "uuid"]
    );
    assert_eq!((&new["bio"], &new["activities_count"]), (&Value::Null, &json!(1)));

    publish(&api, "worf", "Hello").await;
    answer(&api, "worf", &activity, "Indeed").await;
    answer(&api, "data", &activity, "Indeed").await;
    let delete =
        request_of("worf", "delete-activity").path_parameter("key", text(&activity["uuid"]));
    api.get("delete-activity", delete).await;
    let body = json!({"display_name": "Lt. Worf", "bio": "Son of Mogh"});
    let updated = api.get("update-profile", request_of("worf", "update-profile").json(&body)).await;

    for path in ["worf", "@worf", "%40Worf"] {
        let expected = json!({
            "uuid": updated["uuid"], "handle": "worf", "display_name": "Lt. Worf",
            "bio": "Son of Mogh", "activities_count": 2, "replies_count": 1,
        });
        assert_eq!(profile(path).await, expected, "{path}");
    }
    let counts = profile("data").await;
    assert_eq!((&counts["activities_count"], &counts["replies_count"]), (&json!(0), &json!(1)));
}

async fn a_list_is_read_along_its_links(api: Api) {
    let mut written = Vec::new();
    for n in 0..5 {
        let activity = publish(&api, "andrew brown", &format!("number {n} of many")).await;
        written.insert(0, activity["uuid"].clone());
    }

    let of_user = request_of("q", "show-activities").path_parameter("key", "@andrew brown");
    let search = request_of("q", "search-activities").query("term", "many number");
    for (function, first) in [
        ("home-activities", request_of("q", "home-activities")),
        ("show-activities", of_user),
        ("search-activities", search),
    ] {
        let first = first.query("limit", "2");
        let mut seen = Vec::new();
        let mut event = first.clone();
        loop {
            let reply = api.call(function, event).await;
            let page = reply.json.as_array().unwrap();
            assert!(page.len() <= 2, "{function}");
            seen.extend(page.iter().map(|one| one["uuid"].clone()));
            let Some(link) = reply.headers.get("link") else { break };
            assert!(link.starts_with("</api/activities/") && link.contains("limit=2"), "{link}");
            event = first.clone().query("cursor", &super::bad_input::next_cursor(&reply));
        }
        assert_eq!(seen, written, "{function}");
    }
}

async fn bodies_in_base64_and_with_a_charset_are_read(api: Api) {
    let base64 = "eyJtZXNzYWdlIjogIlFhcGxhJyIsICJ0dGwiOiAiMS1ob3VyIiwgIngiOiBbMV19";
    for event in [
        request_of("worf", "create-activity").body(base64).is_base64(),
        request_of("worf", "create-activity")
            .header("content-type", "application/json; charset=utf-8"),
        request_of("worf", "create-activity").header("content-type", "Application/JSON ; x=y"),
    ] {
        let activity = api.get("create-activity", event).await;
        assert_eq!(activity["handle"], "worf");
    }
}

async fn a_request_that_comes_again_gets_the_first_answer(api: Api) {
    let activity = publish(&api, "data", "Hello").await;
    let reply = request_of("worf", "reply-activity").path_parameter("key", text(&activity["uuid"]));
    for (function, event) in [
        ("create-activity", request_of("worf", "create-activity")),
        ("reply-activity", reply),
        (
            "create-message",
            request_of("worf", "create-message")
                .json(&json!({"message": "Hello", "user_receiver_handle": "data"})),
        ),
        ("update-profile", request_of("worf", "update-profile")),
    ] {
        let event = event.header("idempotency-key", "the same key for each route");
        let first = api.call(function, event.clone()).await;
        let after_first = api.store.dump().await;
        let again = api.call(function, event.clone()).await;

        assert_eq!((first.status, first.status), (200, again.status), "{function}: {}", first.body);
        assert_eq!(first.body, again.body, "{function}");
        assert_eq!(api.store.dump().await, after_first, "{function}");
        // The key is the user's own.
        let other = api.call(function, event.caller("sub-q", "q")).await;
        assert_eq!(other.status, 200, "{function}: {}", other.body);
        assert_ne!(other.body, first.body, "{function}");
    }
}

async fn handles_are_found_in_whatever_form_the_path_has(api: Api) {
    for (handle, forms) in [
        ("Andrew Brown", ["@andrew brown", "@Andrew Brown", "%40andrew%20brown"]),
        ("zoë 東京", ["@zoë 東京", "@ZOË 東京", "%40zo%C3%AB%20%E6%9D%B1%E4%BA%AC"]),
        ("a+b&c=d", ["@a+b&c=d", "@A+B&C=D", "%40a%2Bb%26c%3Dd"]),
    ] {
        let activity = publish(&api, handle, "Hello").await;
        for form in forms {
            assert_eq!(show(&api, form).await[0]["uuid"], activity["uuid"], "{form}");
            let short = request_of("q", "user-short").path_parameter("handle", form);
            assert_eq!(api.get("user-short", short).await["handle"], activity["handle"], "{form}");
        }
    }
}

async fn who_writes_is_said_by_the_token_alone(api: Api) {
    publish(&api, "worf", "Hello").await;

    let body = json!({
        "message": "I am worf", "ttl": "1-hour",
        "handle": "worf", "user_handle": "worf", "user_sender_handle": "worf", "sub": "sub-worf",
    });
    let forged = request_of("q", "create-activity")
        .json(&body)
        .header("x-user-id", "sub-worf")
        .header("x-forwarded-user", "worf")
        .query("handle", "worf");
    let activity = api.get("create-activity", forged).await;

    assert_eq!(activity["handle"], "q");
    assert_eq!(show(&api, "@worf").await.as_array().unwrap().len(), 1);
}
