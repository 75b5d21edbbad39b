//! The error of an apply that would take fields from another manager: 409 with one cause a field.

use std::collections::BTreeMap;

use kontiki_base::status::{Cause, Details, Reason, Status};

use super::fieldset::{FieldSet, path_text};
use super::managed::ManagerKey;

/// The conflicting paths of each manager.
pub(crate) type Conflicts = BTreeMap<ManagerKey, FieldSet>;

/// All conflicting paths, whoever owns them.
pub(crate) fn all_paths(conflicts: &Conflicts) -> FieldSet {
    conflicts
        .values()
        .fold(FieldSet::default(), |all, set| all.union(set))
}

/// The error that a client gets.
pub(crate) fn to_status(conflicts: &Conflicts) -> Status {
    let causes: Vec<Cause> = conflicts
        .iter()
        .flat_map(|(manager, set)| set.paths().into_iter().map(move |path| (manager, path)))
        .map(|(manager, path)| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {manager}"),
            field: path_text(&path),
        })
        .collect();
    let message = match &causes[..] {
        [only] => format!(
            "Apply failed with 1 conflict: {}: {}",
            only.message, only.field
        ),
        _ => format!(
            "Apply failed with {} conflicts: {}",
            causes.len(),
            by_manager(conflicts)
        ),
    };
    Status::new(Reason::Conflict, message).with_details(Details {
        causes,
        ..Details::default()
    })
}

fn by_manager(conflicts: &Conflicts) -> String {
    let mut lines = Vec::new();
    for (manager, set) in conflicts {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(
            set.paths()
                .iter()
                .map(|path| format!("- {}", path_text(path))),
        );
    }
    lines.join("\n")
}
