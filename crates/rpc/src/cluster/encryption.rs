//! Keys of encryption at rest: what each replica says of its own, and the wish for new ones.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::{
    CallError, CallHandler, CallStream, Consensus, Encryption, KeyId, KeyInfo, ProposeError,
    ReplicaId, Tally,
};
use kontiki_proto::cluster as proto;
use prost::Message as _;

/// The call that asks a replica how its disk stands.
const ENCRYPTION: &str = "encryption";
/// It looks through what is sealed; a replica that takes longer is told as one that does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Answers that call; consensus lets go of it when it stops.
struct Answers(Consensus);

impl CallHandler for Answers {
    fn call(&self, _: ReplicaId, _: Bytes) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let consensus = self.0.clone();
        Box::pin(async move {
            let known = consensus.encryption().await;
            let known = known.map_err(|error| CallError::Refused(error.to_string()))?;
            let body = Bytes::from(message(consensus.id(), known).encode_to_vec());
            Ok(futures::stream::iter([Ok(body)]).boxed())
        })
    }
}

/// Lets other replicas ask this one.
pub(super) fn serve(consensus: &Consensus) {
    consensus.handle_calls(ENCRYPTION, Arc::new(Answers(consensus.clone())));
}

/// How encryption at rest stands on all replicas.
pub(super) async fn status(consensus: &Consensus) -> proto::GetEncryptionResponse {
    let members = consensus.members();
    let replicas = members.iter().map(|member| async {
        let id = member.id;
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask(consensus, id)).await;
        let error = match asked {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => error,
            Err(_) => format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()),
        };
        proto::ReplicaEncryption {
            replica_id: id,
            error,
            ..proto::ReplicaEncryption::default()
        }
    });
    proto::GetEncryptionResponse {
        replicas: join_all(replicas).await,
        rotation: consensus.wanted_rotation(),
    }
}

async fn ask(consensus: &Consensus, id: ReplicaId) -> Result<proto::ReplicaEncryption, String> {
    let answer = consensus.call(id, ENCRYPTION, Bytes::new()).await;
    let mut answer = answer.map_err(|error| error.to_string())?;
    let body = answer.next().await.ok_or("an empty answer")?;
    let body = body.map_err(|error| error.to_string())?;
    proto::ReplicaEncryption::decode(body).map_err(|error| error.to_string())
}

fn message(replica_id: ReplicaId, known: Encryption) -> proto::ReplicaEncryption {
    let seals = known.keys.first().map(|key| key.id);
    let count = |tally: &Tally, key: KeyId| tally.sealed.get(&key).copied().unwrap_or_default();
    let key = |key: &KeyInfo| proto::EncryptionKey {
        id: key.id.to_string(),
        created_unix_ms: i64::try_from(key.created_unix_ms).unwrap_or(i64::MAX),
        seals: seals == Some(key.id),
        n_objects: count(&known.objects, key.id),
        n_log_entries: count(&known.entries, key.id),
    };
    proto::ReplicaEncryption {
        replica_id,
        error: String::new(),
        rotation: known.rotation,
        settled: known.settled,
        keys: known.keys.iter().map(key).collect(),
        n_plain_objects: known.objects.plain,
        resources: known.resources,
    }
}

/// Wishes for new keys.
pub(super) async fn rotate(
    consensus: &Consensus,
) -> Result<proto::RotateEncryptionKeysResponse, Status> {
    let rotation = consensus.rotate_keys().await.map_err(|error| {
        let reason = match &error {
            ProposeError::Unknown => Reason::Timeout,
            _ => Reason::ServiceUnavailable,
        };
        Status::new(reason, format!("keys are not rotated: {error}"))
    })?;
    Ok(proto::RotateEncryptionKeysResponse { rotation })
}
