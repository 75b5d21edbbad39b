//! Whether whoever asked for a certificate may have it without a human's word: cluster-wide grants of RBAC.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Subject};
use kontiki_api::rbac::{Ask, allows};

use crate::Error;
use crate::view::View;

pub(super) const BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
pub(super) const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
/// Members may do everything.
const MASTERS: &str = "system:masters";

/// Whether a user may, by a binding in the whole cluster.
pub(super) fn may(
    view: &View<'_>,
    user: &str,
    groups: &[String],
    ask: &Ask<'_>,
) -> Result<bool, Error> {
    if groups.iter().any(|group| group == MASTERS) {
        return Ok(true);
    }
    for binding in view.list::<ClusterRoleBinding>(None)? {
        let mut subjects = binding.subjects.iter().flatten();
        if !subjects.any(|subject| is_one(subject, user, groups)) {
            continue;
        }
        let role = view.get::<ClusterRole>("", &binding.role_ref.name)?;
        let rules = role.iter().flat_map(|role| role.rules.iter().flatten());
        if rules.into_iter().any(|rule| allows(rule, ask)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_one(subject: &Subject, user: &str, groups: &[String]) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == user,
        "Group" => groups.contains(&subject.name),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            let account = user.strip_prefix("system:serviceaccount:");
            account.and_then(|account| account.split_once(':'))
                == Some((namespace, subject.name.as_str()))
        }
        _ => false,
    }
}
