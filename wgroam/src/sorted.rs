// SPDX-License-Identifier: GPL-2.0-only
//! The one map of this program, for what may be many: sorted vectors, none longer than [`CHUNK`]. It does what BTreeMap
//! does, as far as it is needed here, and finds in O(log n) too. Each insertion moves at most a chunk, and now and then
//! the list of chunks: 20,000 peers in any order, or a hostile configuration, never make it quadratic. Why not BTreeMap:
//! each pair of types costs it 4 KB of code and more on MIPS, and this one some 500 bytes (docs/design/size.md). That
//! is why entries are boxed: what moves them moves pointers, which is the same code for all types, and the linker's
//! input has it once.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::iter::from_fn;
use std::slice;

use crate::lists;

/// The most entries that lie in one piece. Less is cheaper to insert into, more is quicker to walk through.
const CHUNK: usize = 64;

/// Entries by key, in the order of the keys.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    /// Sorted, each in itself and all among each other. None is empty.
    chunks: Vec<Vec<Box<Entry<K, V>>>>,
}

/// The key first, and all of the same alignment: then much of what is done with them is the same code for all types.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
struct Entry<K, V>(K, V);

/// Where an entry is: its chunk, and its place in there.
type Place = (usize, usize);

/// Among so many sorted things the one that compares as equal, or else where it belongs. Not generic: all maps share it.
fn search(length: usize, compare: &dyn Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        match compare(middle) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok(middle),
        }
    }
    Err(low)
}

/// The entries of a map, beside a key that is looked for among them.
trait Entries {
    /// How many lie in this chunk.
    fn length(&self, chunk: usize) -> usize;

    /// How the key of the one there compares with what is looked for.
    fn compare(&self, place: Place) -> Ordering;
}

struct Sought<'a, K, V, Q: ?Sized> {
    map: &'a SortedMap<K, V>,
    key: &'a Q,
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Entries for Sought<'_, K, V, Q> {
    fn length(&self, chunk: usize) -> usize {
        self.map.chunks[chunk].len()
    }

    fn compare(&self, place: Place) -> Ordering {
        self.map.at(place).0.borrow().cmp(self.key)
    }
}

/// Where the key is in so many chunks, or else where it belongs. Each begins with its least key: the last one that does not
/// begin after what is looked for has it.
fn locate(chunks: usize, entries: &dyn Entries) -> Result<Place, Place> {
    let chunk = match search(chunks, &|chunk| entries.compare((chunk, 0))) {
        Ok(chunk) => return Ok((chunk, 0)),
        Err(after) => after.saturating_sub(1),
    };
    let length = if chunk < chunks { entries.length(chunk) } else { 0 };
    match search(length, &|at| entries.compare((chunk, at))) {
        Ok(at) => Ok((chunk, at)),
        Err(at) => Err((chunk, at)),
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where the key is, or else where it belongs. Without any chunk that is (0, 0).
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        locate(self.chunks.len(), &Sought { map: self, key })
    }

    /// The value of this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(&self.at(place).1)
    }

    /// The value of this key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(&mut self.at_mut(place).1)
    }

    /// Is it there?
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets the value of this key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(place) => self.at_mut(place).1 = value,
            Err(place) => {
                self.put(place, Box::new(Entry(key, value)));
            }
        }
    }

    /// The value of this key, made now if it is not there.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.find(&key) {
            Ok(place) => place,
            Err(place) => self.put(place, Box::new(Entry(key, make()))),
        };
        &mut self.at_mut(place).1
    }

    /// Puts an entry where [`SortedMap::find`] says that it belongs. Returns where it came to lie.
    #[inline(never)]
    fn put(&mut self, (mut chunk, mut at): Place, entry: Box<Entry<K, V>>) -> Place {
        if self.chunks.is_empty() {
            self.chunks.push(Vec::new());
        }
        if self.chunks[chunk].len() == CHUNK {
            // What arrives in order fills its chunks; what arrives otherwise halves them.
            let kept = if at == CHUNK { CHUNK } else { CHUNK / 2 };
            let rest = self.chunks[chunk].split_off(kept);
            self.chunks.insert(chunk + 1, rest);
            if at >= kept {
                (chunk, at) = (chunk + 1, at - kept);
            }
        }
        self.chunks[chunk].insert(at, entry);
        (chunk, at)
    }

    /// Takes an entry out. Only an empty chunk goes: as long as no less is put in than taken out, chunks stay well
    /// filled without merging (Johnson and Shasha, "B-trees with inserts and deletes: why free-at-empty is better
    /// than merge-at-half", 1993).
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(self.take(place).1)
    }

    #[inline(never)]
    fn take(&mut self, (chunk, at): Place) -> Box<Entry<K, V>> {
        let entry = self.chunks[chunk].remove(at);
        if self.chunks[chunk].is_empty() {
            // Gives its memory back. What is left has nothing to be dropped, and so this function is the same for all types.
            let mut empty = self.chunks.remove(chunk);
            empty.shrink_to_fit();
            std::mem::forget(empty);
        }
        entry
    }

    /// The least key.
    pub fn first_key(&self) -> Option<&K> {
        self.keys().next()
    }

    /// Takes out the entry of the least key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.is_empty() {
            return None;
        }
        let Entry(key, value) = *self.take((0, 0));
        Some((key, value))
    }

    /// Keeps those entries only.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.chunks.iter_mut().for_each(|chunk| lists::keep(chunk, |entry| keep(&entry.0, &entry.1)));
        lists::keep(&mut self.chunks, |chunk| !chunk.is_empty());
    }
}

impl<K, V> SortedMap<K, V> {
    /// Where an entry lies. Of a reference to the entry itself the compiler knows the size, another one for each type.
    #[allow(clippy::borrowed_box)]
    #[inline(never)]
    fn at(&self, (chunk, at): Place) -> &Box<Entry<K, V>> {
        &self.chunks[chunk][at]
    }

    #[inline(never)]
    fn at_mut(&mut self, (chunk, at): Place) -> &mut Box<Entry<K, V>> {
        &mut self.chunks[chunk][at]
    }

    /// One without entries.
    pub const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Leaves no entry.
    pub fn clear(&mut self) {
        self.chunks.clear();
    }

    /// How many entries there are. Counts the chunks, so it takes O(n / 64).
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut chunks = self.chunks.iter();
        let mut entries: slice::Iter<Box<Entry<K, V>>> = [].iter();
        from_fn(move || {
            loop {
                if let Some(entry) = entries.next() {
                    return Some((&entry.0, &entry.1));
                }
                entries = chunks.next()?.iter();
            }
        })
    }

    /// All entries, by key, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let mut chunks = self.chunks.iter_mut();
        let mut entries: slice::IterMut<Box<Entry<K, V>>> = [].iter_mut();
        from_fn(move || {
            loop {
                if let Some(entry) = entries.next() {
                    let Entry(key, value) = &mut **entry;
                    return Some((&*key, value));
                }
                entries = chunks.next()?.iter_mut();
            }
        })
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    /// Of entries with the same key the last one stays.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        entries.into_iter().for_each(|(key, value)| map.insert(key, value));
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn entries<V: Copy>(map: &SortedMap<u16, V>) -> Vec<(u16, V)> {
        map.iter().map(|(&key, &value)| (key, value)).collect()
    }

    /// Long enough for many chunks, and with keys that come again.
    fn steps() -> impl Strategy<Value = Vec<(u8, u16)>> {
        proptest::collection::vec((0..10_u8, 0..500_u16), 0..3000)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

        #[test]
        fn it_does_what_the_standard_map_does(steps in steps()) {
            let mut ours = SortedMap::new();
            let mut theirs = BTreeMap::new();
            for (number, (step, key)) in steps.into_iter().enumerate() {
                match step {
                    0 => prop_assert_eq!(ours.remove(&key), theirs.remove(&key)),
                    1 => prop_assert_eq!(ours.get_mut(&key), theirs.get_mut(&key)),
                    2 => prop_assert_eq!(ours.pop_first(), theirs.pop_first()),
                    3 => {
                        let made = *ours.get_or_insert_with(key, || number);
                        prop_assert_eq!(made, *theirs.entry(key).or_insert(number));
                    }
                    4 if number % 100 == 0 => {
                        ours.retain(|key, _| key % 3 != 0);
                        theirs.retain(|key, _| key % 3 != 0);
                    }
                    _ => {
                        ours.insert(key, number);
                        theirs.insert(key, number);
                    }
                }
                prop_assert_eq!(ours.get(&key), theirs.get(&key));
                prop_assert_eq!(ours.contains_key(&key), theirs.contains_key(&key));
                prop_assert_eq!(ours.first_key(), theirs.keys().next());
                prop_assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            }
            prop_assert!(ours.keys().eq(theirs.keys()));
            prop_assert!(ours.values_mut().map(|value| *value).eq(theirs.values().copied()));
            prop_assert_eq!(entries(&ours), theirs.iter().map(|(&key, &value)| (key, value)).collect::<Vec<_>>());
            prop_assert!(ours.values().eq(theirs.values()));
        }
    }

    #[test]
    fn of_the_same_key_the_last_value_stays() {
        let map: SortedMap<u16, u8> = [(2, 1), (1, 2), (2, 3)].into_iter().collect();
        assert_eq!(entries(&map), [(1, 2), (2, 3)]);
    }

    #[test]
    fn no_chunk_outgrows_its_length_and_order_fills_them() {
        let key = |n: u32| (n * 40_503 % 65_536) as u16;
        let mixed: SortedMap<u16, ()> = (0..20_000).map(|n| (key(n), ())).collect();
        let sorted: SortedMap<u16, ()> = (0..20_000).map(|n| (n, ())).collect();
        assert!(mixed.chunks.iter().all(|chunk| chunk.len() <= CHUNK));
        assert!(mixed.chunks.len() < 3 * 20_000 / CHUNK, "{} chunks", mixed.chunks.len());
        assert_eq!(sorted.chunks.len(), 20_000_usize.div_ceil(CHUNK));
    }

    #[test]
    fn what_is_cleared_is_empty_and_takes_entries_again() {
        let mut map: SortedMap<u16, u8> = (0..200).map(|n| (n, 0)).collect();
        map.clear();
        assert!(map.is_empty() && map.first_key().is_none() && map.pop_first().is_none());
        map.insert(7, 1);
        assert_eq!(entries(&map), [(7, 1)]);
    }
}
