//! Exponential back-off with a cap and jitter: the one policy for every retry in the project.

use std::time::Duration;

use crate::random::Random;

/// A growing delay between attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first` and doubles up to `cap`.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            next: first,
        }
    }

    /// The delay to wait now: the current step with up to a fifth taken off or added, so that peers spread.
    pub fn next_delay(&mut self, random: &dyn Random) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.cap);
        let spread_ms = (step.as_millis() as u64 / 5).max(1);
        let offset_ms = random.below(2 * spread_ms);
        step.saturating_sub(Duration::from_millis(spread_ms)) + Duration::from_millis(offset_ms)
    }

    /// Forgets past failures.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn doubles_up_to_the_cap_and_resets() {
        let random = SeededRandom::new(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        let delays: Vec<u128> = (0..4)
            .map(|_| backoff.next_delay(&random).as_millis())
            .collect();
        for (delay, step) in delays.iter().zip([100u128, 200, 400, 400]) {
            assert!(
                delay.abs_diff(step) <= step / 5,
                "{delay} is not around {step}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay(&random).as_millis() <= 120);
    }
}
