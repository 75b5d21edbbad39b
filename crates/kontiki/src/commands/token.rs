//! `kontiki token`: join tokens of nodes, replicas and gateways.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use kontiki_proto::cluster::{CreateTokenRequest, DeleteTokenRequest, ListTokensRequest};
use serde_json::json;

use crate::{client, kubeconfig, output};

/// Create, list and delete join tokens.
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
    /// Create a token and print it once, with the command that uses it
    Create {
        /// What may join with it: node, server or gateway
        #[arg(long, default_value = "node")]
        role: String,
        /// How long it is valid, as 90s, 30m, 24h, 7d; 0 for ever
        #[arg(long, default_value = "24h")]
        ttl: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List tokens, without their secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a token
    Delete {
        /// Id of the token
        id: String,
    },
}

/// Asks and prints.
pub async fn run(args: Args) -> Result<()> {
    let access = kubeconfig::read(&kubeconfig::locate(args.kubeconfig.as_deref()))?;
    let mut cluster = client::cluster(&access).await?;
    match args.action {
        Action::Create { role, ttl, json } => {
            let ttl_s = parse_ttl_s(&ttl)?;
            let request = CreateTokenRequest {
                role: role.clone(),
                ttl_s,
            };
            let token = cluster
                .create_token(request)
                .await
                .map_err(client::refused)?;
            let token = token.into_inner().token;
            if json {
                output::json(&json!({ "token": token, "role": role }));
                return Ok(());
            }
            let command = match role.as_str() {
                "node" => "agent",
                other => other,
            };
            println!("{token}\n\nOn the machine that joins:");
            println!(
                "  kontiki {command} --join {} --token {token}",
                access.endpoint()
            );
        }
        Action::List { json } => {
            let tokens = cluster
                .list_tokens(ListTokensRequest {})
                .await
                .map_err(client::refused)?;
            let tokens = tokens.into_inner().tokens;
            if json {
                let row = |token: &kontiki_proto::cluster::Token| json!({ "id": token.id, "role": token.role, "expires": token.expires_unix_s });
                output::json(&tokens.iter().map(row).collect());
                return Ok(());
            }
            let rows: Vec<_> = tokens
                .into_iter()
                .map(|token| vec![token.id, token.role, expiry(token.expires_unix_s)])
                .collect();
            output::table(&["ID", "ROLE", "EXPIRES"], &rows);
        }
        Action::Delete { id } => {
            let request = DeleteTokenRequest { id: id.clone() };
            cluster
                .delete_token(request)
                .await
                .map_err(client::refused)?;
            println!("token {id} is deleted");
        }
    }
    Ok(())
}

fn expiry(unix_s: i64) -> String {
    match chrono::DateTime::from_timestamp(unix_s, 0) {
        Some(time) if unix_s > 0 => time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        _ => "never".into(),
    }
}

fn parse_ttl_s(text: &str) -> Result<u32> {
    let (digits, unit) = text.split_at(text.trim_end_matches(['s', 'm', 'h', 'd']).len());
    let factor = match unit {
        "" if digits == "0" => 0,
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => bail!("--ttl {text} is no duration; write it as 90s, 30m, 24h or 7d"),
    };
    match digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
    {
        Some(seconds) => Ok(seconds),
        None => bail!("--ttl {text} is no duration; write it as 90s, 30m, 24h or 7d"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_ttl_s;

    #[test]
    fn durations() {
        assert_eq!(parse_ttl_s("0").unwrap(), 0);
        assert_eq!(parse_ttl_s("90s").unwrap(), 90);
        assert_eq!(parse_ttl_s("7d").unwrap(), 604_800);
        for bad in ["", "h", "5", "1w", "-1h", "99999999d"] {
            assert!(parse_ttl_s(bad).is_err(), "{bad}");
        }
    }
}
