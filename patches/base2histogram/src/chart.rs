//! A chart of several histograms in text, one under the other.

use std::fmt;

use crate::{Histogram, bucket};

/// Longest bar, in characters.
const BAR: u64 = 50;

/// Histograms with their names.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    series: Vec<(String, Histogram)>,
}

impl AsciiChart {
    /// Without histograms.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.series.push((name.into(), histogram));
        self
    }

    /// The chart, ready to print.
    pub fn detailed(&self) -> &Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.series {
            writeln!(f, "{name}: {} samples", histogram.total())?;
            let most = histogram.counts.iter().copied().max().unwrap_or_default();
            for (idx, count) in histogram.counts.iter().enumerate() {
                if *count > 0 {
                    let length = u128::from(*count) * u128::from(BAR) / u128::from(most);
                    let bar = "█".repeat(length.max(1) as usize);
                    writeln!(f, "{:>20} {bar} {count}", bucket::values(idx).start())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_with_samples_has_a_bar_as_long_as_it_is_full() {
        let mut histogram = Histogram::new();
        histogram.record_n(3, 100);
        histogram.record_n(40, 50);
        histogram.record_n(5000, 1);
        let chart = AsciiChart::new()
            .add("sizes", histogram)
            .detailed()
            .to_string();
        let bars: Vec<usize> = chart
            .lines()
            .map(|line| line.matches('█').count())
            .collect();
        assert_eq!(bars, [0, 50, 25, 1]);
        assert!(chart.starts_with("sizes: 151 samples\n"));
    }
}
