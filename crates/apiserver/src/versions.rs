//! Versions that are served but not stored: how stored objects are shown in the version that a request names.
//!
//! For the stored version each function hands back what it got, untouched and undecoded. The way in, from a sent
//! object to one to store, is `Kind::to_stored`.

use std::borrow::Cow;
use std::sync::Arc;

use kontiki_api::{Kind, stored};
use kontiki_state::Object;
use serde_json::Value;

use crate::options::{Answer, Page, WatchEvent};

/// A stored object in the version of `kind`.
pub(crate) fn object(kind: &Kind, object: Arc<Object>) -> Arc<Object> {
    if kind.is_stored() {
        return object;
    }
    let mut value = object.value();
    kind.from_stored(&mut value);
    let (key, header) = (object.key.clone(), object.header.clone());
    let bytes = stored::canonical(value);
    Arc::new(Object::new(
        key,
        object.revision,
        object.created,
        header,
        bytes,
    ))
}

/// The objects of a page in the version of `kind`.
pub(crate) fn page(kind: &Kind, mut page: Page) -> Page {
    if !kind.is_stored() {
        let items = std::mem::take(&mut page.items).into_iter();
        page.items = items.map(|stored| object(kind, stored)).collect();
    }
    page
}

/// A stored tree in the version of `kind`.
pub(crate) fn tree<'a>(kind: &Kind, stored: &'a Value) -> Cow<'a, Value> {
    if kind.is_stored() {
        return Cow::Borrowed(stored);
    }
    let mut value = stored.clone();
    kind.from_stored(&mut value);
    Cow::Owned(value)
}

/// An answer in the version of `kind`; a `Status` or a `Scale` has no other version.
pub(crate) fn answer(kind: &Kind, answer: Answer) -> Answer {
    match answer {
        Answer::Object(stored) => Answer::Object(object(kind, stored)),
        Answer::Rendered(mut value) => {
            if is_stored_form(kind, &value) {
                kind.from_stored(&mut value);
            }
            Answer::Rendered(value)
        }
    }
}

/// An event in the version of `kind`.
pub(crate) fn event(kind: &Kind, event: WatchEvent) -> WatchEvent {
    match event {
        WatchEvent::Added(stored) => WatchEvent::Added(object(kind, stored)),
        WatchEvent::Modified(stored) => WatchEvent::Modified(object(kind, stored)),
        WatchEvent::Deleted(stored) => WatchEvent::Deleted(object(kind, stored)),
        bookmark @ WatchEvent::Bookmark { .. } => bookmark,
    }
}

fn is_stored_form(kind: &Kind, value: &Value) -> bool {
    let stored = kind.stored();
    value["kind"] == stored.kind() && value["apiVersion"] == stored.api_version()
}
