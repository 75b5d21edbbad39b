//! Arithmetic that the fixpoint cannot show.

use super::*;

#[test]
fn percentages_round_as_upstream() {
    let percent = |text: &str| IntOrString::String(text.into());
    for (value, total, up, down) in [
        (percent("25%"), 10, 3, 2),
        (percent("25%"), 4, 1, 1),
        (percent("25%"), 1, 1, 0),
        (percent("100%"), 7, 7, 7),
        (percent("0%"), 7, 0, 0),
        (IntOrString::Int(3), 10, 3, 3),
    ] {
        assert_eq!(scaled(&value, total, true), up, "{value:?} of {total} up");
        assert_eq!(
            scaled(&value, total, false),
            down,
            "{value:?} of {total} down"
        );
    }
}
