//! The account of every item, which makes losses visible.
//!
//! An item is received once for each destination that takes its kind, and is in exactly one state from
//! then on. Only [`Ledger::transfer`] changes the state, so
//! `received = held + spooled + delivered + dropped` holds by construction; tests compare `held`
//! and `spooled` with the real content of buffer and spool.
//!
//! The sums are one block of numbers, written to a file after each change. The write takes a microsecond
//! and survives a SIGKILL, so the next process finds the number of held items and reports them as lost.
//! (A mapped file would need unsafe code.) [Pending failures](Ledger::expect) count as held for that
//! process, since a kill would lose them too.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use serde::{Serialize, Serializer, ser::SerializeMap};

/// Index of a destination and a kind; see [`crate::pipeline::buffer::Buffer::new`].
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
}

impl Reason {
    /// With their names in the summary.
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Rejected, "rejected"),
        (Self::BufferFull, "buffer_full"),
        (Self::SpoolFull, "spool_full"),
        (Self::SpoolDamaged, "spool_damaged"),
        (Self::Killed, "killed"),
        (Self::Unsampled, "unsampled"),
    ];
}

/// The sums of one queue, in items. JSON: `{"received": 9, "delivered": 7, "spooled": 1,
/// "dropped": {"rejected": 1}}`, without zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account([u64; COLUMNS]);

/// Columns: all states, and the received items.
const COLUMNS: usize = 10;

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

    /// Dropped items, except those that were not sampled.
    pub fn lost(&self) -> u64 {
        self.0[4..9].iter().sum()
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
        debug_assert!(columns[from.column()] >= items, "{items} items are not {from:?}");
        columns[from.column()] -= items;
        columns[to.column()] += items;
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

    /// The block for the file: each number in 8 bytes, little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let accounts = self.accounts.iter().zip(&self.expected).map(|(account, expected)| {
            let mut columns = account.0;
            columns[0] += expected;
            columns[State::Held.column()] += expected;
            columns
        });
        accounts.flatten().flat_map(u64::to_le_bytes).collect()
    }

    /// Reads the block of an ended process. `None` if its size is wrong or a sum does not add up.
    pub fn of_ended_process(block: &[u8], routes: usize) -> Option<Self> {
        if block.len() != routes * COLUMNS * 8 {
            return None;
        }
        let mut numbers = block.chunks_exact(8).map(|bytes| {
            u64::from_le_bytes([
                bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
            ])
        });
        let accounts = (0..routes)
            .map(|_| Account(std::array::from_fn(|_| numbers.next().unwrap_or_default())))
            .collect::<Vec<_>>();
        let sums = |account: &Account| {
            account.0[1..].iter().try_fold(0_u64, |sum, number| sum.checked_add(*number))
        };
        if accounts.iter().any(|account| sums(account) != Some(account.received())) {
            return None;
        }
        Some(Self { accounts, expected: vec![0; routes] })
    }
}

/// The file of the sums, locked against a second process.
#[derive(Debug)]
pub struct LedgerFile(File);

impl LedgerFile {
    /// Opens or creates the file and reads the block of an ended process. Fails with
    /// [`io::ErrorKind::WouldBlock`] while another process owns it.
    pub fn open(path: &Path, routes: usize) -> io::Result<(Self, Option<Ledger>)> {
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock()?;
        let mut block = Vec::new();
        file.read_to_end(&mut block)?;
        let ledger = Ledger::of_ended_process(&block, routes);
        if block.len() != routes * COLUMNS * 8 {
            file.set_len(0)?;
        }
        Ok((Self(file), ledger))
    }

    /// Writes the sums in place.
    pub fn write(&self, ledger: &Ledger) -> io::Result<()> {
        self.0.write_all_at(&ledger.to_bytes(), 0)
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
        let drops = Reason::NAMES.map(|(reason, name)| (name, self.at(State::Dropped(reason))));
        let dropped: BTreeMap<_, _> = drops.into_iter().filter(|(_, count)| *count > 0).collect();
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

    #[test]
    fn what_a_killed_process_held_is_lost_and_all_else_goes_on() {
        let mut ledger = Ledger::new(2);
        ledger.received(1, 10);
        ledger.transfer(1, State::Held, State::Delivered, 4);
        ledger.transfer(1, State::Held, State::Spooled, 3);

        let mut next = Ledger::of_ended_process(&ledger.to_bytes(), 2).unwrap();
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

        let mut next = Ledger::of_ended_process(&ledger.to_bytes(), 1).unwrap();

        assert_eq!(next.lose_held(), 3);
        assert_eq!(json!(next.account(0)), json!({"received": 3, "dropped": {"killed": 3}}));
    }

    #[test]
    fn what_was_spooled_after_the_last_sums_is_neither_lost_nor_received_twice() {
        let mut ledger = Ledger::new(1);
        ledger.received(0, 10);
        let mut next = Ledger::of_ended_process(&ledger.to_bytes(), 1).unwrap();

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

    #[test]
    fn a_block_of_another_shape_or_with_wrong_sums_is_not_believed() {
        let block = Ledger::new(2).to_bytes();

        assert!(Ledger::of_ended_process(&block, 3).is_none());
        assert!(Ledger::of_ended_process(&block[1..], 2).is_none());
        let mut wrong = block;
        wrong[8] = 1;
        assert!(Ledger::of_ended_process(&wrong, 2).is_none());
    }
}
