//! Roles and bindings: what they grant, what nobody may give away, and what reviews say of both.

use kontiki_apiserver::testing::{self, Memory, admin, collection, create, creation, jane, object};
use kontiki_apiserver::{
    ApiServer, Body, Context, GetOptions, ListOptions, PatchType, Target, WriteOptions, Written,
};
use kontiki_base::status::{Reason, Status};
use kontiki_state::Proposal;
use serde_json::{Value, json};

use super::delete;

const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

async fn create_as(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    value: Value,
) -> Result<Written, Status> {
    let options = WriteOptions::default();
    server
        .create(context, target, Body::from(value), &options)
        .await
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, kind: &str, role: &str) -> Value {
    json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": "jane"}]})
}

/// Grants jane rules in the namespace `default`.
async fn grant(server: &ApiServer, name: &str, rules: Value) {
    create(server, ROLES, "default", role(name, rules)).await;
    create(server, BINDINGS, "default", binding(name, "Role", name)).await;
}

async fn list(
    server: &ApiServer,
    resource: &str,
    namespace: &str,
    fields: &str,
) -> Result<(), Reason> {
    let options = ListOptions {
        field_selector: Some(fields.to_owned()),
        ..ListOptions::default()
    };
    let listed = server
        .list(&jane(), &collection(resource, namespace), &options)
        .await;
    listed.map(|_| ()).map_err(|status| status.reason)
}

#[tokio::test]
async fn nobody_is_refused_for_what_this_replica_has_not_heard_of_yet() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    let rules = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]);
    let mut bound = binding("pods", "Role", "pods");
    bound["metadata"]["uid"] = json!("u2");
    bound["roleRef"]["apiGroup"] = json!("rbac.authorization.k8s.io");
    bound["subjects"][0]["apiGroup"] = json!("rbac.authorization.k8s.io");
    let mut granted = role("pods", rules);
    granted["metadata"]["uid"] = json!("u1");
    let ops = vec![
        creation(ROLES, "default", granted),
        creation(BINDINGS, "default", bound),
    ];
    memory.lag_behind(Proposal::batch(ops));
    let listed = list(&server, "pods", "default", "").await;
    assert_eq!(listed, Ok(()));
    assert_eq!(
        list(&server, "secrets", "default", "").await,
        Err(Reason::Forbidden)
    );
}

#[tokio::test]
async fn bindings_grant_at_once_and_end_with_their_role() {
    let server = testing::server().await;
    assert_eq!(
        list(&server, "pods", "default", "").await,
        Err(Reason::Forbidden)
    );
    let rules = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]);
    grant(&server, "reader", rules).await;
    assert_eq!(list(&server, "pods", "default", "").await, Ok(()));
    assert_eq!(list(&server, "pods", "", "").await, Err(Reason::Forbidden));
    assert_eq!(
        list(&server, "pods", "other", "").await,
        Err(Reason::Forbidden)
    );
    assert_eq!(
        list(&server, "secrets", "default", "").await,
        Err(Reason::Forbidden)
    );
    assert_eq!(
        list(&server, "secrets", "default", "metadata.name=a").await,
        Ok(())
    );
    assert_eq!(
        list(&server, "secrets", "default", "metadata.name=b").await,
        Err(Reason::Forbidden)
    );
    let secret = object("secrets", "default", "a");
    let found = server.get(&jane(), &secret, &GetOptions::default()).await;
    assert_eq!(found.unwrap_err().reason, Reason::NotFound);

    delete(&server, &object(ROLES, "default", "reader"))
        .await
        .unwrap();
    let refused = server
        .list(
            &jane(),
            &collection("pods", "default"),
            &ListOptions::default(),
        )
        .await;
    assert_eq!(
        refused.unwrap_err().message,
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \
         \"default\": RBAC: role.rbac.authorization.k8s.io \"reader\" not found"
    );
}

#[tokio::test]
async fn groups_accounts_and_cluster_roles_are_bound_too() {
    let server = testing::server().await;
    let rules = json!([{"verbs": ["list"], "apiGroups": ["*"], "resources": ["*"]}]);
    create(&server, CLUSTER_ROLES, "", role("lister", rules)).await;
    let mut local = binding("local", "ClusterRole", "lister");
    local["subjects"] = json!([{"kind": "ServiceAccount", "name": "web"}]);
    create(&server, BINDINGS, "default", local).await;
    let mut everywhere = binding("everywhere", "ClusterRole", "lister");
    everywhere["subjects"] = json!([{"kind": "Group", "name": "ops"}]);
    create(&server, CLUSTER_BINDINGS, "", everywhere).await;
    let may = async |name: &str, group: &str, namespace: &str| {
        let mut context = jane();
        context.user.name = name.to_owned();
        context.user.groups.push(group.to_owned());
        let (pods, options) = (collection("pods", namespace), ListOptions::default());
        server.list(&context, &pods, &options).await.is_ok()
    };
    assert!(may("jane", "ops", "").await && may("jane", "ops", "default").await);
    assert!(!may("jane", "dev", "default").await);
    assert!(may("system:serviceaccount:default:web", "", "default").await);
    assert!(!may("system:serviceaccount:default:web", "", "").await);
    assert!(!may("system:serviceaccount:other:web", "", "default").await);
}

#[tokio::test]
async fn a_namespace_lies_in_itself() {
    let server = testing::server().await;
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["namespaces"]}]);
    grant(&server, "reader", rules).await;
    let read = async |name: &str| {
        let target = object("namespaces", "", name);
        server.get(&jane(), &target, &GetOptions::default()).await
    };
    assert!(read("default").await.is_ok());
    assert_eq!(
        read("other").await.unwrap_err().message,
        "namespaces \"other\" is forbidden: User \"jane\" cannot get resource \"namespaces\" in API group \"\" in \
         the namespace \"other\""
    );
}

#[tokio::test]
async fn nobody_gives_away_what_he_has_not() {
    let server = testing::server().await;
    let write = json!([{"verbs": ["create", "update", "patch"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings"]}, {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    grant(&server, "writer", write).await;
    let own = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let more =
        json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "secrets"]}]);
    let roles = collection(ROLES, "default");
    create_as(&server, &jane(), &roles, role("own", own))
        .await
        .unwrap();
    let refused = create_as(&server, &jane(), &roles, role("more", more.clone()))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::Forbidden);
    assert_eq!(
        refused.message,
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) \
         is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}\n\
         {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"
    );
    let patch = Body::from(json!({"rules": more}));
    let target = object(ROLES, "default", "own");
    let patched = server
        .patch(
            &jane(),
            &target,
            PatchType::Merge,
            patch,
            &WriteOptions::default(),
        )
        .await;
    assert_eq!(patched.unwrap_err().reason, Reason::Forbidden);
    let labelled = Body::from(json!({"metadata": {"finalizers": ["example.com/x"]}}));
    let options = WriteOptions::default();
    server
        .patch(&jane(), &target, PatchType::Merge, labelled, &options)
        .await
        .unwrap();

    create(&server, ROLES, "default", role("strong", more)).await;
    let bindings = collection(BINDINGS, "default");
    let bind = async |name: &str, role: &str| {
        let made = create_as(&server, &jane(), &bindings, binding(name, "Role", role)).await;
        made.map(|_| ()).map_err(|status| status.reason)
    };
    assert_eq!(bind("a", "own").await, Ok(()));
    assert_eq!(bind("b", "strong").await, Err(Reason::Forbidden));
    assert_eq!(bind("c", "nope").await, Err(Reason::NotFound));
    let may = json!([{"verbs": ["bind", "escalate"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles"], "resourceNames": ["strong"]}]);
    grant(&server, "binder", may).await;
    assert_eq!(bind("b", "strong").await, Ok(()));
}

#[tokio::test]
async fn gathering_rules_is_for_administrators() {
    let server = testing::server().await;
    let rules = json!([{"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"]}]);
    create(&server, CLUSTER_ROLES, "", role("maker", rules)).await;
    create(
        &server,
        CLUSTER_BINDINGS,
        "",
        binding("maker", "ClusterRole", "maker"),
    )
    .await;
    let mut gatherer = role("all", json!([]));
    gatherer["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let roles = collection(CLUSTER_ROLES, "");
    let refused = create_as(&server, &jane(), &roles, gatherer.clone())
        .await
        .unwrap_err();
    assert!(
        refused
            .message
            .ends_with("must have cluster-admin privileges to use the aggregationRule")
    );
    create_as(&server, &admin(), &roles, gatherer)
        .await
        .unwrap();
}

async fn review(
    server: &ApiServer,
    context: &Context,
    resource: &str,
    namespace: &str,
    spec: Value,
) -> Result<Value, Status> {
    let value = json!({"spec": spec});
    let written = create_as(server, context, &collection(resource, namespace), value).await?;
    Ok(written.object.value()["status"].clone())
}

#[tokio::test]
async fn reviews_answer_as_the_authorizer() {
    let server = testing::server().await;
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    grant(&server, "reader", rules).await;
    let access = "subjectaccessreviews.authorization.k8s.io";
    let ask = |verb: &str| json!({"user": "jane", "resourceAttributes": {"namespace": "default", "verb": verb, "resource": "pods"}});
    let yes = review(&server, &admin(), access, "", ask("get"))
        .await
        .unwrap();
    let reason =
        "RBAC: allowed by RoleBinding \"reader/default\" of Role \"reader\" to User \"jane\"";
    assert_eq!(yes, json!({"allowed": true, "reason": reason}));
    let no = review(&server, &admin(), access, "", ask("list"))
        .await
        .unwrap();
    assert_eq!(no, json!({"allowed": false}));
    let wrong = review(&server, &admin(), access, "", json!({"user": "x"}))
        .await
        .unwrap_err();
    assert_eq!(wrong.reason, Reason::Invalid);
    assert!(
        wrong
            .message
            .contains("exactly one of nonResourceAttributes or resourceAttributes")
    );
    let local = "localsubjectaccessreviews.authorization.k8s.io";
    let elsewhere = review(&server, &admin(), local, "other", ask("get"))
        .await
        .unwrap_err();
    assert!(elsewhere.message.contains("must match metadata.namespace"));
    // Who may ask about himself is itself a matter of rights.
    let own = "selfsubjectaccessreviews.authorization.k8s.io";
    let path = json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}});
    assert!(
        review(&server, &jane(), own, "", path.clone())
            .await
            .is_err()
    );
    assert_eq!(
        review(&server, &admin(), own, "", path).await.unwrap(),
        json!({"allowed": true})
    );
}

#[tokio::test]
async fn rules_and_identity_are_told() {
    let server = testing::server().await;
    let all = json!([{"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["*"]},
        {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]);
    create(&server, CLUSTER_ROLES, "", role("asker", all)).await;
    create(
        &server,
        CLUSTER_BINDINGS,
        "",
        binding("asker", "ClusterRole", "asker"),
    )
    .await;
    let rules = "selfsubjectrulesreviews.authorization.k8s.io";
    let told = review(&server, &jane(), rules, "", json!({"namespace": "default"}))
        .await
        .unwrap();
    assert_eq!(told["resourceRules"][0]["resources"], json!(["*"]));
    assert_eq!(
        told["nonResourceRules"][0]["nonResourceURLs"],
        json!(["/metrics"])
    );
    assert_eq!(told["incomplete"], false);
    assert!(
        review(&server, &jane(), rules, "", json!({}))
            .await
            .is_err()
    );
    let tokens = "tokenreviews.authentication.k8s.io";
    let known = review(
        &server,
        &admin(),
        tokens,
        "",
        json!({"token": testing::PLAIN_TOKEN}),
    )
    .await
    .unwrap();
    assert_eq!(
        (&known["authenticated"], &known["user"]["username"]),
        (&json!(true), &json!("jane"))
    );
    let unknown = review(&server, &admin(), tokens, "", json!({"token": "x"}))
        .await
        .unwrap();
    assert_eq!(unknown["error"], "invalid bearer token");
}
