//! Feeds as messages and back.

use std::collections::HashMap;
use std::sync::Arc;

use kontiki_apiserver::feed::{Fed, Start};
use kontiki_base::status::Status;
use kontiki_proto::api as proto;
use kontiki_proto::api::feed_event::Type;
use kontiki_proto::api::feed_request::Start as ProtoStart;
use kontiki_state::{Event, EventKind, Header, Key, Object};

/// Where a request wants a feed to begin.
pub fn start(request: &proto::FeedRequest) -> Result<Start, Status> {
    match request.start() {
        ProtoStart::Oldest => Ok(Start::Oldest),
        ProtoStart::After => Ok(Start::After(request.revision)),
        ProtoStart::Present => Ok(Start::Present),
        ProtoStart::Unspecified => Err(Status::bad_request("start: Required value")),
    }
}

/// The same as a message's fields.
pub fn start_fields(start: Start) -> (ProtoStart, u64) {
    match start {
        Start::Oldest => (ProtoStart::Oldest, 0),
        Start::After(revision) => (ProtoStart::After, revision),
        Start::Present => (ProtoStart::Present, 0),
    }
}

/// A piece of a feed as a message.
pub fn response(fed: Fed) -> proto::FeedResponse {
    proto::FeedResponse {
        floor: 0,
        objects: fed.objects.iter().map(|it| object_message(it)).collect(),
        events: fed.events.iter().map(event_message).collect(),
        revision: fed.revision,
    }
}

fn event_message(event: &Event) -> proto::FeedEvent {
    let kind = match event.kind {
        EventKind::Added => Type::Added,
        EventKind::Modified => Type::Modified,
        EventKind::Deleted => Type::Deleted,
    };
    proto::FeedEvent {
        r#type: kind.into(),
        object: Some(object_message(&event.object)),
        previous: event.previous.as_deref().map(object_message),
    }
}

fn object_message(object: &Object) -> proto::FeedObject {
    let map = |pairs: &[(Arc<str>, Arc<str>)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    };
    proto::FeedObject {
        namespace: object.key.namespace.to_string(),
        name: object.key.name.to_string(),
        uid: object.header.uid.to_string(),
        revision: object.revision,
        created_revision: object.created,
        labels: map(&object.header.labels),
        fields: map(&object.header.fields),
        json: object.bytes.clone(),
    }
}

/// A message as a piece of the feed of a resource.
pub fn fed(resource: &Arc<str>, response: proto::FeedResponse) -> Result<Fed, Status> {
    let objects = response.objects.into_iter();
    let events = response.events.into_iter();
    Ok(Fed {
        objects: objects
            .map(|message| object(resource, message))
            .collect::<Result<_, _>>()?,
        events: events
            .map(|message| event(resource, message))
            .collect::<Result<_, _>>()?,
        revision: response.revision,
    })
}

fn event(resource: &Arc<str>, message: proto::FeedEvent) -> Result<Event, Status> {
    let kind = match message.r#type() {
        Type::Added => EventKind::Added,
        Type::Modified => EventKind::Modified,
        Type::Deleted => EventKind::Deleted,
        Type::Unspecified => return Err(malformed("an event without a type")),
    };
    let missing = || malformed("an event without an object");
    let object = object(resource, message.object.ok_or_else(missing)?)?;
    let previous = message.previous;
    let previous = previous.map(|message| self::object(resource, message));
    Ok(Event {
        revision: object.revision,
        kind,
        object,
        previous: previous.transpose()?,
    })
}

fn object(resource: &Arc<str>, message: proto::FeedObject) -> Result<Arc<Object>, Status> {
    if message.created_revision > message.revision {
        return Err(malformed("an object that is older than its creation"));
    }
    let key = Key::new(Arc::clone(resource), message.namespace, message.name);
    let header = Header {
        uid: message.uid.into(),
        labels: pairs(message.labels),
        fields: pairs(message.fields),
        ..Header::default()
    };
    let (revision, created) = (message.revision, message.created_revision);
    Ok(Arc::new(Object::new(
        key,
        revision,
        created,
        header,
        message.json,
    )))
}

/// Sorted, as headers are.
fn pairs(map: HashMap<String, String>) -> Vec<(Arc<str>, Arc<str>)> {
    let pairs = map.into_iter();
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = pairs
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    pairs.sort();
    pairs
}

fn malformed(what: &str) -> Status {
    Status::internal(format!("a replica's feed has {what}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stored(revision: u64) -> Arc<Object> {
        let text = |text: &str| Arc::<str>::from(text);
        let header = Header {
            uid: text("u"),
            labels: vec![(text("a"), text("b")), (text("c"), text("d"))],
            fields: vec![(text("spec.nodeName"), text("n1"))],
            ..Header::default()
        };
        let json = Bytes::from_static(br#"{"metadata":{"name":"web"}}"#);
        Arc::new(Object::new(
            Key::new("pods", "default", "web"),
            revision,
            7,
            header,
            json,
        ))
    }

    #[test]
    fn feeds_read_back_and_malformed_ones_are_refused() {
        let sent = Event {
            revision: 9,
            kind: EventKind::Deleted,
            object: stored(9),
            previous: Some(stored(8)),
        };
        let piece = Fed {
            objects: vec![stored(7)],
            events: vec![sent],
            revision: 11,
        };
        let resource = Arc::from("pods");
        let message = response(piece);
        let read = fed(&resource, message.clone()).unwrap();
        assert_eq!((read.revision, read.objects), (11, vec![stored(7)]));
        let event = &read.events[0];
        assert_eq!((event.revision, event.kind), (9, EventKind::Deleted));
        assert_eq!(event.object, stored(9));
        assert_eq!(event.previous, Some(stored(8)));

        let mut odd = message.clone();
        odd.events[0].object = None;
        assert!(fed(&resource, odd).is_err());
        let mut odd = message.clone();
        odd.events[0].r#type = 99;
        assert!(fed(&resource, odd).is_err());
        let mut odd = message;
        odd.objects[0].created_revision = 99;
        assert!(fed(&resource, odd).is_err());
    }

    #[test]
    fn starts_read_back() {
        for wanted in [Start::Oldest, Start::After(5), Start::Present] {
            let (kind, revision) = start_fields(wanted);
            let request = proto::FeedRequest {
                start: kind.into(),
                revision,
                ..proto::FeedRequest::default()
            };
            assert_eq!(start(&request), Ok(wanted));
        }
        assert!(start(&proto::FeedRequest::default()).is_err());
    }
}
