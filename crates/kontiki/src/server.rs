//! One replica: puts storage, consensus, API, dispatcher, controllers and both faces together, and ends them in order.

mod admission;
mod announce;
mod audit;
pub mod authority;
mod components;
mod identity;
pub mod listen;
mod renew;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use kontiki_apiserver::authn::Tokens;
use kontiki_apiserver::outbound::OutboundOptions;
use kontiki_apiserver::{ApiServer, NodeLiveness as _, TokenIssuer};
use kontiki_base::clock::SystemClock;
use kontiki_base::random::SystemRandom;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_consensus::{Config, Consensus, Member, PeerTls, Sealing};
use kontiki_dispatcher::Dispatcher;
use kontiki_gateway::health::Check;
use kontiki_gateway::{Build, GatewayOptions, tls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{ServerConfig, parse_cidr};
use crate::{files, pki};
use audit::AuditLog;
use authority::Authorities;
pub use identity::Identity;
pub use kontiki_consensus::KEYRING;

/// Said by `/version`; `build.rs` finds it out.
const BUILD: Build = Build {
    commit: env!("KONTIKI_COMMIT"),
    tree_state: env!("KONTIKI_TREE_STATE"),
    date: env!("KONTIKI_DATE"),
};

/// Folder of log and state below the data directory.
pub const STORE: &str = "store";
/// Folder of keys below the data directory.
pub const PKI: &str = "pki";

/// Runs a replica until SIGTERM or SIGINT.
pub async fn run(config: ServerConfig) -> Result<()> {
    // Bound before anything else: a taken port is found at once and changes nothing.
    let listeners = listen::bind(&config)?;
    files::create_private_dir(&config.data_dir)?;
    let identity = Identity::find(&config).await?;
    let authorities = Arc::new(Authorities::load(&config, &identity)?);
    let consensus = Consensus::start(consensus_config(&config, &identity, &authorities)?)
        .await
        .with_context(|| format!("replica {} cannot start", identity.replica_id))?;
    identity.bootstrap(&config, &consensus).await?;

    let tokens = Arc::new(load_tokens(&config)?);
    let dispatcher = dispatcher(&config, &consensus);
    let audit_log = AuditLog::start(&config)?;
    let api = ApiServer::new(
        consensus.clone(),
        kontiki_apiserver::Options {
            components: Arc::new(components::Replicas::new(&consensus)),
            auditor: audit_log.as_ref().map(|log| log.auditor.clone()),
            ..api_options(&config, &authorities, &tokens, &dispatcher)?
        },
    );
    let manager = kontiki_controller_manager::start(
        consensus.clone(),
        manager_options(&config, &consensus, &dispatcher, &api, &authorities),
    );
    let join = Arc::new(authority::Joins::new(&consensus, &api, authorities.clone()));
    renew::show_to_extensions(&authorities, &api)?;
    let leadership = consensus.leadership();
    let extensions = api
        .clone()
        .watch_extensions(move || leadership.borrow().is_leader);
    let extensions = spawn(TaskKind::Housekeeping, extensions);
    let rest = kontiki_gateway::router(
        api.clone(),
        GatewayOptions {
            build: BUILD,
            advertise: config.advertise.clone(),
            checks: checks(&consensus),
        },
    );
    let grpc = kontiki_rpc::routes(api.clone(), consensus.clone(), join.clone())
        .add_service(dispatcher.service(api.clone()))
        .add_service(kontiki_rpc::gateway_service(
            api.clone(),
            rest.clone(),
            join,
        ));
    let grpc = kontiki_rpc::refined(grpc.into_axum_router());
    let router = kontiki_gateway::with_grpc(rest, grpc);

    let announcing = spawn(
        TaskKind::Housekeeping,
        announce::run(config.clone(), identity.clone()),
    );
    let gateway_pair = authorities.gateway_pair(&config)?;
    let cert = tls::ServerCert::from_pem(&gateway_pair.cert_pem, &gateway_pair.key_pem)?;
    let tls = Arc::new(tls::server_config(
        cert.clone(),
        authorities.api.cert_pem(),
    )?);
    let (stop, stopping) = watch::channel(false);
    let renewal = renew::run(
        config.clone(),
        authorities,
        cert,
        consensus.clone(),
        api,
        tokens,
    );
    let renewal = spawn(TaskKind::Housekeeping, renewal);
    let serving: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let mut stopping = stopping.clone();
            let shutdown = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let serve = kontiki_gateway::serve(listener, tls.clone(), router.clone(), shutdown);
            spawn(TaskKind::Listener, serve)
        })
        .collect();
    tracing::info!(name = config.name, replica = identity.replica_id, api = %config.listen, "serving");

    wait_for_end().await?;
    tracing::info!("stopping");
    manager.abort();
    dispatcher.shutdown();
    stop.send_replace(true);
    for served in serving {
        let _ = served.await;
    }
    renewal.abort();
    extensions.abort();
    announcing.abort();
    consensus.shutdown().await;
    if let Some(log) = audit_log {
        log.close().await;
    }
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
pub async fn wait_for_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn consensus_config(
    config: &ServerConfig,
    identity: &Identity,
    authorities: &Authorities,
) -> Result<Config> {
    let peer = authorities.peer_pair(config, identity.replica_id)?;
    Ok(Config {
        cluster_id: identity.cluster_id.clone(),
        replica_id: identity.replica_id,
        name: config.name.clone(),
        data_dir: config.data_dir.join(STORE),
        peer_listen: config.peer_listen,
        advertise_peer: config.advertise_peer.clone(),
        advertise_api: config.advertise.clone(),
        peer_tls: PeerTls {
            ca_pem: authorities.peers.cert_pem().to_owned(),
            cert_pem: peer.cert_pem,
            key_pem: peer.key_pem,
        },
        timing: kontiki_consensus::Timing::default(),
        retention: kontiki_consensus::Retention::default(),
        sealing: Sealing {
            keyring: config
                .encryption_keyring_file
                .clone()
                .unwrap_or_else(|| config.data_dir.join(PKI).join(KEYRING)),
            resources: config.sealed_resources()?,
        },
    })
}

fn load_tokens(config: &ServerConfig) -> Result<Tokens> {
    let tokens = Tokens::default();
    if let Some(file) = &config.token_auth_file {
        tokens
            .load(&files::read(file)?)
            .with_context(|| format!("cannot use {}", file.display()))?;
    }
    Ok(tokens)
}

fn api_options(
    config: &ServerConfig,
    authorities: &Authorities,
    tokens: &Arc<Tokens>,
    dispatcher: &Arc<Dispatcher>,
) -> Result<kontiki_apiserver::Options> {
    Ok(kontiki_apiserver::Options {
        tokens: tokens.clone(),
        issuer: Arc::new(
            TokenIssuer::from_pem(&authorities.token_key_pem)
                .with_context(|| format!("{} is not usable", pki::TOKEN_KEY))?,
        ),
        node_tunnel: dispatcher.clone(),
        liveness: dispatcher.clone(),
        outbound: OutboundOptions {
            allow_loopback: config.allow_loopback_extensions,
            ..OutboundOptions::default()
        },
        service_cidr: parse_cidr(&config.service_cidr)?,
        node_ports: config.node_port_first..=config.node_port_last,
        allow_service_external_ips: config.allow_service_external_ips,
        ..kontiki_apiserver::Options::default()
    })
}

/// Ready once this replica knows a leader and has what every cluster begins with; alive as long as it answers.
fn checks(consensus: &Consensus) -> Vec<Check> {
    let leadership = consensus.leadership();
    let led = move || match leadership.borrow().leader {
        Some(_) => Ok(()),
        None => Err("no leader is known".to_owned()),
    };
    let mut checks = vec![Check {
        name: "consensus",
        live: false,
        run: Arc::new(led),
    }];
    checks.extend(BEGINNINGS.map(|(name, resource, object)| {
        let store = consensus.store().clone();
        let exists = move || match store.snapshot().find(resource, "", object) {
            Some(_) => Ok(()),
            None => Err(format!("{resource} \"{object}\" is not made yet")),
        };
        Check {
            name,
            live: false,
            run: Arc::new(exists),
        }
    }));
    checks
}

/// What controllers make in a new cluster before clients may come, under upstream's names of these checks.
const BEGINNINGS: [(&str, &str, &str); 2] = [
    (
        "poststarthook/start-system-namespaces-controller",
        "namespaces",
        "default",
    ),
    (
        "poststarthook/rbac/bootstrap-roles",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "cluster-admin",
    ),
];

fn dispatcher(config: &ServerConfig, consensus: &Consensus) -> Arc<Dispatcher> {
    Dispatcher::new(
        consensus.clone(),
        kontiki_dispatcher::Options {
            clock: SystemClock::shared(),
            cluster_cidr: config.cluster_cidr.clone(),
            service_cidr: config.service_cidr.clone(),
            cluster_dns: config.dns_service_ip(),
            ..kontiki_dispatcher::Options::default()
        },
    )
}

fn manager_options(
    config: &ServerConfig,
    consensus: &Consensus,
    dispatcher: &Arc<Dispatcher>,
    api: &ApiServer,
    authorities: &Authorities,
) -> kontiki_controller_manager::Options {
    let (consensus, dispatcher) = (consensus.clone(), dispatcher.clone());
    let pod_listen = config.pod_listen;
    let settings = kontiki_controllers::Settings {
        cluster_cidr: config.cluster_cidr.clone(),
        kubernetes_service_ip: config.kubernetes_service_ip(),
        root_ca_pem: authorities.api.cert_pem().to_owned(),
        front_proxy_ca_pem: authorities.front_proxy.cert_pem().to_owned(),
        signer: Some(authorities.api.clone()),
        ..kontiki_controllers::Settings::default()
    };
    kontiki_controller_manager::Options {
        clock: SystemClock::shared(),
        random: Arc::new(SystemRandom),
        settings: Arc::new(move || kontiki_controllers::Settings {
            api_endpoints: api_endpoints(&consensus.members(), pod_listen),
            ..settings.clone()
        }),
        heartbeats: Arc::new(move |node| dispatcher.last_heartbeat_unix_ms(node)),
        admission: Arc::new(admission::ByApiServer(api.clone())),
    }
}

/// Where replicas serve the API, for the endpoints of `default/kubernetes`; loopback means nothing to a pod.
fn api_endpoints(members: &[Member], pod_listen: Option<SocketAddr>) -> Vec<(String, u16)> {
    let addresses = members
        .iter()
        .filter_map(|member| member.api_endpoint.parse().ok());
    let mut endpoints: Vec<(String, u16)> = addresses
        .filter(|address: &SocketAddr| !address.ip().is_loopback())
        .chain(pod_listen)
        .map(|address| (address.ip().to_string(), address.port()))
        .collect();
    endpoints.sort();
    endpoints
}

/// The first members, as consensus wants them.
fn members(config: &ServerConfig, replica_id: u64) -> Vec<Member> {
    let member = |id, name: &str, peer: &str, api: &str| Member {
        id,
        name: name.into(),
        peer_endpoint: peer.into(),
        api_endpoint: api.into(),
        voter: true,
        leader: false,
        matched_index: None,
    };
    if config.initial_members.is_empty() {
        return vec![member(
            replica_id,
            &config.name,
            &config.advertise_peer,
            &config.advertise,
        )];
    }
    let all = config.initial_members.iter();
    all.map(|m| member(m.id, &m.name, &m.peer_endpoint, &m.api_endpoint))
        .collect()
}
