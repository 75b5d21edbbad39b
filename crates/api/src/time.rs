//! Times as Kubernetes writes them: RFC 3339 in UTC, by seconds or by microseconds, and durations for people.
//!
//! Not here: the clock; callers pass milliseconds since the Unix epoch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::{Timestamp, fmt::strtime};
use serde_json::Value;

/// The timestamp of a moment; the epoch when out of range.
pub fn timestamp(unix_ms: u64) -> Timestamp {
    let unix_ms = i64::try_from(unix_ms).unwrap_or_default();
    Timestamp::from_millisecond(unix_ms).unwrap_or_default()
}

/// `metav1.Time` of a moment, whole seconds.
pub fn time(unix_ms: u64) -> Time {
    Time(timestamp(unix_ms / 1000 * 1000))
}

/// `metav1.MicroTime` of a moment.
pub fn micro_time(unix_ms: u64) -> MicroTime {
    MicroTime(timestamp(unix_ms))
}

/// `2026-01-02T03:04:05Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%SZ", timestamp(unix_ms)).unwrap_or_default()
}

/// `2026-01-02T03:04:05.678000Z`.
pub fn rfc3339_micro(unix_ms: u64) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S%.6fZ", timestamp(unix_ms)).unwrap_or_default()
}

/// Milliseconds since the epoch of an RFC 3339 text.
pub fn parse(text: &str) -> Option<u64> {
    let timestamp: Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok()
}

/// Milliseconds since the epoch of a typed time, 0 before the epoch.
pub fn unix_ms(time: &Time) -> u64 {
    u64::try_from(time.0.as_millisecond()).unwrap_or_default()
}

/// The age of `then` (RFC 3339) at `now_unix_ms` as kubectl prints it; `<unknown>` when unset.
pub fn age(then: Option<&Value>, now_unix_ms: u64) -> String {
    let then = then.and_then(Value::as_str).and_then(parse);
    then.map_or_else(
        || "<unknown>".to_owned(),
        |then| human_since(then, now_unix_ms),
    )
}

/// The time from `then_unix_ms` to `now_unix_ms` as kubectl prints it.
pub fn human_since(then_unix_ms: u64, now_unix_ms: u64) -> String {
    let signed = |unix_ms: u64| i64::try_from(unix_ms).unwrap_or(i64::MAX);
    human_duration_ms(signed(now_unix_ms).saturating_sub(signed(then_unix_ms)))
}

/// Upstream's `duration.HumanDuration`: two units at most, coarser with length.
pub fn human_duration_ms(duration_ms: i64) -> String {
    // A second or two of clock skew is no negative age.
    let seconds = duration_ms / 1000;
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    if seconds < 0 {
        return "0s".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |high: i64, high_unit: &str, low: i64, low_unit: &str| match low {
        0 => format!("{high}{high_unit}"),
        low => format!("{high}{high_unit}{low}{low_unit}"),
    };
    const DAY: i64 = 24;
    const YEAR: i64 = 365 * DAY;
    match (seconds, minutes, hours) {
        (seconds, _, _) if seconds < 120 => format!("{seconds}s"),
        (_, minutes, _) if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        (_, minutes, _) if minutes < 180 => format!("{minutes}m"),
        (_, _, hours) if hours < 8 => two(hours, "h", minutes % 60, "m"),
        (_, _, hours) if hours < 2 * DAY => format!("{hours}h"),
        (_, _, hours) if hours < 8 * DAY => two(hours / DAY, "d", hours % DAY, "h"),
        (_, _, hours) if hours < 2 * YEAR => format!("{}d", hours / DAY),
        (_, _, hours) if hours < 8 * YEAR => two(hours / YEAR, "y", hours / DAY % 365, "d"),
        (_, _, hours) => format!("{}y", hours / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        assert_eq!(rfc3339(1_767_322_845_678), "2026-01-02T03:00:45Z");
        assert_eq!(
            rfc3339_micro(1_767_322_845_678),
            "2026-01-02T03:00:45.678000Z"
        );
        assert_eq!(
            parse("2026-01-02T03:00:45.678000Z"),
            Some(1_767_322_845_678)
        );
        assert_eq!(parse("2026-01-02T04:00:45+01:00"), Some(1_767_322_845_000));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn durations_are_upstreams() {
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (70, "70s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (8 * 3600 + 61, "8h"),
            (2 * 86_400, "2d"),
            (3 * 86_400 + 7200, "3d2h"),
            (9 * 86_400, "9d"),
            (730 * 86_400, "2y"),
            (740 * 86_400, "2y10d"),
            (9 * 365 * 86_400, "9y"),
        ] {
            assert_eq!(human_duration_ms(seconds * 1000), text, "{seconds}");
        }
    }
}
