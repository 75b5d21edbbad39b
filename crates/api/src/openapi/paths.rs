//! The paths of one kind: collection, object, subresources.

use serde_json::{Map, Value, json};

use super::connect;
use super::operations::{Body, Operation, parameter};
use super::schemas::{definition, subresource_definition};
use crate::kind::{Kind, Subresource};

/// Adds the paths of a kind.
pub(super) fn add(kind: &Kind, paths: &mut Map<String, Value>) {
    let root = match kind.group() {
        "" => format!("/api/{}", kind.version()),
        group => format!("/apis/{group}/{}", kind.version()),
    };
    let definition = definition(kind);
    let scope = if kind.namespaced() {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{root}{scope}/{}", kind.plural());
    let object = format!("{collection}/{{name}}");
    if kind.review().is_some() {
        let mut item = json!({"parameters": common(kind, false)});
        item["post"] = create(kind, &definition);
        paths.insert(collection, item);
        return;
    }
    if kind.is_observed() {
        let read = Operation::new(kind, "read", "get", "").answers(&definition);
        let (list, read) = (list(kind, &definition, "").build(), read.build());
        let parameters = |with_name| common(kind, with_name);
        paths.insert(
            collection,
            json!({"get": list, "parameters": parameters(false)}),
        );
        paths.insert(object, json!({"get": read, "parameters": parameters(true)}));
        return;
    }
    paths.insert(collection, collection_item(kind, &definition));
    paths.insert(object.clone(), object_item(kind, &definition));
    if kind.namespaced() {
        let list = list(kind, &definition, "ForAllNamespaces").build();
        paths.insert(format!("{root}/{}", kind.plural()), json!({"get": list}));
    }
    for subresource in kind.subresources() {
        if subresource.connects() {
            connect::add(kind, &object, *subresource, paths);
            continue;
        }
        let item = subresource_item(kind, &definition, *subresource);
        paths.insert(format!("{object}/{}", subresource.name()), item);
    }
}

pub(super) fn common(kind: &Kind, with_name: bool) -> Value {
    let mut parameters = Vec::new();
    if with_name {
        let mut name = parameter("name", "string", &format!("name of the {}", kind.kind()));
        name["in"] = "path".into();
        name["required"] = true.into();
        parameters.push(name);
    }
    if kind.namespaced() {
        let description = "object name and auth scope, such as for teams and projects";
        let mut namespace = parameter("namespace", "string", description);
        namespace["in"] = "path".into();
        namespace["required"] = true.into();
        parameters.push(namespace);
    }
    parameters.push(parameter(
        "pretty",
        "string",
        "If 'true', then the output is pretty printed.",
    ));
    parameters.into()
}

fn list<'a>(kind: &'a Kind, definition: &str, suffix: &str) -> Operation<'a> {
    let answer = format!("{definition}List");
    Operation::new(kind, "list", "list", suffix)
        .answers(&answer)
        .lists()
}

fn create(kind: &Kind, definition: &str) -> Value {
    let create = Operation::new(kind, "create", "post", "")
        .answers(definition)
        .created();
    create.writes(Body::Object(definition)).build()
}

fn collection_item(kind: &Kind, definition: &str) -> Value {
    let delete = Operation::new(kind, "delete", "deletecollection", "Collection").status();
    json!({
        "get": list(kind, definition, "").build(),
        "post": create(kind, definition),
        "delete": delete.lists().deletes().build(),
        "parameters": common(kind, false),
    })
}

fn object_item(kind: &Kind, definition: &str) -> Value {
    let read = Operation::new(kind, "read", "get", "").answers(definition);
    let replace = Operation::new(kind, "replace", "put", "")
        .answers(definition)
        .created();
    let patch = Operation::new(kind, "patch", "patch", "")
        .answers(definition)
        .created();
    let delete = Operation::new(kind, "delete", "delete", "").status();
    json!({
        "get": read.build(),
        "put": replace.writes(Body::Object(definition)).build(),
        "patch": patch.writes(Body::Patch).build(),
        "delete": delete.deletes().build(),
        "parameters": common(kind, true),
    })
}

fn subresource_item(kind: &Kind, definition: &str, subresource: Subresource) -> Value {
    let spoken = subresource_definition(kind, definition, subresource);
    let suffix = {
        let name = subresource.name();
        format!("{}{}", name[..1].to_uppercase(), &name[1..])
    };
    let mut item = json!({"parameters": common(kind, true)});
    for verb in subresource.verbs() {
        let (method, operation) = match *verb {
            "get" => ("get", Operation::new(kind, "read", "get", &suffix)),
            "update" => (
                "put",
                Operation::new(kind, "replace", "put", &suffix).created(),
            ),
            "patch" => (
                "patch",
                Operation::new(kind, "patch", "patch", &suffix).created(),
            ),
            _ => (
                "post",
                Operation::new(kind, "create", "post", &suffix).created(),
            ),
        };
        let operation = operation.speaks(subresource);
        let operation = match (*verb, subresource) {
            ("get", Subresource::Log) => operation.text(),
            _ => operation.answers(&spoken),
        };
        let operation = match *verb {
            "get" => operation,
            "patch" => operation.writes(Body::Patch),
            _ => operation.writes(Body::Object(&spoken)),
        };
        item[method] = operation.build();
    }
    item
}
