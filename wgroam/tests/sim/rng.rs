// SPDX-License-Identifier: GPL-2.0-only
//! Chance that comes out the same each time (SplitMix64).

/// A generator; its seed is its state.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `bound - 1`. Slightly uneven, which does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
