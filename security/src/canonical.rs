//! Canonical host and path.
