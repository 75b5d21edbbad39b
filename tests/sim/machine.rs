//! The state machine under test: `kontiki_state::State`, made durable only now and then, so that replay matters.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kontiki_state::{Command, Object, OpResult, State};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;

use crate::disk::{Disk, Image};
use crate::types::{Answer, LogId, Membership, Snapshot, SnapshotMeta, TypeConfig};

/// One batch of entries in so many is followed by a flush of the machine.
const FLUSH_ONE_IN: u64 = 12;

/// State and how far it is applied.
pub struct Replica {
    pub state: State,
    pub applied: Option<LogId>,
    pub membership: Membership,
}

impl Replica {
    /// As it was on disk.
    pub fn load(image: &Image) -> Self {
        let objects = image
            .objects
            .iter()
            .map(|object| Object::decode(&object.encode()).unwrap());
        let state = State::load(image.origin, objects).unwrap();
        Self {
            state,
            applied: image.applied,
            membership: image.membership.clone(),
        }
    }

    /// As it goes to disk.
    pub fn image(&self) -> Image {
        Image {
            origin: self.state.origin(),
            objects: self.state.snapshot().objects().cloned().collect(),
            applied: self.applied,
            membership: self.membership.clone(),
        }
    }
}

/// openraft's face of it.
#[derive(Clone)]
pub struct Machine {
    pub replica: Arc<Mutex<Replica>>,
    pub disk: Disk,
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        let replica = self.replica.lock();
        Ok((replica.applied, replica.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let mut answer = Answer::default();
            {
                let mut replica = self.replica.lock();
                let id = entry.log_id;
                let before = replica.state.origin().revision;
                replica.applied = Some(id);
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Membership(membership) => {
                        replica.membership = Membership::new(Some(id), membership);
                    }
                    EntryPayload::Normal(data) => {
                        let command = Command::decode(&data.0).unwrap();
                        let term = id.leader_id.term;
                        let applied = replica.state.apply(id.index, term, &command);
                        replica.state.validate().unwrap();
                        let first = applied.results.first().map_or(&[][..], Vec::as_slice);
                        answer = Answer(OpResult::encode_all(first));
                    }
                }
                self.disk
                    .world
                    .oracle
                    .applied(self.disk.id, id.index, before, &replica.state);
            }
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        if self.disk.world.below(FLUSH_ONE_IN) == 0 {
            let image = self.replica.lock().image();
            self.disk
                .write(move |disk| disk.machine = image.clone(), || ());
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        snapshot: Image,
    ) -> Result<(), io::Error> {
        let installed = snapshot.clone();
        self.disk
            .write_durable(move |disk| {
                disk.machine = installed.clone();
                disk.snapshot = Some(installed.clone());
            })
            .await;
        *self.replica.lock() = Replica::load(&snapshot);
        self.disk.world.oracle.snapshot_installed();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.disk.read(|disk| disk.snapshot.clone()).map(snapshot))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let image = self.replica.lock().image();
        let built = image.clone();
        self.disk
            .write_durable(move |disk| disk.snapshot = Some(built.clone()))
            .await;
        Ok(snapshot(image))
    }
}

fn snapshot(image: Image) -> Snapshot {
    let meta = SnapshotMeta {
        last_log_id: image.applied,
        last_membership: image.membership.clone(),
    };
    Snapshot {
        meta,
        snapshot: image,
    }
}
