//! Stands in for the crate of this name: the part that openraft calls, without 22 MiB of tables in every process.
//!
//! openraft counts the sizes of its batches and prints them on request; nothing that it decides reads them. The
//! published crate fills lookup tables for sixteen resolutions at its first use, of which one is ever used
//! (`docs/decisions/2026-11-25-a-histogram-of-our-own.md`). Here a bucket is computed from the value's bits.
//!
//! Exact: how many samples there are, and in which bucket each is. Estimated: where in a bucket wider than one value
//! a percentile lies; it is never outside of that bucket. Deliberately absent: sliding windows, other resolutions.

mod bucket;
mod chart;
mod percentile;

use std::marker::PhantomData;

pub use chart::AsciiChart;
pub use percentile::PercentileStats;

use bucket::BUCKETS;

/// How often values of each size were seen. `T` is what the published crate keeps beside a window; here nothing does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64]>,
    total: u64,
    window: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Without samples.
    pub fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            total: 0,
            window: PhantomData,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = &mut self.counts[bucket::of(value)];
        *bucket = bucket.saturating_add(count);
        self.total = self.total.saturating_add(count);
    }

    /// Samples counted so far.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_counted_once_and_in_its_bucket() {
        let mut histogram = Histogram::<()>::new();
        histogram.record(5);
        histogram.record_n(21, 3);
        histogram.record(u64::MAX);
        assert_eq!(histogram.total(), 5);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 5);
        assert_eq!(histogram.counts[bucket::of(21)], 3);
        assert_eq!(histogram.counts[BUCKETS - 1], 1);
    }

    #[test]
    fn counts_stay_at_the_top_rather_than_begin_anew() {
        let mut histogram = Histogram::<()>::new();
        histogram.record_n(7, u64::MAX);
        histogram.record(7);
        assert_eq!(histogram.total(), u64::MAX);
        assert_eq!(histogram.counts[7], u64::MAX);
    }

    #[test]
    fn equal_samples_make_equal_histograms() {
        let (mut one, mut other) = (Histogram::<()>::new(), Histogram::<()>::default());
        assert_eq!(one, other);
        one.record_n(9, 2);
        other.record(9);
        assert_ne!(one, other);
        other.record(9);
        assert_eq!(one, other);
    }
}
