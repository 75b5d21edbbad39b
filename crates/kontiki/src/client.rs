//! The gRPC client of the administrative commands.

use std::time::Duration;

use anyhow::{Context, Result};
use kontiki_proto::cluster::cluster_service_client::ClusterServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::kubeconfig::Access;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a channel to the API server of a kubeconfig.
pub async fn channel(access: &Access) -> Result<Channel> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&access.ca_pem));
    if let Some(pair) = &access.identity {
        tls = tls.identity(Identity::from_pem(&pair.cert_pem, &pair.key_pem));
    }
    Channel::from_shared(format!("https://{}", access.endpoint()))?
        .tls_config(tls)?
        .connect_timeout(CONNECT_TIMEOUT)
        .connect()
        .await
        .with_context(|| format!("no API server answers at {}", access.server))
}

/// The administrative service.
pub async fn cluster(access: &Access) -> Result<ClusterServiceClient<Channel>> {
    Ok(ClusterServiceClient::new(channel(access).await?))
}

/// A refused call, in one line.
pub fn refused(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}
