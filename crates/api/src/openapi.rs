//! OpenAPI v3.
