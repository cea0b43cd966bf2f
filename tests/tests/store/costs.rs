//! What each access pattern costs: its requests and capacity units by the proxy's record, which
//! must not grow with the store. The table in functions/README.md is this test's output.

use std::fmt::Write as _;
use std::io::Write as _;

use cruddur::domain::{
    Activity, Entry, EntryTree, LongText, Message, MessageText, Thread, User, conversation_uuid,
    search_words,
};
use cruddur::store::{codec, feeds, keys, likes, messages, threads, users};
use cruddur_tests::proxy::error;
use cruddur_tests::{Honeycomb, Proxy, Sandbox, Store, Units, event};
use uuid::Uuid;

use super::world::*;
use super::*;

/// Distinct authors, more than a page of 40 shows.
const AUTHORS: usize = 60;

const TWENTY_WORDS: &str = "one two three four five six seven eight nine ten eleven twelve \
     thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty";

/// What a call cost.
#[derive(Clone, Debug, PartialEq)]
struct Cost {
    requests: usize,
    /// Requests one after the other; those of one kind are sent at once, but for reads by key.
    rounds: usize,
    units: Units,
}

async fn cost<T>(proxy: &Proxy, call: impl Future<Output = T>) -> (T, Cost) {
    let before = (proxy.requests().len(), proxy.consumed().len());
    let done = call.await;
    let requests = proxy.requests().split_off(before.0);
    let kinds: Vec<_> = requests.iter().map(|request| request.operation()).collect();
    let is_new = |pair: &[Option<&str>]| pair[0] != pair[1] || pair[1] == Some("BatchGetItem");
    let rounds = kinds.windows(2).filter(|pair| is_new(pair)).count() + kinds.len().min(1);
    let units = proxy.consumed().into_iter().skip(before.1).sum();
    (done, Cost { requests: requests.len(), rounds, units })
}

/// A store of activities that mention andrew: the newest are of `AUTHORS` users, the others of the
/// last of these.
struct World<'a> {
    table: &'a dyn Table,
    proxy: &'a Proxy,
    newest: Activity,
}

async fn fill(direct: &dyn Table, activities: usize) {
    for n in 0..AUTHORS {
        user(direct, &format!("author{n}")).await;
    }
    let all: Vec<usize> = (0..activities).collect();
    for some in all.chunks(500) {
        let mut items = Vec::new();
        for n in some {
            let created_at = now() - jiff::SignedDuration::from_secs(1 + *n as i64);
            let author = format!("author{}", n.min(&(AUTHORS - 1)));
            let activity = Activity { created_at, ..activity(&author, "prune juice", 0) };
            let notified = [codec::Recipient::User(key_of("andrew"))].into();
            items.extend(codec::activity_items(&activity, &notified).unwrap());
            items.extend(codec::word_items(&activity));
        }
        direct.put_each(&items).await.unwrap();
    }
}

type Row = (&'static str, Cost);

impl World<'_> {
    async fn home(&self) -> Cost {
        let reading = async {
            let home = feeds::home(self.table, &first(40), now()).await.unwrap().entries;
            let authors = home.iter().flat_map(Thread::authors).collect();
            users::people(self.table, authors, now()).await.unwrap();
        };
        cost(self.proxy, reading).await.1
    }

    async fn reads(&self) -> Vec<Row> {
        let (table, proxy, page) = (self.table, self.proxy, first(40));
        let named = async |authors| users::people(table, authors, now()).await.unwrap();
        let feed = cost(proxy, async {
            let author =
                users::by_handle(table, &handle("author59"), now()).await.unwrap().unwrap();
            feeds::of_user(table, author.key, &page, now()).await.unwrap();
        });
        let search = async |term: &str| {
            let words = search_words(term);
            let found = feeds::search(table, &words, &page, now()).await.unwrap().entries;
            named(found.iter().map(|one| one.author).collect()).await;
        };
        let notified = cost(proxy, async {
            let reader = identity("sub-andrew", "andrew");
            let handles = users::handles_of(table, &reader, now()).await.unwrap().unwrap();
            let read = feeds::notifications(table, reader.key, &handles, &page, now()).await;
            named(read.unwrap().entries.iter().flat_map(EntryTree::authors).collect()).await;
        });
        let show = cost(proxy, async {
            let shown = threads::show(table, self.newest.uuid, &page, now()).await.unwrap();
            named(shown.unwrap().tree.authors()).await;
        });
        let andrew = handle("andrew");
        let short = cost(proxy, users::by_handle(table, &andrew, now()));
        vec![
            ("home, one of its activities answered", self.home().await),
            ("feed of a user, 40 activities", feed.await.1),
            ("search for one word, 40 activities", cost(proxy, search("juice")).await.1),
            ("search for two words, 40 activities", cost(proxy, search("prune juice")).await.1),
            ("notifications, 40 activities", notified.await.1),
            ("an activity with one reply", show.await.1),
            ("a user by handle", short.await.1),
        ]
    }

    async fn conversations(&self, andrew: &User, worf: &User) -> Vec<Row> {
        let (table, proxy) = (self.table, self.proxy);
        let send = async |minutes| {
            let message = Message {
                uuid: Uuid::new_v4(),
                group_uuid: conversation_uuid(andrew.key, worf.key),
                from: andrew.key,
                message: LongText::parse("Hello").unwrap(),
                created_at: ago(minutes),
            };
            messages::send(table, worf.key, &message, None, now()).await.unwrap();
        };
        let first_message = cost(proxy, send(2)).await.1;
        let next_message = cost(proxy, send(1)).await.1;
        let read = cost(proxy, async {
            let group = conversation_uuid(andrew.key, worf.key);
            let read = messages::messages(table, group, &first(40), now()).await.unwrap().entries;
            let authors = read.iter().map(|message| message.from).collect();
            users::people(table, authors, now()).await.unwrap();
        });
        let groups = cost(proxy, async {
            let groups = messages::groups(table, andrew.key, &first(40), now()).await.unwrap();
            let others = groups.entries.iter().map(|group| group.other).collect();
            users::people(table, others, now()).await.unwrap();
        });
        vec![
            ("the first message of a conversation", first_message),
            ("a further message", next_message),
            ("a conversation of two messages", read.await.1),
            ("the list of one conversation", groups.await.1),
        ]
    }

    async fn writes(&self) -> (Vec<Row>, [User; 2]) {
        let (table, proxy) = (self.table, self.proxy);
        let text = |text: &str| MessageText::parse(text).unwrap();
        let twenty = Activity { message: text(TWENTY_WORDS), ..activity("andrew", "x", 0) };
        let entry = Entry::Activity(self.newest.clone());
        let (andrew, made) = cost(proxy, user(table, "andrew")).await;
        let (worf, _) = cost(proxy, user(table, "worf")).await;
        let known = cost(proxy, user(table, "andrew")).await.1;
        let publish = cost(proxy, publish(table, twenty)).await.1;
        let mention = activity("andrew", "@worf", 0);
        let mention = cost(proxy, super::world::publish(table, mention)).await.1;
        let reply = cost(proxy, answer(table, &entry, "worf", 0)).await.1;
        let like = async |liked| {
            let set = likes::set_liked(table, &entry, worf.key, liked, now());
            cost(proxy, set).await.1
        };
        let (like, unlike) = (like(true).await, like(false).await);
        let profile = users::update_profile(table, worf.key, &worf.display_name, None, None, now());
        let profile = cost(proxy, profile).await.1;
        let rows = vec![
            ("the first write of a user: beside it", made),
            ("a further write of a user: beside it", known),
            ("an activity of 20 words", publish),
            ("an activity of one mention", mention),
            ("a reply", reply),
            ("a like", like),
            ("a like taken back", unlike),
            ("a profile", profile),
        ];
        (rows, [andrew, worf])
    }
}

async fn costs(activities: usize) -> Vec<Row> {
    let (direct, store, proxy) = Store::with_and_without_proxy().await;
    fill(direct.table(), activities).await;
    let newest = publish(direct.table(), activity("author0", "Hello", 0)).await;
    let world = World { table: store.table(), proxy: &proxy, newest };
    let mut rows = vec![("home, 40 activities of 40 authors", world.home().await)];
    let (writes, [andrew, worf]) = world.writes().await;
    rows.extend(writes);
    rows.extend(world.conversations(&andrew, &worf).await);
    rows.extend(world.reads().await);
    assert!(proxy.bodies("Scan").is_empty());
    rows
}

/// To the test's output, past the capture: it is a result, also where all is well.
fn print(activities: usize, rows: &[Row]) {
    let mut text = format!("{activities} activities\n");
    for (name, Cost { requests, rounds, units }) in rows {
        let Units { read, write, index_write } = units;
        let _ = writeln!(
            text,
            "| {name:<38} | {requests:>2} | {rounds:>2} | {read:>5} | {write:>4} | {index_write:>4} |"
        );
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn of<'a>(rows: &'a [Row], name: &str) -> &'a Cost {
    &rows.iter().find(|row| row.0.starts_with(name)).unwrap().1
}

/// `CRUDDUR_COSTS_OF` names the larger store's number of activities.
#[tokio::test(flavor = "multi_thread")]
async fn no_access_pattern_costs_more_in_a_larger_store_and_all_keep_their_budgets() {
    let many = std::env::var("CRUDDUR_COSTS_OF").ok().and_then(|text| text.parse().ok());
    let many: usize = many.unwrap_or(1_000);
    let few = costs(10).await;
    let middle = costs(200).await;
    let rows = costs(many).await;
    for (activities, rows) in [(10, &few), (200, &middle), (many, &rows)] {
        print(activities, rows);
    }

    // A page of 40 of the smallest store has ten activities, so reads of pages may cost less there.
    for ((name, of_few), (_, of_many)) in few.iter().zip(&rows) {
        assert!(of_few.units.read <= of_many.units.read, "{name}");
        assert_eq!(of_few.units.write, of_many.units.write, "{name}");
    }
    // Pages are full from 200 activities on. Shards of a few more or less fill one block.
    for ((name, of_middle), (_, of_many)) in middle.iter().zip(&rows) {
        assert!((of_middle.units.read - of_many.units.read).abs() <= 2.0, "{name}");
        assert_eq!(of_middle.rounds, of_many.rounds, "{name}");
    }
    let published = of(&rows, "an activity of 20 words").units;
    assert!(published.write + published.index_write <= 30.0, "{published:?}");
    assert_eq!(of(&rows, "a like").units.index_write, 0.0);
    assert_eq!(of(&rows, "a like taken back").units.index_write, 0.0);
    let home = of(&rows, "home, 40");
    assert!(home.rounds == 3 && home.units.read <= 45.0, "{home:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_page_of_40_takes_three_rounds_and_at_most_45_read_units() {
    let (direct, store, proxy) = Store::with_and_without_proxy().await;
    fill(direct.table(), 60).await;

    let (people, cost) = cost(&proxy, async {
        let home = feeds::home(store.table(), &first(40), now()).await.unwrap().entries;
        let authors: std::collections::BTreeSet<_> =
            home.iter().flat_map(Thread::authors).collect();
        assert_eq!((home.len(), authors.len()), (40, 40));
        users::people(store.table(), authors, now()).await.unwrap()
    })
    .await;

    assert_eq!(people.names_of(key_of("author0")).handle, handle("author0"));
    assert_eq!(cost.rounds, 3);
    assert!(cost.units.read <= 45.0, "{cost:?}");
    for body in proxy.bodies("BatchGetItem") {
        let consistent = body["RequestItems"].as_object().unwrap().values();
        assert!(consistent.into_iter().all(|asked| asked["ConsistentRead"] == false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn showing_a_entry_costs_by_what_is_shown_and_not_by_its_thread() {
    let (store, proxy) = Store::behind_proxy().await;
    let table = store.table();
    let root = Entry::Activity(publish(table, activity("worf", "Hello", 50)).await);
    let one = Entry::Reply(answer(table, &root, "data", 40).await);
    let below = Entry::Reply(answer(table, &one, "worf", 30).await);
    answer(table, &below, "data", 20).await;
    let show = async || {
        let shown = cost(&proxy, threads::show(table, one.uuid(), &first(40), now())).await;
        shown.1.requests
    };

    let alone = show().await;
    for n in 0..40 {
        answer(store.connect().as_ref(), &root, "q", n).await;
    }
    let in_a_crowd = show().await;

    assert_eq!(alone, 6); // where it is, itself, and two for each of the two levels below it
    assert_eq!(in_a_crowd, alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_span_of_a_call_with_many_requests_keeps_its_cost_and_its_outcome() {
    let honeycomb = Honeycomb::start().await;
    let (direct, store, proxy) = Store::with_and_without_proxy().await;
    let until = "2100-01-01T00:00:00Z".parse().unwrap();
    for minutes in 0..62 {
        let activity = Activity { expires_at: until, ..activity("worf", "Hello", minutes) };
        let root = Entry::Activity(publish(direct.table(), activity).await);
        answer(direct.table(), &root, "data", 0).await;
    }
    let sandbox = Sandbox::builder("home-activities").honeycomb(&honeycomb).store(&store);
    let sandbox = sandbox.start().await;
    proxy.next_answer("Query", error(400, "ThrottlingException"));

    let reply = sandbox.invoke(event("home-activities").query("limit", "100")).await;
    let server = honeycomb.server_span(&reply.request_id).await;

    assert_eq!(reply.status, 200, "{}", reply.body);
    let trace = honeycomb.trace(&server.trace_id);
    let calls = trace.iter().filter(|span| span.name == "DynamoDB.Query");
    let requests: i64 = calls
        .map(|call| {
            for text in ["server.address", "aws.request_id"] {
                assert!(call.attribute(text).is_string(), "{text}");
            }
            assert!(call.attribute("app.store.retries").is_i64());
            assert!(call.attribute("app.store.consumed_capacity").as_f64().unwrap() > 0.0);
            assert!(call.attribute("db.response.returned_rows").as_i64().unwrap() > 0);
            call.attribute("app.store.requests").as_i64().unwrap()
        })
        .sum();
    assert_eq!(requests, i64::from(keys::SHARDS) + 62);
}
