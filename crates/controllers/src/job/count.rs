//! Counting ends of pods, each once.

use k8s_openapi::api::core::v1::Pod;

use super::indexes::{index_of, parse, render};
use super::{FINALIZER, Work, failure_policy, pods};
use crate::pods::phase;
use crate::view::Found;

fn tracked(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == FINALIZER)
}

impl Work<'_> {
    fn failed(&self, pod: &Pod) -> bool {
        match phase(pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ => pod.metadata.deletion_timestamp.is_some() && !self.replaces_only_failed(),
        }
    }

    /// Counts what has ended and releases it. Returns why the pod failure policy ends the job, if it does.
    pub fn count_finished(&mut self) -> Option<String> {
        let mut completed = parse(self.status.completed_indexes.as_deref().unwrap_or_default());
        let mut policy_failure = None;
        let (mut succeeded, mut failed) = (0, 0);
        let tracked: Vec<Found<Pod>> = self
            .pods
            .iter()
            .filter(|pod| tracked(pod))
            .cloned()
            .collect();
        for pod in tracked {
            if phase(&pod) == "Succeeded" {
                match index_of(&pod).filter(|_| self.indexed()) {
                    Some(index) if index < self.spec.completions.unwrap_or(0) => {
                        completed.insert(index);
                    }
                    Some(_) => {}
                    None => succeeded += 1,
                }
            } else if self.failed(&pod) {
                let verdict = self.verdict(&pod);
                let ignored = verdict == Some(failure_policy::Verdict::Ignore);
                let fails_index = verdict == Some(failure_policy::Verdict::FailIndex);
                let ends_job = matches!(verdict, Some(failure_policy::Verdict::FailJob(_)));
                if !ends_job && !self.is_settled(&pod, ignored, fails_index) {
                    continue;
                }
                match verdict {
                    Some(failure_policy::Verdict::FailJob(why)) => {
                        policy_failure = policy_failure.or(Some(why));
                        failed += 1;
                    }
                    Some(failure_policy::Verdict::Ignore) => {}
                    Some(_) | None => failed += 1,
                }
            } else {
                continue;
            }
            pods::remove_finalizer(&pod, &mut self.plan);
        }
        let add = |count: &mut Option<i32>, more: i32| {
            if more > 0 {
                *count = Some(count.unwrap_or(0) + more);
            }
        };
        add(&mut self.status.failed, failed);
        if self.indexed() {
            let count = completed.len() as i32;
            self.status.succeeded = (count > 0).then_some(count);
            self.status.completed_indexes = (count > 0).then(|| render(&completed));
        } else {
            add(&mut self.status.succeeded, succeeded);
        }
        if self.limit_per_index().is_some() {
            self.status.failed_indexes.get_or_insert_default();
        }
        policy_failure
    }

    /// What the pod failure policy says of a failed pod.
    pub fn verdict(&self, pod: &Pod) -> Option<failure_policy::Verdict> {
        let policy = self.spec.pod_failure_policy.as_ref()?;
        failure_policy::judge(policy, pod)
    }
}
