//! Tables: each check in upstream's words, by level and by version.

use serde_json::json;

use super::*;

fn found(standard: &str, annotations: Value, spec: Value) -> String {
    let (level, version) = standard.split_once(':').unwrap();
    let standard = Standard {
        level: Level::parse(level).unwrap(),
        version: Version::parse(version).unwrap(),
    };
    let annotations = serde_json::from_value(annotations).unwrap();
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let pod = Checked {
        annotations: &annotations,
        spec: &spec,
    };
    evaluate(standard, &pod).map_or_else(String::new, |violations| violations.details())
}

/// A pod of one container.
fn of(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("a");
    json!({"containers": [container]})
}

#[test]
fn each_check_of_baseline_speaks_upstreams_words() {
    for (spec, expected) in [
        (of(json!({})), ""),
        (
            of(json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}})),
            "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            of(
                json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN", "NET_RAW", "CHOWN"]}}}),
            ),
            "non-default capabilities (container \"a\" must not include \"NET_RAW\", \"SYS_ADMIN\" in \
             securityContext.capabilities.add)",
        ),
        (
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true, "containers": []}),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (
            json!({"containers": [], "volumes": [
                {"name": "root", "hostPath": {"path": "/"}},
                {"name": "docker", "hostPath": {"path": "/var/run/docker.sock"}}]}),
            "hostPath volumes (volumes \"root\", \"docker\")",
        ),
        (
            of(
                json!({"ports": [{"containerPort": 1, "hostPort": 90}, {"containerPort": 2, "hostPort": 8}]}),
            ),
            "hostPort (container \"a\" uses hostPorts 8, 90)",
        ),
        (
            of(
                json!({"livenessProbe": {"httpGet": {"port": 1, "host": "evil"}},
                "lifecycle": {"preStop": {"tcpSocket": {"port": 1, "host": "127.0.0.1"}}}}),
            ),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle hosts \"127.0.0.1\", \"evil\")",
        ),
        (
            of(json!({"securityContext": {"privileged": true}})),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            of(json!({"securityContext": {"procMount": "Unmasked"}})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "x", "user": "u", "role": "r"}}, "containers": []}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set; role \
             may not be set)",
        ),
        (
            of(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"},
                {"name": "net.ipv4.tcp_rmem", "value": "1"}]}, "containers": []}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}, "containers": []}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        assert_eq!(
            found("baseline:latest", json!({}), spec.clone()),
            expected,
            "{spec}"
        );
        assert_eq!(found("privileged:latest", json!({}), spec), "");
    }
}

#[test]
fn ephemeral_and_init_containers_are_checked_too() {
    let privileged = |name: &str| json!({"name": name, "securityContext": {"privileged": true}});
    let spec = json!({
        "initContainers": [privileged("i")], "containers": [privileged("c")],
        "ephemeralContainers": [privileged("e")],
    });
    assert_eq!(
        found("baseline:latest", json!({}), spec),
        "privileged (containers \"i\", \"c\", \"e\" must not set securityContext.privileged=true)"
    );
}

#[test]
fn restricted_asks_for_more_and_takes_the_place_of_weaker_checks() {
    let bare = found("restricted:latest", json!({}), of(json!({})));
    assert_eq!(
        bare,
        "allowPrivilegeEscalation != false (container \"a\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"a\" must set \
         securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"a\" must set \
         securityContext.runAsNonRoot=true), seccompProfile (pod or container \"a\" must set \
         securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    let hardened = json!({"allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    let with = |changes: Value| {
        let mut spec = of(json!({"securityContext": hardened}));
        for (field, value) in changes.as_object().unwrap() {
            spec["containers"][0]["securityContext"][field] = value.clone();
        }
        found("restricted:latest", json!({}), spec)
    };
    assert_eq!(with(json!({})), "");
    assert_eq!(
        with(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})),
        ""
    );
    assert_eq!(
        with(json!({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}})),
        "unrestricted capabilities (container \"a\" must not include \"SYS_ADMIN\" in \
         securityContext.capabilities.add)"
    );
    assert_eq!(
        with(json!({"runAsNonRoot": false})),
        "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)"
    );
    assert_eq!(
        with(json!({"runAsUser": 0})),
        "runAsUser=0 (container \"a\" must not set runAsUser=0)"
    );
    assert_eq!(
        with(json!({"seccompProfile": {"type": "Unconfined"}})),
        "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")"
    );
    let mut spec = of(json!({"securityContext": hardened}));
    spec["volumes"] = json!([
        {"name": "h", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {"server": "s", "path": "/"}},
        {"name": "e", "emptyDir": {}},
    ]);
    assert_eq!(
        found("restricted:latest", json!({}), spec),
        "restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"nfs\")"
    );
}

#[test]
fn versions_have_the_checks_of_their_time() {
    let keepalive = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "1"}]},
        "containers": []});
    let engine = json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}, "containers": []});
    let unmasked = json!({"hostUsers": false,
        "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]});
    let probe = of(json!({"livenessProbe": {"tcpSocket": {"port": 1, "host": "h"}}}));
    for (standard, spec, is_fine) in [
        ("baseline:v1.28", &keepalive, false),
        ("baseline:v1.29", &keepalive, true),
        ("baseline:v1.30", &engine, false),
        ("baseline:v1.31", &engine, true),
        ("baseline:v1.34", &unmasked, false),
        ("baseline:v1.35", &unmasked, true),
        ("baseline:v1.33", &probe, true),
        ("baseline:v1.34", &probe, false),
        ("baseline:v1.99", &probe, false),
    ] {
        assert_eq!(
            found(standard, json!({}), spec.clone()).is_empty(),
            is_fine,
            "{standard} {spec}"
        );
    }
    let told = found("restricted:latest", json!({}), unmasked);
    assert!(told.contains("procMount (container \"a\""), "{told}");
    let windows = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true},
        "containers": [{"name": "a"}]});
    assert_eq!(found("restricted:v1.25", json!({}), windows.clone()), "");
    assert_ne!(found("restricted:v1.24", json!({}), windows), "");
}

#[test]
fn old_annotations_are_checked() {
    let annotations = json!({
        "container.apparmor.security.beta.kubernetes.io/a": "unconfined",
        "container.apparmor.security.beta.kubernetes.io/b": "localhost/x",
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.seccomp.security.alpha.kubernetes.io/a": "docker/default",
    });
    assert_eq!(
        found("baseline:v1.18", annotations, of(json!({}))),
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
         \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\"), seccompProfile (forbidden annotation \
         seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"
    );
}

#[test]
fn labels_make_the_policy() {
    let of_labels = |labels: Value| Policy::of_labels(&json!({"metadata": {"labels": labels}}));
    let told = |labels: Value| {
        let (policy, errors) = of_labels(labels);
        assert_eq!(errors, []);
        format!("{} {} {}", policy.enforce, policy.audit, policy.warn)
    };
    let label = |mode: &str| format!("pod-security.kubernetes.io/{mode}");
    assert_eq!(
        told(json!({})),
        "privileged:latest privileged:latest privileged:latest"
    );
    assert_eq!(
        told(json!({label("enforce"): "baseline", label("enforce-version"): "v1.30"})),
        "baseline:v1.30 privileged:latest baseline:v1.30"
    );
    assert_eq!(
        told(
            json!({label("enforce"): "restricted", label("warn"): "privileged", label("audit"): "baseline"})
        ),
        "restricted:latest baseline:latest privileged:latest"
    );
    let (policy, errors) = of_labels(json!({
        label("enforce"): "strict", label("warn"): "loud", label("audit-version"): "1.2",
    }));
    assert_eq!(
        (policy.enforce.level, policy.warn.level),
        (Level::Restricted, Level::Privileged)
    );
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of \
             privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.2\": must be \"latest\" or \
             \"v1.x\"",
            "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"loud\": must be one of privileged, \
             baseline, restricted",
        ]
    );
    for odd in ["v1", "v1.01", "v2.1", "v1.+1", "v1.", "v1.x"] {
        assert_eq!(Version::parse(odd), None, "{odd}");
    }
    assert_eq!(Version::parse("v1.0"), Some(Version::Minor(0)));
}
