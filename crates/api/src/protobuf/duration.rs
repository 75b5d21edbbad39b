//! `Duration`: nanoseconds, and in JSON Go's spelling (`1h15m30.5s`).

use serde_json::Value;

use super::Error;
use super::wire::Reader;

/// Units by name, with their nanoseconds, the largest first.
const UNITS: [(&str, i64); 7] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// Reads a duration.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, Error> {
    let mut nanos = 0;
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        if number == 1 {
            nanos = raw.varint("duration")? as i64;
        }
    }
    Ok(print(nanos).into())
}

/// As Go's `Duration.String`: one unit below a second, hours, minutes and seconds above.
fn print(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let in_unit = |nanos: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let fraction = format!("{:0digits$}", nanos % unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if digits == 0 || fraction.is_empty() {
            ""
        } else {
            "."
        };
        let fraction = if digits == 0 { "" } else { fraction };
        format!("{}{point}{fraction}{name}", nanos / unit)
    };
    let (minute, second) = (60_000_000_000, 1_000_000_000);
    let text = match nanos {
        0 => "0s".to_owned(),
        1..1_000 => in_unit(nanos, 1, "ns"),
        1_000..1_000_000 => in_unit(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => in_unit(nanos, 1_000_000, "ms"),
        _ => {
            let seconds = in_unit(nanos % minute, second, "s");
            match (nanos / minute / 60, nanos / minute % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// As Go's `ParseDuration`; `None` for what is no duration, or too long a one.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(end.unwrap_or(tail.len()));
        let unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        nanos = nanos.checked_add(scaled(number, unit)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sign * nanos)
}

/// A decimal number of units, in nanoseconds; what is smaller than one is cut.
fn scaled(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut part = i128::from(unit);
    let mut nanos = 0;
    for digit in fraction.chars() {
        part /= 10;
        nanos += i128::from(digit.to_digit(10)?) * part;
    }
    whole
        .checked_mul(unit)?
        .checked_add(i64::try_from(nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (-30_000_000_000, "-30s"),
            (i64::MAX, "2562047h47m16.854775807s"),
        ] {
            assert_eq!(print(nanos), text);
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
        assert_eq!(parse("1.5h"), Some(5_400_000_000_000));
        for bad in ["", "3", "s", "1d", ".s", "9999999h", "1.2.3s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
