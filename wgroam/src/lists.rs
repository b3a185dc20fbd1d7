// SPDX-License-Identifier: GPL-2.0-only
//! What lists need in many places.

/// Keeps what is wanted, in its order. Each that goes moves those behind it: for short lists, where `Vec::retain` would take
/// some 50 bytes more of code each time.
pub fn keep<T>(list: &mut Vec<T>, mut wanted: impl FnMut(&T) -> bool) {
    let mut at = 0;
    while at < list.len() {
        if wanted(&list[at]) {
            at += 1;
        } else {
            list.remove(at);
        }
    }
}

/// Sorts so many entries (Shell's way, with Knuth's steps). `arrange` swaps the two at these places if the second belongs before
/// the first, and tells. One function for all lists, where the standard library has one for each type. Equals may change places.
pub fn sort(length: usize, arrange: &mut dyn FnMut(usize, usize) -> bool) {
    let mut step = 1;
    while step < length / 3 {
        step = 3 * step + 1;
    }
    while step > 0 {
        for end in step..length {
            let mut at = end;
            while at >= step && arrange(at - step, at) {
                at -= step;
            }
        }
        step /= 3;
    }
}

/// The same of a list whose entries have an order of their own.
pub fn sort_list<T: Ord>(list: &mut [T]) {
    sort(list.len(), &mut |first, second| {
        let wrong = list[second] < list[first];
        if wrong {
            list.swap(first, second);
        }
        wrong
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_list_is_sorted_as_the_standard_library_does(mut list in proptest::collection::vec(0..50_u8, 0..200)) {
            let mut theirs = list.clone();
            theirs.sort_unstable();
            sort_list(&mut list);
            prop_assert_eq!(list, theirs);
        }

        #[test]
        fn what_is_kept_keeps_its_order(mut list in proptest::collection::vec(0..50_u8, 0..200)) {
            let mut theirs = list.clone();
            theirs.retain(|number| number % 3 != 0);
            keep(&mut list, |number| number % 3 != 0);
            prop_assert_eq!(list, theirs);
        }
    }
}
