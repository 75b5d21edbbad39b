//! Signs approved requests (upstream `pkg/controller/certificates/signer`): what each of Kubernetes' own signers permits,
//! and how long a certificate lives.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki_api::kinds::certificate_signing_request::{CLIENT_SIGNER, pem};

use super::{NODE_CLIENT_SIGNER, Request, add_condition, has, is_issued};
use crate::plan::Plan;
use crate::view::View;

/// `--cluster-signing-duration`.
const LIFE_MS: u64 = 365 * 24 * 3_600_000;
/// Shortest life.
const MIN_LIFE_MS: u64 = 600_000;
/// Certificates begin so much earlier, for clocks that are behind.
const BACKDATE_MS: u64 = 300_000;
/// The end of longer lives moves with their beginning.
const SHORT_MS: u64 = 8 * 3_600_000;
const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

/// A certificate that is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// The request in PEM: subject, names and key are taken from it.
    pub request_pem: &'a [u8],
    /// What it is good for, as the API spells it.
    pub usages: &'a [String],
    /// Its beginning, in Unix milliseconds.
    pub not_before_ms: u64,
    /// Its end, unless the authority ends before.
    pub not_after_ms: u64,
}

/// Who has the authority's key.
pub trait CertificateSigner: fmt::Debug + Send + Sync {
    /// A certificate in PEM, or why there can be none. Has no effect elsewhere: one that is not committed is nothing.
    fn sign(&self, certificate: &Certificate<'_>) -> Result<String, String>;
}

/// Signs a request that is approved, or says why that fails.
pub(super) fn sign(view: &View<'_>, request: &Request, plan: &mut Plan) {
    let Some(signer) = &view.settings.signer else {
        return;
    };
    if !has(request, "Approved") || has(request, "Failed") || is_issued(request) {
        return;
    }
    let spec = &request.spec;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let Some(checked) = check(&spec.signer_name, &spec.request.0, usages) else {
        return;
    };
    let (not_before_ms, not_after_ms) = validity(view.now_ms, spec.expiration_seconds);
    let certificate = Certificate {
        request_pem: &spec.request.0,
        usages,
        not_before_ms,
        not_after_ms,
    };
    let signed = checked
        .map_err(|why| ("SignerValidationFailure", why))
        .and_then(|()| {
            let signed = signer.sign(&certificate);
            signed.map_err(|why| ("SigningFailure", why))
        });
    plan.edit_status(&request.object, |value| match signed {
        Ok(pem) => value["status"]["certificate"] = STANDARD.encode(pem).into(),
        Err((reason, why)) => add_condition(view, value, "Failed", reason, &why),
    });
}

/// What a signer of Kubernetes' own says to a request; none for others' signers.
fn check(signer: &str, request_pem: &[u8], usages: &[String]) -> Option<Result<(), String>> {
    let asked = || pem::Request::from_pem(request_pem);
    match signer {
        CLIENT_SIGNER => Some(check_client(usages)),
        NODE_CLIENT_SIGNER => Some(asked().and_then(|asked| check_node_client(&asked, usages))),
        SERVING_SIGNER => Some(asked().and_then(|asked| check_serving(&asked, usages))),
        LEGACY_SIGNER => Some(Ok(())),
        _ => None,
    }
}

fn check_client(usages: &[String]) -> Result<(), String> {
    const REQUIRED: &str = "client auth";
    const OPTIONAL: [&str; 2] = ["digital signature", "key encipherment"];
    let mut others = usages.iter().filter(|usage| *usage != REQUIRED);
    if let Some(usage) = others.find(|usage| !OPTIONAL.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    if usages.iter().any(|usage| usage == REQUIRED) {
        return Ok(());
    }
    Err(format!(
        "missing required usage for client certificate: {REQUIRED}"
    ))
}

/// Upstream's `ValidateKubeletClientCSR`.
pub(super) fn check_node_client(asked: &pem::Request, usages: &[String]) -> Result<(), String> {
    check_nodes(asked)?;
    for (n, what) in [
        (asked.n_dns_names, "DNS"),
        (asked.n_emails, "Email"),
        (asked.n_ip_addresses, "IP"),
        (asked.n_uris, "URI"),
    ] {
        if n > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    check_name(asked)?;
    check_usages(usages, "client auth")
}

/// Upstream's `ValidateKubeletServingCSR`.
fn check_serving(asked: &pem::Request, usages: &[String]) -> Result<(), String> {
    check_nodes(asked)?;
    if asked.n_dns_names + asked.n_ip_addresses == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (n, what) in [(asked.n_emails, "Email"), (asked.n_uris, "URI")] {
        if n > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    check_usages(usages, "server auth")?;
    check_name(asked)
}

fn check_nodes(asked: &pem::Request) -> Result<(), String> {
    if asked.organizations == ["system:nodes"] {
        return Ok(());
    }
    Err("subject organization is not system:nodes".to_owned())
}

fn check_name(asked: &pem::Request) -> Result<(), String> {
    if asked.common_name.starts_with("system:node:") {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".to_owned())
}

/// Exactly these, `key encipherment` being for RSA keys.
fn check_usages(usages: &[String], purpose: &str) -> Result<(), String> {
    let mut all = [purpose, "digital signature", "key encipherment"];
    all.sort_unstable();
    let is_known = usages.iter().all(|usage| all.contains(&usage.as_str()));
    let has = |wanted: &str| usages.iter().any(|usage| usage == wanted);
    if is_known && has(purpose) && has("digital signature") {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", all.join(" ")))
}

/// From when to when a certificate is good that is asked for now.
fn validity(now_ms: u64, expiration_s: Option<i32>) -> (u64, u64) {
    let asked_ms = expiration_s.map_or(LIFE_MS, |seconds| {
        u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
    });
    let life_ms = asked_ms.clamp(MIN_LIFE_MS, LIFE_MS);
    let early_ms = if life_ms < SHORT_MS { 0 } else { BACKDATE_MS };
    (
        now_ms.saturating_sub(BACKDATE_MS),
        now_ms + life_ms - early_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn node() -> pem::Request {
        pem::Request {
            common_name: "system:node:n1".into(),
            organizations: words(&["system:nodes"]),
            ..pem::Request::default()
        }
    }

    #[test]
    fn signers_permit_what_upstreams_permit() {
        let client = words(&["digital signature", "client auth"]);
        let serving = words(&["server auth", "key encipherment", "digital signature"]);
        assert_eq!(check_node_client(&node(), &client), Ok(()));
        let mut named = node();
        named.n_dns_names = 1;
        assert_eq!(check_serving(&named, &serving), Ok(()));
        let mut other = node();
        other.organizations.push("dev".into());
        let mut jane = node();
        jane.common_name = "jane".into();
        for (got, why) in [
            (
                check_node_client(&named, &client),
                "DNS subjectAltNames are not allowed",
            ),
            (
                check_node_client(&node(), &serving),
                "usages did not match [client auth digital signature key encipherment]",
            ),
            (
                check_node_client(&other, &client),
                "subject organization is not system:nodes",
            ),
            (
                check_node_client(&jane, &client),
                "subject common name does not begin with system:node:",
            ),
            (
                check_serving(&node(), &serving),
                "DNS or IP subjectAltName is required",
            ),
            (
                check_client(&serving),
                "invalid usage for client certificate: server auth",
            ),
            (
                check_client(&words(&["digital signature"])),
                "missing required usage for client certificate: client auth",
            ),
        ] {
            assert_eq!(got, Err(why.to_owned()));
        }
        assert_eq!(check_client(&client), Ok(()));
        assert_eq!(check(LEGACY_SIGNER, b"", &serving), Some(Ok(())));
        assert_eq!(check("example.com/x", b"", &serving), None);
    }

    #[test]
    fn lives_are_as_asked_within_bounds() {
        let now_ms = 2 * LIFE_MS;
        let life = |asked| validity(now_ms, asked).1 - now_ms;
        assert_eq!(life(None), LIFE_MS - BACKDATE_MS);
        assert_eq!(life(Some(i32::MAX)), LIFE_MS - BACKDATE_MS);
        assert_eq!(life(Some(3600)), 3_600_000);
        assert_eq!(life(Some(1)), MIN_LIFE_MS);
        assert_eq!(validity(now_ms, None).0, now_ms - BACKDATE_MS);
    }
}
