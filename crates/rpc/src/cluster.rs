//! `kontiki.cluster.v1.ClusterService`: operating the control plane, for `system:masters` only.

mod encryption;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use kontiki_apiserver::{Context, User};
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::{
    CallError, CallHandler, CallStream, Consensus, Member, MembershipError, ReplicaId,
};
use kontiki_proto::cluster as proto;
use kontiki_proto::cluster::cluster_service_server::ClusterService;
use kontiki_state::Object;
use tonic::{Request, Response};

use crate::error::to_tonic;
use crate::face::{Asked, Face};
use crate::join::{JoinAuthority, Role, TokenInfo};

/// The group that may.
const MASTERS: &str = "system:masters";

/// The call that asks the leader how far each log reaches.
const MATCHED: &str = "matched";
/// A status is told without that rather than late.
const MATCHED_WAIT: Duration = Duration::from_secs(1);

/// Answers that call; consensus lets go of it when it stops.
struct Matched(Consensus);

impl CallHandler for Matched {
    fn call(&self, _: ReplicaId, _: Bytes) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let members = self.0.members();
        let known = |member: Member| Some((member.id, member.matched_index?));
        let matched: HashMap<u64, u64> = members.into_iter().filter_map(known).collect();
        let body = Bytes::from(serde_json::to_vec(&matched).unwrap_or_default());
        Box::pin(async move { Ok(futures::stream::iter([Ok(body)]).boxed()) })
    }
}

/// The service.
pub struct Service {
    face: Face,
    consensus: Consensus,
    authority: Arc<dyn JoinAuthority>,
}

impl Service {
    /// Over a replica and an authority on joining.
    pub fn new(face: Face, consensus: Consensus, authority: Arc<dyn JoinAuthority>) -> Self {
        consensus.handle_calls(MATCHED, Arc::new(Matched(consensus.clone())));
        encryption::serve(&consensus);
        Self {
            face,
            consensus,
            authority,
        }
    }

    /// Only the leader knows how far the others' logs reach; without it the column stays empty.
    async fn members(&self) -> Vec<Member> {
        let status = self.consensus.status();
        let mut members = status.members;
        let leader = status.leadership.leader;
        let Some(leader) = leader.filter(|leader| *leader != status.replica_id) else {
            return members;
        };
        let asked = async {
            let mut answer = self
                .consensus
                .call(leader, MATCHED, Bytes::new())
                .await
                .ok()?;
            let body = answer.next().await?.ok()?;
            serde_json::from_slice::<HashMap<u64, u64>>(&body).ok()
        };
        if let Ok(Some(matched)) = tokio::time::timeout(MATCHED_WAIT, asked).await {
            for member in &mut members {
                member.matched_index = matched.get(&member.id).copied();
            }
        }
        members
    }

    fn operator<T>(&self, method: &str, request: &Request<T>) -> Result<Context, tonic::Status> {
        let context = self.face.context(method, request)?;
        authorize(&context.user).map_err(|status| {
            context.audit.complete_with(Err(&status));
            to_tonic(&status)
        })?;
        Ok(context)
    }

    async fn status(&self) -> proto::GetStatusResponse {
        let members = self.members().await;
        let status = self.consensus.status();
        let snapshot = self.consensus.store().snapshot();
        let count = |resource: &str| snapshot.count(resource) as u64;
        let tally = |resource: &str, passes: fn(&Object) -> bool| {
            snapshot
                .list(resource, None, None)
                .filter(|object| passes(object))
                .count() as u64
        };
        proto::GetStatusResponse {
            cluster_id: status.cluster_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replica_id: status.replica_id,
            leader_id: status.leadership.leader.unwrap_or(0),
            term: status.leadership.term,
            last_log_index: status.last_log_index,
            applied_index: status.applied_index,
            revision: status.revision,
            members: members.into_iter().map(member).collect(),
            n_nodes: count("nodes"),
            n_nodes_ready: tally("nodes", is_ready),
            n_pods: count("pods"),
            n_pods_running: tally("pods", is_running),
        }
    }
}

/// Whether a node is ready: decoded once for each revision of it.
struct IsReady(bool);

fn is_ready(node: &Object) -> bool {
    let ready = node.project(|node| {
        let node = node.value();
        let conditions = node["status"]["conditions"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let ready = conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        Ok::<_, Infallible>(IsReady(ready))
    });
    ready.is_ok_and(|ready| ready.0)
}

/// Told by the selectable fields, without decoding.
fn is_running(pod: &Object) -> bool {
    pod.header
        .fields
        .iter()
        .any(|(field, value)| &**field == "status.phase" && &**value == "Running")
}

fn authorize(user: &User) -> Result<(), Status> {
    if user.groups.iter().any(|group| group == MASTERS) {
        return Ok(());
    }
    let message = format!(
        "User {:?} cannot operate the cluster: only {MASTERS} may",
        user.name
    );
    Err(Status::new(Reason::Forbidden, message))
}

/// A member as a message.
pub fn member(member: Member) -> proto::Member {
    proto::Member {
        id: member.id,
        name: member.name,
        peer_endpoint: member.peer_endpoint,
        api_endpoint: member.api_endpoint,
        voter: member.voter,
        leader: member.leader,
        matched_index: member.matched_index,
    }
}

fn membership_error(error: MembershipError) -> Status {
    let reason = match error {
        MembershipError::NoLeader => Reason::ServiceUnavailable,
        MembershipError::InProgress => Reason::Conflict,
        MembershipError::Refused(_) => Reason::BadRequest,
        MembershipError::Timeout(_) => Reason::Timeout,
    };
    Status::new(reason, error.to_string())
}

fn call_error(error: &CallError) -> Status {
    Status::new(Reason::ServiceUnavailable, error.to_string())
}

fn token(info: TokenInfo) -> proto::Token {
    proto::Token {
        id: info.id,
        role: info.role.as_str().to_owned(),
        expires_unix_s: info.expires_unix_s.unwrap_or(0),
    }
}

type Answer<T> = Result<Response<T>, tonic::Status>;

#[tonic::async_trait]
impl ClusterService for Service {
    type SaveSnapshotStream =
        Pin<Box<dyn Stream<Item = Result<proto::SaveSnapshotResponse, tonic::Status>> + Send>>;

    async fn get_status(
        &self,
        request: Request<proto::GetStatusRequest>,
    ) -> Answer<proto::GetStatusResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/GetStatus";
        let context = self.operator(method, &request)?;
        self.face
            .unary(&context, &Asked::call(method), async {
                Ok(self.status().await)
            })
            .await
    }

    async fn add_member(
        &self,
        request: Request<proto::AddMemberRequest>,
    ) -> Answer<proto::AddMemberResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/AddMember";
        let context = self.operator(method, &request)?;
        let asked = request.into_inner();
        let (id, promote) = (asked.id, !asked.learner_only);
        let member = Member {
            id,
            name: asked.name,
            peer_endpoint: asked.peer_endpoint,
            api_endpoint: asked.api_endpoint,
            voter: false,
            leader: false,
            matched_index: None,
        };
        let add = async {
            self.consensus
                .add_learner(member)
                .await
                .map_err(membership_error)?;
            if promote {
                self.consensus.promote(id).await.map_err(membership_error)?;
            }
            Ok(proto::AddMemberResponse {})
        };
        self.face.unary(&context, &Asked::call(method), add).await
    }

    async fn promote_member(
        &self,
        request: Request<proto::PromoteMemberRequest>,
    ) -> Answer<proto::PromoteMemberResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/PromoteMember";
        let context = self.operator(method, &request)?;
        let promote = async {
            self.consensus
                .promote(request.get_ref().id)
                .await
                .map_err(membership_error)?;
            Ok(proto::PromoteMemberResponse {})
        };
        self.face
            .unary(&context, &Asked::call(method), promote)
            .await
    }

    async fn remove_member(
        &self,
        request: Request<proto::RemoveMemberRequest>,
    ) -> Answer<proto::RemoveMemberResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/RemoveMember";
        let context = self.operator(method, &request)?;
        let remove = async {
            let id = request.get_ref().id;
            if self
                .consensus
                .members()
                .iter()
                .all(|member| member.id != id)
            {
                return Err(Status::new(
                    Reason::NotFound,
                    format!("there is no replica {id}; see `kontiki member list`"),
                ));
            }
            self.consensus.remove(id).await.map_err(membership_error)?;
            Ok(proto::RemoveMemberResponse {})
        };
        self.face
            .unary(&context, &Asked::call(method), remove)
            .await
    }

    async fn transfer_leadership(
        &self,
        request: Request<proto::TransferLeadershipRequest>,
    ) -> Answer<proto::TransferLeadershipResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/TransferLeadership";
        let context = self.operator(method, &request)?;
        let to = Some(request.get_ref().id).filter(|id| *id != 0);
        let transfer = async {
            let leader_id = self
                .consensus
                .transfer_leader(to)
                .await
                .map_err(membership_error)?;
            Ok(proto::TransferLeadershipResponse { leader_id })
        };
        self.face
            .unary(&context, &Asked::call(method), transfer)
            .await
    }

    async fn save_snapshot(
        &self,
        request: Request<proto::SaveSnapshotRequest>,
    ) -> Answer<Self::SaveSnapshotStream> {
        let method = "/kontiki.cluster.v1.ClusterService/SaveSnapshot";
        let context = self.operator(method, &request)?;
        let refused = |error: CallError| to_tonic(&call_error(&error));
        let now_unix_ms = self.face.api.options().clock.unix_ms();
        let chunks = self
            .consensus
            .save_snapshot(now_unix_ms, self.authority.keys())
            .await
            .map_err(refused)?;
        context.audit.started(200);
        let responses = chunks.map(move |chunk| {
            // The record is complete once the stream is let go.
            let _held = &context;
            chunk
                .map(|data| proto::SaveSnapshotResponse { data })
                .map_err(refused)
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn create_token(
        &self,
        request: Request<proto::CreateTokenRequest>,
    ) -> Answer<proto::CreateTokenResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/CreateToken";
        let context = self.operator(method, &request)?;
        let proto::CreateTokenRequest { role, ttl_s } = request.into_inner();
        let create = async {
            let role = Role::parse(&role).ok_or_else(|| {
                Status::bad_request(format!(
                    "role: {role:?} is none of \"node\", \"server\" and \"gateway\""
                ))
            })?;
            let ttl = (ttl_s > 0).then(|| Duration::from_secs(ttl_s.into()));
            let (secret, info) = self.authority.create_token(role, ttl).await?;
            Ok(proto::CreateTokenResponse {
                token: secret,
                info: Some(token(info)),
            })
        };
        self.face
            .unary(&context, &Asked::call(method), create)
            .await
    }

    async fn list_tokens(
        &self,
        request: Request<proto::ListTokensRequest>,
    ) -> Answer<proto::ListTokensResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/ListTokens";
        let context = self.operator(method, &request)?;
        let list = async {
            let tokens = self.authority.list_tokens().await?;
            Ok(proto::ListTokensResponse {
                tokens: tokens.into_iter().map(token).collect(),
            })
        };
        self.face.unary(&context, &Asked::call(method), list).await
    }

    async fn get_encryption(
        &self,
        request: Request<proto::GetEncryptionRequest>,
    ) -> Answer<proto::GetEncryptionResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/GetEncryption";
        let context = self.operator(method, &request)?;
        let status = async { Ok(encryption::status(&self.consensus).await) };
        self.face
            .unary(&context, &Asked::call(method), status)
            .await
    }

    async fn rotate_encryption_keys(
        &self,
        request: Request<proto::RotateEncryptionKeysRequest>,
    ) -> Answer<proto::RotateEncryptionKeysResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/RotateEncryptionKeys";
        let context = self.operator(method, &request)?;
        let rotate = encryption::rotate(&self.consensus);
        self.face
            .unary(&context, &Asked::call(method), rotate)
            .await
    }

    async fn delete_token(
        &self,
        request: Request<proto::DeleteTokenRequest>,
    ) -> Answer<proto::DeleteTokenResponse> {
        let method = "/kontiki.cluster.v1.ClusterService/DeleteToken";
        let context = self.operator(method, &request)?;
        let delete = async {
            self.authority.delete_token(&request.get_ref().id).await?;
            Ok(proto::DeleteTokenResponse {})
        };
        self.face
            .unary(&context, &Asked::call(method), delete)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_masters_operate_the_cluster() {
        let user = |groups: &[&str]| User {
            name: "u".into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        };
        assert!(authorize(&user(&["system:authenticated", MASTERS])).is_ok());
        let refused = authorize(&user(&["system:nodes", "system:authenticated"])).unwrap_err();
        assert_eq!(refused.reason, Reason::Forbidden);
    }
}
