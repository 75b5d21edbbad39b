//! The gRPC face: objects, the cluster, joining, with reflection and health. The verbs, their authorization and their
//! errors are `kontiki-apiserver`'s; this crate turns messages into options and answers into messages. Between a gateway
//! of its own process and the replicas it has both ends: `gateway` on a replica, `remote` in the gateway.
//!
//! Deliberately absent: the listener and TLS (`kontiki-gateway`), agents (`kontiki-dispatcher`), peers
//! (`kontiki-consensus`), certificates and tokens (the binary, behind [`JoinAuthority`]).

mod audit;
mod batch;
mod cluster;
mod codes;
mod convert;
mod error;
mod face;
mod feed;
mod gateway;
mod health;
mod join;
mod object;
mod pipe;
pub mod remote;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use kontiki_apiserver::ApiServer;
use kontiki_base::limits::RPC_MESSAGE_BYTES;
use kontiki_consensus::Consensus;
use kontiki_proto::api::object_service_server::ObjectServiceServer;
use kontiki_proto::cluster::cluster_service_server::ClusterServiceServer;
use kontiki_proto::cluster::join_service_server::JoinServiceServer;
use tonic::service::Routes;

pub use codes::refined;
pub use error::to_tonic;
pub use gateway::service as gateway_service;
pub use join::{
    ClientIdentity, JoinAuthority, JoinGateway, JoinNode, JoinServer, Role, ServerIdentity,
    TokenInfo,
};

use crate::face::Face;

/// Largest message of a public service, in bytes: gRPC's own default, above the largest request of REST.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const _: () = assert!(MESSAGE_BYTES > kontiki_base::limits::REQUEST_BYTES);
const _: () = assert!(MESSAGE_BYTES < RPC_MESSAGE_BYTES);

/// All services of this crate.
pub fn routes(api: ApiServer, consensus: Consensus, authority: Arc<dyn JoinAuthority>) -> Routes {
    let cluster =
        cluster::Service::new(Face::new(api.clone()), consensus.clone(), authority.clone());
    let cluster = ClusterServiceServer::new(cluster)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let (auditor, clock) = (api.options().auditor.clone(), api.options().clock.clone());
    let join = JoinServiceServer::new(join::Service::new(authority, auditor, clock))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let routes = object_routes(api).add_service(cluster).add_service(join);
    let routes = routes.add_service(health::service(&consensus));
    reflected(routes)
}

/// The object service alone: what needs no replica behind it.
fn object_routes(api: ApiServer) -> Routes {
    let object = ObjectServiceServer::new(object::Service::new(Face::new(api)))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    Routes::new(object)
}

/// Services that reflection names: those of the public port.
const PUBLIC: [&str; 6] = [
    "kontiki.api.v1.ObjectService",
    "kontiki.api.v1.GatewayService",
    "kontiki.cluster.v1.ClusterService",
    "kontiki.cluster.v1.JoinService",
    "kontiki.node.v1.NodeService",
    "grpc.health.v1.Health",
];

fn reflected(routes: Routes) -> Routes {
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(kontiki_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        PUBLIC.into_iter().fold(
            builder,
            tonic_reflection::server::Builder::with_service_name,
        )
    };
    // Both versions: grpcurl and many libraries still ask for the alpha only.
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(alpha)) => routes.add_service(v1).add_service(alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "reflection is off: the descriptors do not load");
            routes
        }
    }
}
