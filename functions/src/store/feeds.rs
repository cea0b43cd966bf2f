//! Lists of cruds other than the home feed.

use jiff::Timestamp;

use super::{
    Order, Query, StoreError, Table, activities,
    items::{self, Listed, PageRequest},
    keys, posts,
};
use crate::domain::{Activity, Excerpt, Handle, Post, PostTree, ReplyTree, words};

/// How often a search for several words reads on when what it read has only one of them. Our
/// choice: it bounds what a page costs; the cursor then leads on.
const MAX_SEARCH_ROUNDS: usize = 5;

/// Fewest cruds that a round of a search looks at, however short the page. Our choice: what a query
/// costs least.
const MIN_SEARCHED: usize = 20;

/// The cruds of a user, newest first; none if there is no such user. One query.
pub async fn of_user(
    table: &dyn Table,
    author: &Handle,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Excerpt>, StoreError> {
    let partition = keys::feed_partition(author);
    items::newest(table, None, partition, page, now).await?.try_map(posts::read_excerpt)
}

/// The cruds that have all of `words`, newest first; see [`crate::domain::search_words`].
///
/// One query for one word, and at most `MAX_SEARCH_ROUNDS` for several.
pub async fn search(
    table: &dyn Table,
    words_sought: &[String],
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<Excerpt>, StoreError> {
    // Long words are rare words.
    let Some(rarest) = words_sought.iter().max_by_key(|word| word.len()) else {
        return Ok(Listed { entries: Vec::new(), next: None });
    };
    let has_all = |crud: &Excerpt| {
        let words = words(crud.message.as_str());
        words_sought.iter().all(|word| words.contains(word))
    };
    let mut entries: Vec<Excerpt> = Vec::new();
    let mut next = page.after.clone();
    for _ in 0..MAX_SEARCH_ROUNDS {
        let limit = (page.limit - entries.len()).max(MIN_SEARCHED);
        let rest = PageRequest { limit, after: next };
        let read = items::newest(table, None, keys::word_partition(rarest), &rest, now).await?;
        let read = read.try_map(posts::read_excerpt)?;
        entries.extend(read.entries.into_iter().filter(has_all));
        next = read.next;
        if entries.len() > page.limit {
            entries.truncate(page.limit);
            next = entries.last().map(|crud| keys::place_in_time(crud.created_at, crud.uuid));
        }
        if next.is_none() || entries.len() == page.limit {
            break;
        }
    }
    Ok(Listed { entries, next })
}

/// What a reader with these handles (see [`super::users::handles_of`]) is notified of, newest first:
/// others' replies to what they wrote or began, and cruds that mention them. Cruds come with replies
/// as in the home feed, replies without.
///
/// Costs one query for each handle, one read of the posts, and one query for each crud that has
/// replies.
pub async fn notifications(
    table: &dyn Table,
    reader: &[Handle],
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listed<PostTree>, StoreError> {
    let queries: Vec<Query> = reader
        .iter()
        .map(|handle| items::query(keys::notices_partition(handle), Order::Descending, page, now))
        .collect();
    let notices = table.query(&queries).await?;
    let notices = items::merge(notices, None, page.limit);
    let keys = notices.try_map(posts::read_pointer)?;
    let found = table.get(&keys.entries, now).await?.into_iter().flatten();
    let mut found = found.map(posts::read_post).collect::<Result<Vec<_>, _>>()?;
    // Who answers under a new handle what they wrote under the old one.
    found.retain(|post| !reader.contains(post.handle()));
    let cruds: Vec<Activity> = found
        .iter()
        .filter_map(|post| match post {
            Post::Crud(crud) => Some(crud.clone()),
            Post::Reply(_) => None,
        })
        .collect();
    let mut threads = activities::with_replies(table, cruds, now).await?.into_iter();
    let tree = |post| match post {
        Post::Crud(_) => threads.next().map(PostTree::Crud),
        Post::Reply(reply) => Some(PostTree::Reply(ReplyTree { reply, replies: Vec::new() })),
    };
    Ok(Listed { entries: found.into_iter().filter_map(tree).collect(), next: keys.next })
}
