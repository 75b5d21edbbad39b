//! Acting as someone else: `Impersonate-*` headers, each of which needs the right to `impersonate` what it names.

use std::collections::BTreeMap;

use kontiki_api::rbac::Ask;
use kontiki_base::status::Status;

use crate::authz::Attributes;
use crate::options::User;
use crate::server::ApiServer;
use crate::service_accounts::{groups, split_username};

const AUTHENTICATION: &str = "authentication.k8s.io";
const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Groups and extra values of one request; each costs a decision.
const VALUES: usize = 256;

/// Whom a request wants to act as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Reads a request's headers or metadata; none when none of them is about this.
    pub fn read<'a>(
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<Self>, Status> {
        let (mut this, mut n_values) = (Self::default(), 0);
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            let Some(field) = name.strip_prefix("impersonate-") else {
                continue;
            };
            // Not left out: the request would be its sender's instead of someone else's.
            let value = std::str::from_utf8(value)
                .map_err(|_| Status::bad_request(format!("header {name} is not UTF-8")))?;
            match field {
                "user" => this.user = value.to_owned(),
                "uid" => this.uid = value.to_owned(),
                "group" => this.groups.push(value.to_owned()),
                _ => {
                    let Some(key) = field.strip_prefix("extra-") else {
                        continue;
                    };
                    this.extra
                        .entry(unescaped(key))
                        .or_default()
                        .push(value.to_owned());
                }
            }
            n_values += 1;
            if n_values > VALUES {
                let message = format!("more than {VALUES} values to impersonate");
                return Err(Status::bad_request(message));
            }
        }
        match this {
            this if this == Self::default() => Ok(None),
            this if this.user.is_empty() => Err(Status::bad_request(
                "requested groups, extra or a uid without impersonating a user",
            )),
            this => Ok(Some(this)),
        }
    }
}

/// `%xx` of a header's name; what is none stays as it is.
fn unescaped(key: &str) -> String {
    let mut out = Vec::with_capacity(key.len());
    let bytes = key.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = key.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| key.to_owned())
}

impl ApiServer {
    /// The user that `requestor` acts as, if he may.
    pub fn impersonate(&self, requestor: &User, wanted: Impersonation) -> Result<User, Status> {
        let require = |namespace, group, resource, subresource, name| {
            let ask = Ask {
                verb: "impersonate",
                group,
                resource,
                subresource,
                name,
                path: None,
            };
            self.require_part(&Attributes {
                user: requestor,
                namespace,
                ask,
                node_name: None,
            })
        };
        let account = split_username(&wanted.user);
        match account {
            Some((namespace, name)) => require(namespace, "", "serviceaccounts", "", name)?,
            None => require("", "", "users", "", wanted.user.as_str())?,
        }
        for group in &wanted.groups {
            require("", "", "groups", "", group)?;
        }
        for (key, values) in &wanted.extra {
            for value in values {
                require("", AUTHENTICATION, "userextras", key, value)?;
            }
        }
        if !wanted.uid.is_empty() {
            require("", AUTHENTICATION, "uids", "", &wanted.uid)?;
        }
        let mut all = wanted.groups;
        if let (true, Some((namespace, _))) = (all.is_empty(), account) {
            all = groups(namespace);
        }
        let implied = if wanted.user == ANONYMOUS {
            UNAUTHENTICATED
        } else {
            AUTHENTICATED
        };
        if !all
            .iter()
            .any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED)
        {
            all.push(implied.to_owned());
        }
        Ok(User {
            name: wanted.user,
            uid: wanted.uid,
            groups: all,
            extra: wanted.extra,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_need_a_user() {
        let read = |fields: &[(&'static str, &'static str)]| {
            Impersonation::read(fields.iter().map(|(name, value)| (*name, value.as_bytes())))
        };
        assert_eq!(read(&[("accept", "x")]).unwrap(), None);
        let found = read(&[
            ("Impersonate-User", "jane"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("Impersonate-Extra-Example.com%2fScopes", "s"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.groups.len()), ("jane", 2));
        assert_eq!(found.extra["example.com/scopes"], ["s"]);
        assert!(read(&[("impersonate-group", "a")]).is_err());
        let many = vec![("impersonate-group", "a"); VALUES + 1];
        assert!(read(&many).is_err());
        let odd: &[u8] = &[0xff];
        assert!(Impersonation::read([("impersonate-user", odd)].into_iter()).is_err());
    }
}
