//! `backoffLimitPerIndex`: each index of a job fails by itself.
//!
//! How often an index has failed is carried from pod to pod by an annotation. So a failed pod is neither counted nor
//! let go before its successor exists or its index is done with: nobody can take the count away in between.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::Work;
use super::indexes::{index_of, parse, render};
use crate::view::Found;

/// Annotation with the failures of the index before this pod.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation with the failures before this pod that the pod failure policy ignored.
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What the pods of an index have been through.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failures {
    counted: u32,
    ignored: u32,
}

impl Failures {
    /// Before this pod.
    fn before(pod: &Pod) -> Self {
        let number = |name: &str| {
            let annotations = pod.metadata.annotations.as_ref();
            let text = annotations.and_then(|annotations| annotations.get(name));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Self {
            counted: number(FAILURES),
            ignored: number(IGNORED),
        }
    }

    /// After it.
    fn and(mut self, ignored: bool) -> Self {
        let count = if ignored {
            &mut self.ignored
        } else {
            &mut self.counted
        };
        *count = count.saturating_add(1);
        self
    }

    fn total(self) -> u32 {
        self.counted.saturating_add(self.ignored)
    }

    /// Notes them on the next pod.
    pub fn note(self, pod: &mut Pod) {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(FAILURES.into(), self.counted.to_string());
        if self.ignored > 0 {
            annotations.insert(IGNORED.into(), self.ignored.to_string());
        }
    }

    /// Failures that make the next pod wait.
    pub fn counted(self) -> u32 {
        self.counted
    }
}

impl Work<'_> {
    /// The limit, of a job that has one.
    pub fn limit_per_index(&self) -> Option<u32> {
        let limit = self
            .spec
            .backoff_limit_per_index
            .filter(|_| self.indexed())?;
        Some(u32::try_from(limit).unwrap_or(0))
    }

    /// Indexes that have failed for good.
    pub fn failed_indexes(&self) -> BTreeSet<i32> {
        parse(self.status.failed_indexes.as_deref().unwrap_or_default())
    }

    /// Looks at a failed pod: whether its index is done with (and noted as failed), or a successor goes on; if
    /// neither, it is to be left alone.
    pub fn is_settled(&mut self, pod: &Found<Pod>, ignored: bool, fails_index: bool) -> bool {
        let (Some(limit), Some(index)) = (self.limit_per_index(), index_of(pod)) else {
            return true;
        };
        let mut failed = self.failed_indexes();
        let after = Failures::before(pod).and(ignored);
        if fails_index || after.counted > limit {
            failed.insert(index);
            self.status.failed_indexes = Some(render(&failed));
        }
        let completed = parse(self.status.completed_indexes.as_deref().unwrap_or_default());
        let last = self.spec.completions.unwrap_or(0);
        let mut others = self.pods.iter();
        index >= last
            || failed.contains(&index)
            || completed.contains(&index)
            || others.any(|other| {
                let same = index_of(other) == Some(index) && other.uid() != pod.uid();
                same && Failures::before(other).total() >= after.total()
            })
    }

    /// What the next pod of an index is told.
    pub fn failures_of(&self, index: i32, ignores: &dyn Fn(&Pod) -> bool) -> Failures {
        let pods = self.pods.iter().filter(|pod| index_of(pod) == Some(index));
        let after = pods.map(|pod| Failures::before(pod).and(ignores(pod)));
        after.max_by_key(|it| it.total()).unwrap_or_default()
    }
}
