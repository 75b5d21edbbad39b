//! Docker sets the FORWARD policy to DROP: pods' packets need a word in iptables, where an accept of our own table
//! would not count. Machines without iptables have no such policy.

use super::programs::iptables;
use crate::{Error, Result};

/// Lets everything from and to the bridge pass.
pub async fn ensure(bridge: &str) -> Result<()> {
    if let Err(Error::Program { why, .. }) = iptables(&["-n", "-L", "FORWARD"]).await {
        tracing::debug!(why, "no iptables here");
        return Ok(());
    }
    // Docker keeps what is in DOCKER-USER and puts it first, also when it restarts.
    let docker = iptables(&["-n", "-L", "DOCKER-USER"]).await?;
    let chain = if docker { "DOCKER-USER" } else { "FORWARD" };
    for direction in ["-i", "-o"] {
        let rule = [direction, bridge, "-j", "ACCEPT"];
        if !iptables(&[&["-C", chain], rule.as_slice()].concat()).await?
            && !iptables(&[&["-I", chain], rule.as_slice()].concat()).await?
        {
            let why = format!("cannot insert {} into {chain}", rule.join(" "));
            return Err(Error::Program {
                program: "iptables",
                why,
            });
        }
    }
    Ok(())
}

/// Takes the rules away.
pub async fn remove(bridge: &str) -> Result<()> {
    for chain in ["DOCKER-USER", "FORWARD"] {
        for direction in ["-i", "-o"] {
            match iptables(&["-D", chain, direction, bridge, "-j", "ACCEPT"]).await {
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
        }
    }
    Ok(())
}
