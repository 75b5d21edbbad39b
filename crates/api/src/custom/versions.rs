//! The order of versions: `v2` before `v1` before `v1beta2` before `v1alpha1` before all others, which stand in order
//! of their letters (upstream's `version.CompareKubeAwareVersionStrings`).

use std::cmp::Ordering;

/// Greater is better: general availability first, then the greater number.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

/// Stability, major, minor.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (major, rest) = rest.split_at(digits);
    let number = |text: &str| match text.starts_with('0') {
        true => None,
        false => text.parse::<u64>().ok(),
    };
    let major = number(major)?;
    match rest {
        "" => Some((2, major, 0)),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => Some((1, major, number(minor)?)),
            (_, Some(minor)) => Some((0, major, number(minor)?)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_best_first() {
        let mut versions = vec![
            "foo1",
            "v1alpha1",
            "v3beta1",
            "v10",
            "v12alpha1",
            "v2",
            "foo10",
            "v11beta2",
            "v1",
            "v11alpha2",
            "v10beta3",
        ];
        versions.sort_by(|a, b| compare(b, a));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v11beta2",
                "v10beta3",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "v1alpha1",
                "foo1",
                "foo10",
            ]
        );
    }
}
