//! String formats that upstream checks (`kube-openapi/pkg/validation/strfmt`). What it doesn't know, it lets pass.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::Date;
use regex::Regex;

use crate::ip::Cidr;
use crate::meta::names;

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($pattern).expect("a pattern that a test compiles"));
    };
}

pattern!(
    UUID,
    r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
);
pattern!(
    HOSTNAME,
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
);
pattern!(EMAIL, r"^[^@\s]+@[^@\s]+$");
pattern!(URI, r"^([a-zA-Z][a-zA-Z0-9+.-]*:\S+|/\S*)$");
pattern!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
pattern!(HEX_COLOR, r"^#?([[:xdigit:]]{3}|[[:xdigit:]]{6})$");
pattern!(
    RGB_COLOR,
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
);
pattern!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
);
pattern!(
    MAC,
    r"(?i)^([0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{2}([:-][0-9a-f]{2}){7}|[0-9a-f]{4}(\.[0-9a-f]{4}){2,3})$"
);
pattern!(
    DURATION,
    r"^([+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+$|^0$"
);
pattern!(
    SPOKEN_DURATION,
    r"(?i)^((\d+)\s*(nanos?|nanoseconds?|ns|micros?|microseconds?|us|µs|millis?|milliseconds?|ms|secs?|seconds?|s|mins?|minutes?|m|hrs?|hours?|h|days?|d|wks?|weeks?|w)\s*)+$"
);

/// Whether a text is of a format.
pub(crate) fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|c| c.is_ascii_hexdigit()),
        "uri" => URI.is_match(text),
        "email" => EMAIL.is_match(text),
        "hostname" => text.len() <= 255 && HOSTNAME.is_match(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => Cidr::parse(text).is_some(),
        "mac" => MAC.is_match(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID.is_match(text) && version(text) == Some('3'),
        "uuid4" => UUID.is_match(text) && version(text) == Some('4'),
        "uuid5" => UUID.is_match(text) && version(text) == Some('5'),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "creditcard" => CREDIT_CARD.is_match(&digits(text)) && luhn(&digits(text)),
        "ssn" => SSN.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "date" => text.len() == 10 && text.parse::<Date>().is_ok(),
        "duration" => DURATION.is_match(text) || SPOKEN_DURATION.is_match(text),
        "datetime" => is_datetime(text),
        "k8sshortname" => names::dns1123_label(text).is_empty(),
        "k8slongname" => names::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

fn version(uuid: &str) -> Option<char> {
    uuid.chars().filter(|c| *c != '-').nth(12)
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = (digits.bytes().rev().enumerate())
        .map(|(at, digit)| match (at % 2, u32::from(digit - b'0')) {
            (1, digit) if digit > 4 => digit * 2 - 9,
            (1, digit) => digit * 2,
            (_, digit) => digit,
        })
        .sum();
    sum % 10 == 0
}

fn isbn10(text: &str) -> bool {
    let text = text.replace(['-', ' '], "");
    let value = |(at, c): (usize, char)| match c {
        'X' if at == 9 => Some(10),
        c => c.to_digit(10),
    };
    let digits: Option<Vec<u32>> = text.chars().enumerate().map(value).collect();
    digits.is_some_and(|digits| {
        let weighted = digits.iter().zip(1..).map(|(digit, weight)| digit * weight);
        digits.len() == 10 && weighted.sum::<u32>() % 11 == 0
    })
}

fn isbn13(text: &str) -> bool {
    let text = text.replace(['-', ' '], "");
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(10)).collect();
    digits.is_some_and(|digits| {
        let weighted = digits.iter().zip([1, 3].into_iter().cycle());
        let sum: u32 = weighted.map(|(digit, weight)| digit * weight).sum();
        digits.len() == 13 && sum % 10 == 0
    })
}

/// RFC 3339 with a zone, the letters in either case.
fn is_datetime(text: &str) -> bool {
    let is_full =
        text.len() >= "2006-01-02T15:04:05Z".len() && matches!(text.as_bytes()[10], b'T' | b't');
    is_full && text.to_uppercase().parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_fit_what_they_name() {
        for (format, good, bad) in [
            ("uri", "https://a.example/b", "no uri"),
            ("email", "a@example.com", "a.example.com"),
            ("hostname", "a.example.com", "a_b!"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("mac", "01:23:45:67:89:ab", "01:23"),
            ("uuid", "c5e2a1d4-0f3b-4a3e-9c2d-1e2f3a4b5c6d", "c5e2"),
            (
                "uuid4",
                "c5e2a1d4-0f3b-4a3e-9c2d-1e2f3a4b5c6d",
                "c5e2a1d4-0f3b-3a3e-9c2d-1e2f3a4b5c6d",
            ),
            ("isbn", "978-3-16-148410-0", "978-3-16-148410-1"),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"),
            ("ssn", "123-45-6789", "12-345-6789"),
            ("hexcolor", "#fff000", "#ff"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1,2,256)"),
            ("byte", "YWJj", "YWJ"),
            ("date", "2026-11-25", "2026-13-25"),
            ("duration", "1h30m", "an hour"),
            ("duration", "3 days", "3 dogs"),
            ("date-time", "2026-11-25T10:00:00Z", "2026-11-25 10:00"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
        ] {
            assert!(fits(format, good), "{format} {good}");
            assert!(!fits(format, bad), "{format} {bad}");
        }
        assert!(fits("unheard-of", "anything") && fits("password", "x"));
    }
}
