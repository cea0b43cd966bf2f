//! Written texts appear on the lists of the right users.

use super::*;
use crate::{
    domain::{
        Activity, Counters, DisplayName, Handle, Identity, LongText, MessageText, Reply, UserKey,
    },
    store::{Write, codec, users},
    test_support,
};

#[tokio::test]
async fn a_new_activity_is_on_every_list_that_it_belongs_to() {
    let api = Api::new();

    let activity = api.publish("Andrew Brown", "Hello #Rust and @worf").await;

    assert_eq!(activity["handle"], "andrew brown");
    assert_eq!((&activity["replies"], &activity["likes_count"]), (&json!([]), &json!(0)));
    let home = api.ok(home_activities::handle, Event::new("GET", "/")).await;
    assert_eq!(home, json!([activity]));
    for key in ["@andrew brown", "%40andrew%20brown", "@Andrew Brown"] {
        let feed = api.ok(show_activities::handle, Event::new("GET", "/").key(key)).await;
        assert_eq!(feed, home, "{key}");
    }
    for (term, is_found) in
        [("rust", true), ("%23rust", true), ("HELLO%20@worf", true), ("%23worf", false)]
    {
        let event = Event::new("GET", "/").query(&format!("term={term}"));
        let found = api.ok(search_activities::handle, event).await;
        assert_eq!(all(&found, "uuid").contains(&&activity["uuid"]), is_found, "{term}");
    }
    let event = || Event::new("GET", "/");
    let to_worf = api.ok(notifications_activities::handle, event().by("worf")).await;
    assert_eq!(to_worf, json!([activity]));
    let to_bayko = api.ok(notifications_activities::handle, event().by("bayko")).await;
    assert_eq!(to_bayko, json!([]));
}

#[tokio::test]
async fn replies_are_counted_nested_and_told_to_those_whom_they_answer() {
    let api = Api::new();
    let activity = api.publish("andrew", "Hello").await;

    let reply = api.answer("worf", &activity, "Qapla'").await;
    let deeper = api.answer("bayko", &reply, "Bless you").await;

    let shown = api.shown(&activity["uuid"]).await;
    assert_eq!(
        (&shown["replies_count"], &shown["replies"][0]["uuid"]),
        (&json!(1), &reply["uuid"])
    );
    assert_eq!(shown["replies"][0]["replies"][0]["uuid"], deeper["uuid"]);
    let below = api.shown(&reply["uuid"]).await;
    assert_eq!(below["replies"], json!([deeper]));
    assert_eq!(below["expires_at"], activity["expires_at"]);
    for (reader, expected) in [
        ("andrew", vec![&deeper["uuid"], &reply["uuid"]]),
        ("worf", vec![&deeper["uuid"]]),
        ("bayko", vec![]),
    ] {
        let event = Event::new("GET", "/").by(reader);
        let notified = api.ok(notifications_activities::handle, event).await;
        assert_eq!(all(&notified, "uuid"), expected, "{reader}");
    }
    let home = api.ok(home_activities::handle, Event::new("GET", "/")).await;
    assert_eq!(home, json!([shown])); // and no reply at the top
}

#[tokio::test]
async fn a_like_counts_once_for_each_user_until_it_is_taken_back() {
    let api = Api::new();
    let activity = api.publish("andrew", "Hello").await;
    let like = async |method, handle| {
        let event = Event::new(method, "/").key(text(&activity["uuid"])).by(handle);
        api.ok(like_activity::handle, event).await
    };

    for (method, handle, liked, count) in [
        ("DELETE", "worf", false, 0),
        ("PUT", "worf", true, 1),
        ("PUT", "worf", true, 1),
        ("PUT", "bayko", true, 2),
        ("DELETE", "worf", false, 1),
        ("DELETE", "worf", false, 1),
    ] {
        let expected = json!({"uuid": activity["uuid"], "liked": liked, "likes_count": count});
        assert_eq!(like(method, handle).await, expected, "{method} by {handle}");
    }

    assert_eq!(api.shown(&activity["uuid"]).await["likes_count"], 1);
}

#[tokio::test]
async fn a_conversation_is_the_same_for_the_two_and_is_not_there_for_others() {
    let api = Api::new();
    for handle in ["andrew", "worf", "londo"] {
        api.publish(handle, "I am here").await;
    }

    let first = api.send("andrew", "worf", "Hello").await;
    let second = api.send("worf", "@Andrew", "Qapla'").await;
    let group = json!({"message": "And you?", "message_group_uuid": first["message_group_uuid"]});
    let event = |handle| Event::new("POST", "/").by(handle).json(group.clone());
    let third = api.ok(create_message::handle, event("andrew")).await;

    let all_three = json!([first, second, third]);
    let id = text(&first["message_group_uuid"]);
    for (reader, key) in [("andrew", "@worf"), ("worf", "%40andrew"), ("andrew", id), ("worf", id)]
    {
        let event = Event::new("GET", "/").by(reader).key(key);
        assert_eq!(
            api.ok(show_messages::handle, event).await,
            all_three,
            "{reader} asks for {key}"
        );
    }
    let groups = api.ok(message_groups::handle, Event::new("GET", "/").by("worf")).await;
    assert_eq!(groups.as_array().unwrap().len(), 1);
    assert_eq!(
        (&groups[0]["handle"], &groups[0]["message"]),
        (&json!("andrew"), &json!("And you?"))
    );
    assert_eq!(groups[0]["created_at"], third["created_at"]);

    let not_found = (404, json!(["message_group_not_found"]));
    let reads = Event::new("GET", "/").by("londo").key(id);
    assert_eq!(api.call(show_messages::handle, reads).await, not_found);
    assert_eq!(api.call(create_message::handle, event("londo")).await, not_found);
    for key in ["@worf", "@andrew", "@nobody"] {
        let event = Event::new("GET", "/").by("londo").key(key);
        assert_eq!(api.ok(show_messages::handle, event).await, json!([]), "{key}");
    }
    let groups = api.ok(message_groups::handle, Event::new("GET", "/").by("londo")).await;
    assert_eq!(groups, json!([]));
}

#[tokio::test]
async fn the_conversation_with_the_newest_message_comes_first() {
    let api = Api::new();
    for handle in ["worf", "londo"] {
        api.publish(handle, "I am here").await;
    }
    for (to, message) in [("worf", "1"), ("londo", "2"), ("worf", "3")] {
        api.send("andrew", to, message).await;
    }

    let groups = api.ok(message_groups::handle, Event::new("GET", "/").by("andrew")).await;

    assert_eq!(all(&groups, "message"), [&json!("3"), &json!("2")]);
}

#[tokio::test]
async fn links_lead_through_a_list_without_a_gap_or_a_repeat() {
    let api = Api::new();
    let mut written = Vec::new();
    for n in 0..7 {
        written.insert(0, api.publish("andrew", &format!("activity {n}")).await["uuid"].clone());
    }
    let mut query = "limit=3&term=activity%20".to_owned();
    let mut seen = Vec::new();
    loop {
        let event = Event::new("GET", "/api/activities/search").query(&query);
        let reply = search_activities::handle(&api.app, event.request()).await.unwrap();
        let body: Value = serde_json::from_str(reply.body()).unwrap();
        seen.extend(all(&body, "uuid").into_iter().cloned());
        api.publish("andrew", "one more activity, newer than where the reader is").await;
        let reply = serde_json::to_value(&reply).unwrap();
        let Some(link) = reply["headers"]["link"].as_str() else { break };
        let (path, next) = link.trim_start_matches('<').split_once('?').unwrap();
        assert_eq!(path, "/api/activities/search");
        query = next.split_once('>').unwrap().0.to_owned();
        assert!(query.contains("limit=3") && query.contains("term=activity%20"), "{query}");
    }

    assert_eq!(seen, written);
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_done_once() {
    let api = Api::new();
    let event = |handle, message: &str| activity(handle, message).header("idempotency-key", "k1");

    let first = api.ok(create_activity::handle, event("andrew", "once")).await;
    let again = api.ok(create_activity::handle, event("andrew", "once")).await;
    let by_another = api.ok(create_activity::handle, event("worf", "once")).await;
    let another = api.call(create_activity::handle, event("andrew", "twice")).await;
    let answered = answer("andrew", &first, "once").header("idempotency-key", "k1");
    let on_another_route = api.ok(reply_activity::handle, answered).await;

    assert_eq!(again, first);
    assert_ne!(by_another["uuid"], first["uuid"]);
    assert_eq!(another, (422, json!(["idempotency_key_reused"])));
    assert_eq!(on_another_route["reply_to_activity_uuid"], first["uuid"]);
    let home = api.ok(home_activities::handle, Event::new("GET", "/")).await;
    assert_eq!(all(&home, "uuid"), [&by_another["uuid"], &first["uuid"]]);
}

#[tokio::test]
async fn a_profile_names_all_that_the_user_has_written() {
    let api = Api::new();
    let before = api.publish("andrew", "Hello").await;
    let body = json!({"display_name": " Andrew Brown ", "bio": "Teaches."});

    let user = api.ok(update_profile::handle, Event::new("PUT", "/").by("andrew").json(body)).await;

    assert_eq!(
        (&user["handle"], &user["display_name"]),
        (&json!("andrew"), &json!("Andrew Brown"))
    );
    let after = api.publish("andrew", "Hello again").await;
    assert_eq!(after["display_name"], "Andrew Brown");
    assert_eq!(api.shown(&before["uuid"]).await["display_name"], "Andrew Brown");
    for handle in ["andrew", "@andrew", "%40ANDREW"] {
        let short = Event::new("GET", "/").path_parameter("handle", handle);
        assert_eq!(api.ok(user_short::handle, short).await, user, "{handle}");
    }
}

#[tokio::test]
async fn a_bio_stays_until_another_or_none_is_written() {
    let api = Api::new();
    let stored = async || {
        let table = api.app.table().await.unwrap();
        let handle = crate::domain::Handle::parse("andrew").unwrap();
        let user = crate::store::users::by_handle(table, &handle, api.app.now()).await.unwrap();
        user.unwrap().bio.map(|bio| bio.to_string())
    };
    for (body, expected) in [
        (json!({"display_name": "a"}), None),
        (json!({"display_name": "a", "bio": " Teaches. "}), Some("Teaches.")),
        (json!({"display_name": "b"}), Some("Teaches.")),
        (json!({"display_name": "c", "bio": null}), None),
        (json!({"display_name": "c", "bio": "Teaches again."}), Some("Teaches again.")),
        (json!({"display_name": "c", "bio": " "}), None),
    ] {
        api.ok(update_profile::handle, Event::new("PUT", "/").by("andrew").json(body.clone()))
            .await;
        assert_eq!(stored().await.as_deref(), expected, "{body}");
    }
}

#[tokio::test]
async fn a_request_is_the_same_in_whatever_form_its_path_names_the_entry() {
    let api = Api::new();
    let activity = api.publish("andrew", "Hello").await;
    let uuid = text(&activity["uuid"]);
    let event = |key: &str| {
        let event = answer("worf", &activity, "once").key(key).header("idempotency-key", "k1");
        api.ok(reply_activity::handle, event)
    };

    let first = event(uuid).await;

    assert_eq!(event(&uuid.to_uppercase()).await, first);
    assert_eq!(event(&uuid.replace('-', "%2D")).await, first);
}

#[tokio::test]
async fn a_link_repeats_what_the_route_reads_and_nothing_else() {
    let api = Api::new();
    for n in 0..2 {
        api.publish("andrew", &format!("activity {n}")).await;
    }
    let query = "limit=1&term=activity&x=%3Cscript%3E&token=secret&limit=7";
    let link = async |outcome: Result<Response, ApiError>| {
        let reply = serde_json::to_value(outcome.unwrap()).unwrap();
        let link = text(&reply["headers"]["link"]).to_owned();
        link.split_once("cursor=").unwrap().0.to_owned()
    };
    let event = Event::new("GET", "/list").key("@andrew").query(query);

    let search = link(search_activities::handle(&api.app, event.request()).await).await;
    let home = link(home_activities::handle(&api.app, event.request()).await).await;
    let feed = link(show_activities::handle(&api.app, event.request()).await).await;

    assert_eq!(search, "</list?limit=1&term=activity&");
    assert_eq!([home, feed], ["</list?limit=1&"; 2]);
}

#[tokio::test]
async fn more_replies_are_found_along_the_link_of_a_shown_entry() {
    let api = Api::new();
    let activity = api.publish("andrew", "Hello").await;
    let mut written = Vec::new();
    for n in 0..5 {
        written.push(api.answer("worf", &activity, &n.to_string()).await["uuid"].clone());
    }
    let mut query = "limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let event = Event::new("GET", "/x").key(text(&activity["uuid"])).query(&query);
        let reply = show_activities::handle(&api.app, event.request()).await.unwrap();
        let body: Value = serde_json::from_str(reply.body()).unwrap();
        assert_eq!(body[0]["replies_count"], 5);
        seen.extend(all(&body[0]["replies"], "uuid").into_iter().cloned());
        let reply = serde_json::to_value(&reply).unwrap();
        let Some(link) = reply["headers"]["link"].as_str() else { break };
        query = link.split_once('?').unwrap().1.split_once('>').unwrap().0.to_owned();
    }
    assert_eq!(seen, written);
}

/// Lambda takes no reply that is longer, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_REPLY: usize = 6 * 1024 * 1024;

/// The author with the longest names. Escaped twice, since the body is a text in the reply, a NUL has
/// 7 bytes: `\\u0000`.
async fn longest_author(api: &Api) -> UserKey {
    let handle = Handle::parse(&"𐐨".repeat(128)).unwrap();
    let name = Some(DisplayName::parse(&"𐐨".repeat(64)).unwrap());
    let key = test_support::key("long");
    let identity = Identity { key, handle, handle_is_chosen: false, name };
    let table = api.app.table().await.unwrap();
    users::get_or_create(table, &identity, api.app.now()).await.unwrap().unwrap();
    key
}

fn longest_reply(author: UserKey, reply: Reply) -> Reply {
    Reply { author, message: LongText::parse(&"\0".repeat(1024)).unwrap(), ..reply }
}

async fn write_longest_threads(api: &Api, author: UserKey) {
    let (table, now) = (api.app.table().await.unwrap(), api.app.now());
    let counters = Counters {
        likes: u32::MAX.into(),
        replies: u32::MAX.into(),
        reposts: 7,
        ..Counters::default()
    };
    for n in 1..=100 {
        let activity = Activity {
            author,
            message: MessageText::parse(&"\0".repeat(280)).unwrap(),
            counters,
            ..test_support::activity(n, now)
        };
        let reply = |m| {
            let reply = test_support::reply(n * 1_000 + m, &activity, n, 1, now);
            Reply { counters, ..longest_reply(author, reply) }
        };
        let replies: Vec<_> = (0..if n == 1 { 100 } else { 8 }).map(reply).collect();
        test_support::write_thread(table, &activity, &replies).await;
    }
}

async fn write_longest_notices(api: &Api, author: UserKey) {
    let (table, now) = (api.app.table().await.unwrap(), api.app.now());
    let reader = [codec::Recipient::User(test_support::key("reader"))].into();
    let activity = test_support::activity(1, now);
    let mut notices = Vec::new();
    for n in 0..100 {
        let reply = test_support::reply(500_000 + n, &activity, 1, 1, now);
        notices.extend(codec::reply_items(&longest_reply(author, reply), &reader).unwrap());
    }
    for items in notices.chunks(100) {
        let writes: Vec<_> = items.iter().cloned().map(Write::Upsert).collect();
        table.transact_write(&writes, now).await.unwrap();
    }
}

#[tokio::test]
async fn the_largest_page_of_every_list_fits_a_reply() {
    let api = Api::new();
    let author = longest_author(&api).await;
    write_longest_threads(&api, author).await;
    write_longest_notices(&api, author).await;

    let size =
        |reply: Result<Response, ApiError>| serde_json::to_string(&reply.unwrap()).unwrap().len();
    let event = || Event::new("GET", "/").query("limit=100");
    let home = size(home_activities::handle(&api.app, event().request()).await);
    let one = event().key("00000000-0000-0000-0000-000000000001");
    let shown = size(show_activities::handle(&api.app, one.request()).await);
    let notices =
        size(notifications_activities::handle(&api.app, event().by("reader").request()).await);

    assert!((5_000_000..MAX_REPLY).contains(&home), "{home}");
    assert!((800_000..MAX_REPLY).contains(&shown), "{shown}");
    assert!((800_000..MAX_REPLY).contains(&notices), "{notices}");
}
