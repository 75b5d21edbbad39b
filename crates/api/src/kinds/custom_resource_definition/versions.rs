//! The versions of a definition: their names and flags, columns, subresources, selectable fields, schemas.

use serde_json::Value;

use super::{joined, schema, structure, text, versions_of};
use crate::custom::json_path::JsonPath;
use crate::field_error::FieldError;
use crate::meta::names::dns1035_label;

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
const MAX_WARNING_CHARS: usize = 256;
const MAX_SELECTABLE: usize = 8;

/// Where upstream tells of what versions have each: on top when all have the same.
fn place(definition: &Value, field: &str, on_top: &str, idx: usize) -> String {
    let versions = versions_of(definition);
    let first = versions.first().map(|version| &version[field]);
    if versions
        .iter()
        .all(|version| Some(&version[field]) == first)
    {
        format!("spec.{on_top}")
    } else {
        format!("spec.versions[{idx}].{field}")
    }
}

/// What of the versions is told once or for each.
fn each<'a>(
    definition: &'a Value,
    field: &'static str,
    on_top: &str,
) -> impl Iterator<Item = (String, &'a Value)> {
    let versions = versions_of(definition).iter().enumerate();
    let places = versions.map(|(idx, version)| {
        let place = place(definition, field, on_top, idx);
        (place, version)
    });
    let mut seen: Vec<String> = Vec::new();
    let places: Vec<(String, &Value)> = places
        .filter(|(place, _)| {
            let is_new = !seen.contains(place);
            seen.push(place.clone());
            is_new
        })
        .collect();
    places.into_iter()
}

/// The schemas of a definition and where they stand.
pub(super) fn schemas(definition: &Value) -> impl Iterator<Item = (String, &Value)> {
    let schemas = each(definition, "schema", "validation");
    schemas.filter_map(|(place, version)| {
        let schema = version["schema"].get("openAPIV3Schema")?;
        Some((format!("{place}.openAPIV3Schema"), schema))
    })
}

/// Rules of `spec.versions`.
pub(super) fn validate(definition: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = flags(definition);
    for (idx, version) in versions_of(definition).iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            let path = format!("spec.versions[{idx}].schema.openAPIV3Schema");
            errors.push(FieldError::required(path, "schemas are required"));
        }
    }
    for (place, version) in each(definition, "subresources", "subresources") {
        errors.extend(scale(&place, &version["subresources"]["scale"]));
    }
    for (place, version) in each(
        definition,
        "additionalPrinterColumns",
        "additionalPrinterColumns",
    ) {
        let columns = version["additionalPrinterColumns"].as_array();
        for (idx, column) in columns.into_iter().flatten().enumerate() {
            errors.extend(printer_column(&format!("{place}[{idx}]"), column));
        }
    }
    for (place, version) in each(definition, "selectableFields", "selectableFields") {
        errors.extend(selectable(&place, version));
    }
    for (place, version) in each(definition, "schema", "validation") {
        let Some(of) = version["schema"].get("openAPIV3Schema") else {
            continue;
        };
        let place = format!("{place}.openAPIV3Schema");
        // A schema that was stored is not judged again by rules that came later.
        let is_stored = old.is_some_and(|old| schemas(old).any(|(_, known)| known == of));
        if !is_stored {
            let has_status = version["subresources"]["status"].is_object();
            errors.extend(schema::validate(&place, of, has_status));
            errors.extend(structure::validate(&place, of));
        }
    }
    errors
}

fn flags(definition: &Value) -> Vec<FieldError> {
    let (mut errors, versions) = (Vec::new(), versions_of(definition));
    let mut names: Vec<&str> = Vec::new();
    for (idx, version) in versions.iter().enumerate() {
        let (name, path) = (text(version, "name"), format!("spec.versions[{idx}]"));
        errors.extend(joined(
            format!("{path}.name"),
            name,
            &dns1035_label(name),
            "",
        ));
        errors.extend(warning(&path, version));
        names.push(name);
    }
    let all = &definition["spec"]["versions"];
    let n_named = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() < n_named {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid("spec.versions", all, detail));
    }
    let n_stored = versions.iter().filter(|version| version["storage"] == true);
    if n_stored.count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", all, detail));
    }
    errors
}

fn warning(path: &str, version: &Value) -> Option<FieldError> {
    let warning = version["deprecationWarning"].as_str()?;
    let wrong = |detail: String| {
        Some(FieldError::invalid(
            format!("{path}.deprecationWarning"),
            warning,
            detail,
        ))
    };
    if version["deprecated"] != true {
        return wrong("can only be set for deprecated versions".to_owned());
    }
    if warning.is_empty() {
        return wrong("must not be an empty string".to_owned());
    }
    if warning.chars().count() > MAX_WARNING_CHARS {
        return wrong(format!("must be <= {MAX_WARNING_CHARS} characters long"));
    }
    let unprintable = warning.char_indices().find(|(_, c)| c.is_control());
    let (at, c) = unprintable?;
    wrong(format!(
        "must only contain printable UTF-8 characters; non-printable character U+{:04X} found at index {at}",
        c as u32
    ))
}

/// A path in the dot notation.
fn simple_path(path: String, value: &str) -> Option<FieldError> {
    match value {
        "" => Some(FieldError::invalid(path, value, "must not be empty")),
        value if !value.starts_with('.') => {
            let detail = "must be a simple json path starting with .";
            Some(FieldError::invalid(path, value, detail))
        }
        value => {
            let error = JsonPath::parse(value).err()?;
            Some(FieldError::invalid(path, value, error.to_string()))
        }
    }
}

fn scale(place: &str, scale: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !scale.is_object() {
        return errors;
    }
    for (field, under, is_required) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", ".status.", false),
    ] {
        let path = format!("{place}.scale.{field}");
        let value = text(scale, field);
        match value {
            "" if is_required => errors.push(FieldError::required(path, "")),
            "" => {}
            value => match simple_path(path.clone(), value) {
                Some(error) => errors.push(error),
                None if value.contains('[') || value.ends_with('.') => {
                    let detail = "must be a json path in the dot notation";
                    errors.push(FieldError::invalid(path, value, detail));
                }
                None if !value.starts_with(under)
                    && !(field == "labelSelectorPath" && value.starts_with(".spec.")) =>
                {
                    let detail = match field {
                        "labelSelectorPath" => {
                            "should be a json path under either .spec or .status".to_owned()
                        }
                        _ => format!("should be a json path under {}", &under[..under.len() - 1]),
                    };
                    errors.push(FieldError::invalid(path, value, detail));
                }
                None => {}
            },
        }
    }
    errors
}

fn printer_column(path: &str, column: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    match text(column, "type") {
        "" => {
            let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::required(format!("{path}.type"), detail));
        }
        kind if !COLUMN_TYPES.contains(&kind) => {
            let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::invalid(format!("{path}.type"), kind, detail));
        }
        _ => {}
    }
    let format = text(column, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.push(FieldError::invalid(
            format!("{path}.format"),
            format,
            detail,
        ));
    }
    let at = format!("{path}.jsonPath");
    match text(column, "jsonPath") {
        "" => errors.push(FieldError::required(at, "")),
        value => errors.extend(simple_path(at, value)),
    }
    errors
}

fn selectable(place: &str, version: &Value) -> Vec<FieldError> {
    let fields = version["selectableFields"].as_array();
    let fields = fields.map_or(&[][..], Vec::as_slice);
    let mut errors = Vec::new();
    if fields.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(place, fields.len(), MAX_SELECTABLE));
    }
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut seen: Vec<&str> = Vec::new();
    for (idx, field) in fields.iter().enumerate() {
        let (path, value) = (format!("{place}[{idx}].jsonPath"), text(field, "jsonPath"));
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        if seen.contains(&value) {
            errors.push(FieldError::duplicate(path.clone(), value));
        }
        seen.push(value);
        if let Err(detail) = selected(schema, value) {
            errors.push(FieldError::invalid(path, value, detail));
        }
    }
    errors
}

/// A selectable field is a scalar that the schema names, outside of lists and maps.
fn selected(schema: &Value, path: &str) -> Result<(), String> {
    if let Some(error) = simple_path(String::new(), path) {
        return Err(format!("is an invalid path: {}", error.detail));
    }
    if path.starts_with(".metadata") {
        return Err("must not point to fields in metadata".to_owned());
    }
    let mut at = schema;
    for step in path.split('.').skip(1) {
        at = match at["properties"].get(step) {
            Some(below) => below,
            None => {
                return Err(format!(
                    "is an invalid path: does not refer to a valid field: no schema for {step:?}"
                ));
            }
        };
    }
    match text(at, "type") {
        "string" | "integer" | "boolean" => Ok(()),
        _ => Err("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.".to_owned()),
    }
}
