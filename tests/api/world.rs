//! A server under attack: a real process on loopback, whose authority the test holds, so that anybody can call.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kontiki::config::{self, ServerConfig};
use kontiki::kubeconfig::Access;
use kontiki::pki::{API_CA_NAME, Authority, Subject};
use kontiki_tests::{eventually, kontiki_binary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wire::Caller;

/// Longest wait for an answer; far above what the slowest machine needs.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Beyond this the server's allocations fail.
const MEMORY_BYTES: u64 = 3 << 30;

/// Secrets and what may hold some are recorded without their bodies, as every sensible policy says.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources:
  - {group: \"\", resources: [secrets, configmaps, serviceaccounts/token]}
- level: RequestResponse
";

/// The server and all that is known of it.
pub struct World {
    folder: TempDir,
    config: ServerConfig,
    authority: Authority,
    admin: Caller,
    process: Child,
}

impl World {
    /// A server with these settings besides its own, once it is ready.
    pub async fn start(adapt: impl FnOnce(&mut ServerConfig)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new()
            .prefix("kontiki-api-")
            .tempdir()
            .unwrap();
        let policy = folder.path().join("audit.yaml");
        fs::write(&policy, AUDIT_POLICY).unwrap();
        let [listen, peer_listen] = free_addresses();
        let mut config = ServerConfig {
            name: "server-1".into(),
            replica_id: 1,
            data_dir: folder.path().join("data"),
            audit_policy_file: Some(policy),
            audit_log_file: Some(folder.path().join("audit.log")),
            listen,
            peer_listen,
            ..ServerConfig::default()
        };
        adapt(&mut config);
        let pki = config.data_dir.join("pki");
        let authority = Authority::load_or_generate(&pki, "api-ca", API_CA_NAME).unwrap();
        let path = folder.path().join("server.toml");
        config::save(&path, &config).unwrap();
        let log = File::create(folder.path().join("server.log")).unwrap();
        // What would eat the machine ends the server instead, and so fails the row.
        let process = Command::new("prlimit")
            .arg(format!("--data={MEMORY_BYTES}"))
            .arg(kontiki_binary())
            .args(["server", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let admin = caller(&config, &authority, Some(&Subject::admin()), None);
        let world = Self {
            folder,
            config,
            authority,
            admin,
            process,
        };
        let admin = world.admin();
        eventually("the server is ready", || async {
            admin.get("/readyz").await.ok().filter(|it| it.code == 200)
        })
        .await;
        world
    }

    fn caller(&self, subject: Option<&Subject>, token: Option<String>) -> Caller {
        caller(&self.config, &self.authority, subject, token)
    }

    /// An administrator.
    pub const fn admin(&self) -> &Caller {
        &self.admin
    }

    /// A node, whether or not it has a Node object.
    pub fn node(&self, name: &str) -> Caller {
        self.caller(Some(&Subject::node(name)), None)
    }

    /// Any user.
    pub fn user(&self, name: &str) -> Caller {
        let subject = Subject {
            name: name.into(),
            client: true,
            ..Subject::default()
        };
        self.caller(Some(&subject), None)
    }

    /// A user who may edit what is in `default`, as roles go.
    pub async fn editor(&self, name: &str) -> Result<Caller> {
        let binding = json!({
            "metadata": {"name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        });
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        let made = self.admin().post(path, &binding).await?;
        made.coded(&[201, 409])?;
        let user = self.user(name);
        eventually("the binding is seen", || async {
            let listed = user.get("/api/v1/namespaces/default/configmaps?limit=1");
            listed.await.ok().filter(|it| it.code == 200)
        })
        .await;
        Ok(user)
    }

    /// Nobody.
    pub fn stranger(&self) -> Caller {
        self.caller(None, None)
    }

    /// The bearer of a token.
    pub fn bearer(&self, token: &str) -> Caller {
        self.caller(None, Some(token.into()))
    }

    /// The authority of users and nodes.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A folder that goes with the server.
    pub fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap()
    }

    /// The audit log.
    pub fn audit_log(&self) -> String {
        let path = self.config.audit_log_file.as_ref().unwrap();
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Lets the kernel count the peak of resident memory anew; what is resident now.
    pub fn mark_memory(&self) -> Result<u64> {
        // 5: "reset the peak resident set size" (proc(5)).
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5")?;
        self.status_bytes("VmRSS:")
    }

    /// The peak of resident memory since then.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).context("the server has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.context("a line of memory")?.trim();
        Ok(kib.trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Checks that the server lives on: ready, and a good write and read are served.
    pub async fn lives(&self) -> Result<()> {
        let admin = self.admin();
        admin.get("/readyz").await?.coded(&[200])?;
        let path = "/api/v1/namespaces/default/configmaps";
        let object = json!({"metadata": {"name": "witness"}});
        admin.post(path, &object).await?.coded(&[201])?;
        let path = format!("{path}/witness");
        admin.send("DELETE", &path, &[], "").await?.coded(&[200])?;
        let log = self.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        ensure!(panic.is_none(), "the server panicked: {panic:?}");
        Ok(())
    }

    /// Events about objects of a name.
    pub async fn events_about(&self, name: &str) -> Result<Vec<Value>> {
        let listed = self.admin().get("/api/v1/events").await?.json()?;
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        let is_about = |event: &Value| event["involvedObject"]["name"] == name;
        Ok(items.into_iter().filter(is_about).collect())
    }
}

fn caller(
    config: &ServerConfig,
    authority: &Authority,
    subject: Option<&Subject>,
    token: Option<String>,
) -> Caller {
    Caller::new(Access {
        server: format!("https://{}", config.listen),
        ca_pem: authority.cert_pem().to_owned(),
        identity: subject.map(|subject| authority.issue(subject).unwrap()),
        token,
    })
}

/// Free ports of loopback.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    // All at once, so that no two are the same.
    let bound: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    std::array::from_fn(|idx| bound[idx].local_addr().unwrap())
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- end of the server's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let pid = Pid::from_raw(self.process.id().cast_signed());
        let _ = kill(pid, Signal::SIGKILL);
        let _ = self.process.wait();
    }
}
