//! Admission policies: tables of rules and what becomes of a write.

use kontiki_base::status::Reason;
use serde_json::{Value, json};

use crate::body::Body;
use crate::options::{DeleteOptions, WriteOptions};
use crate::server::ApiServer;
use crate::testing::{admin, collection, create, object, server};

const GROUP: &str = "admissionregistration.k8s.io";

/// A policy about ConfigMaps, and a binding that denies; both with fields of the test's own.
async fn bind(server: &ApiServer, spec: Value, binding: Value) {
    let merged = |mut base: Value, over: Value| {
        for (field, value) in over.as_object().into_iter().flatten() {
            base[field] = value.clone();
        }
        base
    };
    let policy = merged(
        json!({"matchConstraints": {"resourceRules": [
            {"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
        ]}}),
        spec,
    );
    let policy = json!({"metadata": {"name": "rules"}, "spec": policy});
    create(
        server,
        &format!("validatingadmissionpolicies.{GROUP}"),
        "",
        policy,
    )
    .await;
    let binding = merged(
        json!({"policyName": "rules", "validationActions": ["Deny"]}),
        binding,
    );
    let binding = json!({"metadata": {"name": "here"}, "spec": binding});
    create(
        server,
        &format!("validatingadmissionpolicybindings.{GROUP}"),
        "",
        binding,
    )
    .await;
}

/// Creates a ConfigMap: its warnings, or reason and message of the refusal.
async fn write(server: &ApiServer, data: Value) -> Result<Vec<String>, (Reason, String)> {
    let body = json!({"metadata": {"name": "m", "labels": {"app": "a"}}, "data": data});
    let target = collection("configmaps", "default");
    let options = WriteOptions::default();
    let written = server
        .create(&admin(), &target, Body::from(body), &options)
        .await;
    written
        .map(|written| written.warnings)
        .map_err(|status| (status.reason, status.message))
}

fn denied(reason: Reason, why: &str) -> Result<Vec<String>, (Reason, String)> {
    let message = format!(
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'rules' with binding 'here' denied request: {why}"
    );
    Err((reason, message))
}

#[tokio::test]
async fn rules_refuse_with_the_message_that_they_have() {
    let rule = |fields: Value| json!({"validations": [fields]});
    for (spec, expected) in [
        (
            rule(json!({"expression": "object.data.a == '1'"})),
            Ok(vec![]),
        ),
        (
            rule(json!({"expression": "object.data.a == '2'"})),
            denied(Reason::Invalid, "failed expression: object.data.a == '2'"),
        ),
        (
            rule(json!({"expression": "false", "message": "no", "reason": "Forbidden"})),
            denied(Reason::Forbidden, "no"),
        ),
        (
            rule(
                json!({"expression": "false", "message": "no", "messageExpression": "'a is ' + object.data.a"}),
            ),
            denied(Reason::Invalid, "a is 1"),
        ),
        (
            rule(
                json!({"expression": "false", "message": "no", "messageExpression": "object.data.b"}),
            ),
            denied(Reason::Invalid, "no"),
        ),
        (
            rule(json!({"expression": "object.data.b == '1'"})),
            denied(
                Reason::Invalid,
                "expression 'object.data.b == '1'' resulted in error: no such key: b",
            ),
        ),
        (
            json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.data.b == '1'"}]}),
            Ok(vec![]),
        ),
        (
            json!({
                "variables": [
                    {"name": "n", "expression": "int(object.data.a)"},
                    {"name": "m", "expression": "variables.n + 1"},
                    {"name": "never", "expression": "1 / (variables.n - 1)"},
                ],
                "validations": [{"expression": "variables.m == 2"}, {"expression": "variables.m == 3", "message": "m"}],
            }),
            denied(Reason::Invalid, "m"),
        ),
        (
            json!({
                "matchConditions": [{"name": "c", "expression": "object.data.a == '9'"}],
                "validations": [{"expression": "false"}],
            }),
            Ok(vec![]),
        ),
        (
            rule(
                json!({"expression": "namespaceObject.metadata.name == 'default' && oldObject == null"}),
            ),
            Ok(vec![]),
        ),
        (
            rule(
                json!({"expression": "request.userInfo.username == 'kubernetes-admin' && request.operation == 'CREATE'"}),
            ),
            Ok(vec![]),
        ),
        (
            rule(
                json!({"expression": "!authorizer.serviceAccount('a', 'b').group('').resource('pods').check('get').allowed()"}),
            ),
            Ok(vec![]),
        ),
    ] {
        let server = server().await;
        bind(&server, spec.clone(), json!({})).await;
        assert_eq!(write(&server, json!({"a": "1"})).await, expected, "{spec}");
    }
}

#[tokio::test]
async fn a_binding_may_warn_or_only_note() {
    let server = server().await;
    let spec = json!({"validations": [{"expression": "false", "message": "no"}]});
    bind(
        &server,
        spec,
        json!({"validationActions": ["Warn", "Audit"]}),
    )
    .await;
    let warning = "Validation failed for ValidatingAdmissionPolicy 'rules' with binding 'here': no"
        .to_owned();
    assert_eq!(write(&server, json!({})).await, Ok(vec![warning]));
}

#[tokio::test]
async fn a_binding_says_where() {
    for (resources, is_bound) in [
        (
            json!({"objectSelector": {"matchLabels": {"app": "a"}}}),
            true,
        ),
        (
            json!({"objectSelector": {"matchLabels": {"app": "b"}}}),
            false,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}),
            true,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"x": "y"}}}),
            false,
        ),
        (
            json!({"excludeResourceRules": [
                {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps"], "resourceNames": ["m"]},
            ]}),
            false,
        ),
    ] {
        let server = server().await;
        let spec = json!({"validations": [{"expression": "false"}]});
        bind(&server, spec, json!({"matchResources": resources})).await;
        assert_eq!(
            write(&server, json!({})).await.is_err(),
            is_bound,
            "{resources}"
        );
    }
}

#[tokio::test]
async fn parameters_are_found_by_name_or_selector() {
    for (reference, expected) in [
        (
            json!({"name": "limit", "parameterNotFoundAction": "Deny"}),
            denied(Reason::Invalid, "above 1"),
        ),
        (
            json!({"selector": {"matchLabels": {"kind": "limit"}}, "parameterNotFoundAction": "Deny"}),
            denied(Reason::Invalid, "above 1"),
        ),
        (
            json!({"name": "nobody", "parameterNotFoundAction": "Deny"}),
            denied(
                Reason::Invalid,
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
            ),
        ),
        (
            json!({"name": "nobody", "parameterNotFoundAction": "Allow"}),
            Ok(vec![]),
        ),
    ] {
        let server = server().await;
        let limit = json!({"metadata": {"name": "limit", "labels": {"kind": "limit"}}, "data": {"max": "1"}});
        create(&server, "configmaps", "default", limit).await;
        let spec = json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": [{
                "expression": "int(object.data.n) <= int(params.data.max)",
                "messageExpression": "'above ' + params.data.max",
            }],
        });
        bind(&server, spec, json!({"paramRef": reference})).await;
        assert_eq!(
            write(&server, json!({"n": "2"})).await,
            expected,
            "{reference}"
        );
    }
}

#[tokio::test]
async fn updates_and_deletions_are_judged() {
    let server = server().await;
    let expression = "request.operation != 'DELETE' || oldObject.data.a != '1'";
    bind(
        &server,
        json!({"validations": [{"expression": expression}]}),
        json!({}),
    )
    .await;
    write(&server, json!({"a": "1"})).await.expect("created");
    let target = object("configmaps", "default", "m");
    let refused = server
        .delete(&admin(), &target, &DeleteOptions::default())
        .await;
    assert!(refused.is_err_and(|why| why.reason == Reason::Invalid));
}

#[tokio::test]
async fn a_runaway_rule_refuses_within_its_budget() {
    let server = server().await;
    let nested = "object.data.all(a, object.data.all(b, object.data.all(c, object.data.all(d, a + b + c + d != ''))))";
    bind(
        &server,
        json!({"validations": [{"expression": nested}]}),
        json!({}),
    )
    .await;
    let data: serde_json::Map<String, Value> =
        (0..200).map(|i| (format!("k{i}"), "v".into())).collect();
    let (_, message) = write(&server, Value::Object(data))
        .await
        .expect_err("too much");
    assert!(
        message.ends_with("operation cancelled: actual cost limit exceeded"),
        "{message}"
    );
}
