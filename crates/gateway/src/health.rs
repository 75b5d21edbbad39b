//! `/livez`, `/readyz`, `/healthz`: upstream's texts, `?verbose` and `?exclude=`, and single checks below them.

use std::sync::Arc;

use http::StatusCode;

use crate::query::Query;
use crate::respond::{self, Response};

/// One check.
#[derive(Clone)]
pub struct Check {
    /// Its name in the list and in the path.
    pub name: &'static str,
    /// A failure means that a restart is due (`/livez`), not only that no traffic should come (`/readyz`).
    pub live: bool,
    /// Fails with a reason, which is logged and never shown: anybody may ask.
    pub run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// Answers a health path, such as `livez` or `readyz/ping`.
pub fn answer(checks: &[Check], path: &str, query: &Query) -> Response {
    let (endpoint, single) = path.split_once('/').unwrap_or((path, ""));
    let ping = Check {
        name: "ping",
        live: true,
        run: Arc::new(|| Ok(())),
    };
    let concerned = |check: &&Check| endpoint != "livez" || check.live;
    let checks = std::iter::once(&ping).chain(checks).filter(concerned);
    if !single.is_empty() {
        return match checks.into_iter().find(|check| check.name == single) {
            None => respond::text(StatusCode::NOT_FOUND, "404 page not found\n"),
            Some(check) if failed(check) => {
                let text = format!("internal server error: {single} check failed\n");
                respond::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
            Some(_) => respond::text(StatusCode::OK, "ok"),
        };
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let (mut report, mut n_failed) = (String::new(), 0);
    for check in checks {
        let name = check.name;
        report += &if excluded.contains(&name) {
            format!("[+]{name} excluded: ok\n")
        } else if failed(check) {
            n_failed += 1;
            format!("[-]{name} failed: reason withheld\n")
        } else {
            format!("[+]{name} ok\n")
        };
    }
    if n_failed > 0 {
        report += &format!("{endpoint} check failed\n");
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, report);
    }
    if query.get("verbose").is_none() {
        return respond::text(StatusCode::OK, "ok");
    }
    report += &format!("{endpoint} check passed\n");
    respond::text(StatusCode::OK, report)
}

fn failed(check: &Check) -> bool {
    let outcome = (check.run)();
    if let Err(why) = &outcome {
        tracing::debug!(check = check.name, why, "health check failed");
    }
    outcome.is_err()
}
