//! Which node is calling: its certificate says so, and nothing else does.

use kontiki_apiserver::authn::{PeerCert, user_of_cert};
use tonic::{Request, Status};

const USER_PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";

/// The node whose certificate the connection showed.
pub(crate) fn node_of<T>(request: &Request<T>, now_unix_ms: u64) -> Result<String, Status> {
    let cert = request.extensions().get::<PeerCert>();
    let cert =
        cert.ok_or_else(|| Status::unauthenticated("a node's client certificate is needed"))?;
    let user = user_of_cert(&cert.0, now_unix_ms)
        .ok_or_else(|| Status::unauthenticated("the client certificate is malformed or expired"))?;
    node_of_user(&user.name, &user.groups)
}

fn node_of_user(name: &str, groups: &[String]) -> Result<String, Status> {
    let node = name
        .strip_prefix(USER_PREFIX)
        .filter(|node| !node.is_empty());
    match node {
        Some(node) if groups.iter().any(|group| group == GROUP) => Ok(node.to_owned()),
        _ => Err(Status::permission_denied(format!(
            "certificate of {name:?} is no node's: CN {USER_PREFIX}NAME and O {GROUP} are needed"
        ))),
    }
}

/// Refuses a node that speaks for another one.
pub(crate) fn must_be(certified: &str, claimed: &str) -> Result<(), Status> {
    if certified == claimed {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "certificate of node {certified:?} cannot speak for node {claimed:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_nodes_own_certificate_names_it() {
        let nodes = [GROUP.to_owned()];
        assert_eq!(node_of_user("system:node:n1", &nodes).unwrap(), "n1");
        for (name, groups) in [
            ("system:node:n1", &[][..]),
            ("kubernetes-admin", &nodes),
            ("system:node:", &nodes),
        ] {
            let refused = node_of_user(name, groups).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{name}");
        }
        assert!(must_be("n1", "n1").is_ok());
        assert!(
            must_be("n1", "n2")
                .unwrap_err()
                .message()
                .contains("\"n2\"")
        );
        let bare = node_of(&Request::new(()), 0).unwrap_err();
        assert_eq!(bare.code(), tonic::Code::Unauthenticated);
    }
}
