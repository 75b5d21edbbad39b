//! What a `resourceVersion` asks of a read.

use kontiki_base::status::Status;
use kontiki_state::Revision;

/// How new the data has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Not given: as new as any acknowledged write.
    Newest,
    /// `0`: whatever is here.
    Any,
    /// A number: at least as new.
    AtLeast(Revision),
}

impl Wanted {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("") => Ok(Self::Newest),
            Some("0") => Ok(Self::Any),
            Some(text) => parse(text).map(Self::AtLeast),
        }
    }
}

/// A revision as clients send it back.
pub(crate) fn parse(text: &str) -> Result<Revision, Status> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}
