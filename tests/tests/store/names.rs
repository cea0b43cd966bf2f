//! Names: of users who changed theirs, who are gone, and of items that cannot be read.

use cruddur::domain::{Entry, Handle, LongText, Message, Names, UserKey, conversation_uuid};
use cruddur::store::{feeds, keys, likes, messages, threads, users};
use cruddur_tests::Store;
use jiff::SignedDuration;
use serde_json::Value;
use uuid::Uuid;

use super::world::*;
use super::*;

on_both_stores! {
    a_new_handle_is_on_all_that_the_user_has_written,
    an_old_text_never_has_a_handle_that_another_user_has_taken,
    a_missing_user_is_gone_on_every_list_and_takes_no_list_along,
    a_user_who_was_deleted_is_made_again_by_the_next_write,
    an_item_that_cannot_be_read_is_left_out_of_lists_and_fails_single_reads,
    items_of_the_previous_shape_are_not_read_as_anything,
    a_mention_goes_to_the_user_who_has_the_handle_at_that_time,
}

async fn names(table: &dyn Table, user: UserKey) -> Names {
    users::people(table, [user].into(), now()).await.unwrap().names_of(user).clone()
}

fn to(from: UserKey, to: UserKey, text: &str, minutes_ago: i64) -> Message {
    Message {
        uuid: Uuid::new_v4(),
        group_uuid: conversation_uuid(from, to),
        from,
        message: LongText::parse(text).unwrap(),
        created_at: ago(minutes_ago),
    }
}

/// The authors on every list that andrew reads.
async fn authors(table: &dyn Table) -> Vec<(&'static str, Vec<UserKey>)> {
    let page = first(40);
    let (andrew, worf) = (key_of("andrew"), key_of("worf"));
    let home = feeds::home(table, &page, now()).await.unwrap().entries;
    let replies = home.iter().flat_map(|thread| &thread.replies);
    let feed = feeds::of_user(table, worf, &page, now()).await.unwrap().entries;
    let words = ["qapla".to_owned()];
    let found = feeds::search(table, &words, &page, now()).await.unwrap().entries;
    let notified = feeds::notifications(table, andrew, &[], &page, now()).await.unwrap().entries;
    let groups = messages::groups(table, andrew, &page, now()).await.unwrap().entries;
    let group = conversation_uuid(andrew, worf);
    let messages = messages::messages(table, group, &page, now()).await.unwrap().entries;
    vec![
        ("home", home.iter().map(|thread| thread.activity.author).collect()),
        ("replies", replies.map(|tree| tree.reply.author).collect()),
        ("feed", feed.iter().map(|activity| activity.author).collect()),
        ("search", found.iter().map(|activity| activity.author).collect()),
        ("notifications", notified.iter().flat_map(|entry| entry.authors()).collect()),
        ("groups", groups.iter().map(|group| group.other).collect()),
        ("messages", messages.iter().map(|message| message.from).collect()),
    ]
}

/// Worf publishes, answers, and writes to andrew.
async fn fill(table: &dyn Table) -> Entry {
    let (andrew, worf) = (user(table, "andrew").await.key, user(table, "worf").await.key);
    let activity = Entry::Activity(publish(table, activity("worf", "Qapla", 30)).await);
    answer(table, &activity, "worf", 25).await;
    let andrews = publish(table, super::world::activity("andrew", "Hello", 20)).await;
    answer(table, &Entry::Activity(andrews), "worf", 15).await;
    let message = to(worf, andrew, "Hello", 10);
    messages::send(table, andrew, &message, None, now()).await.unwrap();
    let is_listed = |lists: &Vec<(_, Vec<_>)>| lists.iter().all(|(_, list)| !list.is_empty());
    eventually(|| authors(table), is_listed).await;
    activity
}

async fn a_new_handle_is_on_all_that_the_user_has_written(store: Store) {
    let table = store.table();
    fill(table).await;
    let before = authors(table).await;
    let items_before = store.dump().await;

    users::get_or_create(table, &chosen("sub-worf", "ambassador"), now()).await.unwrap().unwrap();

    assert_eq!(authors(table).await, before);
    assert_eq!(names(table, key_of("worf")).await.handle, handle("ambassador"));
    let after = store.dump().await;
    let changed = after.iter().filter(|item| !items_before.contains(item)).count();
    assert_eq!(changed, 4, "the user, the two handles, and the note of the former one");
}

async fn an_old_text_never_has_a_handle_that_another_user_has_taken(store: Store) {
    let table = store.table();
    fill(table).await;
    users::get_or_create(table, &chosen("sub-worf", "ambassador"), now()).await.unwrap().unwrap();
    let month = now() + SignedDuration::from_hours(30 * 24);

    let heir = users::get_or_create(table, &identity("sub-heir", "worf"), month).await.unwrap();

    let heir = heir.unwrap();
    assert_eq!(heir.handle, handle("worf"));
    for (list, authors) in authors(table).await {
        assert!(!authors.contains(&heir.key), "{list}");
        for author in authors {
            assert_ne!(names(table, author).await.handle, handle("worf"), "{list}");
        }
    }
    let feed = feeds::of_user(table, heir.key, &first(40), now()).await.unwrap().entries;
    assert_eq!(feed, []);
}

async fn a_missing_user_is_gone_on_every_list_and_takes_no_list_along(store: Store) {
    let table = store.table();
    fill(table).await;
    let before = authors(table).await;
    let worf = key_of("worf");

    write(table, &[Write::DeleteExisting(keys::user(worf))]).await.unwrap();

    assert_eq!(authors(table).await, before);
    let gone = names(table, worf).await;
    assert_eq!((gone.handle.as_str(), gone.display_name.as_str()), ("(gone)", "Gone"));
    assert_eq!(names(table, key_of("andrew")).await.handle, handle("andrew"));
    assert!(Handle::parse_exact("(gone)").is_err(), "the handle is free for a user");
    assert_eq!(users::by_handle(table, &handle("worf"), now()).await.unwrap(), None);
    // The conversation goes on.
    let message = to(key_of("andrew"), worf, "Where are you?", 1);
    messages::send(table, worf, &message, None, now()).await.unwrap();
}

async fn a_user_who_was_deleted_is_made_again_by_the_next_write(store: Store) {
    let table = store.table();
    let before = user(table, "worf").await;
    write(table, &[Write::DeleteExisting(keys::user(before.key))]).await.unwrap();

    let after = user(table, "worf").await;

    assert_eq!(after, before);
    assert_eq!(users::by_handle(table, &handle("worf"), now()).await.unwrap(), Some(before));
}

/// Takes an attribute out of an item, or gives it a value of a wrong type.
async fn damage(table: &dyn Table, key: Key, name: &str, value: Option<Value>) {
    let mut item = get(table, key).await.unwrap();
    match value {
        Some(value) => drop(item.attributes.insert(name.to_owned(), value)),
        None => drop(item.attributes.remove(name)),
    }
    put(table, [item]).await;
}

async fn an_item_that_cannot_be_read_is_left_out_of_lists_and_fails_single_reads(store: Store) {
    let table = store.table();
    let good = fill(table).await;
    let damaged = publish(table, activity("worf", "Qapla again", 5)).await;
    let reply = answer(table, &good, "worf", 4).await;
    let (worf, q) = (user(table, "worf").await.key, user(table, "q").await.key);
    messages::send(table, key_of("andrew"), &to(q, key_of("andrew"), "Hm", 3), None, now())
        .await
        .unwrap();
    let group = conversation_uuid(worf, key_of("andrew"));
    let unreadable = to(worf, key_of("andrew"), "damaged", 2);
    messages::send(table, key_of("andrew"), &unreadable, None, now()).await.unwrap();
    let all = |lists: &Vec<(&str, Vec<_>)>| lists[0].1.len() == 3 && lists[5].1.len() == 2;
    let before = eventually(|| authors(table), all).await;

    damage(table, keys::activity(damaged.uuid), "author", None).await;
    let place = keys::reply(&keys::ReplyKey {
        root: good.uuid(),
        depth: 1,
        created_at: reply.created_at,
        uuid: reply.uuid,
    });
    damage(table, place, "message", Some(json!(7))).await;
    damage(
        table,
        keys::member(key_of("andrew"), conversation_uuid(q, key_of("andrew"))),
        "other",
        None,
    )
    .await;
    let partition = keys::messages_partition(group);
    damage(table, keys::by_time(partition, ago(2), unreadable.uuid), "from", Some(json!("x")))
        .await;
    damage(table, keys::user(q), "handle", None).await;

    let after = authors(table).await;
    let lost: Vec<(&str, usize)> = before
        .iter()
        .zip(&after)
        .map(|((name, before), (_, after))| (*name, before.len() - after.len()))
        .collect();
    let expected = [
        ("home", 1),
        ("replies", 1),
        ("feed", 1),
        ("search", 1),
        ("notifications", 0),
        ("groups", 1),
        ("messages", 1),
    ];
    assert_eq!(lost, expected);
    assert_eq!(names(table, q).await.handle.as_str(), "(gone)");
    for uuid in [damaged.uuid, reply.uuid] {
        assert_eq!(threads::find(table, uuid, now()).await.unwrap_err().kind(), "corrupt");
    }
    assert_eq!(users::by_handle(table, &handle("q"), now()).await.unwrap_err().kind(), "corrupt");
}

/// What the release before wrote, which had handles and the sub in its keys.
fn previous_shape(uuid: Uuid) -> Vec<Item> {
    let time = "2027-01-15T07:50:00.000000Z";
    let place = format!("{time}#{uuid}");
    let entry = json!({
        "handle": "worf", "display_name": "Worf", "message": "Qapla", "created_at": time,
        "expires_at": "2027-01-15T09:00:00Z", "likes_count": 1, "replies_count": 0,
        "reposts_count": 0,
    });
    let of = |partition: &str, sort: &str, attributes: Value| Item {
        attributes: attributes.as_object().unwrap().clone(),
        ..item(partition, sort)
    };
    let sub = key_of("worf").to_string(); // a sub may look like anything, even like a key of ours
    let user = json!({"key": sub, "uuid": uuid, "handle": "worf", "display_name": "Worf"});
    let member = json!({"other": sub, "message": "Qapla", "created_at": time});
    let message = json!({
        "group_uuid": uuid, "handle": "worf", "display_name": "Worf", "message": "Qapla",
    });
    vec![
        listed(of(&format!("ACTIVITY#{uuid}"), "ROOT", entry.clone()), "HOME#0", &place),
        of("FEED#worf", &place, entry.clone()),
        of("WORD#qapla", &place, entry),
        of("NOTICES#worf", &place, json!({"partition": "ACTIVITY#x", "sort": "ROOT"})),
        of(&format!("USER#{sub}"), "USER", user),
        of("HANDLE#worf", "HANDLE", json!({"user": sub})),
        listed(
            of(&format!("MEMBER#{sub}"), &uuid.to_string(), member),
            &format!("GROUPS#{sub}"),
            &place,
        ),
        of(&format!("GROUP#{uuid}"), &place, message),
        of(&format!("LIKES#{uuid}"), &sub, json!({})),
    ]
}

async fn items_of_the_previous_shape_are_not_read_as_anything(store: Store) {
    let table = store.table();
    let uuid = Uuid::new_v4();
    put(table, previous_shape(uuid)).await;

    for (list, authors) in authors(table).await {
        assert_eq!(authors, [], "{list}");
    }
    assert_eq!(found(table, uuid).await, None);
    assert_eq!(users::by_handle(table, &handle("worf"), now()).await.unwrap(), None);
    let worf = key_of("worf");
    assert_eq!(messages::groups(table, worf, &first(40), now()).await.unwrap().entries, []);
    let read = messages::messages(table, uuid, &first(40), now()).await.unwrap();
    assert_eq!(read.entries, []);
    assert_eq!(messages::other_member(table, worf, uuid, now()).await.unwrap(), None);
    let heir = users::get_or_create(table, &identity("sub-heir", "worf"), now()).await.unwrap();
    assert_eq!(heir.unwrap().handle, handle("worf"));
    let entry = Entry::Activity(activity("worf", "x", 1));
    assert!(!likes::set_liked(table, &entry, worf, true, now()).await.unwrap());
}

async fn a_mention_goes_to_the_user_who_has_the_handle_at_that_time(store: Store) {
    let table = store.table();
    let early = publish(table, activity("q", "Hello @worf", 50)).await.uuid;
    let worf = user(table, "worf").await.key;
    let root = publish(table, activity("q", "Hello again @worf and @WORF", 40)).await;
    let in_reply = cruddur::domain::Reply {
        message: LongText::parse("And @worf again").unwrap(),
        ..reply_to(&Entry::Activity(root.clone()), "data", 30)
    };
    let parent = Entry::Activity(root.clone());
    assert!(threads::reply(table, &parent, &in_reply, None, now()).await.unwrap());

    let of = async |identity| {
        let handles = users::handles_of(table, &identity, now()).await.unwrap().unwrap();
        let page = first(40);
        feeds::notifications(table, identity.key, &handles, &page, now()).await.unwrap().entries
    };
    let seen: Vec<Uuid> = of(identity("sub-worf", "worf")).await.iter().map(uuid_of).collect();
    assert_eq!(seen, [in_reply.uuid, root.uuid, early]);

    users::get_or_create(table, &chosen("sub-worf", "ambassador"), now()).await.unwrap().unwrap();
    publish(table, activity("q", "Where is @worf?", 20)).await;
    assert_eq!(of(identity("sub-worf", "worf")).await.len(), 4);
    assert_eq!(names(table, worf).await.handle, handle("ambassador"));
}
