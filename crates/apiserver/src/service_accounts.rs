//! ServiceAccounts as users: their names and groups, the tokens that stand for them, and who reads those.
//!
//! A token is a JWT, signed with ES256 by a key that all replicas share, bound to the living ServiceAccount and, if it
//! says so, to a living Pod, Secret or Node. Nothing is stored when one is issued.

mod authenticate;
mod claims;
mod issuer;
mod jwt;
mod legacy;
mod request;

pub use issuer::{KeyError, TokenIssuer};

/// Prefix of their user names.
pub(crate) const PREFIX: &str = "system:serviceaccount:";
/// Group of all of them.
const ALL: &str = "system:serviceaccounts";

/// The user name of a ServiceAccount.
pub(crate) fn username(namespace: &str, name: &str) -> String {
    format!("{PREFIX}{namespace}:{name}")
}

/// Namespace and name of the ServiceAccount that a user name stands for.
pub(crate) fn split_username(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(PREFIX)?.split_once(':')?;
    let is_valid = kontiki_api::meta::names::label(namespace, false).is_empty()
        && kontiki_api::meta::names::subdomain(name, false).is_empty();
    is_valid.then_some((namespace, name))
}

/// The groups of the ServiceAccounts of a namespace.
pub(crate) fn groups(namespace: &str) -> Vec<String> {
    vec![ALL.to_owned(), format!("{ALL}:{namespace}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let name = username("default", "web.a");
        assert_eq!(split_username(&name), Some(("default", "web.a")));
        for odd in [
            "jane",
            "system:serviceaccount:x",
            "system:serviceaccount:a:B",
            "system:serviceaccount::x",
        ] {
            assert_eq!(split_username(odd), None, "{odd}");
        }
    }
}
