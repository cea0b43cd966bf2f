//! Write quotas at fixed times.

use cruddur::store::quota::{self, Kind};
use cruddur_tests::Store;
use futures_util::future::join_all;

use super::world::*;
use super::*;

on_both_stores! {
    of_a_hundred_writes_at_one_moment_exactly_the_limit_is_allowed,
    windows_kinds_and_users_are_counted_apart,
}

/// Whether a write of a user is allowed so many seconds into a window.
async fn is_allowed(table: &dyn Table, user: &str, kind: Kind, limit: u32, seconds: i64) -> bool {
    let now = second(NOW + seconds);
    match quota::spend(table, key_of(user), kind, limit, now).await.unwrap() {
        None => true,
        Some(retry_after) => {
            assert_eq!(retry_after as i64, 600 - seconds.rem_euclid(600));
            false
        }
    }
}

async fn of_a_hundred_writes_at_one_moment_exactly_the_limit_is_allowed(store: Store) {
    assert_eq!(NOW % 600, 0);
    let tables: Vec<_> = (0..4).map(|_| store.connect()).collect();

    let writes = (0..100).zip(tables.iter().cycle());
    let spend = writes.map(|(_, table)| is_allowed(table.as_ref(), "worf", Kind::Texts, 60, 599));
    let allowed = join_all(spend).await;

    assert_eq!(allowed.iter().filter(|is_allowed| **is_allowed).count(), 60);
}

async fn windows_kinds_and_users_are_counted_apart(store: Store) {
    let table = store.table();
    for (user, kind, seconds, expected) in [
        ("worf", Kind::Texts, 0, true),
        ("worf", Kind::Texts, 599, true),
        ("worf", Kind::Texts, 599, false),
        ("worf", Kind::Others, 599, true),
        ("data", Kind::Texts, 599, true),
        ("worf", Kind::Texts, 600, true),
        ("worf", Kind::Texts, 599, false), // the clock of another function is behind
        ("worf", Kind::Texts, 600, true),
        ("worf", Kind::Texts, 601, false),
    ] {
        let found = is_allowed(table, user, kind, 2, seconds).await;
        assert_eq!(found, expected, "{user} {kind:?} {seconds}");
    }
}
