//! CEL, the language of Kubernetes' rules: compile an expression once, evaluate it over JSON under a budget.
//!
//! ```text
//! source ─ lexer ─ parser ─▶ tree ─ checker ─▶ Program ─ evaluator(variables, budget) ─▶ Value
//! ```
//!
//! Of our own, since what rules need of it no library has: every step charged against a budget, faults with their place
//! in upstream's words, data read where it lies, Kubernetes' libraries (`docs/decisions/2026-11-25-cel-of-our-own.md`).
//!
//! Deliberately absent: protobuf messages, struct literals, a clock.

pub mod admission;
mod ast;
mod authorizer;
mod budget;
mod check;
mod cost;
mod error;
mod eval;
mod formats;
mod functions;
mod lexer;
mod parser;
mod program;
mod schema_types;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use authorizer::{Authorizer, Authz, Check, Decision};
pub use budget::{Budget, MATCH_CONDITIONS_UNITS, PER_CALL_UNITS, TOTAL_UNITS};
pub use cost::{Below, Extent};
pub use error::{CompileError, EvalError, Fault};
pub use formats::Format;
pub use program::{Environment, Program, Variables};
pub use schema_types::type_of;
pub use types::{Field, ListSemantics, ListType, ObjectType, Type, escaped};
pub use value::{Cidr, List, Map, Text, Value};
