//! `/version`: the Kubernetes release whose API this is, with our own version as build metadata.

use http::{HeaderMap, StatusCode};
use kontiki_base::status::Status;
use serde_json::json;

use crate::accept;
use crate::query::Query;
use crate::respond::{self, Response, Style};

/// Answers `/version`.
pub fn answer(headers: &HeaderMap, query: &Query) -> Result<Response, Status> {
    let style = Style::of(headers, accept::negotiate_plain(headers)?, query.pretty());
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let version = json!({
        "major": "1",
        "minor": "35",
        "emulationMajor": "1",
        "emulationMinor": "35",
        "gitVersion": concat!("v1.35.0+kontiki.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{architecture}", std::env::consts::OS),
    });
    Ok(respond::value(StatusCode::OK, &version, style))
}
