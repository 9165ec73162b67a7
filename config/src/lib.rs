//! Install and routing configuration as values. LEAF: needs no other crate of ours, and the only I/O is
//! [`install::load`].
//!
//! ```text
//! install file, variables, flags -> document -> install::raw -> install::load  -> Install
//! routing file                   -> document -> routing::raw --+
//! labels                         -> document -> routing::raw --+-> merge -> validate -> Routing
//! ```
//!
//! - [`document`]: one tree of values with places, read from YAML, TOML, labels, flags or variables, and the
//!   one decoder from such a tree into the `raw` types (keys in any case, Traefik's value rules).
//! - [`install`]: what is fixed for the process: entry points, providers, admin, logs.
//! - [`routing`]: what may change at any moment: routers, services, middlewares, TLS options.
//! - [`rule`]: the rule language of routers.
//! - [`template`]: the few template calls that people use in routing files and `defaultRule`.
//! - [`name`], [`problem`], [`secret`]: names parsed once, things the user can fix, values that never print.

pub mod document;
pub mod install;
pub mod name;
pub mod problem;
pub mod routing;
pub mod rule;
pub mod secret;
pub mod template;

pub use install::Install;
pub use problem::{Origin, Problem, Severity};
pub use routing::Routing;
