//! How many pods a job runs now, and what they look like.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use serde_json::Value;

use super::failure_policy::Verdict;
use super::indexes::{INDEX, index_of, parse};
use super::per_index::Failures;
use super::{FINALIZER, Work};
use crate::plan::Plan;
use crate::pods::{controller_ref, deletion_rank, from_template, name_prefix, phase};
use crate::view::{Found, ms_of};

/// Pods created in one step.
const BURST: i32 = 500;
/// First and longest pause after failures, in milliseconds (upstream's defaults).
const BACKOFF_FIRST_MS: u64 = 10_000;
const BACKOFF_CAP_MS: u64 = 600_000;

/// Lets a pod go.
pub fn remove_finalizer(pod: &Found<Pod>, plan: &mut Plan) {
    plan.edit(&pod.object, |value| {
        let Some(metadata) = value["metadata"].as_object_mut() else {
            return;
        };
        let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) else {
            return;
        };
        list.retain(|name| name != FINALIZER);
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    });
}

impl Work<'_> {
    /// Takes the finalizer off all pods: nothing is counted any more.
    pub fn release_all(&mut self) {
        for pod in self.pods.clone() {
            remove_finalizer(&pod, &mut self.plan);
        }
    }

    /// Deletes a pod.
    pub fn delete_pod(&mut self, pod: &Found<Pod>) {
        self.plan.delete(&pod.object);
        self.plan.event(
            &self.job,
            "SuccessfulDelete",
            format!("Deleted pod: {}", pod.name()),
        );
    }

    /// Creates or deletes towards the wanted number.
    pub fn manage(&mut self, active: &[Found<Pod>]) {
        let n_active = active.len() as i32;
        let succeeded = self.status.succeeded.unwrap_or(0);
        let wanted = match self.spec.completions {
            None if succeeded > 0 => n_active.min(self.parallelism()),
            None => self.parallelism(),
            Some(completions) => {
                let failed = i32::try_from(self.failed_indexes().len()).unwrap_or(i32::MAX);
                let open = completions - succeeded - failed;
                open.min(self.parallelism()).max(0)
            }
        };
        if n_active > wanted {
            let mut ranked: Vec<&Found<Pod>> = active.iter().collect();
            ranked.sort_by_cached_key(|pod| deletion_rank(pod, 0, self.view.now_ms));
            for pod in ranked.into_iter().take((n_active - wanted) as usize) {
                self.delete_pod(pod);
            }
            return;
        }
        let waiting = if self.replaces_only_failed() {
            self.terminating()
        } else {
            0
        };
        let missing = (wanted - n_active - waiting).min(BURST);
        if missing <= 0 {
            return;
        }
        // Indexes that fail by themselves wait by themselves.
        let pause = match self.limit_per_index() {
            Some(_) => 0,
            None => self.remaining_backoff_ms(None),
        };
        if pause > 0 {
            self.plan.requeue_after_ms(pause);
        } else if self.indexed() {
            self.create_indexed(active, missing as usize);
        } else {
            (0..missing).for_each(|_| self.create_pod(None));
        }
    }

    fn create_indexed(&mut self, active: &[Found<Pod>], missing: usize) {
        let mut taken: BTreeSet<i32> = active.iter().filter_map(|pod| index_of(pod)).collect();
        taken.extend(parse(
            self.status.completed_indexes.as_deref().unwrap_or_default(),
        ));
        taken.extend(self.failed_indexes());
        let mut missing = missing;
        for index in 0..self.spec.completions.unwrap_or(0) {
            if missing == 0 {
                return;
            }
            if taken.contains(&index) {
                continue;
            }
            missing -= 1;
            let pause = match self.limit_per_index() {
                Some(_) => self.remaining_backoff_ms(Some(index)),
                None => 0,
            };
            if pause > 0 {
                self.plan.requeue_after_ms(pause);
            } else {
                self.create_pod(Some(index));
            }
        }
    }

    fn create_pod(&mut self, index: Option<i32>) {
        let (owner, name) = (controller_ref(&self.job), self.job.name());
        let prefix = match index {
            Some(index) => name_prefix(&format!("{name}-{index}")),
            None => name_prefix(name),
        };
        let mut pod = from_template(&self.spec.template, self.job.namespace(), &prefix, owner);
        pod.metadata
            .finalizers
            .get_or_insert_default()
            .push(FINALIZER.into());
        if let Some(index) = index {
            let text = index.to_string();
            if self.limit_per_index().is_some() {
                self.failures(index).note(&mut pod);
            }
            pod.metadata
                .annotations
                .get_or_insert_default()
                .insert(INDEX.into(), text.clone());
            pod.metadata
                .labels
                .get_or_insert_default()
                .insert(INDEX.into(), text);
            if let Some(spec) = &mut pod.spec {
                spec.hostname
                    .get_or_insert_with(|| format!("{name}-{index}"));
                let inits = spec.init_containers.iter_mut().flatten();
                for container in inits.chain(&mut spec.containers) {
                    add_index(container.env.get_or_insert_default());
                }
            }
        }
        self.plan.create_announced(&pod, &self.job);
    }

    fn failures(&self, index: i32) -> Failures {
        let ignores = |pod: &Pod| self.verdict(pod) == Some(Verdict::Ignore);
        self.failures_of(index, &ignores)
    }

    /// Pause after the failures since the last success, of one index or of all: 10 s, 20 s, ... up to 10 min after the
    /// last failure.
    fn remaining_backoff_ms(&self, index: Option<i32>) -> u64 {
        let finished_ms = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            let ends = statuses.into_iter().flatten().filter_map(|status| {
                status
                    .state
                    .as_ref()?
                    .terminated
                    .as_ref()?
                    .finished_at
                    .as_ref()
                    .map(ms_of)
            });
            let deleted = pod.metadata.deletion_timestamp.as_ref().map(ms_of);
            ends.max().or(deleted).unwrap_or(self.view.now_ms)
        };
        let ended = |wanted: &'static str| {
            let concerned = move |pod: &&Found<Pod>| {
                phase(pod) == wanted && (index.is_none() || index_of(pod) == index)
            };
            let pods = self.pods.iter().filter(concerned);
            pods.map(move |pod| finished_ms(pod)).collect::<Vec<_>>()
        };
        let last_success = ended("Succeeded").into_iter().max().unwrap_or(0);
        let failures: Vec<u64> = ended("Failed")
            .into_iter()
            .filter(|at| *at > last_success)
            .collect();
        let Some(last) = failures.iter().max() else {
            return 0;
        };
        let n_failures = match index {
            Some(index) => self.failures(index).counted() as usize,
            None => failures.len(),
        };
        let doubled = BACKOFF_FIRST_MS << n_failures.saturating_sub(1).min(10);
        (last + doubled.min(BACKOFF_CAP_MS)).saturating_sub(self.view.now_ms)
    }
}

fn add_index(env: &mut Vec<EnvVar>) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    if env.iter().any(|variable| variable.name == NAME) {
        return;
    }
    let field = ObjectFieldSelector {
        api_version: Some("v1".into()),
        field_path: format!("metadata.labels['{INDEX}']"),
    };
    env.push(EnvVar {
        name: NAME.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(field),
            ..EnvVarSource::default()
        }),
    });
}
