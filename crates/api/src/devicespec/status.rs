//! The status of a claim: what was allocated, for whom, and how the devices are.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceAllocationConfiguration, NetworkDeviceData,
    ResourceClaimConsumerReference, ResourceClaimStatus,
};
use serde_json::{Value, json};

use super::claim::{MAX_CONFIGS, Requests};
use super::config;
use super::names::{bounded, pool};
use crate::conditions;
use crate::ip::interface_messages;
use crate::meta::names;
use crate::podspec::json::{Fields, child, each, list};
use crate::podspec::names::csi_driver;
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::placement;

const STATUS: Path<'static> = Path::root("status");
const MAX_CONSUMERS: usize = 256;
const MAX_RESULTS: usize = 32;
const MAX_CONDITIONS: usize = 8;
const MAX_DATA_BYTES: usize = 10 * 1024;
const MAX_IPS: usize = 16;
const MAX_INTERFACE_BYTES: usize = 256;
const MAX_HARDWARE_ADDRESS_BYTES: usize = 128;

/// Drops what belongs to features that are off.
pub fn drop_disabled(status: &mut Fields) {
    if let Some(allocation) = child(status, "allocation") {
        allocation.remove("allocationTimestamp");
        if let Some(devices) = child(allocation, "devices") {
            for result in each(devices, "results") {
                for field in [
                    "tolerations",
                    "bindingConditions",
                    "bindingFailureConditions",
                    "consumedCapacity",
                    "shareID",
                ] {
                    result.remove(field);
                }
            }
        }
    }
    for device in each(status, "devices") {
        device.remove("shareID");
    }
}

/// Checks a status against the one before. `raw` is its JSON form.
pub fn validate(
    errors: &mut Errors,
    raw: &Value,
    status: &ResourceClaimStatus,
    old: &ResourceClaimStatus,
    is_deleting: bool,
    requests: &Requests<'_>,
) {
    let reserved_at = STATUS.child("reservedFor");
    let reserved = status.reserved_for.given();
    consumers(errors, &reserved_at, reserved);
    devices(errors, raw, status);
    let is_new =
        |consumer: &ResourceClaimConsumerReference| !old.reserved_for.given().contains(consumer);
    if !reserved.is_empty() && status.allocation.is_none() {
        let detail = "may not be specified when `allocated` is not set";
        errors.forbidden(reserved_at, detail);
    } else if is_deleting && reserved.iter().any(is_new) {
        let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.forbidden(reserved_at, detail);
    }
    let at = STATUS.child("allocation");
    match (&old.allocation, &status.allocation) {
        (Some(old), Some(new)) => errors.immutable(at, new, old),
        (None, Some(new)) => allocation(errors, &at, new, requests),
        _ => {}
    }
}

fn consumers(errors: &mut Errors, at: &Path<'_>, consumers: &[ResourceClaimConsumerReference]) {
    if !bounded(errors, *at, consumers.len(), MAX_CONSUMERS) {
        return;
    }
    let mut uids = BTreeSet::new();
    for (i, consumer) in consumers.iter().enumerate() {
        let at = at.index(i);
        for (field, value) in [
            ("resource", &consumer.resource),
            ("name", &consumer.name),
            ("uid", &consumer.uid),
        ] {
            if value.is_empty() {
                errors.required(at.child(field), "");
            }
        }
        if !uids.insert(consumer.uid.as_str()) {
            errors.duplicate(at, consumer.uid.as_str());
        }
    }
}

fn allocation(
    errors: &mut Errors,
    at: &Path<'_>,
    allocation: &AllocationResult,
    requests: &Requests<'_>,
) {
    let devices = allocation.devices.clone().unwrap_or_default();
    let devices_at = at.child("devices");
    let list = devices_at.child("results");
    let results = devices.results.given();
    if bounded(errors, list, results.len(), MAX_RESULTS) {
        for (i, result) in results.iter().enumerate() {
            let at = list.index(i);
            requests.validate(errors, at.child("request"), &result.request);
            csi_driver(errors, at.child("driver"), &result.driver);
            pool(errors, at.child("pool"), &result.pool);
            let device = result.device.as_str();
            errors.invalid_each(at.child("device"), device, names::dns1123_label(device));
        }
    }
    let list = devices_at.child("config");
    let configs = devices.config.given();
    if bounded(errors, list, configs.len(), 2 * MAX_CONFIGS) {
        for (i, found) in configs.iter().enumerate() {
            allocated_config(errors, &list.index(i), found, requests);
        }
    }
    if let Some(selector) = &allocation.node_selector {
        placement::node_selector(errors, &at.child("nodeSelector"), selector);
    }
}

fn allocated_config(
    errors: &mut Errors,
    at: &Path<'_>,
    found: &DeviceAllocationConfiguration,
    requests: &Requests<'_>,
) {
    let sources = &["FromClaim", "FromClass"];
    errors.one_of(at.child("source"), &found.source, sources);
    requests.validate_all(errors, &at.child("requests"), found.requests.given());
    config::validate(errors, at, found.opaque.as_ref(), false);
}

fn devices(errors: &mut Errors, raw: &Value, status: &ResourceClaimStatus) {
    let results = status
        .allocation
        .as_ref()
        .and_then(|one| one.devices.as_ref());
    let results = results.map_or(&[][..], |devices| devices.results.given());
    let allocated: BTreeSet<[&str; 3]> = results
        .iter()
        .map(|one| [one.driver.as_str(), &one.pool, &one.device])
        .collect();
    let list_at = STATUS.child("devices");
    let mut seen = BTreeSet::new();
    let raw = list(raw, "/devices").iter();
    for (i, (device, raw)) in status.devices.given().iter().zip(raw).enumerate() {
        let at = list_at.index(i);
        let id = [device.driver.as_str(), &device.pool, &device.device];
        // Upstream shows its internal structure, with these names.
        let shown = json!({"Driver": id[0], "Pool": id[1], "Device": id[2], "ShareID": ""});
        device_status(errors, &at, device, raw);
        if !allocated.contains(&id) {
            errors.invalid(
                at,
                shown.clone(),
                "must be an allocated device in the claim",
            );
        }
        if !seen.insert(id) {
            errors.duplicate(at, shown);
        }
    }
}

fn device_status(errors: &mut Errors, at: &Path<'_>, device: &AllocatedDeviceStatus, raw: &Value) {
    csi_driver(errors, at.child("driver"), &device.driver);
    pool(errors, at.child("pool"), &device.pool);
    let name = device.device.as_str();
    errors.invalid_each(at.child("device"), name, names::dns1123_label(name));
    let conditions_at = at.child("conditions");
    let n_conditions = list(raw, "/conditions").len();
    if n_conditions > MAX_CONDITIONS {
        errors.too_many(conditions_at, n_conditions, MAX_CONDITIONS);
    }
    conditions::validate(errors, &conditions_at, raw, "/conditions");
    if let Some(data) = &device.data {
        let data = to_value(data);
        config::raw(errors, at.child("data"), &data, Some(MAX_DATA_BYTES));
    }
    if let Some(data) = &device.network_data {
        network_data(errors, &at.child("networkData"), data);
    }
}

fn network_data(errors: &mut Errors, at: &Path<'_>, data: &NetworkDeviceData) {
    for (field, value, max) in [
        ("interfaceName", &data.interface_name, MAX_INTERFACE_BYTES),
        (
            "hardwareAddress",
            &data.hardware_address,
            MAX_HARDWARE_ADDRESS_BYTES,
        ),
    ] {
        if value.given().len() > max {
            errors.too_long(at.child(field), max);
        }
    }
    let list = at.child("ips");
    let ips = data.ips.given();
    if !bounded(errors, list, ips.len(), MAX_IPS) {
        return;
    }
    for (i, ip) in ips.iter().enumerate() {
        errors.invalid_each(list.index(i), ip, interface_messages(ip));
        if ips[..i].contains(ip) {
            errors.duplicate(list.index(i), ip.as_str());
        }
    }
}
