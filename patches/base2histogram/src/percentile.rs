//! Percentiles: the bucket of the sample of that rank, and in it where the rank stands among the bucket's samples.

use std::fmt;

use crate::{Histogram, bucket};

/// The percentiles that are usually asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// Samples counted.
    pub samples: u64,
    /// One in a thousand is not above this.
    pub p0_1: u64,
    /// 1 % are not above this.
    pub p1: u64,
    /// 5 % are not above this.
    pub p5: u64,
    /// 10 % are not above this.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// 90 % are not above this.
    pub p90: u64,
    /// 99 % are not above this.
    pub p99: u64,
    /// All but one in a thousand are not above this.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={}", self.samples)?;
        let percentiles = [
            ("p0.1", self.p0_1),
            ("p1", self.p1),
            ("p5", self.p5),
            ("p10", self.p10),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
        ];
        percentiles
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl<T> Histogram<T> {
    /// The value that `part` (0 to 1) of the samples do not exceed; 0 without samples.
    pub fn percentile(&self, part: f64) -> u64 {
        let rank = (self.total as f64 * part).ceil().max(1.0) as u64;
        let mut before = 0u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            if *count > 0 && rank <= before.saturating_add(*count) {
                return within(bucket, rank - before, *count);
            }
            before = before.saturating_add(*count);
        }
        0
    }

    /// The usual percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.10),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// Where the sample of a rank lies if the bucket's samples are spread evenly over it.
fn within(bucket: usize, rank: u64, count: u64) -> u64 {
    let (first, last) = bucket::values(bucket).into_inner();
    let width = u128::from(last - first);
    let offset = width * (2 * u128::from(rank) - 1) / (2 * u128::from(count));
    first + offset as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_samples_all_is_zero() {
        let stats = Histogram::<()>::new().percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p99_9), (0, 0, 0));
    }

    #[test]
    fn small_values_come_back_exactly() {
        let mut histogram = Histogram::<()>::new();
        (0..8).for_each(|value| histogram.record(value));
        for (part, value) in [(0.001, 0), (0.125, 0), (0.126, 1), (0.5, 3), (1.0, 7)] {
            assert_eq!(histogram.percentile(part), value, "{part}");
        }
    }

    #[test]
    fn a_percentile_is_in_the_bucket_of_the_sample_that_it_stands_for() {
        let mut histogram = Histogram::<()>::new();
        let mut samples: Vec<u64> = (0..1000u64).map(|n| n * n * 37 % 50_021).collect();
        samples.iter().for_each(|sample| histogram.record(*sample));
        samples.sort_unstable();
        for permille in 1..=1000 {
            let found = histogram.percentile(permille as f64 / 1000.0);
            let exact = samples[permille - 1];
            // Floating point may round a rank up by one.
            let next = samples[permille.min(999)];
            let buckets = [exact, next].map(bucket::of);
            assert!(
                buckets.contains(&bucket::of(found)),
                "{permille}: {found}, not {exact}"
            );
        }
    }

    #[test]
    fn percentiles_never_fall_as_the_part_grows() {
        let mut histogram = Histogram::<()>::new();
        for (value, count) in [(3, 10), (900, 1), (1000, 500), (u64::MAX, 2)] {
            histogram.record_n(value, count);
        }
        let found: Vec<u64> = (0..=100)
            .map(|n| histogram.percentile(n as f64 / 100.0))
            .collect();
        assert!(found.is_sorted());
        assert_eq!(bucket::of(found[100]), bucket::BUCKETS - 1);
    }
}
