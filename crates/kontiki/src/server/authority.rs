//! The authorities as a server holds them, and what they give to machines that join.

mod joins;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use kontiki_gateway::tls::ClientCerts;

use super::identity::Identity;
use crate::config::ServerConfig;
use crate::join::SERVER_FILES;
use crate::kubeconfig;
use crate::pki::{self, API_CA_NAME, Authority, FRONT_PROXY_CA_NAME, PEER_CA_NAME, Pair, Subject};

pub use joins::Joins;

/// The authorities of the cluster.
pub struct Authorities {
    /// Signs the gateway, users and nodes.
    pub api: Arc<Authority>,
    /// Signs replicas.
    pub peers: Authority,
    /// Verifies clients that a gateway names.
    pub clients: ClientCerts,
    /// Signs what replicas show to aggregated API servers.
    pub front_proxy: Authority,
    /// Signs ServiceAccounts' tokens: a private key in PEM.
    pub token_key_pem: String,
    dir: PathBuf,
}

impl Authorities {
    /// Reads them from the data directory, or makes them at the first start of a cluster, together with an
    /// administrator's kubeconfig.
    pub fn load(config: &ServerConfig, _identity: &Identity) -> Result<Self> {
        let dir = config.data_dir.join("pki");
        let api = Arc::new(Authority::load_or_generate(&dir, "api-ca", API_CA_NAME)?);
        let peers = Authority::load_or_generate(&dir, "peer-ca", PEER_CA_NAME)?;
        let front_proxy = Authority::load_or_generate(&dir, "front-proxy-ca", FRONT_PROXY_CA_NAME)?;
        let token_key_pem = pki::token_key(&dir)?;
        let kubeconfig = config.data_dir.join("kubeconfig");
        let admin = api.ensure(&dir, "admin", &Subject::admin())?;
        let server = format!("https://{}", config.advertise);
        kubeconfig::write(&kubeconfig, &server, api.cert_pem(), &admin)?;
        Ok(Self {
            clients: ClientCerts::under(api.cert_pem())?,
            api,
            peers,
            front_proxy,
            token_key_pem,
            dir,
        })
    }

    /// The files of `join::SERVER_FILES`, which every replica has.
    pub fn files(&self) -> BTreeMap<String, String> {
        let (api, peers) = (self.api.pair(), self.peers.pair());
        let front_proxy = self.front_proxy.pair();
        let contents = [
            &api.cert_pem,
            &api.key_pem,
            &peers.cert_pem,
            &peers.key_pem,
            &front_proxy.cert_pem,
            &front_proxy.key_pem,
            &self.token_key_pem,
        ];
        let named = SERVER_FILES.into_iter().zip(contents);
        named
            .map(|(name, content)| (name.to_owned(), content.clone()))
            .collect()
    }

    /// The gateway's certificate, made anew when due.
    pub fn gateway_pair(&self, config: &ServerConfig) -> Result<Pair> {
        self.api.ensure(
            &self.dir,
            "gateway",
            &Subject::gateway(&config.certificate_hosts()),
        )
    }

    /// The certificate for aggregated API servers, made anew when due.
    pub fn front_proxy_pair(&self) -> Result<Pair> {
        let subject = Subject::front_proxy();
        self.front_proxy
            .ensure(&self.dir, "front-proxy-client", &subject)
    }

    /// The peer port's certificate, made anew when due.
    pub fn peer_pair(&self, _config: &ServerConfig, replica_id: u64) -> Result<Pair> {
        self.peers
            .ensure(&self.dir, "peer", &Subject::peer(replica_id))
    }
}
