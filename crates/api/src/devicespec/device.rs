//! A device of a slice: its name, attributes and capacities.

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute};

use super::names::{is_semver, qualified};
use crate::meta::names;
use crate::podspec::json::{Fields, child};
use crate::podspec::path::{Errors, Path, to_value};

const MAX_PROPERTIES: usize = 32;
/// Longest name of an attribute: a domain, a slash, an identifier.
const MAX_KEY_BYTES: usize = 63 + 1 + 32;
const MAX_VALUE_BYTES: usize = 64;

/// Drops what belongs to features that are off.
pub fn drop_disabled(device: &mut Fields) {
    for field in [
        "taints",
        "consumesCounters",
        "nodeName",
        "nodeSelector",
        "allNodes",
        "allowMultipleAllocations",
        "bindsToNode",
        "bindingConditions",
        "bindingFailureConditions",
    ] {
        device.remove(field);
    }
    let capacities = child(device, "capacity").into_iter();
    for (_, capacity) in capacities.flatten() {
        if let Some(capacity) = capacity.as_object_mut() {
            capacity.remove("requestPolicy");
        }
    }
}

/// Checks a device.
pub fn validate(errors: &mut Errors, at: &Path<'_>, device: &Device) {
    let name = device.name.as_str();
    errors.invalid_each(at.child("name"), name, names::dns1123_label(name));
    let (attributes, capacity) = (
        device.attributes.iter().flatten(),
        device.capacity.iter().flatten(),
    );
    let n_properties = attributes.clone().count() + capacity.clone().count();
    if n_properties > MAX_PROPERTIES {
        let detail = format!(
            "the total number of attributes and capacities must not exceed {MAX_PROPERTIES}"
        );
        errors.invalid(*at, n_properties, detail);
    }
    let map = at.child("attributes");
    for (key, found) in attributes {
        let short = shortened(key);
        let at = map.key(&short);
        qualified(errors, at, key);
        attribute(errors, &at, found);
    }
    let map = at.child("capacity");
    for (key, _) in capacity {
        qualified(errors, map.key(&shortened(key)), key);
    }
}

/// A key that is too long to be shown, without its middle.
fn shortened(key: &str) -> String {
    if key.len() <= MAX_KEY_BYTES {
        return key.to_owned();
    }
    let rest = MAX_KEY_BYTES - 3;
    let (mut head, mut tail) = (rest.div_ceil(2), key.len() - rest / 2);
    while !key.is_char_boundary(head) {
        head -= 1;
    }
    while !key.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}...{}", &key[..head], &key[tail..])
}

fn attribute(errors: &mut Errors, at: &Path<'_>, attribute: &DeviceAttribute) {
    if attribute
        .string
        .as_ref()
        .is_some_and(|text| text.len() > MAX_VALUE_BYTES)
    {
        errors.too_long(at.child("string"), MAX_VALUE_BYTES);
    }
    if let Some(version) = attribute.version.as_deref() {
        let at = at.child("version");
        if !is_semver(version) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.invalid(at, version, detail);
        }
        if version.len() > MAX_VALUE_BYTES {
            errors.too_long(at, MAX_VALUE_BYTES);
        }
    }
    let given = [
        attribute.bool.is_some(),
        attribute.int.is_some(),
        attribute.string.is_some(),
        attribute.version.is_some(),
    ];
    const ONE: &str = "exactly one value must be specified";
    match given.iter().filter(|given| **given).count() {
        0 => errors.invalid(*at, "", ONE),
        1 => {}
        _ => errors.invalid(*at, to_value(attribute), ONE),
    }
}
