//! A map that drops its oldest entry when it is full.

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
    hash::Hash,
};

#[derive(Clone, Debug)]
pub(crate) struct BoundedMap<K, V> {
    most: usize,
    values: HashMap<K, V>,
    /// The oldest first. Removed keys may remain here, and count as entries.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    /// Holds at most `most` entries.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, values: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.values.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    /// Returns the value that has made room.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        let is_full = self.order.len() > self.most;
        let oldest = if is_full { self.order.pop_front() } else { None };
        self.values.remove(&oldest?)
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.values.remove(key);
        if self.values.is_empty() {
            self.order.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_memory_is_bounded() {
        let mut recent = BoundedMap::new(3);
        for number in 0..100 {
            recent.insert(number, number);
            recent.insert(number, number + 1);
        }

        assert_eq!((recent.values.len(), recent.order.len()), (3, 3));
        assert_eq!((recent.get(&96), recent.get(&97)), (None, Some(&98)));
    }

    #[test]
    fn a_removed_entry_makes_room() {
        let mut recent = BoundedMap::new(3);
        for number in 0..100 {
            recent.insert(number, ());
            recent.remove(&number);
        }

        assert!(recent.values.is_empty() && recent.order.is_empty());
    }
}
