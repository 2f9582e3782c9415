//! Many objects that one change concerns, told one after another.
//!
//! A host that goes silent concerns everything on it. Told at once, its objects would take all of a controller's places and most of what
//! the API server can write, and everybody else's would wait for them.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};

use crate::context::Clock;

/// How many are told at once.
const AT_ONCE: usize = 2;
/// After what time each further one follows.
const PAUSE: Duration = Duration::from_millis(400);

/// All of them, the first few at once.
pub fn spread<T: Send + 'static>(clock: &Arc<dyn Clock>, all: Vec<T>) -> BoxStream<'static, T> {
    let clock = clock.clone();
    stream::iter(all.into_iter().enumerate())
        .then(move |(place, one)| {
            let clock = clock.clone();
            async move {
                if place >= AT_ONCE {
                    clock.sleep(PAUSE).await;
                }
                one
            }
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;
    use crate::testing::virtual_clock;

    #[tokio::test(start_paused = true)]
    async fn the_first_few_are_told_at_once_and_the_others_one_after_another() {
        let clock = virtual_clock();
        let mut told = spread(&clock, (0..10).collect());
        for expected in 0..AT_ONCE {
            assert_eq!(told.next().now_or_never(), Some(Some(expected)));
        }
        let begun = Instant::now();
        let later: Vec<usize> = told.collect().await;
        assert_eq!(later, (AT_ONCE..10).collect::<Vec<_>>());
        assert_eq!(begun.elapsed(), PAUSE * u32::try_from(later.len()).unwrap());
    }
}
