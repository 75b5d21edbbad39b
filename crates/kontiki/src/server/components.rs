//! How the parts of the control plane fare, for ComponentStatus: the loops of the leader, and the store of each replica.
//!
//! Every replica is asked and answers for itself. One that does not answer in time is told so, and what runs on a leader
//! that nobody knows runs nowhere.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use kontiki_apiserver::{Component, Components};
use kontiki_consensus::{CallError, CallHandler, CallStream, Consensus, Member, ReplicaId};

/// The call that asks a replica how it fares.
const FARES: &str = "fares";
/// How long a replica may take for the answer.
const WAIT: Duration = Duration::from_secs(2);
/// What runs on the leader.
const LOOPS: [&str; 2] = ["controller-manager", "scheduler"];
const LEADS: &[u8] = b"leads";
const FOLLOWS: &[u8] = b"follows";

/// Answers that call: that it answers says that the replica's store is open, what it answers whether the loops run here.
struct Fares(Consensus);

impl CallHandler for Fares {
    fn call(&self, _: ReplicaId, _: Bytes) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let leads = self.0.leadership().borrow().is_leader;
        let body = Bytes::from_static(if leads { LEADS } else { FOLLOWS });
        Box::pin(async move { Ok(futures::stream::iter([Ok(body)]).boxed()) })
    }
}

/// Asks the replicas.
pub struct Replicas(Consensus);

impl Replicas {
    /// Of this replica's cluster.
    pub fn new(consensus: &Consensus) -> Self {
        consensus.handle_calls(FARES, std::sync::Arc::new(Fares(consensus.clone())));
        Self(consensus.clone())
    }
}

impl Components for Replicas {
    fn look(&self) -> BoxFuture<'static, Vec<Component>> {
        let consensus = self.0.clone();
        Box::pin(async move {
            let members = consensus.members();
            let asked = members.iter().map(|member| ask(&consensus, member));
            let answers = join_all(asked).await;
            let leads = answers
                .iter()
                .any(|answer| matches!(answer, Ok(body) if **body == *LEADS));
            let loops = LOOPS.map(|name| Component {
                name: name.to_owned(),
                health: match leads {
                    true => Ok("ok".to_owned()),
                    false => Err("no replica leads that answers".to_owned()),
                },
            });
            let stores = members
                .iter()
                .zip(answers)
                .map(|(member, answer)| Component {
                    name: format!("store-{}", member.name),
                    health: answer.map(|_| "ok".to_owned()),
                });
            loops.into_iter().chain(stores).collect()
        })
    }
}

async fn ask(consensus: &Consensus, member: &Member) -> Result<Bytes, String> {
    let asked = async {
        let mut answer = consensus.call(member.id, FARES, Bytes::new()).await?;
        answer.next().await.transpose()
    };
    match tokio::time::timeout(WAIT, asked).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err("no answer".to_owned()),
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err(format!("no answer within {} s", WAIT.as_secs())),
    }
}
