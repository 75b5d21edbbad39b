//! Named formats: what `format.named('dns1123Label')` and its siblings name.

use base64::Engine as _;
use chrono::{DateTime, NaiveDate};

use crate::meta::names;

/// A format and its check, which answers what is wrong.
pub struct Format {
    /// Its name.
    pub name: &'static str,
    pub(super) check: fn(&str) -> Vec<String>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub(super) static FORMATS: &[Format] = &[
    Format {
        name: "dns1123Label",
        check: names::dns1123_label,
    },
    Format {
        name: "dns1123Subdomain",
        check: names::dns1123_subdomain,
    },
    Format {
        name: "dns1035Label",
        check: names::dns1035_label,
    },
    Format {
        name: "qualifiedName",
        check: names::qualified_name,
    },
    Format {
        name: "dns1123LabelPrefix",
        check: |text| names::dns1123_label(&unhyphened(text)),
    },
    Format {
        name: "dns1123SubdomainPrefix",
        check: |text| names::dns1123_subdomain(&unhyphened(text)),
    },
    Format {
        name: "dns1035LabelPrefix",
        check: |text| names::dns1035_label(&unhyphened(text)),
    },
    Format {
        name: "labelValue",
        check: names::label_value,
    },
    Format {
        name: "uri",
        check: |text| {
            said(
                url::Url::parse(text).is_ok() || text.starts_with('/'),
                "invalid URI",
            )
        },
    },
    Format {
        name: "uuid",
        check: |text| said(is_uuid(text), "does not match the UUID format"),
    },
    Format {
        name: "byte",
        check: |text| {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            said(decoded.is_ok(), "invalid base64")
        },
    },
    Format {
        name: "date",
        check: |text| {
            let is_date = NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
            said(is_date && text.len() == 10, "invalid date")
        },
    },
    Format {
        name: "datetime",
        check: |text| {
            said(
                DateTime::parse_from_rfc3339(text).is_ok(),
                "invalid datetime",
            )
        },
    },
];

fn said(holds: bool, message: &str) -> Vec<String> {
    if holds {
        Vec::new()
    } else {
        vec![message.to_owned()]
    }
}

/// A name that something will be appended to may end with a hyphen.
fn unhyphened(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(head) if !head.is_empty() => format!("{head}a"),
        _ => text.to_owned(),
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
