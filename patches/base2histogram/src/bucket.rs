//! Buckets of a value: exact below 8, then four to each power of two, over all of `u64`.
//!
//! A value's bucket is its highest bit and the two bits after it, so a bucket is at most a quarter of its values wide.

use std::ops::RangeInclusive;

/// Bits of a value that choose its bucket within its power of two.
const DETAIL_BITS: u32 = 2;
/// Buckets to a power of two.
const PER_POWER: usize = 1 << DETAIL_BITS;
/// Buckets in all: the values below `PER_POWER`, and every power of two from there on.
pub(crate) const BUCKETS: usize = PER_POWER * (u64::BITS - DETAIL_BITS + 1) as usize;

/// The bucket of a value.
pub(crate) fn of(value: u64) -> usize {
    if value < PER_POWER as u64 {
        return value as usize;
    }
    let shift = u64::BITS - 1 - value.leading_zeros() - DETAIL_BITS;
    let detail = (value >> shift) as usize - PER_POWER;
    PER_POWER * (shift as usize + 1) + detail
}

/// The values of a bucket.
pub(crate) fn values(bucket: usize) -> RangeInclusive<u64> {
    if bucket < PER_POWER {
        return bucket as u64..=bucket as u64;
    }
    let shift = bucket / PER_POWER - 1;
    let first = ((bucket % PER_POWER + PER_POWER) as u64) << shift;
    first..=first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gap_over_all_values() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let values = values(bucket);
            assert_eq!(*values.start(), next, "bucket {bucket}");
            assert_eq!(of(*values.start()), bucket);
            assert_eq!(of(*values.end()), bucket);
            next = values.end().wrapping_add(1);
        }
        assert_eq!(next, 0, "the last bucket ends with the last value");
    }

    #[test]
    fn small_values_are_exact_and_large_ones_known_to_a_quarter() {
        for bucket in 0..BUCKETS {
            let (first, last) = values(bucket).into_inner();
            assert!(bucket >= 8 || first == last, "bucket {bucket}");
            assert!(last - first <= first / 4, "bucket {bucket}");
        }
    }
}
