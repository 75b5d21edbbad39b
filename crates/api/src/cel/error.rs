//! Errors of expressions, in the words of cel-go, which users of Kubernetes know.

use std::fmt;

/// Faults told of one expression at most.
pub(super) const MAX_FAULTS: usize = 20;

/// An expression that can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CompileError {
    /// Every fault with the line that it is in, as `Display` tells it.
    text: String,
    /// The faults alone.
    pub faults: Vec<Fault>,
    /// It means something, but not what is asked for.
    is_result: bool,
}

/// One fault of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl CompileError {
    /// Faults by their byte offset in the source.
    pub(super) fn new(source: &str, mut faults: Vec<(u32, String)>) -> Self {
        faults.sort_by_key(|(at, _)| *at);
        faults.truncate(MAX_FAULTS);
        let faults: Vec<Fault> = faults
            .into_iter()
            .map(|(at, message)| Fault::at(source, at, message))
            .collect();
        let texts: Vec<String> = faults.iter().map(|fault| fault.shown(source)).collect();
        let text = texts.join("\n");
        Self {
            text,
            faults,
            is_result: false,
        }
    }

    /// A value of a type that is not asked for.
    pub(super) fn result(message: String) -> Self {
        Self {
            is_result: true,
            ..Self::whole(message)
        }
    }

    /// What the fields of objects that hold expressions say of it.
    pub fn detail(&self) -> String {
        if self.is_result {
            self.text.clone()
        } else {
            format!("compilation failed: {}", self.text)
        }
    }

    /// A fault of the expression as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            text: message.clone(),
            faults: vec![Fault {
                line: 1,
                column: 1,
                message,
            }],
            is_result: false,
        }
    }
}

impl Fault {
    fn at(source: &str, at: u32, message: String) -> Self {
        let before = source.get(..at as usize).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    }

    fn shown(&self, source: &str) -> String {
        let line = source.lines().nth(self.line - 1).unwrap_or_default();
        let dots = ".".repeat(self.column - 1);
        format!(
            "ERROR: <input>:{}:{}: {}\n | {line}\n | {dots}^",
            self.line, self.column, self.message
        )
    }
}

/// An expression that has no value for these variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// An error of the language: a key that is missing, a division by zero.
    Failed(String),
    /// The budget was used up. Nothing absorbs it, `||` neither.
    CostExceeded,
}

impl EvalError {
    /// An error of the language.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(super) fn no_such_key(key: &str) -> Self {
        Self::Failed(format!("no such key: {key}"))
    }

    pub(super) fn no_such_overload() -> Self {
        Self::failed("no such overload")
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) => f.write_str(message),
            Self::CostExceeded => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

impl std::error::Error for EvalError {}
