//! ClusterRoleBinding (upstream `pkg/registry/rbac/clusterrolebinding`, `ValidateClusterRoleBinding`).

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;

use super::role_binding;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;

const ROLE: &str = "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be \
                    resolved, the Authorizer must return an error. This field is immutable.";

/// ClusterRoleBinding.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "clusterrolebinding",
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text("Role", ROLE),
        Column::AGE,
        Column::text("Users", "Users in the clusterRoleBinding").wide(),
        Column::text("Groups", "Groups in the clusterRoleBinding").wide(),
        Column::text(
            "ServiceAccounts",
            "ServiceAccounts in the clusterRoleBinding",
        )
        .wide(),
    ],
    name_rule: names::path_segment,
    create_on_update: true,
    hooks: Hooks {
        default: role_binding::default,
        validate: |new, old| role_binding::validate(new, old, false),
        row: role_binding::row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ClusterRoleBinding>()
});
