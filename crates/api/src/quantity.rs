//! Quantities: fixed-point numbers with a suffix (`500m`, `1.5Gi`, `1e3`), as upstream's `resource.Quantity`.
//!
//! A value is a count of billionths, so all arithmetic is exact. Rounding goes away from zero and magnitudes are capped
//! at 2^63-1, both as upstream does.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;
/// Digits beyond these cannot matter under the cap; longer inputs are refused, so that parsing is bounded.
const MAX_DIGITS: usize = 4096;

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not of the grammar.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// Suffix unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// The family of suffixes that a quantity was written with, and will be again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `m`, none, `k`, `M`, ...
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, ...
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// A number and how to write it. Compares by number alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// A whole number.
    pub fn units(units: i64, format: Format) -> Self {
        Self {
            nanos: i128::from(units) * NANO,
            format,
        }
    }

    /// A number of thousandths.
    pub fn milli(milli: i64) -> Self {
        Self {
            nanos: i128::from(milli) * (NANO / 1000),
            format: Format::DecimalSi,
        }
    }

    /// Whole units, rounded up.
    pub fn value(self) -> i128 {
        ceil_away(self.nanos, NANO)
    }

    /// Thousandths, rounded up.
    pub fn milli_value(self) -> i128 {
        ceil_away(self.nanos, NANO / 1000)
    }

    /// The nearest double.
    pub fn approximate(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whether it is a whole number.
    pub fn is_integer(self) -> bool {
        self.nanos % NANO == 0
    }

    /// -1, 0 or 1.
    pub fn sign(self) -> i32 {
        self.nanos.signum() as i32
    }

    /// The sum, capped, in this quantity's format.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nanos: (self.nanos + other.nanos).clamp(-MAX, MAX),
            format: self.format,
        }
    }

    /// The difference, capped, in this quantity's format.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            nanos: (self.nanos - other.nanos).clamp(-MAX, MAX),
            format: self.format,
        }
    }

    /// Rounded up to whole units.
    #[must_use]
    pub fn round_up(self) -> Self {
        Self {
            nanos: self.value() * NANO,
            format: self.format,
        }
    }

    /// Rounded up to thousandths, as upstream's defaulting does with resource lists.
    #[must_use]
    pub fn round_up_milli(self) -> Self {
        Self {
            nanos: self.milli_value() * (NANO / 1000),
            format: self.format,
        }
    }
}

fn ceil_away(number: i128, divisor: i128) -> i128 {
    number / divisor
        + if number % divisor == 0 {
            0
        } else {
            number.signum()
        }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let n_digits = whole.len() + fraction.len();
        if n_digits == 0 || n_digits > MAX_DIGITS || fraction.contains('.') {
            return Err(Error::Format);
        }
        let (base, exponent, format) = interpret(suffix)?;
        let nanos = scale(whole, fraction, base, exponent);
        let format = match format {
            Format::BinarySi if nanos > 0 && nanos < NANO => Format::DecimalSi,
            format => format,
        };
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }
}

/// Base, exponent and format of a suffix.
fn interpret(suffix: &str) -> Result<(u32, i32, Format), Error> {
    let known = |c: char| "eEinumkKMGTP+-".contains(c) || c.is_ascii_digit();
    if !suffix.chars().all(known) {
        return Err(Error::Format);
    }
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if let Some(idx) = decimal.iter().position(|known| *known == suffix) {
        return Ok((10, (idx as i32 - 3) * 3, Format::DecimalSi));
    }
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(idx) = binary.iter().position(|known| *known == suffix) {
        return Ok((2, (idx as i32 + 1) * 10, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(Error::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| Error::Suffix)?;
    Ok((
        10,
        exponent.clamp(-10_000, 10_000) as i32,
        Format::DecimalExponent,
    ))
}

/// `whole.fraction * base^exponent` in billionths, rounded away from zero and capped.
fn scale(whole: &str, fraction: &str, base: u32, exponent: i32) -> i128 {
    let nanos = match base {
        2 => scale_binary(whole, fraction, exponent),
        _ => scale_decimal(whole, fraction, exponent),
    };
    nanos.map_or(MAX, |nanos| nanos.min(MAX))
}

/// `None` when above the cap.
fn scale_binary(whole: &str, fraction: &str, exponent: i32) -> Option<i128> {
    const PLACES: usize = 18;
    let factor = 1_i128 << exponent;
    let mut number: i128 = 0;
    for digit in whole.bytes() {
        number = number * 10 + i128::from(digit - b'0');
        if number > MAX {
            return None;
        }
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(PLACES));
    let zeros = std::iter::repeat_n(b'0', PLACES - kept.len());
    let places = kept.bytes().chain(zeros);
    let places = places.fold(0, |number, digit| number * 10 + i128::from(digit - b'0'));
    // Below 10^18 * 2^60, which fits.
    let scaled = places * factor + i128::from(rest.bytes().any(|digit| digit != b'0'));
    number
        .checked_mul(factor * NANO)?
        .checked_add(ceil_away(scaled, NANO))
}

/// `None` when above the cap.
fn scale_decimal(whole: &str, fraction: &str, exponent: i32) -> Option<i128> {
    // The power of ten, in billionths, of each digit in turn.
    let mut place = whole.len() as i64 - 1 + 9 + i64::from(exponent);
    let mut number: i128 = 0;
    let mut rest = false;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = i128::from(digit - b'0');
        if place < 0 {
            rest |= digit != 0;
        } else if number > MAX {
            return None;
        } else {
            number = number * 10 + digit;
        }
        place -= 1;
    }
    while place >= 0 && number != 0 {
        if number > MAX {
            return None;
        }
        number *= 10;
        place -= 1;
    }
    Some(number + i128::from(rest))
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.is_integer() {
            let mut number = self.nanos / NANO;
            let mut idx = 0;
            while number % 1024 == 0 && idx < 6 {
                number /= 1024;
                idx += 1;
            }
            return write!(
                f,
                "{number}{}",
                ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][idx]
            );
        }
        let mut number = self.nanos;
        let mut idx = 0;
        while number % 1000 == 0 && idx < 9 {
            number /= 1000;
            idx += 1;
        }
        match (self.format, idx) {
            (Format::DecimalExponent, 3) => write!(f, "{number}"),
            (Format::DecimalExponent, idx) => write!(f, "{number}e{}", (idx as i32 - 3) * 3),
            (_, idx) => {
                write!(
                    f,
                    "{number}{}",
                    ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][idx]
                )
            }
        }
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The quantity in canonical form.
pub fn canonical(text: &str) -> Result<String, Error> {
    Ok(text.parse::<Quantity>()?.to_string())
}

/// Thousandths of a core, rounded up.
pub fn cpu_milli(text: &str) -> Result<i128, Error> {
    Ok(text.parse::<Quantity>()?.milli_value())
}

/// Whole units (bytes, devices), rounded up.
pub fn memory_bytes(text: &str) -> Result<i128, Error> {
    Ok(text.parse::<Quantity>()?.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_are_upstreams() {
        for (text, form) in [
            ("0", "0"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("1000Ki", "1000Ki"),
            ("512Ki", "512Ki"),
            ("1000000", "1M"),
            ("1000000000Ki", "1000000000Ki"),
            ("0.5Ki", "512"),
            ("100.035k", "100035"),
            ("1e3", "1e3"),
            ("1E6", "1e6"),
            ("1500e0", "1500"),
            ("0.1n", "1n"),
            ("-1m", "-1m"),
            ("+2", "2"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.00001Ki", "10240u"),
            ("9E", "9E"),
            ("100E", "9223372036854775807"),
            ("1e10000", "9223372036854775807e0"),
            ("1e-10000", "1e-9"),
            ("129e6", "129e6"),
            ("123Mi", "123Mi"),
        ] {
            let form = form.trim_end_matches("e0");
            assert_eq!(canonical(text).as_deref(), Ok(form), "{text}");
        }
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "", "-", ".", "1..2", "1.2.3", "x", "1 ", "1ki", "1mi", "1e", "1ee3", "1KiKi",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_round_up() {
        assert_eq!(cpu_milli("0.1m"), Ok(1));
        assert_eq!(cpu_milli("2"), Ok(2000));
        assert_eq!(memory_bytes("1500m"), Ok(2));
        assert_eq!(memory_bytes("1Gi"), Ok(1 << 30));
        let sum = "100m"
            .parse::<Quantity>()
            .unwrap()
            .plus("1".parse().unwrap());
        assert_eq!(sum.to_string(), "1100m");
        assert!("1Ki".parse::<Quantity>().unwrap() > "1k".parse().unwrap());
    }
}
