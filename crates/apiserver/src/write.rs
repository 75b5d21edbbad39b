//! The steps that all writes share: names and uids, managed fields, validation, and the one transaction.

use std::sync::Arc;

use kontiki_api::custom::DEFINITIONS;
use kontiki_api::managed_fields::Writer;
use kontiki_api::meta::metadata_mut;
use kontiki_api::{Kind, stored, time};
use kontiki_base::limits;
use kontiki_base::random::Random;
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::Lane;
use kontiki_state::{Header, Key, Object, Op, OpResult, Precondition, Revision};
use serde_json::Value;

use crate::decode::meta_text;
use crate::errors::{
    conflict, first_failure, namespace_not_found, namespace_terminating, undefined,
};
use crate::options::{Answer, Context, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::service_accounts;

/// Letters of generated suffixes: upstream's, without vowels and look-alikes.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// Longest generated name before the suffix.
const MAX_BASE_LENGTH: usize = 63 - SUFFIX_LENGTH;
/// Longest name of a field manager.
const MAX_MANAGER_LENGTH: usize = 128;

/// Which queue a write waits in.
pub(crate) fn lane(context: &Context, kind: &Kind) -> Lane {
    if kind.kind() == "Event" {
        Lane::Events
    } else if is_system(&context.user.name) {
        Lane::System
    } else {
        Lane::User
    }
}

/// Whether a user is part of the system: its nodes and components, not the ServiceAccounts of workloads.
fn is_system(user: &str) -> bool {
    user.starts_with("system:") && !user.starts_with(service_accounts::PREFIX)
}

/// A random version 4 uuid.
pub(crate) fn new_uid(random: &dyn Random) -> String {
    let bits = (u128::from(random.bits()) << 64) | u128::from(random.bits());
    uuid::Builder::from_random_bytes(bits.to_be_bytes())
        .into_uuid()
        .to_string()
}

/// `base` with a random suffix.
pub(crate) fn generated_name(base: &str, random: &dyn Random) -> String {
    let mut length = base.len().min(MAX_BASE_LENGTH);
    while !base.is_char_boundary(length) {
        length -= 1;
    }
    let mut name = base[..length].to_owned();
    for _ in 0..SUFFIX_LENGTH {
        let at = random.below(SUFFIX_LETTERS.len() as u64) as usize;
        name.push(SUFFIX_LETTERS[at] as char);
    }
    name
}

/// The name under which a request's changes are tracked.
pub(crate) fn field_manager(context: &Context, options: &WriteOptions) -> Result<String, Status> {
    match options
        .field_manager
        .as_deref()
        .filter(|manager| !manager.is_empty())
    {
        Some(manager) if manager.len() > MAX_MANAGER_LENGTH => Err(Status::new(
            Reason::Invalid,
            format!("fieldManager: Too long: may not be more than {MAX_MANAGER_LENGTH} bytes"),
        )),
        Some(manager) => Ok(manager.to_owned()),
        None => {
            let product = context.user_agent.split('/').next().unwrap_or_default();
            let printable = product.chars().filter(|c| !c.is_control());
            Ok(printable.take(MAX_MANAGER_LENGTH).collect())
        }
    }
}

impl ApiServer {
    /// Who tracks the request's changes.
    pub(crate) fn writer<'a>(
        &self,
        target: &'a Target,
        manager: &'a str,
        now: &'a str,
    ) -> Writer<'a> {
        Writer::new(&target.kind, manager, now).to(target.subresource)
    }

    /// Now, as objects spell it.
    pub(crate) fn now_text(&self) -> String {
        time::rfc3339(self.now_unix_ms())
    }

    /// Gives a new object its identity.
    pub(crate) fn identify(&self, object: &mut Value) {
        let (uid, now) = (new_uid(&*self.options().random), self.now_text());
        let metadata = metadata_mut(object);
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), now.into());
    }

    /// Commits one transaction whose first operation is about the target; answers that operation's result.
    pub(crate) async fn commit(
        &self,
        context: &Context,
        target: &Target,
        ops: Vec<Op>,
    ) -> Result<OpResult, Status> {
        let results = self
            .propose(context, ops.clone(), lane(context, &target.kind))
            .await?;
        if let Some((at, failure)) = first_failure(&results) {
            return match (&ops[at], failure) {
                (Op::Check { key, .. }, failure) if *key.resource == *DEFINITIONS => {
                    Err(undefined(failure))
                }
                (Op::Check { key, .. }, OpResult::NotFound) => Err(namespace_not_found(&key.name)),
                (Op::Check { key, .. }, OpResult::Deleting) => {
                    Err(namespace_terminating(target, &key.name))
                }
                (_, failure) if at == 0 => Ok(failure.clone()),
                // Someone else took an address or a port that we chose: choose again.
                _ => Ok(OpResult::Aborted),
            };
        }
        results
            .into_iter()
            .next()
            .ok_or_else(|| Status::internal("a proposal without results"))
    }
}

/// The header under which an object is stored.
pub fn header_of(kind: &Kind, object: &Value) -> Header {
    let parts = stored::header_of(kind.stored(), object);
    let pairs = |pairs: Vec<(String, String)>| {
        pairs
            .into_iter()
            .map(|(name, value)| (Arc::from(name), Arc::from(value)))
            .collect()
    };
    Header {
        uid: Arc::from(parts.uid),
        labels: pairs(parts.labels),
        fields: pairs(parts.fields),
        owners: parts.owners.into_iter().map(Arc::from).collect(),
        deleting: parts.deleting,
    }
}

/// An object on its way into the store: no tree any more, as copies of it cost more than all else in a write.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) key: Key,
    pub(crate) header: Header,
    pub(crate) bytes: bytes::Bytes,
}

impl Draft {
    /// The stored form of `value`; refuses what is too large.
    pub(crate) fn new(kind: &Kind, value: Value) -> Result<Self, Status> {
        let key = Key::new(
            Arc::clone(kind.resource()),
            meta_text(&value, "namespace"),
            meta_text(&value, "name"),
        );
        let header = header_of(kind, &value);
        let bytes = stored::canonical(value);
        if bytes.len() > limits::OBJECT_BYTES {
            let message = format!(
                "Request entity too large: limit is {}",
                limits::OBJECT_BYTES
            );
            return Err(Status::new(Reason::RequestEntityTooLarge, message));
        }
        Ok(Self { key, header, bytes })
    }

    pub(crate) fn create(&self) -> Op {
        Op::Create {
            key: self.key.clone(),
            header: self.header.clone(),
            bytes: self.bytes.clone(),
        }
    }

    pub(crate) fn update(&self, revision: Revision) -> Op {
        Op::Update {
            key: self.key.clone(),
            pre: Precondition::revision(revision),
            header: self.header.clone(),
            bytes: self.bytes.clone(),
        }
    }

    /// The object under the revision that it got.
    pub(crate) fn stored(self, result: &OpResult, created: Option<Revision>) -> Arc<Object> {
        match result {
            OpResult::Done {
                object: Some(object),
                ..
            } => Arc::clone(object),
            OpResult::Done { revision, .. } => {
                let created = created.unwrap_or(*revision);
                Arc::new(Object::new(
                    self.key,
                    *revision,
                    created,
                    self.header,
                    self.bytes,
                ))
            }
            _ => Arc::new(Object::new(self.key, 0, 0, self.header, self.bytes)),
        }
    }

    /// What a dry run answers.
    pub(crate) fn rendered(self, revision: Option<Revision>) -> Answer {
        let mut value: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        if let Some(revision) = revision {
            metadata_mut(&mut value).insert("resourceVersion".into(), revision.to_string().into());
        }
        Answer::Rendered(value)
    }
}

/// The namespace of a new object has to be there, and to stay.
pub(crate) fn namespace_check(target: &Target) -> Option<Op> {
    target.kind.namespaced().then(|| Op::Check {
        key: Key::new("namespaces", "", target.namespace.as_str()),
        pre: Precondition::NONE,
        not_deleting: true,
    })
}

/// The definition of a new object's kind has to be there, and to stay.
pub(crate) fn definition_check(kind: &Kind) -> Option<Op> {
    kind.definition().map(|definition| Op::Check {
        key: Key::new(DEFINITIONS, "", &*definition.resource),
        pre: Precondition::uid(&*definition.uid),
        not_deleting: true,
    })
}

/// 409 for an operation's result, in upstream's words.
pub(crate) fn refusal(kind: &Kind, name: &str, result: &OpResult) -> Status {
    match result {
        OpResult::NotFound => Status::not_found(kind.group(), kind.plural(), name),
        OpResult::AlreadyExists { .. } => crate::errors::already_exists(kind, name),
        _ => conflict(kind, name, crate::errors::MODIFIED),
    }
}

/// An answered write.
pub(crate) fn written(object: Answer, warnings: Vec<String>) -> Written {
    Written {
        object,
        created: false,
        accepted: false,
        warnings,
    }
}
