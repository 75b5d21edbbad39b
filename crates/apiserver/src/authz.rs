//! Who may do what. For now: `system:masters` everything, a node its own Node object, nobody else anything.

use kontiki_base::status::{Details, Reason, Status, qualified};

use crate::options::{Context, Target};

/// Refuses what the user may not do, in upstream's words.
pub(crate) fn authorize(context: &Context, verb: &str, target: &Target) -> Result<(), Status> {
    let user = &context.user;
    let is_in = |group: &str| user.groups.iter().any(|other| other == group);
    if is_in("system:masters") {
        return Ok(());
    }
    let node = user
        .name
        .strip_prefix("system:node:")
        .filter(|_| is_in("system:nodes"));
    let is_own_node = target.kind.kind == "Node" && node == Some(target.name.as_str());
    if is_own_node && verb == "get" {
        return Ok(());
    }
    Err(forbidden(context, verb, target))
}

fn forbidden(context: &Context, verb: &str, target: &Target) -> Status {
    let (group, plural) = (target.kind.group, target.kind.plural);
    let resource = match target.subresource {
        Some(subresource) => format!("{plural}/{}", subresource.name()),
        None => plural.to_owned(),
    };
    let place = if target.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", target.namespace)
    };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}",
        context.user.name
    );
    forbidden_because(target, &why)
}

/// 403 with a reason of its own.
pub(crate) fn forbidden_because(target: &Target, why: &str) -> Status {
    let (group, plural) = (target.kind.group, target.kind.plural);
    let what = qualified(group, plural);
    let message = if target.name.is_empty() {
        format!("{what} is forbidden: {why}")
    } else {
        format!("{what} \"{}\" is forbidden: {why}", target.name)
    };
    Status::new(Reason::Forbidden, message).with_details(Details {
        name: target.name.clone(),
        group: group.into(),
        kind: plural.into(),
        ..Details::default()
    })
}
