//! The Pod Security Standards: three levels, by version, as labels of a namespace ask for them.
//!
//! Pure: labels in, a policy out; a pod in, what is wrong with it out. When it is asked is admission's to say
//! (apiserver). The checks are upstream's `pod-security-admission/policy`, with their ids and words.

mod baseline;
mod restricted;
mod visit;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use crate::field_error::FieldError;

/// The newest minor version that checks changed in; later ones are the same.
const NEWEST_MINOR: u32 = 35;
const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may do, from everything to little.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    #[default]
    Privileged,
    /// Nothing that is known to give away the node.
    Baseline,
    /// What a hardened pod needs.
    Restricted,
}

/// Which version's checks hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest.
    #[default]
    Latest,
    /// Those of `v1.N`.
    Minor(u32),
}

/// A level at a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standard {
    /// Level.
    pub level: Level,
    /// Version.
    pub version: Version,
}

/// What a namespace asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods against it are refused.
    pub enforce: Standard,
    /// Pods against it are noted in the audit log.
    pub audit: Standard,
    /// Of pods against it the client is warned.
    pub warn: Standard,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_canonical = minor == "0" || !minor.starts_with(['0', '+']);
        let minor = minor.parse().ok().filter(|_| is_canonical)?;
        Some(Self::Minor(minor))
    }

    fn minor(self) -> u32 {
        match self {
            Self::Latest => NEWEST_MINOR,
            Self::Minor(minor) => minor.min(NEWEST_MINOR),
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl Policy {
    /// The policy that a namespace's labels ask for, and what is wrong with them. What cannot be read enforces the
    /// strictest, and neither warns nor is noted.
    pub fn of_labels(namespace: &Value) -> (Self, Vec<FieldError>) {
        let (mut policy, mut errors) = (Self::default(), Vec::new());
        let label = |name: &str| {
            let labels = namespace.pointer("/metadata/labels")?;
            labels.get(format!("{PREFIX}{name}"))?.as_str()
        };
        let mut refuse = |name: &str, value: &str, detail: &str| {
            let field = format!("metadata.labels[{PREFIX}{name}]");
            errors.push(FieldError::invalid(field, value, detail));
        };
        let mut enforces = false;
        for (mode, standard, fallback) in [
            ("enforce", &mut policy.enforce, Level::Restricted),
            ("audit", &mut policy.audit, Level::Privileged),
            ("warn", &mut policy.warn, Level::Privileged),
        ] {
            if let Some(text) = label(mode) {
                let level = Level::parse(text);
                if level.is_none() {
                    refuse(
                        mode,
                        text,
                        "must be one of privileged, baseline, restricted",
                    );
                }
                enforces |= mode == "enforce" && level.is_some();
                standard.level = level.unwrap_or(fallback);
            }
            let version = format!("{mode}-version");
            if let Some(text) = label(&version) {
                let parsed = Version::parse(text);
                if parsed.is_none() {
                    refuse(&version, text, "must be \"latest\" or \"v1.x\"");
                }
                standard.version = parsed.unwrap_or_default();
            }
        }
        // Who enforces something is warned about it as well, unless he says otherwise.
        if enforces && label("warn").is_none() && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if label("warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    /// Whether it asks for nothing at all.
    pub fn is_privileged(&self) -> bool {
        let standards = [self.enforce, self.audit, self.warn];
        standards
            .iter()
            .all(|standard| standard.level == Level::Privileged)
    }
}

/// What checks look at.
pub struct Checked<'a> {
    /// `metadata.annotations`.
    pub annotations: &'a BTreeMap<String, String>,
    /// `spec`.
    pub spec: &'a PodSpec,
}

/// What a check finds wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    reason: String,
    detail: String,
}

/// All that is wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// In short: what to count alike pods by.
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|it| it.reason.as_str()).collect();
        reasons.join(", ")
    }

    /// At length.
    pub fn details(&self) -> String {
        let told = self
            .0
            .iter()
            .map(|it| format!("{} ({})", it.reason, it.detail));
        told.collect::<Vec<_>>().join(", ")
    }
}

type CheckPod = fn(&Checked<'_>) -> Option<Violation>;

/// A check and how it changed.
struct Check {
    id: &'static str,
    /// From which minor version on it is what.
    versions: &'static [(u32, CheckPod)],
    /// Checks of the level below that it takes the place of.
    overrides: &'static [&'static str],
}

impl Check {
    fn at(&self, minor: u32) -> Option<CheckPod> {
        let mut versions = self.versions.iter().rev();
        versions
            .find(|(since, _)| *since <= minor)
            .map(|(_, check)| *check)
    }
}

/// What is wrong with a pod by a standard; none when nothing is.
pub fn evaluate(standard: Standard, pod: &Checked<'_>) -> Option<Violations> {
    let minor = standard.version.minor();
    let restricted: &[Check] = match standard.level {
        Level::Privileged => return None,
        Level::Baseline => &[],
        Level::Restricted => restricted::CHECKS,
    };
    let is_overridden = |id: &str| {
        let mut present = restricted.iter().filter(|check| check.at(minor).is_some());
        present.any(|check| check.overrides.contains(&id))
    };
    let baseline = baseline::CHECKS
        .iter()
        .filter(|check| !is_overridden(check.id));
    let violations: Vec<Violation> = baseline
        .chain(restricted)
        .filter_map(|check| check.at(minor)?(pod))
        .collect();
    (!violations.is_empty()).then_some(Violations(violations))
}

#[cfg(test)]
mod tests;
