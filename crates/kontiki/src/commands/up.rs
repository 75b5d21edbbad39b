//! `kontiki up`: a whole cluster on this machine, as real processes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, AgentConfig, MemberConfig, ServerConfig};
use crate::https::Client;
use crate::local::docker;
use crate::local::layout::Layout;
use crate::local::process::{self, Process};
use crate::local::settings::{Settings, check_free, loopback};
use crate::output::Steps;
use crate::pki::{API_CA_NAME, Authority, FRONT_PROXY_CA_NAME, PEER_CA_NAME, Subject};
use crate::{files, kubeconfig};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// Start a cluster on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Replicas of the control plane: 1, 3, 5 or 7 [default: 3, or as before]
    #[arg(long)]
    servers: Option<u32>,
    /// Nodes [default: 1, or as before]
    #[arg(long)]
    nodes: Option<u32>,
    /// Where to keep the cluster [default: ~/.kontiki]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Return once the cluster is ready and leave it running
    #[arg(long)]
    detach: bool,
    /// Port of the API; the replicas' own ports follow in steps of ten; 0 chooses free ones
    #[arg(long, default_value_t = 6443)]
    port: u16,
}

/// Lays out, starts, waits until ready, and says how to go on.
pub async fn run(args: Args) -> Result<()> {
    let data_dir = args
        .data_dir
        .clone()
        .unwrap_or_else(files::default_data_dir);
    let layout = Layout::new(&data_dir);
    let mut steps = Steps::default();
    let settings = settings(&args, &layout)?;
    let mut pod_listen = None;
    if settings.nodes > 0 {
        docker::check(&docker::host()).await?;
        pod_listen = docker::bridge_address(&docker::host())
            .await
            .map(|address| SocketAddr::from((address, settings.port)));
    }
    if let Some(address) = pod_listen
        && is_down(&layout)
    {
        check_free(address)?;
    }
    steps.begin("certificates");
    let authorities = lay_out(&layout, &settings, pod_listen)?;
    steps.end(&format!("authority {}", &authorities.digest()?[..12]));
    let mut started = Vec::new();
    if let Err(error) = start(&layout, &settings, &mut steps, &mut started).await {
        println!();
        // Logs and data stay for whoever looks into it; what this command started does not.
        for process in started {
            process.stop().await?;
        }
        return Err(error);
    }
    println!("\nKontiki is up after {}.", steps.total());
    print_next(&layout);
    if !args.detach {
        println!("\nCtrl-C ends it (start with --detach to leave it running).");
        supervise(&layout).await?;
    }
    Ok(())
}

fn settings(args: &Args, layout: &Layout) -> Result<Settings> {
    if layout.settings().exists() {
        let mut settings: Settings = config::load(&layout.settings())?;
        if args
            .servers
            .is_some_and(|servers| servers != settings.servers)
        {
            bail!(
                "the cluster in {} has {} replicas; end it with `kontiki down --purge` first, or name \
                 another --data-dir",
                layout.dir().display(),
                settings.servers
            );
        }
        settings.nodes = args.nodes.unwrap_or(settings.nodes);
        if is_down(layout) {
            settings.check_free()?;
        }
        return Ok(settings);
    }
    let cluster_id = crate::join::random_hex(8);
    let (servers, nodes) = (args.servers.unwrap_or(3), args.nodes.unwrap_or(1));
    Settings::choose(cluster_id, servers, nodes, args.port)
}

/// Whether nothing of the cluster runs; with a part of it running, the rest is started again beside that.
fn is_down(layout: &Layout) -> bool {
    Process::all(layout)
        .iter()
        .all(|process| process.pid().is_none())
}

/// Writes keys, kubeconfig and one config file a process; what is there and good stays.
fn lay_out(
    layout: &Layout,
    settings: &Settings,
    pod_listen: Option<SocketAddr>,
) -> Result<Authority> {
    let pki = layout.pki();
    let api = Authority::load_or_generate(&pki, "api-ca", API_CA_NAME)?;
    let peers = Authority::load_or_generate(&pki, "peer-ca", PEER_CA_NAME)?;
    let front_proxy = Authority::load_or_generate(&pki, "front-proxy-ca", FRONT_PROXY_CA_NAME)?;
    let token_key = crate::pki::token_key(&pki)?;
    let admin = api.ensure(&pki, "admin", &Subject::admin())?;
    let server = format!("https://{}", loopback(settings.port));
    kubeconfig::write(&layout.kubeconfig(), &server, api.cert_pem(), &admin)?;
    if !layout.admin_token().exists() {
        files::write_private(
            &layout.admin_token(),
            crate::join::random_hex(16).as_bytes(),
        )?;
    }
    let token = files::read(&layout.admin_token())?;
    let tokens = layout.pki().join("tokens.csv");
    files::write_private(
        &tokens,
        format!("{token},admin,,system:masters\n").as_bytes(),
    )?;
    for idx in 1..=settings.servers {
        let config = ServerConfig {
            pod_listen,
            ..server_config(layout, settings, idx, tokens.clone())
        };
        let pki = config.data_dir.join("pki");
        api.pair().save(&pki, "api-ca")?;
        peers.pair().save(&pki, "peer-ca")?;
        front_proxy.pair().save(&pki, "front-proxy-ca")?;
        crate::pki::save_token_key(&pki, &token_key)?;
        files::create_private_dir(
            layout
                .config("x")
                .parent()
                .context("configs have a folder")?,
        )?;
        config::save(&layout.config(&config.name), &config)?;
    }
    for idx in 1..=settings.nodes {
        let config = agent_config(layout, settings, idx);
        let pki = config.data_dir.join("pki");
        api.ensure(&pki, "node", &Subject::node(&config.node_name))?;
        files::write_private(&pki.join("ca.crt"), api.cert_pem().as_bytes())?;
        config::save(&layout.config(&config.node_name), &config)?;
    }
    config::save(&layout.settings(), settings)?;
    Ok(api)
}

fn server_config(layout: &Layout, settings: &Settings, idx: u32, tokens: PathBuf) -> ServerConfig {
    let (api_port, peer_port) = settings.server_ports[idx as usize - 1];
    let name = Settings::server_name(idx);
    let members = (1u64..)
        .zip(&settings.server_ports)
        .map(|(id, (api, peer))| MemberConfig {
            id,
            name: Settings::server_name(id as u32),
            peer_endpoint: loopback(*peer).to_string(),
            api_endpoint: loopback(*api).to_string(),
        });
    ServerConfig {
        replica_id: u64::from(idx),
        data_dir: layout.data(&name),
        listen: loopback(api_port),
        shared_listen: Some(loopback(settings.port)),
        peer_listen: loopback(peer_port),
        cluster_id: settings.cluster_id.clone(),
        initial_members: members.collect(),
        token_auth_file: Some(tokens),
        cluster_cidr: settings.cluster_cidr.clone(),
        service_cidr: settings.service_cidr.clone(),
        // A webhook under development runs beside the cluster.
        allow_loopback_extensions: true,
        name,
        ..ServerConfig::default()
    }
}

fn agent_config(layout: &Layout, settings: &Settings, idx: u32) -> AgentConfig {
    let node_name = Settings::node_name(idx);
    let servers = settings
        .server_ports
        .iter()
        .map(|(api, _)| loopback(*api).to_string());
    AgentConfig {
        servers: servers.collect(),
        data_dir: layout.data(&node_name),
        docker_host: docker::host(),
        node_address: Some(config::primary_address()),
        node_name,
        ..AgentConfig::default()
    }
}

async fn start(
    layout: &Layout,
    settings: &Settings,
    steps: &mut Steps,
    started: &mut Vec<Process>,
) -> Result<()> {
    steps.begin("control plane");
    let mut processes = Vec::new();
    for idx in 1..=settings.servers {
        let server = Process::new(layout, &Settings::server_name(idx));
        if server.ensure("server")? {
            started.push(server.clone());
        }
        processes.push(server);
    }
    // Agents may start now: they try until a replica takes them.
    for idx in 1..=settings.nodes {
        let agent = Process::new(layout, &Settings::node_name(idx));
        if agent.ensure("agent")? {
            started.push(agent.clone());
        }
        processes.push(agent);
    }
    let client = Client::new(kubeconfig::read(&layout.kubeconfig())?)?;
    wait_until(&processes, "the control plane", || async {
        for (api, _) in &settings.server_ports {
            if !replica_ready(layout, *api).await {
                return None;
            }
        }
        client
            .get("/readyz")
            .await
            .ok()
            .filter(|answer| answer.code == 200)
            .map(|_| ())
    })
    .await?;
    steps.end(&format!("{} replicas agree", settings.servers));
    if settings.nodes > 0 {
        steps.begin("nodes");
        let wanted = settings.nodes as usize;
        wait_until(&processes, "the nodes", || async {
            (n_ready_nodes(&client).await.unwrap_or(0) >= wanted).then_some(())
        })
        .await?;
        steps.end(&format!("{wanted} ready"));
    }
    Ok(())
}

async fn replica_ready(layout: &Layout, port: u16) -> bool {
    let ready = async {
        let mut access = kubeconfig::read(&layout.kubeconfig())?;
        access.server = format!("https://{}", loopback(port));
        anyhow::Ok(Client::new(access)?.get("/readyz").await?.code == 200)
    };
    ready.await.unwrap_or(false)
}

async fn n_ready_nodes(client: &Client) -> Result<usize> {
    let list = client.get("/api/v1/nodes").await?.json()?;
    let ready = |node: &&serde_json::Value| {
        node["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            })
    };
    Ok(list["items"]
        .as_array()
        .map_or(0, |items| items.iter().filter(ready).count()))
}

/// Polls until `check` succeeds; fails when a process ends or time runs out.
async fn wait_until<F>(processes: &[Process], what: &str, check: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Option<()>>,
{
    let deadline = tokio::time::Instant::now() + READY_TIMEOUT;
    while check().await.is_none() {
        process::reap();
        for process in processes {
            process.check_running()?;
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "{what} did not become ready in {} s; see the logs",
                READY_TIMEOUT.as_secs()
            );
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn print_next(layout: &Layout) {
    println!("\n  export KUBECONFIG={}", layout.kubeconfig().display());
    println!("  kubectl get nodes");
    println!("  kontiki status");
}

/// Stays until Ctrl-C or SIGTERM, then ends the cluster; its data stays.
async fn supervise(layout: &Layout) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    println!();
    super::down::stop(layout, false).await
}
