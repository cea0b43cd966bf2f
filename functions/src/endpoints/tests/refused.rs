//! What is refused, with which word, and that it leaves no trace.

use super::*;

async fn nobody_and_nothing(api: &Api) {
    let home = api.ok(home_activities::handle, Event::new("GET", "/")).await;
    assert_eq!(home, json!([]));
    let short = Event::new("GET", "/").path_parameter("handle", "andrew");
    let user = api.call(user_short::handle, short).await;
    assert_eq!(user, (404, json!(["user_not_found"])));
}

#[tokio::test]
async fn an_activity_is_refused_for_the_strongest_reason() {
    let api = Api::new();
    for (body, code) in [
        (json!({}), "message_blank"),
        (json!({"message": null, "ttl": "x"}), "message_blank"),
        (json!({"message": "", "ttl": "7-days"}), "message_blank"),
        (json!({"message": 5, "ttl": "7-days"}), "message_blank"),
        (json!({"message": ["a"], "ttl": "7-days"}), "message_blank"),
        (json!({"message": "🦀".repeat(281), "ttl": "x"}), "message_exceed_max_chars"),
        (json!({"message": "a"}), "ttl_blank"),
        (json!({"message": "a", "ttl": ""}), "ttl_blank"),
        (json!({"message": "a", "ttl": "8-days"}), "ttl_blank"),
        (json!({"message": "a", "ttl": 7}), "ttl_blank"),
    ] {
        let event = Event::new("POST", "/").by("andrew").json(body.clone());
        let refused = api.call(create_activity::handle, event).await;
        assert_eq!(refused, (422, json!([code])), "{body}");
    }
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_is_refused_before_it_is_read() {
    let api = Api::new();
    let json_type = "application/json; charset=utf-8";
    let deep = format!("{{\"message\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    let huge = format!("{{\"message\": \"{}\"}}", "x".repeat(40_000));
    for (content_type, body, status, code) in [
        (json_type, "", 400, "malformed_json"),
        (json_type, "{\"message\": \"a\"", 400, "malformed_json"),
        (json_type, "[\"a\"]", 400, "malformed_json"),
        (json_type, "null", 400, "malformed_json"),
        (json_type, "{\"message\": \"\\ud800\"}", 400, "malformed_json"),
        (json_type, "{\"message\": \"a\", \"message\": \"b\"}", 400, "malformed_json"),
        (json_type, &deep, 400, "malformed_json"),
        (json_type, &huge, 413, "body_too_large"),
        ("text/plain", "{\"message\": \"a\"}", 415, "unsupported_media_type"),
        ("", "{\"message\": \"a\"}", 415, "unsupported_media_type"),
    ] {
        let event = Event::new("POST", "/").by("andrew").body(body);
        let event = event.header("content-type", content_type);
        let refused = api.call(create_activity::handle, event).await;
        assert_eq!(refused, (status, json!([code])), "{body:.40}");
    }
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn control_characters_and_blanks_are_text_like_any_other() {
    let api = Api::new();
    for message in [" ", "\0", "a\0b\u{7}", "\u{FFFF}", "e\u{301}"] {
        let activity = api.publish("andrew", message).await;
        assert_eq!(api.shown(&activity["uuid"]).await["message"], message);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_neither_answered_nor_liked_nor_shown() {
    let api = Api::new();
    let not_found = (404, json!(["activity_not_found"]));
    for id in ["f7b3b0b4-7b5f-4d0e-8f5e-0c8f1d4b8a11", "f7b3b0b4", "", "../home", "urn:uuid:x"] {
        let event = || Event::new("PUT", "/").key(id).by("andrew");
        assert_eq!(api.call(show_activities::handle, event()).await, not_found, "{id}");
        assert_eq!(api.call(like_activity::handle, event()).await, not_found, "{id}");
        let body = json!({"message": "a"});
        assert_eq!(api.call(reply_activity::handle, event().json(body)).await, not_found, "{id}");
    }
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn a_handle_in_a_path_that_nobody_can_have_is_not_found() {
    let api = Api::new();
    for (key, status, code) in [
        ("@", 422, "blank_user_handle"),
        ("%40%20", 422, "blank_user_handle"),
        ("@a/b", 404, "user_not_found"),
        (&format!("@{}", "a".repeat(10_000)), 404, "user_not_found"),
    ] {
        let event = Event::new("GET", "/").key(key);
        let refused = api.call(show_activities::handle, event).await;
        assert_eq!(refused, (status, json!([code])), "{key:.20}");
    }
}

#[tokio::test]
async fn a_message_needs_a_text_and_somebody_to_read_it() {
    let api = Api::new();
    for (body, status, code) in [
        (json!({"user_receiver_handle": ""}), 422, "message_blank"),
        (json!({"message": "x".repeat(1_025)}), 422, "message_exceed_max_chars"),
        (json!({"message": "a"}), 422, "user_reciever_handle_blank"),
        (json!({"message": "a", "user_receiver_handle": " "}), 422, "user_reciever_handle_blank"),
        (json!({"message": "a", "user_receiver_handle": 7}), 422, "user_reciever_handle_blank"),
        (json!({"message": "a", "user_receiver_handle": "nobody"}), 404, "user_not_found"),
        (json!({"message": "a", "handle": "no/body"}), 404, "user_not_found"),
        (json!({"message": "a", "message_group_uuid": "x"}), 404, "message_group_not_found"),
    ] {
        let event = Event::new("POST", "/").by("andrew").json(body.clone());
        let refused = api.call(create_message::handle, event).await;
        assert_eq!(refused, (status, json!([code])), "{body:.60}");
    }
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn a_profile_needs_a_name() {
    let api = Api::new();
    for (body, code) in [
        (json!({"bio": "a"}), "display_name_blank"),
        (json!({"display_name": " \t"}), "display_name_blank"),
        (json!({"display_name": "x".repeat(65)}), "display_name_exceed_max_chars"),
        (json!({"display_name": "a", "bio": "x".repeat(281)}), "bio_exceed_max_chars"),
        (json!({"display_name": "a", "bio": 7}), "bio_invalid"),
        (json!({"display_name": "a", "bio": ["x"]}), "bio_invalid"),
    ] {
        let event = Event::new("POST", "/").by("andrew").json(body.clone());
        let refused = api.call(update_profile::handle, event).await;
        assert_eq!(refused, (422, json!([code])), "{body:.60}");
    }
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn a_page_is_asked_for_by_its_own_lists_cursor_and_a_number() {
    let api = Api::new();
    for n in 0..3 {
        api.publish("andrew", &format!("activity {n}")).await;
    }
    let event = Event::new("GET", "/").key("@andrew").query("limit=1");
    let reply = show_activities::handle(&api.app, event.request()).await.unwrap();
    let reply = serde_json::to_value(&reply).unwrap();
    let link = text(&reply["headers"]["link"]);
    let cursor = link.split_once("cursor=").unwrap().1.split_once('>').unwrap().0;

    for (query, code) in [
        (format!("cursor={cursor}"), "invalid_cursor"), // of another list
        ("cursor=".to_owned(), "invalid_cursor"),
        ("limit=0".to_owned(), "invalid_limit"),
        ("limit=-1".to_owned(), "invalid_limit"),
        ("limit=ten".to_owned(), "invalid_limit"),
    ] {
        let event = Event::new("GET", "/").query(&query);
        let refused = api.call(home_activities::handle, event).await;
        assert_eq!(refused, (400, json!([code])), "{query}");
    }
    let event = Event::new("GET", "/").key("@andrew").query(&format!("cursor={cursor}"));
    assert_eq!(api.ok(show_activities::handle, event).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_search_for_nothing_is_refused_and_one_for_too_little_finds_nothing() {
    let api = Api::new();
    api.publish("andrew", "a !").await;
    for (query, expected) in [
        ("", (422, json!(["search_term_blank"]))),
        ("term=", (422, json!(["search_term_blank"]))),
        ("term=%20", (422, json!(["search_term_blank"]))),
        ("term=a", (200, json!([]))),
        ("term=!", (200, json!([]))),
    ] {
        let event = Event::new("GET", "/").query(query);
        assert_eq!(api.call(search_activities::handle, event).await, expected, "{query}");
    }
}

#[tokio::test]
async fn only_the_gateways_word_makes_an_identity() {
    let api = Api::new();
    let forged = [
        ("authorization", "Bearer e30.eyJzdWIiOiJhIiwidXNlcm5hbWUiOiJhbmRyZXcifQ."),
        ("x-user", "andrew"),
        ("x-amzn-oidc-identity", "andrew"),
        ("cookie", "user.username=andrew"),
    ];
    let body =
        json!({"message": "a", "ttl": "7-days", "handle": "andrew", "user_handle": "andrew"});
    let mut event = Event::new("POST", "/").json(body);
    for (name, value) in forged {
        event = event.header(name, value);
    }

    let refused = api.call(create_activity::handle, event).await;

    assert_eq!(refused, (401, json!(["generic_401"])));
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn a_token_needs_a_subject_and_a_handle() {
    let api = Api::new();
    for (claims, status, code) in [
        (json!({"username": "andrew"}), 401, "generic_401"),
        (json!({"sub": " ", "username": "andrew"}), 401, "generic_401"),
        (json!({"sub": "x".repeat(129), "username": "andrew"}), 401, "generic_401"),
        (json!({"sub": "1"}), 422, "user_handle_blank"),
        (json!({"sub": "1", "username": " ", "preferred_username": ""}), 422, "user_handle_blank"),
        (json!({"sub": "1", "username": "an/drew"}), 422, "user_handle_invalid"),
        (json!({"sub": "1", "username": "an\u{200b}drew"}), 422, "user_handle_invalid"),
        (json!({"sub": "1", "username": "x".repeat(129)}), 422, "user_handle_exceed_max_chars"),
        (json!({"sub": "1", "username": "@andrew"}), 422, "user_handle_invalid"),
        (json!({"sub": "1", "cognito:username": "ａndrew"}), 422, "user_handle_invalid"),
        (json!({"sub": "1", "preferred_username": "andrew "}), 422, "user_handle_invalid"),
        (
            json!({"sub": "1", "username": "mallory", "preferred_username": "@andrew"}),
            422,
            "user_handle_invalid",
        ),
    ] {
        let event = activity("andrew", "a").with_claims(claims.clone());
        let refused = api.call(create_activity::handle, event).await;
        assert_eq!(refused, (status, json!([code])), "{claims:.60}");
    }
    nobody_and_nothing(&api).await;
}

#[tokio::test]
async fn who_reads_private_messages_needs_a_subject_alone() {
    let api = Api::new();
    api.publish("andrew", "Hello").await;
    api.publish("worf", "Hello").await;
    let sent = api.send("andrew", "worf", "Hello").await;

    for handle in [json!(""), json!(" "), json!("an/drew"), json!("x".repeat(129))] {
        let claims = json!({"sub": "sub of andrew", "username": handle});
        let event = || Event::new("GET", "/").with_claims(claims.clone());
        let groups = api.ok(message_groups::handle, event()).await;
        assert_eq!(groups[0]["handle"], "worf");
        assert_eq!(api.ok(show_messages::handle, event().key("@worf")).await, json!([sent]));
    }
}

#[tokio::test]
async fn a_page_of_nothing_is_asked_for_by_the_same_rules() {
    let api = Api::new();
    let activity = api.publish("andrew", "Hello").await;
    for (query, code) in
        [("limit=0", "invalid_limit"), ("limit=x", "invalid_limit"), ("cursor=x", "invalid_cursor")]
    {
        let expected = (400, json!([code]));
        let event = || Event::new("GET", "/").by("andrew").query(query);
        let with_nobody = api.call(show_messages::handle, event().key("@nobody")).await;
        let of_nobody = api.call(show_activities::handle, event().key("@nobody")).await;
        let of_one = api.call(show_activities::handle, event().key(text(&activity["uuid"]))).await;
        assert_eq!([with_nobody, of_nobody, of_one], [(); 3].map(|()| expected.clone()), "{query}");
    }
}

#[tokio::test]
async fn nobody_acts_as_somebody_else() {
    let api = Api::new();
    let activity_of_andrew = api.publish("andrew", "Hello").await;
    api.answer("worf", &activity_of_andrew, "Qapla'").await;
    // Another subject with andrew's handle.
    let claims = json!({"sub": "2", "username": "mallory", "preferred_username": "Andrew"});
    let taken = (409, json!(["user_handle_taken"]));

    let writes = activity("mallory", "I am andrew").with_claims(claims.clone());
    assert_eq!(api.call(create_activity::handle, writes).await, taken);
    let reads = Event::new("GET", "/").with_claims(claims);
    assert_eq!(api.call(notifications_activities::handle, reads).await, taken);
    let home = api.ok(home_activities::handle, Event::new("GET", "/")).await;
    assert_eq!(home.as_array().unwrap().len(), 1);
}
