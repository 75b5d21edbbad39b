//! Text of the data, or made by the expression.

use std::ops::Deref;
use std::sync::Arc;

/// A text.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Of the data.
    Borrowed(&'a str),
    /// Made.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// As a slice.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text)
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl From<Arc<str>> for Text<'_> {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}
