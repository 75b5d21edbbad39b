//! Claims on addresses: who holds what, what is free, and the operations that change it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::meta::Meta;
use kontiki_api::{FieldError, Kind};
use kontiki_base::random::Random;
use kontiki_base::status::Status;
use kontiki_state::{Header, Key, Op, Precondition, Snapshot};
use serde_json::{Value, json};

use super::fields::Needs;
use crate::server::ApiServer;

const IPS: &str = "clusterips.internal";
const PORTS: &str = "nodeports.internal";
/// Random picks before a search from one end to the other.
const PICKS: usize = 16;

/// The claims that a write of a Service takes and gives back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    /// Operations for the Service's transaction.
    pub(crate) ops: Vec<Op>,
}

/// The addresses of the cluster, as this replica knows them, for one Service.
pub(super) struct Pool<'a> {
    server: &'a ApiServer,
    kind: &'a Kind,
    snapshot: Snapshot,
    service: Value,
    /// Picked for this Service already.
    picked: BTreeSet<String>,
}

impl<'a> Pool<'a> {
    pub(super) fn new(server: &'a ApiServer, kind: &'a Kind, service: &Value) -> Self {
        let service = json!({"metadata": service["metadata"]});
        let snapshot = server.store().snapshot();
        Self {
            server,
            kind,
            snapshot,
            service,
            picked: BTreeSet::new(),
        }
    }

    fn random(&self) -> &dyn Random {
        &*self.server.options().random
    }

    fn is_free(&self, resource: &str, name: &str) -> bool {
        !self.picked.contains(name) && self.snapshot.find(resource, "", name).is_none()
    }

    /// A free ClusterIP, away from the low ones that people choose by hand.
    pub(super) fn free_ip(&mut self) -> Result<String, Status> {
        let (base, last) = self.ip_range();
        let low = 256.min(last / 16);
        let ip = self.pick(IPS, low, last, |offset| {
            Ipv4Addr::from(base + offset).to_string()
        });
        ip.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))
    }

    /// A free NodePort.
    pub(super) fn free_port(&mut self) -> Result<u16, Status> {
        let range = self.server.options().node_ports.clone();
        let (start, end) = (u32::from(*range.start()), u32::from(*range.end()));
        let low = 86.min((end - start) / 32);
        let port = self.pick(PORTS, low, end - start + 1, |offset| {
            (start + offset).to_string()
        });
        port.and_then(|port| port.parse().ok())
            .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))
    }

    fn pick(
        &mut self,
        resource: &str,
        low: u32,
        end: u32,
        name: impl Fn(u32) -> String,
    ) -> Option<String> {
        let span = u64::from(end.saturating_sub(low).max(1));
        let random = (0..PICKS).map(|_| low + self.random().below(span) as u32);
        let picks: Vec<u32> = random.filter(|offset| *offset < end).collect();
        let first = if resource == IPS { 1 } else { 0 };
        let mut names = picks
            .into_iter()
            .chain(low.max(first)..end)
            .chain(first..low)
            .map(name);
        let found = names.find(|name| self.is_free(resource, name))?;
        self.picked.insert(found.clone());
        Some(found)
    }

    /// Network address, and the offset of the broadcast address.
    fn ip_range(&self) -> (u32, u32) {
        let (address, prefix) = self.server.options().service_cidr;
        let size = 1u32
            .checked_shl(32 - u32::from(prefix.min(32)))
            .unwrap_or(u32::MAX);
        (u32::from(address), size.saturating_sub(1))
    }

    /// Refuses an address that someone else has, or that is not ours to give.
    pub(super) fn check_ip(&self, ip: &str) -> Result<(), Status> {
        let (base, last) = self.ip_range();
        let (network, prefix) = self.server.options().service_cidr;
        let offset = ip
            .parse()
            .ok()
            .and_then(|ip: Ipv4Addr| u32::from(ip).checked_sub(base));
        let why = match offset {
            Some(offset) if offset > 0 && offset < last => {
                if self.is_free(IPS, ip) {
                    return Ok(());
                }
                "provided IP is already allocated".to_owned()
            }
            _ => format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {network}/{prefix}"
            ),
        };
        let detail = format!("failed to allocate IP {ip}: {why}");
        Err(self.invalid(FieldError::invalid("spec.clusterIPs", json!([ip]), detail)))
    }

    pub(super) fn check_port(&self, at: usize, port: u16) -> Result<(), Status> {
        let range = self.server.options().node_ports.clone();
        let detail = if !range.contains(&port) {
            format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.start(),
                range.end()
            )
        } else if self.is_free(PORTS, &port.to_string()) {
            return Ok(());
        } else {
            "provided port is already allocated".to_owned()
        };
        let field = format!("spec.ports[{at}].nodePort");
        Err(self.invalid(FieldError::invalid(field, port, detail)))
    }

    fn invalid(&self, error: FieldError) -> Status {
        self.kind.invalid(&self.service, &[error])
    }

    /// The operations from one set of addresses to another.
    pub(super) fn into_claims(self, before: &Needs, after: &Needs) -> Claims {
        let meta = Meta::of(&self.service);
        let (uid, owner) = (meta.uid(), format!("{}/{}", meta.namespace(), meta.name()));
        let named = |needs: &Needs| -> BTreeSet<(&'static str, String)> {
            let ips = needs.ips.iter().map(|ip| (IPS, ip.clone()));
            ips.chain(needs.ports.iter().map(|port| (PORTS, port.to_string())))
                .collect()
        };
        let (before, after) = (named(before), named(after));
        let mut ops = Vec::new();
        for (resource, name) in after.difference(&before) {
            let header = Header {
                uid: Arc::from(uid),
                ..Header::default()
            };
            let bytes = Bytes::from(json!({"service": owner}).to_string());
            ops.push(Op::Create {
                key: Key::new(*resource, "", name.as_str()),
                header,
                bytes,
            });
        }
        for (resource, name) in before.difference(&after) {
            let held = self.snapshot.find(resource, "", name);
            // A claim that is not there, or another's, is not ours to give back.
            if held.is_some_and(|held| *held.header.uid == *uid) {
                let key = Key::new(*resource, "", name.as_str());
                ops.push(Op::Delete {
                    key,
                    pre: Precondition::uid(uid),
                });
            }
        }
        Claims { ops }
    }
}
