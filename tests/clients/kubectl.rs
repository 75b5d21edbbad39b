//! kubectl's command set, one table a subject: each line is run as a user types it, in order, on one cluster.

use kontiki_tests::{Gateway, Kubectl, LocalCluster};

/// A command line without `kubectl`, what it reads, and words that its output must have.
struct Line {
    command: &'static str,
    input: &'static str,
    shows: &'static [&'static str],
}

const fn line(command: &'static str, shows: &'static [&'static str]) -> Line {
    Line {
        command,
        input: "",
        shows,
    }
}

const fn with(command: &'static str, input: &'static str, shows: &'static [&'static str]) -> Line {
    Line {
        command,
        input,
        shows,
    }
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: applied, labels: {app: applied}}
spec:
  replicas: 1
  selector: {matchLabels: {app: applied}}
  template:
    metadata: {labels: {app: applied}}
    spec: {containers: [{name: web, image: "kontiki-sample:v1"}]}
"#;

const WEB_CHANGED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: applied, labels: {app: applied}}
spec:
  replicas: 2
  selector: {matchLabels: {app: applied}}
  template:
    metadata: {labels: {app: applied}}
    spec: {containers: [{name: web, image: "kontiki-sample:v2"}]}
"#;

const CONFIG: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: served}
data: {a: b}
"#;

const CONFIG_CHANGED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: served}
data: {a: c}
"#;

const PRUNED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: pruned, labels: {set: p}}
data: {a: b}
"#;

const PRUNER: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, labels: {set: p}}
data: {a: b}
"#;

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reconciled, namespace: default}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reconciled, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reconciled}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}]
"#;

/// Every generator.
const CREATE: &[Line] = &[
    line("create namespace team", &["namespace/team created"]),
    line(
        "create configmap cm --from-literal=k=v",
        &["configmap/cm created"],
    ),
    line(
        "create secret generic s --from-literal=k=v",
        &["secret/s created"],
    ),
    line(
        "create secret docker-registry pull --docker-server=r --docker-username=u --docker-password=p",
        &["secret/pull created"],
    ),
    line(
        "create serviceaccount robot",
        &["serviceaccount/robot created"],
    ),
    line(
        "create deployment web --image=kontiki-sample:v1 --replicas=2 --port=8080",
        &["deployment.apps/web created"],
    ),
    line(
        "create service clusterip inner --tcp=80:8080",
        &["service/inner created"],
    ),
    line(
        "create service nodeport outer --tcp=80:8080",
        &["service/outer created"],
    ),
    line(
        "create service loadbalancer front --tcp=80:8080",
        &["service/front created"],
    ),
    line(
        "create service externalname away --external-name=example.com",
        &["service/away created"],
    ),
    line(
        "create job once --image=kontiki-sample:v1 -- /kontiki-sample --once",
        &["job.batch/once created"],
    ),
    line(
        "create cronjob daily --image=kontiki-sample:v1 --schedule=@daily",
        &["cronjob.batch/daily created"],
    ),
    line(
        "create job by-hand --from=cronjob/daily",
        &["job.batch/by-hand created"],
    ),
    line(
        "create quota limits --hard=pods=100",
        &["resourcequota/limits created"],
    ),
    line(
        "create poddisruptionbudget guard --selector=app=web --min-available=1",
        &["guard created"],
    ),
    line(
        "create priorityclass high --value=1000",
        &["priorityclass.scheduling.k8s.io/high created"],
    ),
    line(
        "create ingress in --rule=example.com/=inner:80",
        &["ingress.networking.k8s.io/in created"],
    ),
    line(
        "create role reader --verb=get,list --resource=pods",
        &["role.rbac.authorization.k8s.io/reader created"],
    ),
    line(
        "create clusterrole all-reader --verb=get --resource=nodes",
        &["all-reader created"],
    ),
    line(
        "create rolebinding readers --role=reader --serviceaccount=default:robot",
        &["readers created"],
    ),
    line(
        "create clusterrolebinding all --clusterrole=all-reader --user=ann",
        &["all created"],
    ),
    line("create token robot", &["."]),
    line(
        "run alone --image=kontiki-sample:v1 --restart=Never -- --once",
        &["pod/alone created"],
    ),
    line(
        "expose deployment web --port=80 --target-port=8080 --name=exposed",
        &["service/exposed exposed"],
    ),
    line(
        "autoscale deployment web --min=1 --max=3",
        &["web autoscaled"],
    ),
];

/// Client-side and server-side.
const APPLY: &[Line] = &[
    with("apply -f -", WEB, &["deployment.apps/applied created"]),
    with("apply -f -", WEB, &["deployment.apps/applied unchanged"]),
    with(
        "apply --dry-run=server -f -",
        WEB_CHANGED,
        &["configured (server dry run)"],
    ),
    with(
        "apply -f -",
        WEB_CHANGED,
        &["deployment.apps/applied configured"],
    ),
    with(
        "apply --server-side --field-manager=one -f -",
        CONFIG,
        &["configmap/served serverside-applied"],
    ),
    with(
        "apply --server-side --field-manager=two --force-conflicts -f -",
        CONFIG_CHANGED,
        &["serverside-applied"],
    ),
    line(
        "get configmap served --show-managed-fields -o yaml",
        &["manager: two"],
    ),
    with("apply -f -", PRUNED, &["configmap/pruned created"]),
    with(
        "apply --prune -l set=p --prune-allowlist=core/v1/ConfigMap -f -",
        PRUNER,
        &["kept created", "pruned pruned"],
    ),
    with("replace -f -", CONFIG, &["configmap/served replaced"]),
    // Nothing differs: exit code 0.
    with("diff -f -", CONFIG, &[]),
    with(
        "auth reconcile -f -",
        ROLES,
        &[
            "role.rbac.authorization.k8s.io/reconciled reconciled",
            "rolebinding.rbac.authorization.k8s.io/reconciled reconciled",
        ],
    ),
    line(
        "apply view-last-applied deployment/applied",
        &["kontiki-sample:v2"],
    ),
];

/// All ways to look.
const GET: &[Line] = &[
    line("get all", &["deployment.apps/web", "service/inner", "NAME"]),
    line(
        "get deployments -o wide",
        &["CONTAINERS", "kontiki-sample:v1"],
    ),
    line("get deployment web -o json", &["\"kind\": \"Deployment\""]),
    line("get deployment web -o yaml", &["kind: Deployment"]),
    line("get deployments -o name", &["deployment.apps/web"]),
    line("get deployment web -o jsonpath={.spec.replicas}", &["2"]),
    line(
        "get deployments -o custom-columns=N:.metadata.name,R:.spec.replicas",
        &["N ", "web"],
    ),
    line("get configmaps --sort-by=.metadata.name", &["cm"]),
    line("get pods -l app=web --show-labels", &["app=web"]),
    line("get pods --field-selector=metadata.name=alone", &["alone"]),
    line("get pods -A --chunk-size=1", &["NAMESPACE"]),
    line(
        "get --raw /api/v1/namespaces/default",
        &["\"name\":\"default\""],
    ),
    line("get events", &["LAST SEEN"]),
    line("events", &["LAST SEEN"]),
    line("events --for=pod/alone", &["Pod/alone"]),
    line(
        "get componentstatuses",
        &["scheduler", "controller-manager", "store-", "Healthy"],
    ),
    line(
        "get --raw /api/v1/namespaces/default/pods/alone/ephemeralcontainers",
        &["\"kind\":\"Pod\""],
    ),
    line("cluster-info dump", &["\"kind\": \"NodeList\""]),
    line("version -o json", &["serverVersion"]),
    line(
        "describe deployment web",
        &["StrategyType:", "NewReplicaSet:"],
    ),
    line("describe pod alone", &["Containers:"]),
    line("describe service inner", &["Endpoints:"]),
    line(
        "explain deployment.spec.strategy.rollingUpdate",
        &["maxSurge"],
    ),
    line("explain pod --recursive", &["containers"]),
    line("api-resources", &["deployments", "deploy", "configmaps"]),
    line(
        "api-resources --namespaced=false -o name",
        &["nodes", "namespaces"],
    ),
    line("api-versions", &["apps/v1", "batch/v1"]),
    line("version", &["Server Version"]),
    line("cluster-info", &["control plane"]),
    line("auth can-i create pods", &["yes"]),
    line(
        "auth can-i list pods --as=system:serviceaccount:default:robot",
        &["yes"],
    ),
    line("auth can-i --list", &["Resources"]),
    line("auth whoami", &["kubernetes-admin"]),
];

/// All ways to change.
const CHANGE: &[Line] = &[
    line(
        r#"patch deployment web -p {"spec":{"replicas":3}}"#,
        &["deployment.apps/web patched"],
    ),
    line(
        r#"patch deployment web --type=merge -p {"spec":{"replicas":2}}"#,
        &["patched"],
    ),
    line(
        r#"patch deployment web --type=json -p [{"op":"replace","path":"/spec/replicas","value":1}]"#,
        &["patched"],
    ),
    line("label deployment web tier=front", &["labeled"]),
    line("annotate deployment web note=x", &["annotate"]),
    line("scale deployment web --replicas=2", &["scaled"]),
    line(
        "set image deployment/web kontiki-sample=kontiki-sample:v2",
        &["image updated"],
    ),
    line("set env deployment/web A=b", &["env updated"]),
    line(
        "set resources deployment web --requests=cpu=10m",
        &["resource requirements updated"],
    ),
    line(
        "set serviceaccount deployment web robot",
        &["serviceaccount updated"],
    ),
    line("set selector service inner app=web", &["selector updated"]),
    line(
        "set subject rolebinding readers --user=jane",
        &["subjects updated"],
    ),
    line("annotate configmap served note=before-edit", &["annotated"]),
    line("edit configmap served", &["configmap/served edited"]),
    line("get configmap served -o yaml", &["note: after-edit"]),
    line(
        "rollout status deployment/web --watch=false",
        &["deployment"],
    ),
    line("rollout history deployment/web", &["REVISION"]),
    line("rollout pause deployment/web", &["paused"]),
    line("rollout resume deployment/web", &["resumed"]),
    line("rollout restart deployment/web", &["restarted"]),
    line("rollout undo deployment/web", &["rolled back"]),
    line(
        "taint nodes node-1 key=value:PreferNoSchedule",
        &["tainted"],
    ),
    line(
        "taint nodes node-1 key=value:PreferNoSchedule-",
        &["untainted"],
    ),
    line(
        "wait --for=jsonpath={.data.a}=b configmap/served --timeout=10s",
        &["condition met"],
    ),
    line("cordon node-1", &["cordoned"]),
    line("uncordon node-1", &["uncordoned"]),
    // With one node only, the budget would hold its last pod for ever.
    line("delete poddisruptionbudget guard --ignore-not-found", &[]),
    line(
        "drain node-1 --ignore-daemonsets --force --delete-emptydir-data --grace-period=1",
        &["drained"],
    ),
    line("uncordon node-1", &["uncordoned"]),
    line(
        "wait --for=condition=Ready node/node-1 --timeout=60s",
        &["condition met"],
    ),
];

/// All cascades, and the end.
const DELETE: &[Line] = &[
    line(
        "run later --image=kontiki-sample:v1",
        &["pod/later created"],
    ),
    line("delete deployment applied --cascade=orphan", &["deleted"]),
    line("get replicasets -l app=applied -o name", &["replicaset"]),
    line(
        "delete replicasets -l app=applied --cascade=foreground --timeout=60s",
        &["deleted"],
    ),
    line("delete deployment web --cascade=background", &["deleted"]),
    line("delete configmap cm served", &["deleted"]),
    line("delete pod later --force --grace-period=0", &["deleted"]),
    line("delete namespace team --timeout=60s", &["deleted"]),
];

const CRONTAB_KIND: &str = include_str!("../../scripts/sample/crontabs.yaml");

const CRONTAB: &str = include_str!("../../scripts/sample/crontab.yaml");

/// Kinds that users define.
const CUSTOM: &[Line] = &[
    with(
        "apply -f -",
        CRONTAB_KIND,
        &["crontabs.stable.example.com created"],
    ),
    line(
        "wait --for condition=established --timeout=60s crd/crontabs.stable.example.com",
        &["condition met"],
    ),
    line("get crd", &["crontabs.stable.example.com", "CREATED AT"]),
    line(
        "api-resources --api-group=stable.example.com",
        &["crontabs", "ct", "CronTab"],
    ),
    with(
        "apply -f -",
        CRONTAB,
        &["crontab.stable.example.com/nightly created"],
    ),
    line("get ct", &["TIMES", "COPIES", "nightly", "0 0 * * *"]),
    line(
        "explain crontabs.spec.cron",
        &["The times at which it runs."],
    ),
    line(
        "patch ct nightly --type=merge -p {\"spec\":{\"color\":\"red\"}}",
        &["patched"],
    ),
    line(
        "get ct --field-selector spec.color=red -o name",
        &["crontab.stable.example.com/nightly"],
    ),
    line("scale --replicas=3 crontab/nightly", &["scaled"]),
    line("get ct nightly -o jsonpath={.spec.replicas}", &["3"]),
    line("describe ct nightly", &["0 0 * * *"]),
    with(
        "apply --server-side --field-manager=night -f -",
        CRONTAB_OWNED,
        &["serverside-applied"],
    ),
    line("label ct nightly shift=late", &["labeled"]),
];

const CRONTAB_OWNED: &str = r#"
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: owned}
spec: {cron: "1 * * * *"}
"#;

const CRONTAB_TAKEN: &str = r#"
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: owned}
spec: {cron: "2 * * * *"}
"#;

/// What is refused, and in which words.
const CUSTOM_REFUSED: &[Line] = &[
    with(
        "apply --server-side --field-manager=day -f -",
        CRONTAB_TAKEN,
        &["conflict with \"night\"", ".spec.cron"],
    ),
    line(
        "patch ct nightly --type=merge -p {\"spec\":{\"replicas\":9}}",
        &["too many copies"],
    ),
    line(
        "patch ct nightly --type=merge -p {\"spec\":{\"cron\":1}}",
        &["must be of type string"],
    ),
];

const CUSTOM_END: &[Line] = &[
    line(
        "delete ct --all --timeout=60s",
        &["\"nightly\" deleted", "\"owned\" deleted"],
    ),
    with("apply -f -", CRONTAB, &["created"]),
    line(
        "delete crd crontabs.stable.example.com --timeout=60s",
        &["deleted"],
    ),
];

/// Commands and flags that came with a minor version of kubectl 1, or that speak to an API version that is still served
/// since then: Debian 12 has 1.20.
const SINCE: &[(&str, u64)] = &[
    ("create cronjob", 21),
    ("create job by-hand", 21),
    ("create poddisruptionbudget", 21),
    ("get configmap served --show-managed-fields", 21),
    ("drain", 21),
    ("wait --for=jsonpath", 23),
    ("create token", 24),
    ("events", 26),
    ("apply --prune", 26),
    ("auth whoami", 28),
];

async fn run(kubectl: &Kubectl, minor: u64, lines: &[Line]) {
    for Line {
        command,
        input,
        shows,
    } in lines
    {
        let since = SINCE.iter().find(|(start, _)| command.starts_with(start));
        if since.is_some_and(|(_, since)| minor < *since) {
            continue;
        }
        let args: Vec<&str> = command.split(' ').collect();
        let output = kubectl.run_with(&args, input).await;
        let output = output.unwrap_or_else(|error| panic!("kubectl {command}: {error:#}"));
        for words in *shows {
            assert!(
                output.contains(words),
                "kubectl {command}: no {words:?} in {output}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_creates_applies_shows_changes_and_deletes() {
    let cluster = LocalCluster::up(1, 1);
    commands(&cluster.kubectl()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_sees_no_difference_through_a_gateway() {
    let cluster = LocalCluster::up(1, 1);
    let gateway = Gateway::join(&cluster).await;
    commands(&gateway.kubectl()).await;
}

/// All tables, in order.
async fn commands(kubectl: &Kubectl) {
    let minor = kubectl.minor().await;
    for lines in [CREATE, APPLY, GET, CHANGE, DELETE, CUSTOM] {
        run(kubectl, minor, lines).await;
    }
    for refused in CUSTOM_REFUSED {
        let args: Vec<&str> = refused.command.split(' ').collect();
        let error = kubectl.run_with(&args, refused.input).await.unwrap_err();
        let (command, error) = (refused.command, format!("{error:#}"));
        for words in refused.shows {
            assert!(error.contains(words), "kubectl {command}: {error}");
        }
    }
    run(kubectl, minor, CUSTOM_END).await;
    let gone = kubectl.run(&["get", "crontabs"]).await.unwrap_err();
    let gone = format!("{gone:#}");
    // What kubectl says depends on whether it remembers the kind.
    let words = [
        "doesn't have a resource type",
        "could not find the requested resource",
    ];
    assert!(words.iter().any(|words| gone.contains(words)), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_explains_every_kind() {
    let cluster = LocalCluster::up(1, 0);
    let kubectl = cluster.kubectl();
    let listed = kubectl.run(&["api-resources", "--no-headers"]).await;
    let listed = listed.unwrap();
    let minor = kubectl.minor().await;
    let mut n_explained = 0;
    for resource in listed.lines() {
        // NAME [SHORTNAMES] APIVERSION NAMESPACED KIND
        let columns: Vec<&str> = resource.split_whitespace().collect();
        let [name, .., version, _, kind] = columns.as_slice() else {
            panic!("{resource}");
        };
        // `nodes` and `pods` are other kinds in the core group, where an older kubectl looks for the kind alone.
        if minor < 27 && version.starts_with("metrics.k8s.io/") {
            continue;
        }
        let version = format!("--api-version={version}");
        let told = kubectl.run(&["explain", name, &version]).await;
        let told = told.unwrap_or_else(|error| panic!("explain {name}: {error:#}"));
        let words: Vec<&str> = told.split_whitespace().collect();
        assert!(words.contains(kind), "{told}");
        n_explained += 1;
    }
    assert!(n_explained > 50, "{n_explained}");
}
