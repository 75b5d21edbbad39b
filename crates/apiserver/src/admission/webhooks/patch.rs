//! Applying a hook's patch: in the version that the hook was shown, back to an object of its kind.

use kontiki_api::Kind;
use kontiki_base::status::Status;
use serde_json::Value;

use super::super::Request;
use super::super::review::Versioned;
use super::call::Reply;
use super::configuration::Hook;
use crate::decode::{check_type, match_namespace, strict_errors};
use crate::patch::json;

fn internal(why: impl std::fmt::Display) -> Status {
    Status::internal(format!("Internal error occurred: {why}"))
}

/// Changes the object, which is in the stored version; answers whether it is another now.
pub(super) fn apply(
    request: &Request<'_>,
    hook: &Hook,
    kind: &Kind,
    object: &mut Option<Value>,
    reply: &Reply,
) -> Result<bool, Status> {
    let Some(patch) = &reply.patch else {
        return Ok(false);
    };
    let Some(stored) = object else {
        return Err(internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    };
    let shown = Versioned::new(request, kind, Some(stored)).new;
    let mut new = shown.map(std::borrow::Cow::into_owned).unwrap_or_default();
    json::apply(&mut new, patch).map_err(|why| internal(why.message))?;
    // A Binding or another body of an action has no kind of ours to be checked against.
    if stored["kind"] == kind.stored().kind() {
        check_type(kind, &mut new).map_err(|why| internal(why.message))?;
        strict_errors(kind, &mut new, &[]).map_err(internal)?;
        match_namespace(request.target, &mut new).map_err(|why| internal(why.message))?;
        kind.default(&mut new);
        kind.to_stored(&mut new);
    }
    let changed = *stored != new;
    *stored = new;
    Ok(changed)
}
