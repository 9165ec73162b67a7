//! Canonical host, path and query: computed once from the raw request, then used by matching, limits,
//! rewriting, forwarding and the log.

mod host;
mod path;
#[cfg(test)]
mod tests;

pub use host::{Host, HostRefusal, host};
pub use path::{Path, PathOptions, PathRefusal, Target, TargetRefusal, path, query, split_target};
