//! Cron schedules as CronJob writes them: five fields or a descriptor, read in one time zone.
//!
//! The grammar and the error texts are robfig/cron's, which upstream uses; the fields are normalised to lists of
//! values so that croner, which finds the next moment, sees no syntax of its own (`L`, `W`, `#`, seconds, `7`).
//! Deliberately absent: the clock. Callers pass moments in.

use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;

/// Why a schedule or a time zone was refused; the text is what a user reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The schedule is malformed.
    #[error("{0}")]
    Schedule(String),
    /// No such time zone.
    #[error("unknown time zone {0}")]
    TimeZone(String),
}

/// A parsed schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    inner: Inner,
    tz: Tz,
}

#[derive(Debug, Clone)]
enum Inner {
    Cron(Box<Cron>),
    /// `@every`: a period in milliseconds.
    Every(u64),
    /// A date that never comes, such as 30 February.
    Never,
}

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Bounds; 5] = [
    Bounds {
        min: 0,
        max: 59,
        names: &[],
    },
    Bounds {
        min: 0,
        max: 23,
        names: &[],
    },
    Bounds {
        min: 1,
        max: 31,
        names: &[],
    },
    Bounds {
        min: 1,
        max: 12,
        names: MONTHS,
    },
    Bounds {
        min: 0,
        max: 6,
        names: DAYS,
    },
];

impl Schedule {
    /// Reads `schedule` in time zone `tz` (UTC when none).
    pub fn parse(schedule: &str, tz: Option<&str>) -> Result<Self, Error> {
        let tz = match tz {
            None => Tz::UTC,
            Some(name) => {
                Tz::from_str(name).map_err(|_unknown| Error::TimeZone(name.to_owned()))?
            }
        };
        let inner = parse_inner(schedule.trim()).map_err(Error::Schedule)?;
        Ok(Self { inner, tz })
    }

    /// The first moment strictly after `unix_ms`, or none when there never is one.
    pub fn next_after(&self, unix_ms: u64) -> Option<u64> {
        let second = unix_ms / 1000;
        match &self.inner {
            Inner::Never => None,
            Inner::Every(period_ms) => (second * 1000).checked_add(*period_ms),
            Inner::Cron(cron) => {
                let start: DateTime<Tz> = self
                    .tz
                    .timestamp_opt(i64::try_from(second).ok()?, 0)
                    .single()?;
                let next = cron.find_next_occurrence(&start, false).ok()?;
                u64::try_from(next.with_timezone(&Utc).timestamp_millis()).ok()
            }
        }
    }
}

fn parse_inner(schedule: &str) -> Result<Inner, String> {
    if schedule.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let fields: Vec<&str> = match schedule {
        "@yearly" | "@annually" => vec!["0", "0", "1", "1", "*"],
        "@monthly" => vec!["0", "0", "1", "*", "*"],
        "@weekly" => vec!["0", "0", "*", "*", "0"],
        "@daily" | "@midnight" => vec!["0", "0", "*", "*", "*"],
        "@hourly" => vec!["0", "*", "*", "*", "*"],
        descriptor if descriptor.starts_with('@') => return parse_every(descriptor),
        fields => fields.split_whitespace().collect(),
    };
    if fields.len() != 5 {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    let mut sets = [0u64; 5];
    let mut pattern = String::from("0");
    for ((field, bounds), set) in fields.iter().zip(&FIELDS).zip(&mut sets) {
        let star;
        (*set, star) = parse_field(field, bounds)?;
        pattern.push(' ');
        if star {
            pattern.push('*');
        } else {
            let values: Vec<String> = (bounds.min..=bounds.max)
                .filter(|v| *set >> v & 1 == 1)
                .map(|v| v.to_string())
                .collect();
            pattern.push_str(&values.join(","));
        }
    }
    if never(&sets, pattern.ends_with('*')) {
        return Ok(Inner::Never);
    }
    let cron = Cron::from_str(&pattern).map_err(|error| error.to_string())?;
    Ok(Inner::Cron(Box::new(cron)))
}

/// Whether no month of the set has a day of the set; a set of weekdays always comes round.
fn never(sets: &[u64; 5], any_weekday: bool) -> bool {
    const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let first_day = sets[2].trailing_zeros();
    any_weekday
        && (1..=12)
            .filter(|m| sets[3] >> m & 1 == 1)
            .all(|m| first_day > LENGTHS[m - 1])
}

/// A field's values as bits, and whether it is a bare star.
fn parse_field(field: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let mut set = 0;
    let mut star = false;
    for part in field.split(',').filter(|part| !part.is_empty()) {
        let (bits, part_star) = parse_range(part, bounds)?;
        set |= bits;
        star |= part_star;
    }
    Ok((set, star))
}

fn parse_range(part: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let (range, step) = match part.split_once('/') {
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {part}")),
        Some((range, step)) => (range, Some(parse_number(step)?)),
        None => (part, None),
    };
    let mut star = false;
    let (start, end) = match range.split_once('-') {
        _ if range == "*" || range == "?" => {
            star = step.is_none_or(|step| step <= 1);
            (bounds.min, bounds.max)
        }
        Some((_, end)) if end.contains('-') => return Err(format!("too many hyphens: {part}")),
        Some((start, end)) => (parse_value(start, bounds)?, parse_value(end, bounds)?),
        None => {
            let value = parse_value(range, bounds)?;
            (value, if step.is_some() { bounds.max } else { value })
        }
    };
    let Bounds { min, max, .. } = bounds;
    if start < *min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({min}): {part}"
        ));
    }
    if end > *max {
        return Err(format!(
            "end of range ({end}) above maximum ({max}): {part}"
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {part}"
        ));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let bits = (start..=end)
        .step_by(step as usize)
        .fold(0u64, |bits, value| bits | 1 << value);
    Ok((bits, star))
}

fn parse_value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    match bounds
        .names
        .iter()
        .position(|name| text.eq_ignore_ascii_case(name))
    {
        Some(position) => Ok(bounds.min + position as u32),
        None => parse_number(text),
    }
}

fn parse_number(text: &str) -> Result<u32, String> {
    if text.starts_with('-') && text[1..].parse::<u32>().is_ok() {
        return Err(format!("negative number ({text}) not allowed: {text}"));
    }
    text.parse().map_err(|_error| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })
}

/// Longest period: what Go's durations hold, 292 years.
const MAX_EVERY_MS: f64 = 9_223_372_036_854.0;

/// `@every 1h30m`, in Go's notation of durations; never shorter than a second.
fn parse_every(descriptor: &str) -> Result<Inner, String> {
    let Some(text) = descriptor.strip_prefix("@every ") else {
        return Err(format!("unrecognized descriptor: {descriptor}"));
    };
    let failed = |why: &str| format!("failed to parse duration {descriptor}: time: {why} {text:?}");
    let mut rest = text;
    let mut total_ms = 0f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits]
            .parse()
            .map_err(|_error| failed("invalid duration"))?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total_ms += number
            * match &rest[..letters] {
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1000.0,
                "ms" => 1.0,
                "us" | "µs" => 0.001,
                "ns" => 0.000_001,
                "" => return Err(failed("missing unit in duration")),
                _ => return Err(failed("unknown unit in duration")),
            };
        rest = &rest[letters..];
    }
    if text.is_empty() || total_ms.is_nan() || total_ms > MAX_EVERY_MS {
        return Err(failed("invalid duration"));
    }
    Ok(Inner::Every(((total_ms / 1000.0) as u64).max(1) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis() as u64
    }

    #[test]
    fn finds_the_next_moment() {
        for (schedule, tz, from, next) in [
            (
                "*/15 * * * *",
                None,
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:15:00Z",
            ),
            (
                "* * * * *",
                None,
                "2026-01-01T00:00:59.9Z",
                "2026-01-01T00:01:00Z",
            ),
            (
                "5/20 * * * *",
                None,
                "2026-01-01T00:26:00Z",
                "2026-01-01T00:45:00Z",
            ),
            (
                "@hourly",
                None,
                "2026-01-01T00:00:00Z",
                "2026-01-01T01:00:00Z",
            ),
            (
                "@weekly",
                None,
                "2026-01-01T00:00:00Z",
                "2026-01-04T00:00:00Z",
            ),
            (
                "0 9 * * MON-fri",
                None,
                "2026-01-02T10:00:00Z",
                "2026-01-05T09:00:00Z",
            ),
            // Day of month or day of week, when both are given.
            (
                "0 0 13 * 5",
                None,
                "2026-01-03T00:00:00Z",
                "2026-01-09T00:00:00Z",
            ),
            (
                "0 3 * * *",
                Some("Europe/Berlin"),
                "2026-07-01T12:00:00Z",
                "2026-07-02T01:00:00Z",
            ),
            (
                "0 0 29 2 *",
                None,
                "2026-01-01T00:00:00Z",
                "2028-02-29T00:00:00Z",
            ),
            (
                "@every 1h30m",
                None,
                "2026-01-01T00:00:00.7Z",
                "2026-01-01T01:30:00Z",
            ),
        ] {
            let schedule_ = Schedule::parse(schedule, tz).unwrap();
            assert_eq!(schedule_.next_after(ms(from)), Some(ms(next)), "{schedule}");
        }
        assert_eq!(
            Schedule::parse("0 0 30 2 *", None).unwrap().next_after(0),
            None
        );
    }

    #[test]
    fn refuses_in_upstreams_words() {
        for (schedule, tz, error) in [
            ("", None, "empty spec string"),
            ("* * *", None, "expected exactly 5 fields, found 3: [* * *]"),
            (
                "* * * * * *",
                None,
                "expected exactly 5 fields, found 6: [* * * * * *]",
            ),
            (
                "60 * * * *",
                None,
                "end of range (60) above maximum (59): 60",
            ),
            (
                "* * 0 * *",
                None,
                "beginning of range (0) below minimum (1): 0",
            ),
            ("* * * * 7", None, "end of range (7) above maximum (6): 7"),
            (
                "*/0 * * * *",
                None,
                "step of range should be a positive number: */0",
            ),
            (
                "x * * * *",
                None,
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "L * * * *",
                None,
                "failed to parse int from L: strconv.Atoi: parsing \"L\": invalid syntax",
            ),
            (
                "@fortnightly",
                None,
                "unrecognized descriptor: @fortnightly",
            ),
            (
                "* * * * *",
                Some("Mars/Olympus"),
                "unknown time zone Mars/Olympus",
            ),
        ] {
            assert_eq!(
                Schedule::parse(schedule, tz).unwrap_err().to_string(),
                error
            );
        }
    }
}
