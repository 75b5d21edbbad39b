//! `DeleteOptions`, from a body or from the query string.

use kontiki_apiserver::{DeleteOptions, Propagation};
use kontiki_base::status::Status;
use serde::Deserialize;
use serde_json::Value;

use crate::invalid::{Invalid, not_supported};
use crate::query::Query;

/// The body, as clients write it; what it does not know it ignores.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Sent {
    kind: String,
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// From a body, which rules the query string out.
pub fn from_body(body: Value) -> Result<DeleteOptions, Status> {
    // serde reads structs from arrays too; upstream does not.
    if !body.is_object() {
        return Err(Status::bad_request(
            "decoded object cannot be converted to DeleteOptions",
        ));
    }
    let sent: Sent = serde_json::from_value(body).map_err(|error| {
        Status::bad_request(format!(
            "json: cannot unmarshal into Go value of type v1.DeleteOptions: {error}"
        ))
    })?;
    if !matches!(sent.kind.as_str(), "" | "DeleteOptions") {
        return Err(Status::bad_request(
            "decoded object cannot be converted to DeleteOptions",
        ));
    }
    checked(sent)
}

/// From the query string.
pub fn from_query(query: &Query) -> Result<DeleteOptions, Status> {
    checked(Sent {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        orphan_dependents: query
            .get("orphanDependents")
            .map(|_| query.flag("orphanDependents")),
        propagation_policy: query.text("propagationPolicy"),
        dry_run: Some(
            query
                .all("dryRun")
                .filter(|v| !v.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
        ..Sent::default()
    })
}

fn checked(sent: Sent) -> Result<DeleteOptions, Status> {
    let mut invalid = Invalid::of("DeleteOptions");
    if sent.orphan_dependents.is_some() && sent.propagation_policy.is_some() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        invalid.push(crate::invalid::invalid(
            "propagationPolicy",
            sent.propagation_policy.as_deref().unwrap_or(""),
            why,
        ));
    }
    let dry_run = sent.dry_run.unwrap_or_default();
    if dry_run.iter().any(|value| value != "All") {
        invalid.push(not_supported("dryRun", &dry_run.join(","), &["All"]));
    }
    let propagation = match (sent.propagation_policy.as_deref(), sent.orphan_dependents) {
        (Some("Orphan"), _) | (None | Some(""), Some(true)) => Some(Propagation::Orphan),
        (Some("Background"), _) | (None | Some(""), Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (None | Some(""), None) => None,
        (Some(other), _) => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            invalid.push(not_supported("propagationPolicy", other, &known));
            None
        }
    };
    invalid.finish()?;
    let preconditions = sent.preconditions.unwrap_or_default();
    Ok(DeleteOptions {
        grace_period_seconds: sent.grace_period_seconds,
        propagation,
        orphan_dependents: sent.orphan_dependents,
        uid: preconditions.uid,
        resource_version: preconditions.resource_version,
        dry_run: !dry_run.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_and_queries_say_the_same() {
        let body = from_body(json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "propagationPolicy": "Foreground", "dryRun": ["All"],
        }));
        let query = Query::parse(Some(
            "gracePeriodSeconds=0&propagationPolicy=Foreground&dryRun=All",
        ));
        for options in [body.unwrap(), from_query(&query.unwrap()).unwrap()] {
            assert_eq!(options.grace_period_seconds, Some(0));
            assert_eq!(options.propagation, Some(Propagation::Foreground));
            assert!(options.dry_run);
        }
        let options =
            from_body(json!({"preconditions": {"uid": "u", "resourceVersion": "7"}})).unwrap();
        assert_eq!(
            (options.uid.as_deref(), options.resource_version.as_deref()),
            (Some("u"), Some("7"))
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for body in [
            json!({"propagationPolicy": "Never"}),
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            json!({"dryRun": ["Some"]}),
            json!({"kind": "Pod"}),
            json!({"gracePeriodSeconds": "soon"}),
            json!([]),
        ] {
            assert!(from_body(body.clone()).is_err(), "{body}");
        }
    }
}
