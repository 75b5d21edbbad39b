//! `podFailurePolicy`: what a failed pod means for its job. The first rule that matches decides.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement};
use k8s_openapi::api::core::v1::Pod;

/// What to do about a failed pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// End the job, for this reason.
    FailJob(String),
    /// Its index has failed for good.
    FailIndex,
    /// Do not count it.
    Ignore,
    /// Count it, as without a policy.
    Count,
}

/// The verdict of the first matching rule.
pub fn judge(policy: &PodFailurePolicy, pod: &Pod) -> Option<Verdict> {
    for (idx, rule) in policy.rules.iter().enumerate() {
        let exit = rule
            .on_exit_codes
            .as_ref()
            .and_then(|needs| matching_exit(needs, pod));
        let condition = rule.on_pod_conditions.iter().flatten().find(|pattern| {
            crate::pods::condition(pod, &pattern.type_)
                .is_some_and(|found| found.status == pattern.status.as_deref().unwrap_or("True"))
        });
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let action = &rule.action;
        let why = match (exit, condition) {
            (Some((container, code)), _) => format!(
                "Container {container} for pod {namespace}/{name} failed with exit code {code} \
                 matching {action} rule at index {idx}"
            ),
            (None, Some(pattern)) => format!(
                "Pod {namespace}/{name} has condition {} matching {action} rule at index {idx}",
                pattern.type_
            ),
            (None, None) => continue,
        };
        return Some(match action.as_str() {
            "FailJob" => Verdict::FailJob(why),
            "FailIndex" => Verdict::FailIndex,
            "Ignore" => Verdict::Ignore,
            _ => Verdict::Count,
        });
    }
    None
}

fn matching_exit(
    needs: &PodFailurePolicyOnExitCodesRequirement,
    pod: &Pod,
) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?;
    let inits = status.init_container_statuses.iter().flatten();
    let mut containers = inits.chain(status.container_statuses.iter().flatten());
    containers.find_map(|container| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let named = needs
            .container_name
            .as_ref()
            .is_none_or(|name| *name == container.name);
        let listed = needs.values.contains(&code);
        let wanted = if needs.operator == "In" {
            listed
        } else {
            !listed
        };
        (named && code != 0 && wanted).then(|| (container.name.clone(), code))
    })
}
