//! The brakes, as a table.

use super::zones::{Zone, pause_ms, state};

#[test]
fn zones_and_brakes_are_upstreams() {
    for (n_ready, n_not_ready, zone) in [
        (3, 0, Zone::Normal),
        (1, 2, Zone::Normal),
        (2, 3, Zone::Partial),
        (5, 4, Zone::Normal),
        (0, 1, Zone::Full),
    ] {
        assert_eq!(
            state(n_ready, n_not_ready),
            zone,
            "{n_ready} ready, {n_not_ready} not"
        );
    }
    assert_eq!(pause_ms(Zone::Normal, 10, false), Some(10_000));
    assert_eq!(pause_ms(Zone::Partial, 50, false), None, "small zones stop");
    assert_eq!(pause_ms(Zone::Partial, 51, false), Some(100_000));
    assert_eq!(pause_ms(Zone::Full, 10, false), Some(10_000));
    assert_eq!(pause_ms(Zone::Full, 10, true), None, "all zones dark");
}
