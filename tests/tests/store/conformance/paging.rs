//! Pages under writers: whatever comes and goes meanwhile, who stays is seen once.

use std::collections::BTreeSet;

use cruddur::store::Order::{Ascending, Descending};
use cruddur_tests::{Store, moto};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::*;

on_both_stores! {
    pages_join_without_a_gap_or_a_repeat_while_others_write,
    time_to_live_is_cut_at_its_second,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_join_where_a_cursor_may_lead_to_an_empty_page() {
    let (store, _proxy) = Store::behind_proxy().await;

    pages_join_without_a_gap_or_a_repeat_while_others_write(store).await;
}

/// A partition, how it is read, and what others do between two pages.
#[derive(Clone, Debug)]
struct Walk {
    /// Positions that are taken, and whether what stands there has expired.
    items: Vec<(u8, bool)>,
    range: Option<(u8, u8)>,
    order: Order,
    limit: usize,
    in_index: bool,
    /// A position, and whether it is filled or emptied.
    disturbances: Vec<(u8, bool)>,
}

prop_compose! {
    fn walk()(
        items in vec((0..40_u8, prop::bool::weighted(0.3)), 0..30),
        range in prop::option::of((0..40_u8, 0..40_u8)),
        order in prop_oneof![Just(Ascending), Just(Descending)],
        limit in 1..6_usize,
        in_index: bool,
        disturbances in vec((0..40_u8, any::<bool>()), 0..12),
    ) -> Walk {
        Walk { items, range, order, limit, in_index, disturbances }
    }
}

async fn pages_join_without_a_gap_or_a_repeat_while_others_write(store: Store) {
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    let outcome = runner.run(&walk(), |walk| {
        block_in_place(|| Handle::current().block_on(take(store.table(), &walk)))
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn take(table: &dyn Table, walk: &Walk) -> Result<(), TestCaseError> {
    let partition = moto::unique("walk");
    let sort = |position: u8| format!("{position:03}");
    let at = |position: u8| listed(item(&partition, &sort(position)), &partition, &sort(position));
    // Where both were drawn for a position, the later, dead one stands.
    for (position, dead) in BTreeSet::from_iter(&walk.items) {
        put(table, [if *dead { expiring(at(*position), NOW) } else { at(*position) }]).await;
    }

    let mut query = Query {
        index: walk.in_index.then_some(Index::Listing),
        between: walk.range.map(|(first, last)| (sort(first), sort(last))),
        limit: walk.limit,
        ..all_of(&partition, walk.order)
    };
    let mut seen: Vec<u8> = Vec::new();
    let mut disturbances = walk.disturbances.iter();
    for _ in 0..100 {
        let page = page(table, query.clone()).await;
        prop_assert!(page.items.len() <= walk.limit, "{page:?}");
        seen.extend(sorts(&page).iter().filter_map(|sort| sort.parse::<u8>().ok()));
        for (position, filled) in disturbances.by_ref().take(2) {
            let change = match filled {
                true => Write::Upsert(at(*position)),
                false => Write::DeleteIfPresent(at(*position).key),
            };
            table.transact_write(&[change], now()).await.unwrap();
        }
        query.after = page.next;
        if query.after.is_none() {
            return judge(walk, &seen);
        }
    }
    Err(TestCaseError::fail("the pages do not end"))
}

/// Whether these positions are what a reader of the walk may see.
fn judge(walk: &Walk, seen: &[u8]) -> Result<(), TestCaseError> {
    let positions = |dead: bool| -> BTreeSet<u8> {
        walk.items.iter().filter(|one| one.1 == dead).map(|one| one.0).collect()
    };
    let (alive, dead) = (positions(false), positions(true));
    let disturbed: BTreeSet<u8> = walk.disturbances.iter().map(|(position, _)| *position).collect();
    let in_range = |position: &u8| walk.range.is_none_or(|(a, b)| (a..=b).contains(position));

    let mut in_order = BTreeSet::from_iter(seen).into_iter().copied().collect::<Vec<u8>>();
    if walk.order == Descending {
        in_order.reverse();
    }
    prop_assert_eq!(seen, &in_order, "out of order, or twice");
    prop_assert!(seen.iter().all(in_range), "{:?}", seen);
    let stay = alive.difference(&dead).filter(|one| in_range(one) && !disturbed.contains(one));
    let missed: Vec<&u8> = stay.filter(|one| !seen.contains(one)).collect();
    prop_assert!(missed.is_empty(), "missed {:?} in {:?}", missed, seen);
    let risen: Vec<&u8> =
        seen.iter().filter(|one| dead.contains(one) && !disturbed.contains(one)).collect();
    prop_assert!(risen.is_empty(), "expired {:?} in {:?}", risen, seen);
    Ok(())
}

async fn time_to_live_is_cut_at_its_second(store: Store) {
    let mut runner = TestRunner::new(Config { cases: 30, ..Config::default() });
    // From 2001 to 2603, to the microsecond.
    let times = (1_000_000_000..20_000_000_000_i64, -2_000_000..2_000_000_i64);
    let outcome = runner.run(&times, |(expires_at, micros)| {
        let now = second(expires_at) + jiff::SignedDuration::from_micros(micros);
        let mortal = expiring(item(&moto::unique("mortal"), "a"), expires_at);
        let (found, listed) = block_in_place(|| {
            Handle::current().block_on(async {
                // Written long before, so that nothing is purged by this.
                let writes = [Write::Upsert(mortal.clone())];
                store.table().transact_write(&writes, Timestamp::UNIX_EPOCH).await.unwrap();
                let keys = [mortal.key.clone()];
                let found = store.table().get(&keys, Strong, now).await.unwrap().remove(0);
                let query = Query { now, ..all_of(&mortal.key.partition, Ascending) };
                (found, page(store.table(), query).await.items)
            })
        });
        prop_assert_eq!(found.is_some(), micros < 0, "{} at {}", expires_at, now);
        prop_assert_eq!(listed.len(), usize::from(micros < 0), "{} at {}", expires_at, now);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
