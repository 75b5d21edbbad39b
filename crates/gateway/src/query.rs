//! Query strings into the options of the verbs, with upstream's leniency (booleans) and its refusals (the rest).
//!
//! Only what upstream checks before the verb is checked here; selectors, revisions and tokens are the verbs' to read.

use std::time::Duration;

use kontiki_apiserver::{
    FieldValidation, GetOptions, ListOptions, LogOptions, WatchOptions, WriteOptions,
};
use kontiki_base::status::Status;

use crate::invalid::{Invalid, forbidden, invalid, not_supported, too_long};
use crate::urlencoded;

/// A decoded query string.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes.
    pub fn parse(query: Option<&str>) -> Result<Self, Status> {
        urlencoded::pairs(query.unwrap_or("")).map(Self)
    }

    /// The first value of a parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is present and not empty.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    /// A switch, as `Convert_Slice_string_To_bool` reads it: anything but `false` and `0` is true.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(truthy)
    }

    /// A whole number; the refusal is Go's.
    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error: std::num::ParseIntError| {
                use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                let why = match error.kind() {
                    PosOverflow | NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
            })
    }

    /// Whether the client wants JSON for people.
    pub fn pretty(&self) -> Option<bool> {
        self.get("pretty").map(truthy)
    }

    /// How long the client is ready to wait (`timeout`, a Go duration).
    pub fn timeout(&self) -> Result<Option<Duration>, Status> {
        let Some(text) = self.get("timeout").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let refused = || {
            Status::bad_request(format!(
                "invalid timeout specified in the request URL: {text:?}"
            ))
        };
        go_duration(text).map(Some).ok_or_else(refused)
    }
}

fn truthy(text: &str) -> bool {
    !text.eq_ignore_ascii_case("false") && text != "0"
}

/// A Go duration of whole units, such as `1m30s`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total_ms) = (text, 0_u64);
    while !rest.is_empty() {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..n_digits].parse().ok()?;
        rest = &rest[n_digits..];
        let n_letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = match &rest[..n_letters] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = &rest[n_letters..];
    }
    Some(Duration::from_millis(total_ms))
}

/// Options of get.
pub fn get_options(query: &Query) -> GetOptions {
    GetOptions {
        resource_version: query.text("resourceVersion"),
    }
}

/// Options of list and of what deletecollection selects.
pub fn list_options(query: &Query) -> Result<ListOptions, Status> {
    let options = ListOptions {
        label_selector: query.text("labelSelector"),
        field_selector: query.text("fieldSelector"),
        limit: query.number("limit")?.unwrap_or(0).try_into().unwrap_or(0),
        continue_: query.text("continue"),
        resource_version: query.text("resourceVersion"),
        resource_version_match: query.text("resourceVersionMatch"),
    };
    query.number("timeoutSeconds")?;
    let mut causes = Invalid::of("ListOptions");
    if let Some(matched) = &options.resource_version_match {
        const FIELD: &str = "resourceVersionMatch";
        if options.resource_version.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(forbidden(FIELD, why));
        }
        if options.continue_.is_some() {
            causes.push(forbidden(
                FIELD,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if matched != "Exact" && matched != "NotOlderThan" {
            causes.push(not_supported(
                FIELD,
                matched,
                &["Exact", "NotOlderThan", ""],
            ));
        }
        if matched == "Exact" && options.resource_version.as_deref() == Some("0") {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(forbidden(FIELD, why));
        }
    }
    if query.get("sendInitialEvents").is_some() {
        causes.push(forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    causes.finish()?;
    Ok(options)
}

/// Options of watch.
pub fn watch_options(query: &Query) -> Result<WatchOptions, Status> {
    let timeout = query
        .number("timeoutSeconds")?
        .and_then(|seconds| u64::try_from(seconds).ok());
    let options = WatchOptions {
        label_selector: query.text("labelSelector"),
        field_selector: query.text("fieldSelector"),
        resource_version: query.text("resourceVersion"),
        resource_version_match: query.text("resourceVersionMatch"),
        bookmarks: query.flag("allowWatchBookmarks"),
        send_initial_events: query.get("sendInitialEvents").map(truthy),
        timeout: timeout
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
    };
    const FIELD: &str = "resourceVersionMatch";
    let mut causes = Invalid::of("ListOptions");
    let matched = options.resource_version_match.as_deref();
    if options.send_initial_events.is_some() && matched != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(forbidden(FIELD, why));
    }
    if let Some(matched) = matched {
        if options.send_initial_events.is_none() {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(forbidden(FIELD, why));
        }
        if matched != "NotOlderThan" {
            causes.push(not_supported(FIELD, matched, &["NotOlderThan"]));
        }
        if query.text("continue").is_some() {
            causes.push(forbidden(
                FIELD,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
    }
    causes.finish()?;
    Ok(options)
}

/// Options of a write; `kind` is upstream's name for them (`CreateOptions`, `UpdateOptions`, `PatchOptions`).
pub fn write_options(query: &Query, kind: &'static str) -> Result<WriteOptions, Status> {
    let mut causes = Invalid::of(kind);
    let dry_run: Vec<&str> = query
        .all("dryRun")
        .filter(|value| !value.is_empty())
        .collect();
    if dry_run.iter().any(|value| *value != "All") {
        causes.push(not_supported("dryRun", &dry_run.join(","), &["All"]));
    }
    let field_manager = query.text("fieldManager");
    if let Some(manager) = &field_manager {
        if manager.len() > 128 {
            let why = "may not be more than 128 bytes";
            causes.push(too_long("fieldManager", why));
        }
        if manager.chars().any(char::is_control) {
            let why = "should only contain printable characters";
            causes.push(invalid("fieldManager", manager, why));
        }
    }
    let validation = query.get("fieldValidation").unwrap_or("");
    if !matches!(validation, "" | "Ignore" | "Warn" | "Strict") {
        causes.push(not_supported(
            "fieldValidation",
            validation,
            &["", "Ignore", "Strict", "Warn"],
        ));
    }
    causes.finish()?;
    let field_validation = FieldValidation::parse(validation)?;
    Ok(WriteOptions {
        dry_run: !dry_run.is_empty(),
        field_manager,
        field_validation,
    })
}

/// Options of a pod's log.
pub fn log_options(query: &Query) -> Result<LogOptions, Status> {
    Ok(LogOptions {
        container: query.text("container"),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.text("sinceTime"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(Some(text)).unwrap()
    }

    #[test]
    fn list_options_are_refused_as_upstream_refuses_them() {
        let prefix = "ListOptions.meta.k8s.io \"\" is invalid: ";
        for (text, message) in [
            (
                "limit=abc",
                "strconv.ParseInt: parsing \"abc\": invalid syntax".to_owned(),
            ),
            (
                "limit=99999999999999999999",
                "strconv.ParseInt: parsing \"99999999999999999999\": value out of range".into(),
            ),
            (
                "resourceVersionMatch=Exact",
                format!(
                    "{prefix}resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
                ),
            ),
            (
                "resourceVersion=1&resourceVersionMatch=x",
                format!(
                    "{prefix}resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\""
                ),
            ),
            (
                "sendInitialEvents=true",
                format!(
                    "{prefix}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"
                ),
            ),
        ] {
            assert_eq!(
                list_options(&query(text)).unwrap_err().message,
                message,
                "{text}"
            );
        }
        let options =
            list_options(&query("limit=500&continue=abc&labelSelector=a%3Db%2Cc")).unwrap();
        assert_eq!(
            (options.limit, options.label_selector.as_deref()),
            (500, Some("a=b,c"))
        );
    }

    #[test]
    fn watch_options_demand_what_watch_list_needs() {
        assert!(watch_options(&query("sendInitialEvents=true")).is_err());
        assert!(watch_options(&query("resourceVersionMatch=NotOlderThan")).is_err());
        let options = watch_options(&query(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1&timeoutSeconds=5",
        ));
        let options = options.unwrap();
        assert_eq!(options.send_initial_events, Some(true));
        assert_eq!(
            (options.bookmarks, options.timeout),
            (true, Some(Duration::from_secs(5)))
        );
    }

    #[test]
    fn write_options() {
        let message = |text| {
            super::write_options(&query(text), "CreateOptions")
                .unwrap_err()
                .message
        };
        assert_eq!(
            message("dryRun=Some"),
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
        );
        assert!(
            message("fieldValidation=x&fieldManager=%00").contains("is invalid: [fieldManager")
        );
        assert!(
            super::write_options(&query("dryRun=All"), "CreateOptions")
                .unwrap()
                .dry_run
        );
    }

    #[test]
    fn booleans_and_durations_read_like_go() {
        let switches = query("a&b=false&c=0&d=1&e=FALSE&f=yes");
        let on: Vec<&str> = ["a", "b", "c", "d", "e", "f", "g"]
            .into_iter()
            .filter(|key| switches.flag(key))
            .collect();
        assert_eq!(on, ["a", "d", "f"]);
        assert_eq!(go_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(
            (go_duration("5"), go_duration("x"), go_duration("1w")),
            (None, None, None)
        );
    }
}
