//! Chance.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

/// Gives random bytes that nobody can foresee: tokens and keys are made of them.
pub trait Randomness: Send + Sync + Debug + 'static {
    /// Fills the slice. Fails only where the system has no randomness to give.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::from)
    }
}

/// The duration, shortened or lengthened by up to a fifth, so that what began together does not come back together.
/// Where there is no randomness it is the duration itself: jitter is a courtesy, not a need.
pub fn jittered(random: &dyn Randomness, duration: Duration) -> Duration {
    let mut bytes = [0; 2];
    if random.fill(&mut bytes).is_err() {
        return duration;
    }
    let share = f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX);
    duration.mul_f64(0.8 + 0.4 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Randomness for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl Randomness for Broken {
        fn fill(&self, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other("no entropy"))
        }
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let ten = Duration::from_secs(10);
        assert_eq!(jittered(&Fixed(0), ten), Duration::from_secs(8));
        assert_eq!(jittered(&Fixed(255), ten), Duration::from_secs(12));
    }

    #[test]
    fn without_randomness_there_is_no_jitter() {
        assert_eq!(
            jittered(&Broken, Duration::from_secs(10)),
            Duration::from_secs(10)
        );
    }
}
