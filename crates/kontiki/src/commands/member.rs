//! `kontiki member`: the replicas of the control plane.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use kontiki_proto::cluster::{
    AddMemberRequest, GetStatusRequest, Member, PromoteMemberRequest, RemoveMemberRequest,
    TransferLeadershipRequest,
};
use serde_json::{Value, json};

use crate::{client, kubeconfig, output};

/// List, add, promote and remove replicas.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which cluster [default: $KUBECONFIG or ~/.kontiki/kubeconfig]
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the replicas
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a running replica as learner, bring it up to date and make it a voter
    Add {
        /// Raft id of the new replica
        id: u64,
        /// Name
        #[arg(long)]
        name: String,
        /// host:port of its peer port
        #[arg(long)]
        peer_endpoint: String,
        /// host:port of its API
        #[arg(long)]
        api_endpoint: String,
        /// Leave it a learner
        #[arg(long)]
        learner: bool,
    },
    /// Make a learner a voter
    Promote {
        /// Raft id
        id: u64,
    },
    /// Remove a replica
    Remove {
        /// Raft id
        id: u64,
    },
    /// Hand leadership over
    Transfer {
        /// Raft id of the next leader [default: any voter that is up to date]
        #[arg(default_value_t = 0)]
        id: u64,
    },
}

/// Asks and prints.
pub async fn run(args: Args) -> Result<()> {
    let access = kubeconfig::read(&kubeconfig::locate(args.kubeconfig.as_deref()))?;
    let mut cluster = client::cluster(&access).await?;
    match args.action {
        Action::List { json } => {
            let status = cluster
                .get_status(GetStatusRequest {})
                .await
                .map_err(client::refused)?;
            let members = status.into_inner().members;
            if json {
                output::json(&members_json(&members));
            } else {
                print_members(&members);
            }
        }
        Action::Add {
            id,
            name,
            peer_endpoint,
            api_endpoint,
            learner,
        } => {
            let request = AddMemberRequest {
                id,
                name,
                peer_endpoint,
                api_endpoint,
                learner_only: learner,
            };
            println!("bringing replica {id} up to date ...");
            cluster.add_member(request).await.map_err(client::refused)?;
            println!(
                "replica {id} is a {}",
                if learner { "learner" } else { "voter" }
            );
        }
        Action::Promote { id } => {
            cluster
                .promote_member(PromoteMemberRequest { id })
                .await
                .map_err(client::refused)?;
            println!("replica {id} is a voter");
        }
        Action::Remove { id } => {
            cluster
                .remove_member(RemoveMemberRequest { id })
                .await
                .map_err(client::refused)?;
            println!("replica {id} is removed; its process can be ended");
        }
        Action::Transfer { id } => {
            let request = TransferLeadershipRequest { id };
            let answer = cluster
                .transfer_leadership(request)
                .await
                .map_err(client::refused)?;
            println!("replica {} leads", answer.into_inner().leader_id);
        }
    }
    Ok(())
}

/// Members as JSON.
pub fn members_json(members: &[Member]) -> Value {
    let member = |member: &Member| {
        json!({
            "id": member.id,
            "name": member.name,
            "peerEndpoint": member.peer_endpoint,
            "apiEndpoint": member.api_endpoint,
            "voter": member.voter,
            "leader": member.leader,
            "matchedIndex": member.matched_index,
        })
    };
    members.iter().map(member).collect()
}

/// Members as a table.
pub fn print_members(members: &[Member]) {
    let row = |member: &Member| {
        let role = match (member.leader, member.voter) {
            (true, _) => "leader",
            (false, true) => "follower",
            (false, false) => "learner",
        };
        vec![
            member.id.to_string(),
            member.name.clone(),
            role.to_owned(),
            member.peer_endpoint.clone(),
            member.api_endpoint.clone(),
            member
                .matched_index
                .map_or_else(|| "-".into(), |index| index.to_string()),
        ]
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    output::table(&["ID", "NAME", "ROLE", "PEER", "API", "MATCHED"], &rows);
}
