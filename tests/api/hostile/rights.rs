//! Callers without credentials, and callers who want more rights than they have.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Row;
use super::bodies::CONFIG_MAPS;
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(22, "no credentials, or wrong ones", |w| {
        Box::pin(strangers(w))
    }),
    Row::new(35, "roles, bindings and names above one's own", |w| {
        Box::pin(escalation(w))
    }),
    Row::new(36, "namespaced paths to what has no namespace", |w| {
        Box::pin(scopes(w))
    }),
    Row::new(48, "metrics and profiles without credentials", |w| {
        Box::pin(internals(w))
    }),
];

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn strangers(world: &World) -> Result<()> {
    let long = "x".repeat(60_000);
    let callers = [
        world.stranger(),
        world.bearer("wrong"),
        world.bearer(&long),
        world.bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ."),
        world.bearer("..."),
    ];
    for caller in &callers {
        for path in [
            "/api",
            "/apis",
            "/version",
            "/openapi/v2",
            CONFIG_MAPS,
            "/nothing",
        ] {
            let answer = caller.get(path).await?;
            answer
                .refused(401, "Unauthorized", "")
                .with_context(|| path.to_owned())?;
        }
        caller
            .post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}}))
            .await?
            .coded(&[401])?;
    }
    for path in ["/livez", "/readyz", "/healthz"] {
        world.stranger().get(path).await?.coded(&[200])?;
    }
    Ok(())
}

async fn internals(world: &World) -> Result<()> {
    for path in [
        "/metrics",
        "/debug/pprof",
        "/debug/pprof/",
        "/debug/pprof/profile",
        "/debug/flags/v",
        "/logs",
        "/configz",
        "/statusz",
        "/flagz",
    ] {
        world
            .stranger()
            .get(path)
            .await?
            .coded(&[401, 403])
            .context(path)?;
        world
            .user("nobody")
            .get(path)
            .await?
            .coded(&[403])
            .context(path)?;
    }
    Ok(())
}

async fn escalation(world: &World) -> Result<()> {
    let admin = world.admin();
    // May write roles and bindings, and nothing else.
    let role = json!({"metadata": {"name": "role-writer"}, "rules": [{
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
        "verbs": ["get", "list", "create", "update", "patch"]}]});
    admin
        .post(&format!("{RBAC}/clusterroles"), &role)
        .await?
        .coded(&[201])?;
    let binding = |user: &str, role: &str| {
        json!({"metadata": {"name": format!("{user}-{role}")},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    let own = binding("climber", "role-writer");
    let path = format!("{RBAC}/clusterrolebindings");
    admin.post(&path, &own).await?.coded(&[201])?;
    let climber = world.user("climber");
    kontiki_tests::eventually("the binding is seen", || async {
        let listed = climber
            .get(&format!("{RBAC}/clusterroles?limit=1"))
            .await
            .ok()?;
        (listed.code == 200).then_some(())
    })
    .await;
    let all = json!({"metadata": {"name": "all"}, "rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let roles = [
        (format!("{RBAC}/clusterroles"), all.clone()),
        (format!("{RBAC}/namespaces/default/roles"), all),
        (
            format!("{RBAC}/clusterrolebindings"),
            binding("climber", "cluster-admin"),
        ),
        (
            format!("{RBAC}/namespaces/default/rolebindings"),
            binding("climber", "admin"),
        ),
    ];
    for (path, object) in roles {
        climber
            .post(&path, &object)
            .await?
            .refused(403, "Forbidden", "")
            .context(path)?;
    }
    let more = json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let path = format!("{RBAC}/clusterroles/role-writer");
    climber
        .patch("merge", &path, &more)
        .await?
        .refused(403, "Forbidden", "")?;
    for headers in [
        [
            ("impersonate-user", "kubernetes-admin"),
            ("impersonate-group", "system:masters"),
        ],
        [
            ("impersonate-user", "system:node:good-node"),
            ("impersonate-group", "system:nodes"),
        ],
    ] {
        let answer = climber.send("GET", CONFIG_MAPS, &headers, "").await?;
        answer.refused(403, "Forbidden", "impersonate")?;
    }
    // A group or an extra without a user is no one.
    let headers = [("impersonate-group", "system:masters")];
    climber
        .send("GET", CONFIG_MAPS, &headers, "")
        .await?
        .coded(&[400, 403])
}

async fn scopes(world: &World) -> Result<()> {
    let editor = world.editor("scoped").await?;
    for path in [
        "/api/v1/namespaces/default/nodes",
        "/api/v1/namespaces/default/nodes/good-node",
        "/api/v1/namespaces/default/persistentvolumes",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/clusterroles/cluster-admin",
        "/apis/apiextensions.k8s.io/v1/namespaces/default/customresourcedefinitions",
    ] {
        editor.get(path).await?.coded(&[403, 404]).context(path)?;
        editor
            .send("DELETE", path, &[], "")
            .await?
            .coded(&[403, 404, 405])
            .context(path)?;
        let answer = world.admin().get(path).await?;
        answer.coded(&[404]).context(path)?;
    }
    for path in [
        "/api/v1/namespaces/kube-system/secrets",
        "/api/v1/secrets",
        "/api/v1/nodes",
    ] {
        editor
            .get(path)
            .await?
            .refused(403, "Forbidden", "")
            .context(path)?;
    }
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.hostile.example"},
        "spec": {"group": "hostile.example", "scope": "Cluster",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world.admin().post(path, &definition).await?.coded(&[201])?;
    kontiki_tests::eventually("the kind is served", || async {
        let listed = world
            .admin()
            .get("/apis/hostile.example/v1/widgets")
            .await
            .ok()?;
        (listed.code == 200).then_some(())
    })
    .await;
    // The edit role of one namespace reaches no object of the whole cluster (CVE-2019-11247).
    let path = "/apis/hostile.example/v1/namespaces/default/widgets";
    editor.get(path).await?.coded(&[403, 404])?;
    let widget =
        json!({"apiVersion": "hostile.example/v1", "kind": "Widget", "metadata": {"name": "w"}});
    editor.post(path, &widget).await?.coded(&[403, 404])?;
    let listed: Value = world
        .admin()
        .get("/apis/hostile.example/v1/widgets")
        .await?
        .json()?;
    ensure!(listed["items"] == json!([]), "{listed}");
    Ok(())
}
