//! Chance that a seed repeats.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seedbed_operator::context::Randomness;

/// Numbers that follow from a seed: `SplitMix64`, which is small, passes the usual tests, and has no bad seeds.
/// See Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers of their own for something of that name: what one draws more or less does not change what the other draws.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        let mut other = Self(self.0 ^ 0x5eed_bed0);
        for byte in name.bytes() {
            other.0 = other.number() ^ u64::from(byte);
        }
        Self(other.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias of a remainder is below 2^-40 for every limit that is used here.
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// Whether something happens that happens in so many of a million cases.
    pub fn happens(&mut self, per_million: u64) -> bool {
        self.below(1_000_000) < per_million
    }

    /// A time between the two, in milliseconds.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let least = millis(least);
        let width = millis(most).saturating_sub(least);
        Duration::from_millis(least + self.below(width + 1))
    }

    /// One of them; none where there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).unwrap_or(u64::MAX);
        from.get(usize::try_from(self.below(count)).unwrap_or_default())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the operator draws.
#[derive(Debug)]
pub(crate) struct Drawn(Mutex<Chance>);

impl Drawn {
    pub(crate) fn new(chance: Chance) -> Self {
        Self(Mutex::new(chance))
    }
}

impl Randomness for Drawn {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut chance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            let drawn = chance.number().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}
