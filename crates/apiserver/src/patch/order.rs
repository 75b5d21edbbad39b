//! The order of a merged list: as the patch wants it, with the items that only the server has put where they were.

use std::collections::HashMap;

use serde_json::Value;

/// Orders `merged`: items named in `wanted` come in that order; the others keep theirs from `before`.
pub(crate) fn normalize(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let (wanted, before) = (Places::of(wanted, merge_key), Places::of(before, merge_key));
    let (mut named, mut server) = (Vec::new(), Vec::new());
    for item in merged {
        let old = before.find(&item);
        match wanted.find(&item) {
            Some(place) => named.push((place, old, item)),
            None => server.push((old, item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    server.sort_by_key(|(old, _)| *old);
    let mut out = Vec::with_capacity(named.len() + server.len());
    let (mut named, mut server) = (named.into_iter().peekable(), server.into_iter().peekable());
    loop {
        let takes_server = match (server.peek(), named.peek()) {
            (Some((Some(left), _)), Some((_, Some(right), _))) => left < right,
            (Some(_), Some(_)) | (None, Some(_)) => false,
            (Some(_), None) => true,
            (None, None) => return out,
        };
        out.extend(if takes_server {
            server.next().map(|(_, item)| item)
        } else {
            named.next().map(|(.., item)| item)
        });
    }
}

/// Where the items of a list stand, by what makes them the same: a patch may name a hundred thousand.
pub(crate) struct Places<'a> {
    places: HashMap<Identity<'a>, usize>,
    merge_key: Option<&'a str>,
}

/// What items are compared by.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    /// The value of the merge key.
    Key(&'a Value),
    /// All of it.
    Whole(&'a Value),
}

impl<'a> Places<'a> {
    /// The first place of each item.
    pub(crate) fn of(list: &'a [Value], merge_key: Option<&'a str>) -> Self {
        let mut places = HashMap::with_capacity(list.len());
        for (place, item) in list.iter().enumerate() {
            if let Some(identity) = identity(item, merge_key) {
                places.entry(identity).or_insert(place);
            }
        }
        Self { places, merge_key }
    }

    /// Where an item of this identity stands.
    pub(crate) fn find(&self, item: &Value) -> Option<usize> {
        let identity = identity(item, self.merge_key)?;
        self.places.get(&identity).copied()
    }
}

/// None for an object without the key, which is the same as no other.
fn identity<'a>(item: &'a Value, merge_key: Option<&str>) -> Option<Identity<'a>> {
    match merge_key {
        Some(key) if item.is_object() => item.get(key).map(Identity::Key),
        _ => Some(Identity::Whole(item)),
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
