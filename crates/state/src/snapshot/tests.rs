//! Order of lists, answers of indexes, isolation, and what validation finds.

use bytes::Bytes;

use super::*;
use crate::Header;

fn view() -> Snapshot {
    let mut view = Snapshot {
        revision: 9,
        ..Snapshot::default()
    };
    let places = [
        ("a", "x", "n1"),
        ("a", "y", "n2"),
        ("b", "x", "n1"),
        ("c", "z", ""),
    ];
    for (namespace, name, node) in places {
        let header = Header {
            uid: Arc::from(format!("{namespace}-{name}")),
            fields: vec![(Arc::from("spec.nodeName"), Arc::from(node))],
            owners: vec![Arc::from(format!("owner-of-{name}"))],
            ..Header::default()
        };
        let key = Key::new("pods", namespace, name);
        view.put(
            &Arc::new(Object::new(key, 9, 1, header, Bytes::from("{}"))),
            None,
        );
    }
    view.validate().unwrap();
    view
}

fn names(objects: impl IntoIterator<Item = Arc<Object>>) -> String {
    let name = |object: Arc<Object>| format!("{}/{}", object.key.namespace, object.key.name);
    objects.into_iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn lists_are_ordered_and_resume_after_a_key() {
    let view = view();
    assert_eq!(names(view.list("pods", None, None)), "a/x a/y b/x c/z");
    assert_eq!(
        names(view.list("pods", None, Some(("a", "x")))),
        "a/y b/x c/z"
    );
    assert_eq!(names(view.list("pods", Some("a"), None)), "a/x a/y");
    assert_eq!(names(view.list("pods", Some("a"), Some(("a", "x")))), "a/y");
    assert_eq!(names(view.list("pods", Some("b"), Some(("a", "x")))), "b/x");
    assert_eq!(names(view.list("pods", Some("a"), Some(("b", "x")))), "");
    assert_eq!(names(view.list("nodes", None, None)), "");
}

#[test]
fn indexes_answer_by_node_and_owner() {
    let view = view();
    assert_eq!(
        names(view.by_field("pods", "spec.nodeName", "n1")),
        "a/x b/x"
    );
    assert_eq!(names(view.by_field("pods", "spec.nodeName", "")), "c/z");
    assert_eq!(names(view.by_field("pods", "spec.nodeName", "n")), "");
    assert_eq!(names(view.by_owner("owner-of-x")), "a/x b/x");
    assert_eq!(names(view.by_owner("owner-of-")), "");
}

#[test]
fn a_snapshot_does_not_see_later_writes() {
    let mut view = view();
    let before = view.clone();
    let gone = view.find("pods", "a", "x").unwrap();
    view.remove(&gone);
    view.validate().unwrap();
    assert_eq!((before.len(), view.len()), (4, 3));
    assert_eq!(before.by_owner("owner-of-x").len(), 2);
    assert_ne!(before.hash(), view.hash());
}

#[test]
fn validation_finds_an_index_that_disagrees() {
    let mut view = view();
    let value = Arc::from("n9");
    let place = Path {
        namespace: Arc::from("a"),
        name: Arc::from("x"),
    };
    view.trees.get_mut("pods").unwrap().fields[0].insert(Indexed { value, place });
    assert!(
        view.validate()
            .unwrap_err()
            .contains("names what is not there")
    );
}
