//! Claims and the volumes that they are bound to (upstream's `persistentvolume` controller), in two control loops:
//! `claims` finds or makes a volume for a claim, `volumes` tells what a volume is to its claim and what becomes of it
//! afterwards. `kontiki_api::volumes` is the arithmetic, `local_path` the provisioner that is built in.
//!
//! A binding is written on both sides in one transaction, so that no half of it is ever seen; upstream has to finish
//! halves. A claim that waits for its first consumer is bound when the scheduler has noted the node on it.

mod claims;
mod local_path;
mod volumes;

pub use claims::ClaimBinder;
pub use local_path::LocalPathClass;
pub use volumes::VolumePhases;

use serde_json::{Value, json};

/// Annotation of what the controller bound by itself: it may be undone by itself.
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Annotation of a claim whose binding was complete once: what is missing since is lost.
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Annotation of a volume with the provisioner that made it.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
fn annotation<'a>(
    annotations: Option<&'a std::collections::BTreeMap<String, String>>,
    name: &str,
) -> Option<&'a str> {
    annotations?.get(name).map(String::as_str)
}

fn annotate(object: &mut Value, name: &str) {
    object["metadata"]["annotations"][name] = json!("yes");
}
