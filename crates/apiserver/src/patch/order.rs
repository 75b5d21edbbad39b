//! The order of a merged list: as the patch wants it, with the items that only the server has put where they were.

use serde_json::Value;

/// Orders `merged`: items named in `wanted` come in that order; the others keep theirs from `before`.
pub(crate) fn normalize(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let place =
        |item: &Value, list: &[Value]| list.iter().position(|other| same(item, other, merge_key));
    let (mut named, mut server): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| place(item, wanted).is_some());
    named.sort_by_key(|item| place(item, wanted));
    server.sort_by_key(|item| place(item, before));
    let mut out = Vec::with_capacity(named.len() + server.len());
    let (mut named, mut server) = (named.into_iter().peekable(), server.into_iter().peekable());
    loop {
        let takes_server = match (server.peek(), named.peek()) {
            (Some(left), Some(right)) => match (place(left, before), place(right, before)) {
                (Some(left), Some(right)) => left < right,
                _ => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return out,
        };
        out.extend(if takes_server {
            server.next()
        } else {
            named.next()
        });
    }
}

fn same(a: &Value, b: &Value, merge_key: Option<&str>) -> bool {
    match merge_key {
        Some(key) if a.is_object() => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_of_the_server_keep_their_place_among_the_wanted() {
        let list = |value: Value| value.as_array().unwrap().clone();
        let cases = [
            (
                json!([1, 2, 3]),
                json!([3, 1]),
                json!([1, 2, 3]),
                json!([2, 3, 1]),
            ),
            (
                json!([1, 2, 9]),
                json!([9, 1]),
                json!([1, 2]),
                json!([9, 1, 2]),
            ),
            (json!([5, 1]), json!([1]), json!([5]), json!([1, 5])),
        ];
        for (merged, wanted, before, expected) in cases {
            let out = normalize(list(merged), &list(wanted), &list(before), None);
            assert_eq!(Value::Array(out), expected);
        }
    }
}
