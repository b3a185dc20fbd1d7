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
