//! Ingress: the kind, its columns, the class that is the default. Rules are in `ingress/validate.rs`.

mod validate;

use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerStatus};
use serde_json::{Value, json};

use crate::admission::{Admission, Denied};
use crate::ip;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::Meta;
use crate::podspec::json::{ensure, into_object, list, same, text, typed};
use crate::podspec::path::Given;
use crate::table;

/// The annotation that named a class before the field did.
pub(super) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// The annotation of an IngressClass that marks the default one.
const DEFAULT_CLASS_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";
/// Hosts that a cell lists.
const HOSTS_SHOWN: usize = 3;

/// Ingress.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "ingress",
    short_names: &["ing"],
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::text(
            "Class",
            "The name of the IngressClass resource that should be used for additional configuration",
        ),
        Column::text(
            "Hosts",
            "Hosts that incoming requests are matched against before the ingress rule",
        ),
        Column::text(
            "Address",
            "Address is a list containing ingress points for the load-balancer",
        ),
        Column::text("Ports", "Ports of TLS configurations that open"),
        Column::AGE,
    ],
    counts_generation: true,
    hooks: Hooks {
        admit,
        prepare_create: |ingress| {
            into_object(ingress).insert("status".to_owned(), json!({"loadBalancer": {}}));
        },
        validate: validate::validate,
        validate_status: validate::validate_status,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Ingress>()
});

/// An Ingress without a class gets the default one: of several the newest, of equally old ones the first by name.
fn admit(new: &mut Value, old: Option<&Value>, admission: &Admission<'_>) -> Result<(), Denied> {
    let named = Meta::of(new).annotation(CLASS_ANNOTATION).is_some()
        || new
            .pointer("/spec/ingressClassName")
            .is_some_and(|class| !class.is_null());
    if old.is_some() || named {
        return Ok(());
    }
    let classes = admission.objects.list("ingressclasses.networking.k8s.io");
    let defaults = classes.iter().filter(|class| is_default(class));
    let oldest_first = |class: &&std::sync::Arc<Value>| {
        let meta = Meta::of(class);
        (
            meta.creation_timestamp().to_owned(),
            std::cmp::Reverse(meta.name().to_owned()),
        )
    };
    if let Some(class) = defaults.max_by_key(oldest_first) {
        let spec = ensure(into_object(new), "spec");
        spec.insert("ingressClassName".to_owned(), Meta::of(class).name().into());
    }
    Ok(())
}

fn is_default(class: &Value) -> bool {
    Meta::of(class).annotation(DEFAULT_CLASS_ANNOTATION) == Some("true")
}

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let Some(old) = old else {
        let classless = text(new, "/spec/ingressClassName").is_empty();
        let annotated = Meta::of(new).annotation(CLASS_ANNOTATION).is_some();
        let text = format!(
            "annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
        );
        return if annotated && classless {
            vec![text]
        } else {
            Vec::new()
        };
    };
    if same(&new["status"], &old["status"]) {
        return Vec::new();
    }
    let points = list(new, "/status/loadBalancer/ingress").iter().enumerate();
    points
        .flat_map(|(idx, point)| {
            let path = format!("status.loadBalancer.ingress[{idx}].ip");
            ip::warnings(&path, text(point, "/ip"))
        })
        .collect()
}

fn row(ingress: &Value, now_unix_ms: u64) -> Vec<Value> {
    let has_tls = !list(ingress, "/spec/tls").is_empty();
    vec![
        table::name(ingress),
        table::text(ingress, "/spec/ingressClassName", "<none>"),
        hosts(list(ingress, "/spec/rules")).into(),
        addresses(&typed(ingress.pointer("/status/loadBalancer"))).into(),
        if has_tls { "80, 443" } else { "80" }.into(),
        table::age(ingress, now_unix_ms),
    ]
}

fn hosts(rules: &[Value]) -> String {
    let mut shown = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= shown.len() == HOSTS_SHOWN;
        let host = text(rule, "/host");
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match shown.join(",") {
        none if none.is_empty() => "*".to_owned(),
        some if more => format!("{some} + {} more...", rules.len() - HOSTS_SHOWN),
        some => some,
    }
}

fn addresses(status: &IngressLoadBalancerStatus) -> String {
    let points = status.ingress.given().iter();
    let mut shown: Vec<&str> = points
        .map(|point| match point.ip.given() {
            "" => point.hostname.given(),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    shown.sort_unstable();
    shown.dedup();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::super::testing::created;
    use super::*;
    use crate::admission::testing::Given;

    fn class(name: &str, created: &str, default: &str) -> Value {
        json!({"metadata": {"name": name, "creationTimestamp": created,
            "annotations": {DEFAULT_CLASS_ANNOTATION: default}}})
    }

    #[test]
    fn the_newest_default_class_is_taken() {
        let objects = Given::new(vec![(
            "ingressclasses.networking.k8s.io",
            vec![
                class("old", "2026-01-01T00:00:00Z", "true"),
                class("b", "2026-01-02T00:00:00Z", "true"),
                class("a", "2026-01-02T00:00:00Z", "true"),
                class("newest", "2026-01-03T00:00:00Z", "false"),
            ],
        )]);
        for (given, expected) in [
            (json!({"spec": {}}), json!("a")),
            (json!({"spec": {"ingressClassName": "own"}}), json!("own")),
            (
                json!({"metadata": {"annotations": {CLASS_ANNOTATION: "x"}}, "spec": {}}),
                Value::Null,
            ),
        ] {
            let mut ingress = given;
            admit(&mut ingress, None, &objects.admission()).unwrap();
            assert_eq!(ingress["spec"]["ingressClassName"], expected);
        }
    }

    #[test]
    fn old_annotations_and_odd_addresses_are_warned_of() {
        let old = json!({"metadata": {"annotations": {CLASS_ANNOTATION: "x"}}});
        assert_eq!(
            warnings(&old, None),
            [
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use \
              'spec.ingressClassName' instead"
            ]
        );
        let mut new = old.clone();
        new["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.04"}]}});
        assert!(
            warnings(&new, Some(&old))[0].starts_with("status.loadBalancer.ingress[0].ip: non-")
        );
    }

    #[test]
    fn rows_show_hosts_and_addresses() {
        let mut ingress = created(
            &KIND,
            &json!({"spec": {"ingressClassName": "nginx", "tls": [{}], "rules": [
                {"host": "a"}, {"host": "b"}, {}, {"host": "c"}, {"host": "d"},
            ]}}),
        );
        ingress["status"] = json!({"loadBalancer": {"ingress": [
            {"hostname": "lb.example"}, {"ip": "10.0.0.1"}, {"ip": "10.0.0.1"},
        ]}});
        assert_eq!(
            row(&ingress, 0)[1..5],
            [
                json!("nginx"),
                json!("a,b,c + 2 more..."),
                json!("10.0.0.1,lb.example"),
                json!("80, 443")
            ]
        );
        let plain = json!({"metadata": {"name": "x"}, "spec": {}});
        assert_eq!(
            row(&plain, 0)[1..5],
            [json!("<none>"), json!("*"), json!(""), json!("80")]
        );
    }
}
