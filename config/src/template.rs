//! Template calls.
