//! Counts that may be a share: `maxUnavailable: 25%`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A number, or a percentage of `total`; what is neither counts for nothing.
pub fn scaled(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text
                .strip_suffix('%')
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0);
            let product = percent * i64::from(total);
            let rounded = if round_up {
                (product + 99).div_euclid(100)
            } else {
                product.div_euclid(100)
            };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(scaled(&value, total, false), down, "{value:?} of {total}");
        }
    }
}
