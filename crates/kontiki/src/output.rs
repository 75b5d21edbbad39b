//! What commands print: steps with their duration, tables, JSON.

use std::io::Write as _;
use std::time::Duration;

/// Prints the steps of a long command, each with the time that it took.
pub struct Steps {
    started: tokio::time::Instant,
    step: tokio::time::Instant,
}

impl Default for Steps {
    fn default() -> Self {
        let now = tokio::time::Instant::now();
        Self {
            started: now,
            step: now,
        }
    }
}

impl Steps {
    /// Starts a step: prints what happens now.
    pub fn begin(&mut self, name: &str) {
        self.step = tokio::time::Instant::now();
        print!("  {name:<16}");
        let _ = std::io::stdout().flush();
    }

    /// Ends the step with its result.
    pub fn end(&mut self, result: &str) {
        println!("{result} ({})", seconds(self.step.elapsed()));
    }

    /// Time since the command started.
    pub fn total(&self) -> String {
        seconds(self.started.elapsed())
    }
}

/// `1.2 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Prints rows under headers, columns aligned as kubectl's.
pub fn table(headers: &[&str], rows: &[Vec<String>]) {
    let width = |idx: usize| {
        let cells = rows.iter().filter_map(|row| row.get(idx)).map(String::len);
        cells.chain([headers[idx].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("   ").trim_end());
    };
    line(headers.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// Prints a value as indented JSON.
pub fn json(value: &serde_json::Value) {
    println!("{value:#}");
}
