//! A disk that fills up: writes are refused while there is still room to refuse them, reads go on, nothing
//! acknowledged is lost, and room brings the writes back.

use std::path::Path;

use bytes::Bytes;
use kontiki::https::{Answer, Client};
use kontiki_tests::{LocalCluster, eventually};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

const PATH: &str = "/api/v1/namespaces/default/configmaps";
/// Room on the disk, above the reserve under which a leader refuses writes.
const DISK: &str = "size=640m";
/// What is left once the disk is as good as full: less than that reserve.
const LEFT_BYTES: u64 = 48 << 20;

/// A file system of its own, gone with the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("kontiki-disk-")
            .tempdir()
            .unwrap();
        let tmpfs = Some("tmpfs");
        mount(tmpfs, folder.path(), tmpfs, MsFlags::empty(), Some(DISK)).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let stat = nix::sys::statvfs::statvfs(self.path()).unwrap();
        let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
        let filler = std::fs::File::create(self.path().join("filler")).unwrap();
        let n_bytes = i64::try_from(free - LEFT_BYTES).unwrap();
        let mode = nix::fcntl::FallocateFlags::empty();
        nix::fcntl::fallocate(&filler, mode, 0, n_bytes).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

async fn create(client: &Client, name: &str) -> Option<Answer> {
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    let mut connection = client.connect().await.ok()?;
    let body = Bytes::from(body.to_string());
    connection.send("POST", PATH, body).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let disk = SmallDisk::new();
    let cluster = LocalCluster::up_in(disk.path(), 1, 0);
    let client = cluster.client();
    assert_eq!(create(&client, "before").await.unwrap().code, 201);

    disk.fill();
    let mut n_written = 0;
    let refused = eventually("a write is refused", || {
        n_written += 1;
        let (client, name) = (&client, format!("filling-{n_written}"));
        async move {
            create(client, &name)
                .await
                .filter(|answer| answer.code != 201)
        }
    })
    .await;
    let status: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(
        (refused.code, &status["reason"]),
        (503, &json!("ServiceUnavailable"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("disk is nearly full"), "{message}");
    let read = client.get(&format!("{PATH}/before")).await.unwrap();
    assert_eq!(read.code, 200, "reads go on");

    disk.make_room();
    eventually("writes are taken again", || async {
        let answer = create(&client, "after").await?;
        (answer.code == 201).then_some(())
    })
    .await;
    cluster.signal("server-1", Signal::SIGKILL).await;
    cluster.up_again();
    let expected = (1..n_written)
        .map(|n| format!("filling-{n}"))
        .chain(["before".into(), "after".into()]);
    for name in expected {
        let read = client.get(&format!("{PATH}/{name}")).await.unwrap();
        assert_eq!(read.code, 200, "{name}");
    }
}
