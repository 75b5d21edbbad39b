//! Versions that are served but not stored: how stored objects are shown in the version that a request names, and how
//! what was worked on becomes what is stored.
//!
//! Built-in kinds are worked on in the stored version, which most requests name: each function hands back what it got,
//! untouched and undecoded. Kinds that users define are worked on in the request's version; objects that are older than
//! the definition are read along it, and a webhook may have to convert them (`conversion`).

use std::borrow::Cow;
use std::sync::Arc;

use kontiki_api::{Kind, stored};
use kontiki_base::status::Status;
use kontiki_state::Object;
use serde::Deserialize;
use serde_json::Value;

use crate::options::{Answer, Page, WatchEvent};
use crate::server::ApiServer;

impl ApiServer {
    /// A stored object in the version of `kind`.
    pub(crate) async fn shown(
        &self,
        kind: &Kind,
        object: Arc<Object>,
    ) -> Result<Arc<Object>, Status> {
        let mut shown = self.shown_all(kind, vec![object]).await?;
        let none = || Status::internal("a conversion lost its object");
        shown.pop().ok_or_else(none)
    }

    /// Several of them.
    pub(crate) async fn shown_all(
        &self,
        kind: &Kind,
        objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let is_shown = |object: &Arc<Object>| kind.shows_as_stored(object.revision);
        if objects.iter().all(is_shown) {
            return Ok(objects);
        }
        let values = objects.iter().map(|object| object.value()).collect();
        let values = self.converted(kind, values, kind.api_version()).await?;
        let shown = objects.into_iter().zip(values).map(|(object, mut value)| {
            kind.from_stored(&mut value);
            with_content(&object, value)
        });
        Ok(shown.collect())
    }

    /// The objects of a page in the version of `kind`; those of a built-in kind as they are stored, for `shown_item`.
    pub(crate) async fn shown_page(&self, kind: &Kind, mut page: Page) -> Result<Page, Status> {
        if kind.definition().is_none() {
            return Ok(page);
        }
        page.items = self.shown_all(kind, page.items).await?;
        Ok(page)
    }

    /// An answer in the version of `kind`; a `Status` or a `Scale` has no other version.
    pub(crate) async fn shown_answer(&self, kind: &Kind, answer: Answer) -> Result<Answer, Status> {
        match answer {
            Answer::Object(stored) => Ok(Answer::Object(self.shown(kind, stored).await?)),
            Answer::Rendered(value) if is_stored_form(kind, &value) => {
                let wanted = kind.api_version();
                let mut values = self.converted(kind, vec![value], wanted).await?;
                let mut value = values.pop().unwrap_or_default();
                kind.from_stored(&mut value);
                Ok(Answer::Rendered(value))
            }
            other => Ok(other),
        }
    }

    /// An event in the version of `kind`.
    pub(crate) async fn shown_event(
        &self,
        kind: &Kind,
        event: WatchEvent,
    ) -> Result<WatchEvent, Status> {
        Ok(match event {
            WatchEvent::Added(stored) => WatchEvent::Added(self.shown(kind, stored).await?),
            WatchEvent::Modified(stored) => WatchEvent::Modified(self.shown(kind, stored).await?),
            WatchEvent::Deleted(stored) => WatchEvent::Deleted(self.shown(kind, stored).await?),
            bookmark @ WatchEvent::Bookmark { .. } => bookmark,
        })
    }

    /// The tree that a change of a stored object starts from: as it is stored, or, of a kind that a user defines, in the
    /// version of `kind`.
    pub(crate) async fn working(&self, kind: &Kind, object: &Object) -> Result<Value, Status> {
        let value = object.value();
        if kind.definition().is_none() || kind.shows_as_stored(object.revision) {
            return Ok(value);
        }
        let mut values = self
            .converted(kind, vec![value], kind.api_version())
            .await?;
        let mut value = values.pop().unwrap_or_default();
        kind.from_stored(&mut value);
        Ok(value)
    }

    /// What was worked on, as it is stored.
    pub(crate) async fn storage_form(&self, kind: &Kind, value: Value) -> Result<Value, Status> {
        if kind.definition().is_none() {
            return Ok(value);
        }
        let wanted = kind.stored().api_version();
        let mut values = self.converted(kind, vec![value], wanted).await?;
        let mut value = values.pop().unwrap_or_default();
        kind.to_storage(&mut value);
        Ok(value)
    }
}

/// An item of a page of a built-in kind in the version of `kind`, where that is not the stored one. It is made when it is
/// written: a list of any length takes the room of one item.
pub fn shown_item(kind: &Kind, object: &Object) -> Option<Arc<Object>> {
    let is_shown = kind.definition().is_some() || kind.shows_as_stored(object.revision);
    (!is_shown).then(|| {
        let mut value = object.value();
        kind.from_stored(&mut value);
        with_content(object, value)
    })
}

/// The same object with other content.
fn with_content(object: &Object, value: Value) -> Arc<Object> {
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

/// What selectors and policies read of an object, in the version of `kind`. No webhook is asked: fields that only a
/// conversion makes are empty here.
pub(crate) fn read(kind: &Kind, object: &Object) -> Value {
    let mut value = object.value();
    if !kind.shows_as_stored(object.revision) {
        kind.from_stored(&mut value);
    }
    value
}

/// Whether an object is stored in the version that is stored now. One that is not gets there by any write, also by one
/// that changes nothing: so clients migrate the objects of a kind that they define.
pub(crate) fn is_current(kind: &Kind, object: &Object) -> bool {
    kind.definition().is_none() || {
        let stored: Option<Arc<TypeOnly>> = object.typed().ok();
        stored.is_some_and(|stored| stored.api_version == kind.stored().api_version())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeOnly {
    api_version: String,
}

/// A tree that is worked on, in the version of `kind`.
pub(crate) fn tree<'a>(kind: &Kind, working: &'a Value) -> Cow<'a, Value> {
    let is_shown = match kind.definition() {
        Some(_) => working["apiVersion"] == kind.api_version(),
        None => kind.is_stored(),
    };
    if is_shown {
        return Cow::Borrowed(working);
    }
    let mut value = working.clone();
    kind.from_stored(&mut value);
    Cow::Owned(value)
}

fn is_stored_form(kind: &Kind, value: &Value) -> bool {
    let stored = kind.stored();
    value["kind"] == stored.kind() && value["apiVersion"] == stored.api_version()
}
