//! `kubernetes.io/enforce-mountable-secrets`: an account that lists the secrets which its pods may use.

use std::collections::BTreeSet;

use kontiki_api::meta::Meta;
use serde_json::Value;

use super::items;

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// What an account that enforces its lists allows.
struct Limits<'a> {
    account: &'a str,
    mountable: BTreeSet<&'a str>,
    pull: BTreeSet<&'a str>,
}

/// Why a new pod may not use what it names; nothing is said of accounts that do not enforce.
pub(super) fn of_pod(account: &Value, pod: &Value) -> Result<(), String> {
    let Some(limits) = Limits::of(account) else {
        return Ok(());
    };
    let spec = &pod["spec"];
    items(&spec["volumes"]).try_for_each(|volume| limits.volume(volume))?;
    limits.containers("init container", &spec["initContainers"])?;
    limits.containers("container", &spec["containers"])?;
    limits.pull_secrets(&spec["imagePullSecrets"])
}

/// The same of containers that are added to a pod which runs.
pub(super) fn of_ephemeral_containers(account: &Value, pod: &Value) -> Result<(), String> {
    let Some(limits) = Limits::of(account) else {
        return Ok(());
    };
    let containers = &pod["spec"]["ephemeralContainers"];
    limits.containers("ephemeral container", containers)
}

impl<'a> Limits<'a> {
    fn of(account: &'a Value) -> Option<Self> {
        let meta = Meta::of(account);
        let enforces = meta.annotation(ENFORCE).is_some_and(is_true);
        enforces.then(|| Self {
            account: meta.name(),
            mountable: names(&account["secrets"]),
            pull: names(&account["imagePullSecrets"]),
        })
    }

    fn volume(&self, volume: &Value) -> Result<(), String> {
        let source = &volume["secret"];
        if !source.is_object() {
            return Ok(());
        }
        let secret = text(&source["secretName"]);
        self.allow(secret, || {
            format!("volume with secret.secretName=\"{secret}\"")
        })
    }

    fn containers(&self, what: &str, containers: &Value) -> Result<(), String> {
        for container in items(containers) {
            let container_name = text(&container["name"]);
            for variable in items(&container["env"]) {
                let reference = &variable["valueFrom"]["secretKeyRef"];
                self.reference(reference, || {
                    let variable = text(&variable["name"]);
                    format!("{what} {container_name} with envVar {variable}")
                })?;
            }
            for from in items(&container["envFrom"]) {
                self.reference(&from["secretRef"], || {
                    format!("{what} {container_name} with envFrom")
                })?;
            }
        }
        Ok(())
    }

    fn reference(&self, reference: &Value, who: impl Fn() -> String) -> Result<(), String> {
        if !reference.is_object() {
            return Ok(());
        }
        let secret = text(&reference["name"]);
        self.allow(secret, || {
            format!("{} referencing secret.secretName=\"{secret}\"", who())
        })
    }

    fn allow(&self, secret: &str, who: impl Fn() -> String) -> Result<(), String> {
        if self.mountable.contains(secret) {
            return Ok(());
        }
        Err(format!(
            "{} is not allowed because service account {} does not reference that secret",
            who(),
            self.account
        ))
    }

    fn pull_secrets(&self, secrets: &Value) -> Result<(), String> {
        let names = items(secrets).map(|secret| text(&secret["name"]));
        match names
            .enumerate()
            .find(|(_, name)| !self.pull.contains(name))
        {
            None => Ok(()),
            Some((at, name)) => Err(format!(
                "imagePullSecrets[{at}].name=\"{name}\" is not allowed because service account {} does not reference \
                 that imagePullSecret",
                self.account
            )),
        }
    }
}

fn names(list: &Value) -> BTreeSet<&str> {
    items(list).map(|item| text(&item["name"])).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Go's `strconv.ParseBool`.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn account(enforce: &str) -> Value {
        json!({
            "metadata": {"name": "robot", "annotations": {ENFORCE: enforce}},
            "secrets": [{"name": "mine"}],
            "imagePullSecrets": [{"name": "pull"}],
        })
    }

    #[test]
    fn secrets_outside_the_accounts_lists_are_refused_by_place() {
        let env = |name: &str| {
            json!([{"name": "c", "env": [
                {"name": "V", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]}])
        };
        let env_from =
            |name: &str| json!([{"name": "c", "envFrom": [{"secretRef": {"name": name}}]}]);
        let not = "is not allowed because service account robot does not reference that";
        for (spec, why) in [
            (json!({"containers": env("mine")}), String::new()),
            (
                json!({"volumes": [{"secret": {"secretName": "other"}}]}),
                format!("volume with secret.secretName=\"other\" {not} secret"),
            ),
            (
                json!({"containers": env("other")}),
                format!(
                    "container c with envVar V referencing secret.secretName=\"other\" {not} secret"
                ),
            ),
            (
                json!({"initContainers": env_from("other")}),
                format!(
                    "init container c with envFrom referencing secret.secretName=\"other\" {not} secret"
                ),
            ),
            (
                json!({"imagePullSecrets": [{"name": "pull"}, {"name": "mine"}]}),
                format!("imagePullSecrets[1].name=\"mine\" {not} imagePullSecret"),
            ),
        ] {
            let pod = json!({"spec": spec});
            let refused = of_pod(&account("true"), &pod).err().unwrap_or_default();
            assert_eq!(refused, why);
            assert_eq!(of_pod(&account("no"), &pod), Ok(()));
        }
        let pod = json!({"spec": {"ephemeralContainers": env("other")}});
        assert!(of_pod(&account("1"), &pod).is_ok());
        let refused = of_ephemeral_containers(&account("1"), &pod).unwrap_err();
        assert!(refused.starts_with("ephemeral container c with envVar V"));
    }
}
