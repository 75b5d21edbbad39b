//! `/version`: the Kubernetes release whose API this is, with our own version as build metadata.

use http::{HeaderMap, StatusCode};
use kontiki_base::status::Status;
use serde_json::json;

use crate::accept;
use crate::query::Query;
use crate::respond::{self, Response, Style};

/// What this binary was made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Build {
    /// The commit, in hexadecimal; empty when it was built outside of a repository.
    pub commit: &'static str,
    /// `clean`, `dirty`, or empty when that is not known.
    pub tree_state: &'static str,
    /// When the commit was made, in RFC 3339: the same sources say the same.
    pub date: &'static str,
}

/// Answers `/version`.
pub fn answer(build: Build, headers: &HeaderMap, query: &Query) -> Result<Response, Status> {
    let style = Style::of(headers, accept::negotiate_plain(headers)?, query.pretty());
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let date = match build.date {
        "" => "1970-01-01T00:00:00Z",
        date => date,
    };
    let version = json!({
        "major": "1",
        "minor": "35",
        "emulationMajor": "1",
        "emulationMinor": "35",
        "gitVersion": concat!("v1.35.0+kontiki.", env!("CARGO_PKG_VERSION")),
        "gitCommit": build.commit,
        "gitTreeState": build.tree_state,
        "buildDate": date,
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{architecture}", std::env::consts::OS),
    });
    Ok(respond::value(StatusCode::OK, &version, style))
}
