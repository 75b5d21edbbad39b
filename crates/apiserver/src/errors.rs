//! From what consensus and the state machine answer to what a client reads, and the patience in between: what was
//! surely not proposed is tried again for a while, so that an election passes unnoticed.

use std::time::Duration;

use kontiki_api::Kind;
use kontiki_base::backoff::Backoff;
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Cause, Details, Reason, Status};
use kontiki_consensus::{Lane, ProposeError, ReadError};
use kontiki_state::{Op, OpResult, Proposal, Revision};

use crate::options::{Context, Target};
use crate::server::ApiServer;

/// How long a request waits for a leader.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_millis(250);

/// Upstream's words for a lost race.
pub(crate) const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and \
                                   try again";

impl ApiServer {
    /// Proposes one transaction; waits out an election.
    pub(crate) async fn propose(
        &self,
        context: &Context,
        ops: Vec<Op>,
        lane: Lane,
    ) -> Result<Vec<OpResult>, Status> {
        let mut proposal = Proposal::transaction(ops);
        proposal.id = self.options().random.bits();
        let mut attempts = self.attempts(context);
        loop {
            match self.backend().propose(proposal.clone(), lane).await {
                Ok(results) => return Ok(results),
                Err(ProposeError::NoLeader) if attempts.pause(self).await => {}
                Err(error) => return Err(of_propose_error(&error)),
            }
        }
    }

    /// A linearizable read may follow.
    pub(crate) async fn read_barrier(&self, context: &Context) -> Result<(), Status> {
        let mut attempts = self.attempts(context);
        loop {
            match self.backend().read_barrier().await {
                Ok(()) => return Ok(()),
                Err(ReadError::NoLeader) if attempts.pause(self).await => {}
                Err(error) => return Err(of_read_error(&error)),
            }
        }
    }

    /// Waits until the local store has a revision, or says that it is too large.
    pub(crate) async fn wait_revision(&self, revision: Revision) -> Result<(), Status> {
        const WAIT: Duration = Duration::from_secs(3);
        if self.store().revision() >= revision {
            return Ok(());
        }
        match self.backend().wait_revision(revision, WAIT).await {
            Ok(()) => Ok(()),
            Err(ReadError::Stopping) => Err(of_read_error(&ReadError::Stopping)),
            Err(_) => Err(too_large_revision(revision, self.store().revision())),
        }
    }

    fn attempts(&self, context: &Context) -> Attempts {
        let patience = context
            .timeout
            .map_or(PATIENCE, |timeout| timeout.min(PATIENCE));
        let until = self.options().clock.monotonic() + patience;
        Attempts {
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            until,
        }
    }
}

struct Attempts {
    backoff: Backoff,
    until: Duration,
}

impl Attempts {
    /// Waits before the next attempt; false when patience is at its end.
    async fn pause(&mut self, server: &ApiServer) -> bool {
        let delay = self.backoff.next_delay(&*server.options().random);
        if server.options().clock.monotonic() + delay > self.until {
            return false;
        }
        tokio::time::sleep(delay).await;
        true
    }
}

fn of_propose_error(error: &ProposeError) -> Status {
    match error {
        ProposeError::NoLeader => no_leader(),
        ProposeError::LaneFull { retry_after } => {
            METRICS.api_throttled_total.inc();
            let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u32;
            let message = "too many writes are waiting, please try again later";
            Status::new(Reason::TooManyRequests, message).with_retry_after(seconds)
        }
        ProposeError::Unknown => Status::new(
            Reason::Timeout,
            "Timeout: request did not complete within the allotted time: the outcome of the write is unknown",
        ),
        ProposeError::TooLarge => Status::new(
            Reason::RequestEntityTooLarge,
            "etcdserver: request is too large",
        ),
        ProposeError::DiskFull => Status::new(
            Reason::ServiceUnavailable,
            "the leader's disk is nearly full: free space on it",
        ),
        ProposeError::Stopping => stopping(),
    }
}

fn of_read_error(error: &ReadError) -> Status {
    match error {
        ReadError::NoLeader => no_leader(),
        ReadError::Timeout => Status::new(
            Reason::Timeout,
            "Timeout: this replica did not catch up in time",
        ),
        ReadError::Stopping => stopping(),
    }
}

fn no_leader() -> Status {
    Status::new(
        Reason::ServiceUnavailable,
        "the control plane has no leader at the moment",
    )
    .with_retry_after(1)
}

fn stopping() -> Status {
    Status::new(Reason::ServiceUnavailable, "this replica is shutting down").with_retry_after(1)
}

/// 504 for a resourceVersion that this store has not reached.
pub(crate) fn too_large_revision(wanted: Revision, current: Revision) -> Status {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let cause = Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    };
    Status::new(Reason::Timeout, message).with_details(Details {
        causes: vec![cause],
        retry_after_seconds: 1,
        ..Details::default()
    })
}

/// 410 for a watch from before what is kept.
pub(crate) fn too_old_revision(wanted: Revision, oldest: Revision) -> Status {
    let message = format!("too old resource version: {wanted} ({oldest})");
    Status::new(Reason::Expired, message)
}

pub(crate) fn not_found(target: &Target) -> Status {
    Status::not_found(target.kind.group(), target.kind.plural(), &target.name)
}

pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Status {
    Status::conflict(kind.group(), kind.plural(), name, why)
}

/// No object is made of a kind whose definition is going or gone.
pub(crate) fn undefined(found: &OpResult) -> Status {
    match found {
        OpResult::Deleting => Status::new(
            Reason::MethodNotAllowed,
            "create not allowed while custom resource definition is terminating",
        ),
        _ => Status::new(
            Reason::NotFound,
            "the server could not find the requested resource",
        ),
    }
}

/// 405 where the resource is there and the verb is not for it.
pub(crate) fn not_supported(kind: &Kind, verb: &str) -> Status {
    let message = format!(
        "{verb} is not supported on resources of kind {:?}",
        &**kind.resource()
    );
    Status::new(Reason::MethodNotAllowed, message).with_details(Details {
        group: kind.group().into(),
        kind: kind.plural().into(),
        ..Details::default()
    })
}

pub(crate) fn already_exists(kind: &Kind, name: &str) -> Status {
    Status::already_exists(kind.group(), kind.plural(), name)
}

pub(crate) fn namespace_not_found(namespace: &str) -> Status {
    Status::not_found("", "namespaces", namespace)
}

/// 403 for a create in a namespace that goes away.
pub(crate) fn namespace_terminating(target: &Target, namespace: &str) -> Status {
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut status = crate::authz::forbidden_because(target, &why);
    status.details.get_or_insert_default().causes.push(Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".into(),
    });
    status
}

/// The result of the operation that failed its transaction, by index.
pub(crate) fn first_failure(results: &[OpResult]) -> Option<(usize, &OpResult)> {
    let mut failures = results
        .iter()
        .enumerate()
        .filter(|(_, result)| !result.is_done());
    failures.find(|(_, result)| !matches!(result, OpResult::Aborted))
}
