//! Moments and spans: Go's notation of spans, and the parts of both.

use std::str::FromStr;

use chrono::{DateTime, Datelike, FixedOffset, SecondsFormat, TimeDelta, Timelike, Utc};

use super::{Overload, Scope, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

type Part = fn(&DateTime<FixedOffset>) -> i64;

const PARTS: &[(&str, Part)] = &[
    ("getFullYear", |at| i64::from(at.year())),
    ("getMonth", |at| i64::from(at.month0())),
    ("getDayOfMonth", |at| i64::from(at.day0())),
    ("getDate", |at| i64::from(at.day())),
    ("getDayOfWeek", |at| {
        i64::from(at.weekday().num_days_from_sunday())
    }),
    ("getDayOfYear", |at| i64::from(at.ordinal0())),
    ("getHours", |at| i64::from(at.hour())),
    ("getMinutes", |at| i64::from(at.minute())),
    ("getSeconds", |at| i64::from(at.second())),
    ("getMilliseconds", |at| {
        i64::from(at.nanosecond() / 1_000_000)
    }),
];

pub(super) fn table() -> Vec<Overload> {
    let mut table = vec![
        member("getHours", "duration", "int", |args, _| {
            spanned(args, TimeDelta::num_hours)
        }),
        member("getMinutes", "duration", "int", |args, _| {
            spanned(args, TimeDelta::num_minutes)
        }),
        member("getSeconds", "duration", "int", |args, _| {
            spanned(args, TimeDelta::num_seconds)
        }),
        member("getMilliseconds", "duration", "int", |args, _| {
            spanned(args, |span| span.num_milliseconds() % 1000)
        }),
    ];
    // A function pointer carries nothing along, hence one entry of this list for each part.
    let runs: [super::Run; 10] = [
        |args, scope| part(args, scope, 0),
        |args, scope| part(args, scope, 1),
        |args, scope| part(args, scope, 2),
        |args, scope| part(args, scope, 3),
        |args, scope| part(args, scope, 4),
        |args, scope| part(args, scope, 5),
        |args, scope| part(args, scope, 6),
        |args, scope| part(args, scope, 7),
        |args, scope| part(args, scope, 8),
        |args, scope| part(args, scope, 9),
    ];
    for ((name, _), run) in PARTS.iter().zip(runs) {
        table.push(member(name, "timestamp", "int", run));
        table.push(member(name, "timestamp, string", "int", run));
    }
    table
}

fn spanned<'a>(args: &[Value<'a>], of: fn(&TimeDelta) -> i64) -> Evaluated<'a> {
    match args {
        [Value::Duration(span)] => Ok(Value::Int(of(span))),
        _ => unfit(),
    }
}

fn part<'a>(args: &[Value<'a>], _: &mut Scope<'_>, i: usize) -> Evaluated<'a> {
    let at = match args {
        [Value::Timestamp(at)] => at.fixed_offset(),
        [Value::Timestamp(at), Value::String(zone)] => in_zone(at, zone)?,
        _ => return unfit(),
    };
    Ok(Value::Int(PARTS[i].1(&at)))
}

/// A zone by its name in the IANA database, or as an offset (`+01:00`, `-8:30`).
fn in_zone(at: &DateTime<Utc>, zone: &str) -> Result<DateTime<FixedOffset>, EvalError> {
    let unknown = || EvalError::failed(format!("unknown time zone {zone}"));
    let Some((hours, minutes)) = zone.split_once(':') else {
        let zone = chrono_tz::Tz::from_str(zone).map_err(|_| unknown())?;
        return Ok(at.with_timezone(&zone).fixed_offset());
    };
    let is_west = hours.starts_with('-');
    let hours: i32 = hours
        .trim_start_matches(['+', '-'])
        .parse()
        .map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(unknown());
    }
    let seconds = (hours * 60 + minutes) * 60 * if is_west { -1 } else { 1 };
    let offset = FixedOffset::east_opt(seconds).ok_or_else(unknown)?;
    Ok(at.with_timezone(&offset))
}

/// Go's notation: `1h30m`, `-1.5s`, `100ms`.
pub(in crate::cel) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, unit)?)?;
        rest = tail;
    }
    let nanos = i64::try_from(if is_negative { -nanos } else { nanos }).ok()?;
    Some(TimeDelta::nanoseconds(nanos))
}

fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // More digits than nanoseconds have say nothing.
    let fraction = &fraction[..fraction.len().min(18)];
    let parts: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let divisor = 10i128.pow(fraction.len() as u32);
    whole.checked_mul(unit)?.checked_add(parts * unit / divisor)
}

/// Seconds, as protobuf writes spans.
pub(super) fn shown_duration(span: TimeDelta) -> String {
    let nanos = span.num_nanoseconds().unwrap_or(i64::MAX);
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// RFC 3339 with as many digits as it takes.
pub(super) fn shown_timestamp(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
