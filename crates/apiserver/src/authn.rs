//! Who asks: client certificates (verified by the TLS layer before), bearer tokens of a reloadable list, and tokens of
//! ServiceAccounts.
//!
//! Anonymous requests are refused: health and version are the faces' to leave open.

use std::collections::HashMap;

use bytes::Bytes;
use kontiki_base::status::{Reason, Status};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::options::User;
use crate::server::ApiServer;

/// The certificate with which the peer of a connection showed itself, in DER: set by the listener as an extension of
/// every request on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCert(pub Bytes);

/// What a request brings to show who sends it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The TLS client certificate, in DER.
    pub cert_der: Option<&'a [u8]>,
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<&'a str>,
}

/// A token list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("token list, line {line}: expected token,user,uid[,\"group1,group2\"]")]
pub struct TokensError {
    /// The malformed line, from 1.
    pub line: usize,
}

/// Accepted bearer tokens; reloadable while running. Only digests are kept, so that a lookup's time tells nothing.
#[derive(Debug, Default)]
pub struct Tokens(RwLock<HashMap<[u8; 32], User>>);

impl Tokens {
    /// Replaces the list by a CSV file's content: `token,user,uid,"group1,group2"` a line.
    pub fn load(&self, csv: &str) -> Result<(), TokensError> {
        let mut users = HashMap::new();
        for (at, line) in csv.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (token, user) = parse_line(line).ok_or(TokensError { line: at + 1 })?;
            users.insert(digest(token), user);
        }
        *self.0.write() = users;
        Ok(())
    }

    /// Adds one token.
    pub fn insert(&self, token: &str, user: User) {
        self.0.write().insert(digest(token), user);
    }

    fn find(&self, token: &str) -> Option<User> {
        self.0.read().get(&digest(token)).cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn parse_line(line: &str) -> Option<(&str, User)> {
    let mut columns = line.splitn(4, ',').map(str::trim);
    let (token, name, uid) = (columns.next()?, columns.next()?, columns.next()?);
    if token.is_empty() || name.is_empty() {
        return None;
    }
    let groups = columns.next().unwrap_or_default().trim_matches('"');
    let groups = groups
        .split(',')
        .map(str::trim)
        .filter(|group| !group.is_empty());
    let groups = groups.map(str::to_owned).collect();
    Some((
        token,
        User {
            name: name.to_owned(),
            uid: uid.to_owned(),
            groups,
            ..User::default()
        },
    ))
}

impl ApiServer {
    /// Finds out who asks; 401 when nobody that we know.
    pub fn authenticate(&self, credentials: Credentials<'_>) -> Result<User, Status> {
        let unauthorized = || Status::new(Reason::Unauthorized, "Unauthorized");
        let from_cert = credentials
            .cert_der
            .and_then(|der| user_of_cert(der, self.now_unix_ms()));
        let from_token = || {
            let token = credentials.bearer?.trim();
            let audiences = self.options().issuer.audiences();
            self.user_of_token(token, audiences).map(|(user, _)| user)
        };
        let user = from_cert.or_else(from_token).ok_or_else(unauthorized)?;
        Ok(authenticated(user))
    }

    /// The same, looked at once more behind a read barrier: an account, or the pod that its token is bound to, may be
    /// unknown to a replica that lags. Only a token of our own making is worth the wait.
    pub async fn authenticate_surely(&self, credentials: Credentials<'_>) -> Result<User, Status> {
        let first = self.authenticate(credentials);
        let bearer = credentials.bearer.map(str::trim);
        let may_lag = || bearer.is_some_and(|token| self.is_signed_here(token));
        if first.is_err() && may_lag() && self.is_up_to_date(&User::default()).await {
            return self.authenticate(credentials);
        }
        first
    }

    /// Whose token it is, and for which of the wanted audiences it is good.
    pub(crate) fn user_of_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Option<(User, Vec<String>)> {
        let listed = self.options().tokens.find(token);
        let listed = listed.and_then(|user| self.for_this_api(user, audiences));
        let found = listed.or_else(|| self.user_of_service_account_token(token, audiences));
        found.map(|(user, audiences)| (authenticated(user), audiences))
    }
}

/// The user, in the group of all whom an authenticator knows.
fn authenticated(mut user: User) -> User {
    let group = "system:authenticated";
    if !user.is_in(group) {
        user.groups.push(group.to_owned());
    }
    user
}

/// The subject's CN and Os, unless the certificate is out of date: connections may outlive it.
pub fn user_of_cert(der: &[u8], now_unix_ms: u64) -> Option<User> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let validity = cert.validity();
    let now = i64::try_from(now_unix_ms / 1000).ok()?;
    if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
        return None;
    }
    let subject = cert.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok())
        .map(str::to_owned);
    (!name.is_empty()).then(|| User {
        name,
        uid: String::new(),
        groups: groups.collect(),
        ..User::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_lists_are_read_replaced_and_refused_by_line() {
        let tokens = Tokens::default();
        tokens
            .load("# staff\nt1,ann,u1,\"dev,ops\"\nt2, bob ,u2\n")
            .unwrap();
        let ann = tokens.find("t1").unwrap();
        assert_eq!((ann.name.as_str(), ann.uid.as_str()), ("ann", "u1"));
        assert_eq!(ann.groups, ["dev", "ops"]);
        assert_eq!(tokens.find("t2").unwrap().groups, Vec::<String>::new());
        assert_eq!(
            tokens.load("t3,cy,u3\nnonsense"),
            Err(TokensError { line: 2 })
        );
        assert!(tokens.find("t1").is_some(), "a bad list replaces nothing");
        tokens.load("t3,cy,u3").unwrap();
        assert!(tokens.find("t1").is_none());
    }
}
