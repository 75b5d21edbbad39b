//! Between messages and the API server's vocabulary.

use kontiki_api::{Kind, Kinds, Subresource};
use kontiki_apiserver::{Answer, FieldValidation, Target, WriteOptions};
use kontiki_base::status::{Reason, Status};
use kontiki_proto::api as proto;
use kontiki_state::Object;

/// What a reference names.
pub fn target(kinds: &Kinds, reference: Option<proto::ObjectRef>) -> Result<Target, Status> {
    let reference = reference.ok_or_else(|| Status::bad_request("ref: Required value"))?;
    let no_such = || {
        let message = format!(
            "no resource {:?} in group {:?}, version {:?}",
            reference.resource, reference.group, reference.version
        );
        Status::new(Reason::NotFound, message)
    };
    let kind = kind_of(kinds, &reference).ok_or_else(no_such)?;
    if !kind.namespaced() && !reference.namespace.is_empty() {
        let message = format!("ref.namespace: {} are not namespaced", kind.plural());
        return Err(Status::bad_request(message));
    }
    let subresource = match reference.subresource.as_str() {
        "" => None,
        // Logs and connections are streams of bytes, which REST serves.
        name => match Subresource::by_name(name).filter(|known| kind.has(*known)) {
            Some(Subresource::Log) | None => return Err(no_such()),
            Some(connection) if connection.connects() => return Err(no_such()),
            some => some,
        },
    };
    Ok(Target {
        kind: kind.clone(),
        namespace: reference.namespace,
        name: reference.name,
        subresource,
    })
}

/// The kind that a reference names.
pub fn kind_of<'a>(kinds: &'a Kinds, reference: &proto::ObjectRef) -> Option<&'a Kind> {
    let proto::ObjectRef {
        group,
        version,
        resource,
        ..
    } = reference;
    if version.is_empty() {
        return kinds
            .iter()
            .find(|kind| kind.group() == group && kind.plural() == resource);
    }
    kinds.by_path(group, version, resource)
}

/// A target that must name one object.
pub fn named(kinds: &Kinds, reference: Option<proto::ObjectRef>) -> Result<Target, Status> {
    let target = target(kinds, reference)?;
    if target.name.is_empty() {
        return Err(Status::bad_request("ref.name: Required value"));
    }
    if target.kind.namespaced() && target.namespace.is_empty() {
        return Err(Status::bad_request("ref.namespace: Required value"));
    }
    Ok(target)
}

/// A collection that something is created in, or an object's subresource.
pub fn creatable(kinds: &Kinds, reference: Option<proto::ObjectRef>) -> Result<Target, Status> {
    let mut target = target(kinds, reference)?;
    if target.kind.namespaced() && target.namespace.is_empty() {
        return Err(Status::bad_request("ref.namespace: Required value"));
    }
    // The body names a new object, as in REST.
    if target.subresource.is_none() {
        target.name.clear();
    }
    Ok(target)
}

/// Options of a write.
pub fn write_options(options: Option<proto::WriteOptions>) -> Result<WriteOptions, Status> {
    let options = options.unwrap_or_default();
    Ok(WriteOptions {
        dry_run: options.validate_only,
        field_manager: some(options.field_manager),
        field_validation: FieldValidation::parse(&options.field_validation)?,
    })
}

/// An optional text: proto3's empty is ours none.
pub fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A stored object as a message.
pub fn object(kind: &Kind, object: &Object) -> proto::Object {
    proto::Object {
        r#ref: Some(reference(kind, &object.key.namespace, &object.key.name)),
        uid: object.header.uid.to_string(),
        revision: object.revision,
        json: object.json(),
    }
}

/// An answer as a message; none for a bare `Status` of success.
pub fn answer(target: &Target, answer: &Answer) -> Option<proto::Object> {
    let tree = match answer {
        Answer::Object(stored) => return Some(object(&target.kind, stored)),
        Answer::Rendered(tree) if tree["kind"] == "Status" => return None,
        Answer::Rendered(tree) => tree,
    };
    let metadata = |name: &str| tree["metadata"][name].as_str().unwrap_or("");
    let mut reference = reference(&target.kind, metadata("namespace"), metadata("name"));
    reference.subresource = target.subresource.map_or("", Subresource::name).to_owned();
    Some(proto::Object {
        r#ref: Some(reference),
        uid: metadata("uid").to_owned(),
        revision: metadata("resourceVersion").parse().unwrap_or(0),
        json: tree.to_string().into(),
    })
}

fn reference(kind: &Kind, namespace: &str, name: &str) -> proto::ObjectRef {
    proto::ObjectRef {
        group: kind.group().to_owned(),
        version: kind.version().to_owned(),
        resource: kind.plural().to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
    }
}
