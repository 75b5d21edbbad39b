//! Commands in containers and the streams of containers, by Docker's exec and attach.

use bollard::models::ExecConfig;
use bollard::query_parameters::{ResizeContainerTTYOptions, ResizeExecOptions};
use serde_json::json;

use super::{CONTROL, Docker, explain, hijack};
use crate::{AttachSpec, ExecSpec, Result, Size, Streams};

/// Docker lets go of a terminal when it reads a sequence of keys, by default two that shells use. Clients of Kubernetes
/// know no such sequence: this one is as good as none.
const DETACH_KEYS: &str = "ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^";

impl Docker {
    pub(super) async fn exec_create_inner(&self, id: &str, spec: &ExecSpec) -> Result<String> {
        let config = ExecConfig {
            attach_stdin: Some(spec.stdin),
            attach_stdout: Some(spec.stdout),
            attach_stderr: Some(spec.stderr),
            tty: Some(spec.tty),
            detach_keys: Some(DETACH_KEYS.into()),
            cmd: Some(spec.argv.clone()),
            ..ExecConfig::default()
        };
        let client = self.client(CONTROL).await?;
        let created = client.create_exec(id, config).await.map_err(explain)?;
        Ok(created.id)
    }

    pub(super) async fn exec_start_inner(&self, exec: &str, tty: bool) -> Result<Streams> {
        let body = json!({"Detach": false, "Tty": tty}).to_string();
        let path = format!("/exec/{exec}/start");
        hijack::open(&self.socket, &path, body, tty).await
    }

    pub(super) async fn exec_resize_inner(&self, exec: &str, size: Size) -> Result<()> {
        let options = ResizeExecOptions {
            w: size.width.into(),
            h: size.height.into(),
        };
        let client = self.client(CONTROL).await?;
        client.resize_exec(exec, options).await.map_err(explain)
    }

    pub(super) async fn exec_code_inner(&self, exec: &str) -> Result<Option<i32>> {
        let client = self.client(CONTROL).await?;
        let found = client.inspect_exec(exec).await.map_err(explain)?;
        let code = found.exit_code.filter(|_| found.running != Some(true));
        Ok(code.map(|code| code as i32))
    }

    pub(super) async fn attach_inner(&self, id: &str, spec: AttachSpec) -> Result<Streams> {
        let path = format!(
            "/containers/{id}/attach?stream=1&stdin={}&stdout={}&stderr={}&detachKeys={DETACH_KEYS}",
            u8::from(spec.stdin),
            u8::from(spec.stdout),
            u8::from(spec.stderr),
        );
        hijack::open(&self.socket, &path, String::new(), spec.tty).await
    }

    pub(super) async fn resize_inner(&self, id: &str, size: Size) -> Result<()> {
        let options = ResizeContainerTTYOptions {
            w: size.width.into(),
            h: size.height.into(),
        };
        let client = self.client(CONTROL).await?;
        let resized = client.resize_container_tty(id, options).await;
        resized.map_err(explain)
    }
}
