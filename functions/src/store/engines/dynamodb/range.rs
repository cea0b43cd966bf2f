//! A query as DynamoDB's Query request.

use std::cmp::{max, min};

use aws_sdk_dynamodb::{
    Client, operation::query::builders::QueryFluentBuilder, types::ReturnConsumedCapacity,
};

use super::values::{
    EXPIRY, LISTING, LISTING_PARTITION, LISTING_SORT, PARTITION, SORT, number, text,
};
use crate::store::{Consistency, Index, Order, Query};

/// Fewest items that a request for a part of a whole partition reads. Expired items lie between the
/// others until TTL removes them, and a short page must get past them; 20 small items cost a few
/// read units. Ranges are read of threads only, which expire as a whole.
const MIN_LOOKED_AT: usize = 20;

/// Most items that a further request reads, unless the page is longer: pointers of this number have
/// 200 KB, and DynamoDB reads 1 MB at most.
const MOST_LOOKED_AT: usize = 1_000;

/// The sort keys to read, both ends included; `None` is open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range<'a> {
    first: Option<&'a str>,
    last: Option<&'a str>,
}

impl<'a> Range<'a> {
    /// The range from [`Query::after`] on. Sort keys are unique, so that position is the only one
    /// in it that the page must not hold.
    ///
    /// `None` if nothing is left, which DynamoDB would refuse to look up.
    pub(super) fn of(query: &'a Query) -> Option<Self> {
        let (mut first, mut last) = match &query.between {
            Some((first, last)) => (Some(first.as_str()), Some(last.as_str())),
            None => (None, None),
        };
        match (query.order, query.after.as_deref()) {
            (_, None) => {}
            (Order::Ascending, after) => first = max(first, after),
            (Order::Descending, Some(after)) => last = Some(last.map_or(after, |l| min(l, after))),
        }
        match (first, last) {
            (Some(first), Some(last)) if first > last => None,
            _ => Some(Self { first, last }),
        }
    }

    /// The request, but for the table and where to start. `read` counts those before it.
    pub(super) fn request(&self, client: &Client, query: &Query, read: u32) -> QueryFluentBuilder {
        let (partition, sort) = match query.index {
            None => (PARTITION, SORT),
            Some(Index::Listing) => (LISTING_PARTITION, LISTING_SORT),
        };
        let is_consistent = query.index.is_none() && query.consistency == Consistency::Strong; // an index cannot
        let mut request = client
            .query()
            .set_index_name(query.index.map(|_| LISTING.to_owned()))
            .consistent_read(is_consistent)
            .expression_attribute_names("#partition", partition)
            .expression_attribute_values(":partition", text(&query.partition))
            .filter_expression("attribute_not_exists(#expiry) OR #expiry > :now")
            .expression_attribute_names("#expiry", EXPIRY)
            .expression_attribute_values(":now", number(query.now.as_second()))
            .scan_index_forward(query.order == Order::Ascending)
            .limit(looked_at(query, read))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let condition = match (self.first, self.last) {
            (None, None) => "#partition = :partition",
            (Some(_), None) => "#partition = :partition AND #sort >= :first",
            (None, Some(_)) => "#partition = :partition AND #sort <= :last",
            (Some(_), Some(_)) => "#partition = :partition AND #sort BETWEEN :first AND :last",
        };
        request = request.key_condition_expression(condition);
        if self.first.or(self.last).is_some() {
            request = request.expression_attribute_names("#sort", sort);
        }
        for (name, end) in [(":first", self.first), (":last", self.last)] {
            if let Some(end) = end {
                request = request.expression_attribute_values(name, text(end));
            }
        }
        request
    }
}

/// How many items a request looks at: four times as many as the one before it, which found too
/// many expired ones.
fn looked_at(query: &Query, read: u32) -> i32 {
    // One item more than the limit shows whether there is a next page; one more stands at the
    // start.
    let items = query.limit.saturating_add(1 + usize::from(query.after.is_some()));
    let least = if query.between.is_none() { MIN_LOOKED_AT } else { 0 };
    let first = items.max(least);
    let grown = first.saturating_mul(4_usize.saturating_pow(read)).min(MOST_LOOKED_AT);
    i32::try_from(grown.max(first)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn query(order: Order, between: Option<(&str, &str)>, after: Option<&str>) -> Query {
        Query {
            index: None,
            partition: "p".to_owned(),
            between: between.map(|(first, last)| (first.to_owned(), last.to_owned())),
            order,
            consistency: Consistency::Strong,
            after: after.map(str::to_owned),
            limit: 10,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_short_page_looks_further_than_itself_unless_it_is_of_a_range() {
        let range = Some(("b", "y"));
        for (between, after, limit, expected) in [
            (None, None, 1, 20),
            (None, None, 19, 20),
            (None, None, 40, 41),
            (None, Some("m"), 40, 42),
            (None, None, usize::MAX, i32::MAX),
            (range, None, 6, 7),
            (range, Some("m"), 6, 8),
        ] {
            let query = Query { limit, ..query(Order::Ascending, between, after) };

            assert_eq!(looked_at(&query, 0), expected, "{query:?}");
        }
    }

    #[test]
    fn each_further_request_looks_at_four_times_as_many_items_up_to_a_thousand() {
        for (limit, expected) in
            [(5, [20, 80, 320, 1_000, 1_000]), (100, [101, 404, 1_000, 1_000, 1_000])]
        {
            let query = Query { limit, ..query(Order::Descending, None, None) };

            assert_eq!([0, 1, 2, 3, 4].map(|read| looked_at(&query, read)), expected);
        }
    }

    #[test]
    fn a_page_goes_on_from_where_the_last_one_ended_and_stays_in_its_range() {
        use Order::{Ascending, Descending};
        for (order, between, after, expected) in [
            (Ascending, None, None, Some((None, None))),
            (Ascending, None, Some("m"), Some((Some("m"), None))),
            (Descending, None, Some("m"), Some((None, Some("m")))),
            (Ascending, Some(("b", "y")), Some("m"), Some((Some("m"), Some("y")))),
            (Descending, Some(("b", "y")), Some("m"), Some((Some("b"), Some("m")))),
            (Ascending, Some(("b", "y")), Some("a"), Some((Some("b"), Some("y")))),
            (Descending, Some(("b", "y")), Some("z"), Some((Some("b"), Some("y")))),
            (Ascending, Some(("b", "y")), Some("z"), None),
            (Descending, Some(("b", "y")), Some("a"), None),
        ] {
            let query = query(order, between, after);

            let range = Range::of(&query).map(|range| (range.first, range.last));

            assert_eq!(range, expected, "{query:?}");
        }
    }
}
