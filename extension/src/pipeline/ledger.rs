//! The account of every item, which makes losses visible.
//!
//! An item is received once for each destination that takes its kind, and is in exactly one state from
//! then on. Only [`Ledger::transfer`] changes the state, so
//! `received = held + spooled + delivered + dropped` holds by construction; tests compare `held`
//! and `spooled` with the real content of buffer and spool.
//!
//! The sums are written to a [file](crate::pipeline::sums) after each change, so the next process finds the
//! number of held items and reports them as lost. [Pending failures](Ledger::expect) count as held for
//! that process, since a kill would lose them too.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};
use tracing::error;

/// Index of a destination and a kind.
pub type QueueId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the buffer, also while in flight.
    Held,
    /// In a file of the spool, also while in flight.
    Spooled,
    Delivered,
    Dropped(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Rejected,
    /// The buffer was full and the spool could not take it.
    BufferFull,
    SpoolFull,
    /// Its file in the spool is missing or damaged.
    SpoolDamaged,
    /// It was in memory when the process was killed, or in the failure reporter when that panicked.
    Killed,
    /// Its trace is flagged as not sampled: neither a loss nor a delivery.
    Unsampled,
    /// Its part of the trace is not one of N that are sent: neither a loss nor a delivery.
    SampledOut,
    /// A filter leaves it out: neither a loss nor a delivery.
    Filtered,
}

impl Reason {
    /// With their names in the summary.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Rejected, "rejected"),
        (Self::BufferFull, "buffer_full"),
        (Self::SpoolFull, "spool_full"),
        (Self::SpoolDamaged, "spool_damaged"),
        (Self::Killed, "killed"),
        (Self::Unsampled, "unsampled"),
        (Self::SampledOut, "sampled_out"),
        (Self::Filtered, "filtered"),
    ];
}

/// The sums of one queue, in items. JSON: `{"received": 9, "delivered": 7, "spooled": 1,
/// "dropped": {"rejected": 1}}`, without zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account([u64; COLUMNS]);

/// Columns: all states, and the received items.
pub(super) const COLUMNS: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// One account for each queue.
    accounts: Vec<Account>,
    /// Number of pending failures of each queue.
    expected: Vec<u64>,
}

impl State {
    fn column(self) -> usize {
        match self {
            Self::Held => 1,
            Self::Spooled => 2,
            Self::Delivered => 3,
            Self::Dropped(Reason::Rejected) => 4,
            Self::Dropped(Reason::BufferFull) => 5,
            Self::Dropped(Reason::SpoolFull) => 6,
            Self::Dropped(Reason::SpoolDamaged) => 7,
            Self::Dropped(Reason::Killed) => 8,
            Self::Dropped(Reason::Unsampled) => 9,
            Self::Dropped(Reason::SampledOut) => 10,
            Self::Dropped(Reason::Filtered) => 11,
        }
    }
}

impl Account {
    pub fn received(&self) -> u64 {
        self.0[0]
    }

    pub fn at(&self, state: State) -> u64 {
        self.0[state.column()]
    }

    /// Reads the columns. `None` if the sum does not add up.
    pub(super) fn of_columns(columns: [u64; COLUMNS]) -> Option<Self> {
        let sum = columns[1..].iter().try_fold(0_u64, |sum, number| sum.checked_add(*number));
        (sum == Some(columns[0])).then_some(Self(columns))
    }

    pub(super) fn columns(&self) -> [u64; COLUMNS] {
        self.0
    }

    /// Dropped items, except those that sampling or a filter left out.
    pub fn lost(&self) -> u64 {
        self.0[4..9].iter().sum()
    }

    /// The dropped items by the reason's name, without zeros.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let drops = Reason::NAMES.map(|(reason, name)| (name, self.at(State::Dropped(reason))));
        drops.into_iter().filter(|(_, count)| *count > 0)
    }

    /// The difference to an earlier account. Held and spooled items are kept as they are.
    pub fn since(&self, earlier: &Self) -> Self {
        let now = [State::Held.column(), State::Spooled.column()];
        let since = |column: usize| match now.contains(&column) {
            true => self.0[column],
            false => self.0[column].saturating_sub(earlier.0[column]),
        };
        Self(std::array::from_fn(since))
    }
}

impl Ledger {
    pub fn new(routes: usize) -> Self {
        Self { accounts: vec![Account::default(); routes], expected: vec![0; routes] }
    }

    /// Sets the number of pending failures: they will be received unless a kill comes first.
    pub fn expect(&mut self, route: QueueId, items: u64) {
        self.expected[route] = items;
    }

    /// Counts received items as held.
    pub fn received(&mut self, route: QueueId, items: u64) {
        self.accounts[route].0[0] += items;
        self.accounts[route].0[State::Held.column()] += items;
    }

    /// Moves items from one state to another.
    pub fn transfer(&mut self, route: QueueId, from: State, to: State, items: u64) {
        let columns = &mut self.accounts[route].0;
        let there = columns[from.column()];
        debug_assert!(there >= items, "{items} items are not {from:?}");
        if there < items {
            error!("The account is wrong: {items} items leave {from:?}, where {there} are");
        }
        columns[from.column()] -= items.min(there);
        columns[to.column()] += items.min(there);
    }

    /// Moves the items of a completed batch, some of which are in the spool.
    pub fn conclude(&mut self, route: QueueId, spooled: u64, fates: &[(State, u64)]) {
        let mut spooled = spooled;
        for (state, items) in fates {
            let from_spool = spooled.min(*items);
            self.transfer(route, State::Spooled, *state, from_spool);
            self.transfer(route, State::Held, *state, items - from_spool);
            spooled -= from_spool;
        }
    }

    /// Takes the sums of an ended process.
    pub fn set(&mut self, route: QueueId, account: Account) {
        self.accounts[route] = account;
    }

    /// Corrects the spooled sum to the files that exist. Call it before [`lose_held`](Self::lose_held).
    pub fn reconcile_spool(&mut self, route: QueueId, found: u64) {
        let counted = self.accounts[route].at(State::Spooled);
        let missing = counted.saturating_sub(found);
        self.transfer(route, State::Spooled, State::Dropped(Reason::SpoolDamaged), missing);
        // An ended process may have spooled held items after its last write of the sums.
        let surplus = found.saturating_sub(counted);
        let written = surplus.min(self.accounts[route].at(State::Held));
        self.transfer(route, State::Held, State::Spooled, written);
        // The other items were received after the last write, or the sums were lost.
        self.accounts[route].0[0] += surplus - written;
        self.accounts[route].0[State::Spooled.column()] += surplus - written;
    }

    /// Counts the items that an ended process held as lost. Returns their number.
    pub fn lose_held(&mut self) -> u64 {
        let mut lost = 0;
        for route in 0..self.routes() {
            let held = self.accounts[route].at(State::Held);
            self.transfer(route, State::Held, State::Dropped(Reason::Killed), held);
            lost += held;
        }
        lost
    }

    /// Adds the sums of another ledger with the same queues. Takes the other's pending failures.
    pub fn merge(&mut self, other: &Self) {
        for (account, other) in self.accounts.iter_mut().zip(&other.accounts) {
            account.0.iter_mut().zip(other.0).for_each(|(sum, number)| *sum += number);
        }
        self.expected.clone_from(&other.expected);
    }

    pub fn routes(&self) -> usize {
        self.accounts.len()
    }

    pub fn account(&self, route: QueueId) -> Account {
        self.accounts[route]
    }

    /// The account as the file has it: with pending failures as held.
    pub fn with_expected(&self, route: QueueId) -> Account {
        let mut columns = self.accounts[route].0;
        columns[0] += self.expected[route];
        columns[State::Held.column()] += self.expected[route];
        Account(columns)
    }
}

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sums = [
            ("received", self.received()),
            ("delivered", self.at(State::Delivered)),
            ("held", self.at(State::Held)),
            ("spooled", self.at(State::Spooled)),
        ];
        let dropped: BTreeMap<_, _> = self.dropped().collect();
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in sums.iter().filter(|(_, count)| *count > 0) {
            map.serialize_entry(name, count)?;
        }
        if !dropped.is_empty() {
            map.serialize_entry("dropped", &dropped)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The ledger that the next process reads.
    fn next_process(ledger: &Ledger) -> Ledger {
        let mut next = Ledger::new(ledger.routes());
        (0..ledger.routes()).for_each(|route| next.set(route, ledger.with_expected(route)));
        next
    }

    #[test]
    fn what_a_killed_process_held_is_lost_and_all_else_goes_on() {
        let mut ledger = Ledger::new(2);
        ledger.received(1, 10);
        ledger.transfer(1, State::Held, State::Delivered, 4);
        ledger.transfer(1, State::Held, State::Spooled, 3);

        let mut next = next_process(&ledger);
        let lost = next.lose_held();

        let expected =
            json!({"received": 10, "delivered": 4, "spooled": 3, "dropped": {"killed": 3}});
        assert_eq!(json!(next.account(1)), expected);
        assert_eq!((next.account(0), lost), (Account::default(), 3));
    }

    #[test]
    fn what_was_yet_to_be_received_is_lost_with_a_kill_and_nobodys_otherwise() {
        let mut ledger = Ledger::new(1);
        ledger.expect(0, 3);
        ledger.received(0, 1);
        ledger.expect(0, 2);
        assert_eq!(json!(ledger.account(0)), json!({"received": 1, "held": 1}));

        let mut next = next_process(&ledger);

        assert_eq!(next.lose_held(), 3);
        assert_eq!(json!(next.account(0)), json!({"received": 3, "dropped": {"killed": 3}}));
    }

    #[test]
    fn what_was_spooled_after_the_last_sums_is_neither_lost_nor_received_twice() {
        let mut ledger = Ledger::new(1);
        ledger.received(0, 10);
        let mut next = next_process(&ledger);

        next.reconcile_spool(0, 7);
        assert_eq!(next.lose_held(), 3);

        let expected = json!({"received": 10, "spooled": 7, "dropped": {"killed": 3}});
        assert_eq!(json!(next.account(0)), expected);
    }

    #[test]
    fn what_was_received_and_spooled_after_the_last_sums_is_counted_by_its_file() {
        let mut ledger = Ledger::new(1);
        ledger.received(0, 2);

        ledger.reconcile_spool(0, 7);

        assert_eq!(ledger.lose_held(), 0);
        assert_eq!(json!(ledger.account(0)), json!({"received": 7, "spooled": 7}));
    }
}
