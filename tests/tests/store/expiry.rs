//! Lists among items that have expired, on an engine that has not deleted them yet.

use cruddur::domain::Activity;
use cruddur::store::codec::{self, Recipient};
use cruddur::store::feeds;
use cruddur_tests::Store;
use uuid::Uuid;

use super::world::*;
use super::*;

on_both_stores! {
    five_living_activities_behind_a_thousand_expired_ones_fill_a_page_of_five,
    a_pointer_to_nothing_takes_no_place_on_a_page,
}

/// Writes activities that mention worf. Writes of single items delete no expired ones.
async fn fill(table: &dyn Table, activities: &[Activity]) {
    let mut items = Vec::new();
    for activity in activities {
        let notified = [Recipient::User(key_of("worf"))].into();
        items.extend(codec::activity_items(activity, &notified).unwrap());
        items.extend(codec::word_items(activity));
    }
    table.put_each(&items).await.unwrap();
}

/// The lists of the activities of andrew that mention worf, by name.
async fn lists(
    table: &dyn Table,
    limit: usize,
) -> Result<Vec<(&'static str, Vec<Uuid>)>, StoreError> {
    let page = first(limit);
    let home = feeds::home(table, &page, now()).await?.entries;
    let feed = feeds::of_user(table, key_of("andrew"), &page, now()).await?.entries;
    let words = ["qapla".to_owned()];
    let found = feeds::search(table, &words, &page, now()).await?.entries;
    let worf = key_of("worf");
    let notified = feeds::notifications(table, worf, &[], &page, now()).await?.entries;
    Ok(vec![
        ("home", home.iter().map(|thread| thread.activity.uuid).collect()),
        ("feed", feed.iter().map(|activity| activity.uuid).collect()),
        ("search", found.iter().map(|activity| activity.uuid).collect()),
        ("notifications", notified.iter().map(uuid_of).collect()),
    ])
}

async fn five_living_activities_behind_a_thousand_expired_ones_fill_a_page_of_five(store: Store) {
    let living: Vec<Activity> =
        (0..5).map(|n| activity("andrew", "Qapla, @worf", 30 + n)).collect();
    let expired: Vec<Activity> = (0..1_000)
        .map(|n| Activity { expires_at: now(), ..activity("andrew", "Qapla, @worf", n % 30) })
        .collect();
    fill(store.table(), &expired).await;
    fill(store.table(), &living).await;

    let expected: Vec<Uuid> = living.iter().map(|activity| activity.uuid).collect();
    let all_full = |lists: &Result<Vec<(_, Vec<Uuid>)>, _>| {
        lists.as_ref().is_ok_and(|lists| lists.iter().all(|(_, list)| list.len() == 5))
    };
    // An engine in memory may be too busy for a thousand items within the time of one attempt.
    for (name, list) in eventually(|| lists(store.table(), 5), all_full).await.unwrap() {
        assert_eq!(list, expected, "{name}");
    }
}

async fn a_pointer_to_nothing_takes_no_place_on_a_page(store: Store) {
    let table = store.table();
    for minutes in 0..40 {
        // The pointers of a publication whose transaction failed.
        let unpublished = activity("andrew", "Qapla", minutes);
        table.put_each(&codec::word_items(&unpublished)).await.unwrap();
    }
    let published = publish(table, activity("andrew", "Qapla", 50)).await.uuid;

    let words = ["qapla".to_owned()];
    let page = first(1);
    let found = feeds::search(table, &words, &page, now()).await.unwrap();

    assert_eq!(found.entries.iter().map(|one| one.uuid).collect::<Vec<_>>(), [published]);
}
