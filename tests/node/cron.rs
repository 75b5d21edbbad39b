//! A CronJob of every minute runs its Job to the end.

use std::time::Duration;

use kontiki_tests::{LocalCluster, eventually_within};

const CRON_JOB: &str = r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: once, image: "kontiki-sample:v1", args: ["--once"]}]
"#;
/// The next full minute is at most one away; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_runs_on_the_minute() {
    let cluster = LocalCluster::up(1, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(CRON_JOB).await.unwrap();
    let job = eventually_within(PATIENCE, "a job completes", || async {
        let jobs = kubectl.json(&["get", "jobs"]).await.ok()?;
        let jobs = jobs["items"].as_array()?.clone();
        jobs.into_iter().find(|job| job["status"]["succeeded"] == 1)
    })
    .await;
    assert_eq!(job["metadata"]["ownerReferences"][0]["name"], "tick");
}
