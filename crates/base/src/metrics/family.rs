//! Metrics with labels: a cell for each combination of their values, made once and kept by who counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Metric;

/// Combinations of labels of one family; further ones share a cell.
const MAX_CELLS: usize = 2048;

/// What a family holds for one combination.
pub trait Cell: Default {
    /// Writes its lines, of a metric with these labels.
    fn render(&self, name: &str, labels: &str, text: &mut String);
}

/// A metric with labels.
#[derive(Debug)]
pub struct Family<C> {
    /// Full name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it counts.
    pub help: &'static str,
    labels: &'static [&'static str],
    cells: Mutex<BTreeMap<Vec<String>, Arc<C>>>,
}

impl<C: Cell> Family<C> {
    pub(super) const fn new(
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            kind,
            help,
            labels,
            cells: Mutex::new(BTreeMap::new()),
        }
    }

    /// The cell of some values of the labels, to be kept by who counts.
    pub fn with(&self, values: &[&str]) -> Arc<C> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let mut cells = self.cells.lock();
        let key: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        if cells.len() >= MAX_CELLS && !cells.contains_key(&key) {
            let others = vec!["others".to_owned(); values.len()];
            return Arc::clone(cells.entry(others).or_default());
        }
        Arc::clone(cells.entry(key).or_default())
    }

    /// Forgets cells that nobody keeps any longer.
    pub fn forget_unused(&self) {
        self.cells
            .lock()
            .retain(|_, cell| Arc::strong_count(cell) > 1);
    }

    pub(super) fn render(&self, text: &mut String) {
        let cells = self.cells.lock();
        if cells.is_empty() {
            return;
        }
        let _ = writeln!(text, "# HELP {} {}", self.name, self.help);
        let _ = writeln!(text, "# TYPE {} {}", self.name, self.kind);
        for (values, cell) in cells.iter() {
            let pairs = self.labels.iter().zip(values);
            let pairs = pairs.map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
            let pairs: Vec<String> = pairs.collect();
            cell.render(self.name, &pairs.join(","), text);
        }
    }
}

impl Cell for Metric {
    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let _ = writeln!(text, "{name}{{{labels}}} {}", self.get());
    }
}

/// Upper bounds of a histogram's buckets in microseconds (upstream's of waits for a seat), and as they are written.
const BUCKETS: [(u64, &str); 13] = [
    (0, "0"),
    (5_000, "0.005"),
    (20_000, "0.02"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (200_000, "0.2"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_000_000, "2"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (15_000_000, "15"),
    (30_000_000, "30"),
];

/// Durations, counted by how long they are.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let idx = BUCKETS.partition_point(|(bound, _)| *bound < us);
        self.counts[idx].fetch_add(1, Ordering::Relaxed);
        if us > 0 {
            self.sum_us.fetch_add(us, Ordering::Relaxed);
        }
    }
}

impl Cell for Histogram {
    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let mut count = 0;
        let bounds = BUCKETS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (bound, in_bucket) in bounds.zip(&self.counts) {
            count += in_bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let seconds = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum{{{labels}}} {seconds}");
        let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
    }
}

/// A label's value as the text format has it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_a_number_for_each_value_and_a_bound() {
        static FAMILY: Family<Metric> =
            Family::new("x_total", "counter", "Xs.", &["level", "schema"]);
        let kept = FAMILY.with(&["a", "b\"\n\\"]);
        kept.add(2);
        FAMILY.with(&["c", "d"]).inc();
        let mut text = String::new();
        FAMILY.render(&mut text);
        assert_eq!(
            text,
            "# HELP x_total Xs.\n# TYPE x_total counter\nx_total{level=\"a\",schema=\"b\\\"\\n\\\\\"} 2\n\
             x_total{level=\"c\",schema=\"d\"} 1\n"
        );
        FAMILY.forget_unused();
        for number in 0..MAX_CELLS + 5 {
            FAMILY.with(&["n", &number.to_string()]).inc();
        }
        assert_eq!(FAMILY.with(&["n", "another"]).get(), 6);
        assert_eq!(kept.get(), 2);
    }

    #[test]
    fn histograms_add_up_from_below() {
        let histogram = Histogram::default();
        for ms in [0, 3, 5, 6, 40_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut text = String::new();
        histogram.render("x", "a=\"b\"", &mut text);
        for line in [
            "x_bucket{a=\"b\",le=\"0\"} 1\n",
            "x_bucket{a=\"b\",le=\"0.005\"} 3\n",
            "x_bucket{a=\"b\",le=\"0.02\"} 4\n",
            "x_bucket{a=\"b\",le=\"30\"} 4\n",
            "x_bucket{a=\"b\",le=\"+Inf\"} 5\n",
            "x_sum{a=\"b\"} 40.014\n",
            "x_count{a=\"b\"} 5\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
