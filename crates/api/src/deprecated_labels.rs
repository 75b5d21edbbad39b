//! Labels of nodes that have newer names, and the warnings that using the old ones brings.

/// What to say of a label of nodes that is no longer to be used.
pub fn message(key: &str) -> Option<String> {
    let (version, instead) = match key {
        "beta.kubernetes.io/arch" => ("v1.14", "kubernetes.io/arch"),
        "beta.kubernetes.io/os" => ("v1.14", "kubernetes.io/os"),
        "failure-domain.beta.kubernetes.io/region" => ("v1.17", "topology.kubernetes.io/region"),
        "failure-domain.beta.kubernetes.io/zone" => ("v1.17", "topology.kubernetes.io/zone"),
        "beta.kubernetes.io/instance-type" => ("v1.17", "node.kubernetes.io/instance-type"),
        _ => return None,
    };
    Some(format!(
        "deprecated since {version}; use \"{instead}\" instead"
    ))
}

/// The warning about a key at a path, if there is one.
pub fn warning(path: &str, key: &str) -> Option<String> {
    message(key).map(|message| format!("{path}: {message}"))
}
