//! A plan between its drafting and its proposal: admission may take its time there, and may change or refuse writes.

use std::sync::Arc;

use kontiki_controllers::CONTROLLERS;
use kontiki_controllers::commit::Drafts;
use kontiki_state::Op;

use super::Job;
use crate::Admission;

/// A plan on its way.
pub(super) struct Prepared {
    pub(super) job: Job,
    pub(super) drafts: Drafts,
    /// All of it goes by way of status subresources.
    pub(super) status_only: bool,
    /// All writes or none.
    pub(super) atomic: bool,
    /// What admission adds to the transaction.
    pub(super) extra: Vec<Op>,
}

impl Prepared {
    /// Whether admission looks at any of it.
    pub(super) fn needs(&self, admission: &dyn Admission) -> bool {
        let controller = CONTROLLERS[self.job.0].name();
        let mut writes = self.drafts.writes.iter();
        writes.any(|write| admission.handles(controller, write))
    }

    /// Asks admission about each write, one after another: what it counts for one holds for the next.
    pub(super) async fn admit(mut self, admission: Arc<dyn Admission>) -> Self {
        let controller = CONTROLLERS[self.job.0].name();
        for mut write in std::mem::take(&mut self.drafts.writes) {
            let admitted = if admission.handles(controller, &write) {
                admission
                    .admit(controller, &mut write, &mut self.extra)
                    .await
            } else {
                Ok(())
            };
            match admitted {
                Ok(()) => self.drafts.writes.push(write),
                Err(why) => self.drafts.refuse(write, why),
            }
        }
        self
    }
}
