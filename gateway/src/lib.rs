//! ASSEMBLY: the two flows. The only crate that knows Pingora.
//!
//! ```text
//! discovery -> control::reconciler (merge, validate, compile) -> snapshot -> published by one writer
//! accept -> head -> identity -> route -> middlewares -> upstream -> response -> log        (proxy)
//! ```

pub mod app;
pub mod cli;
pub mod control;
pub mod internal;
pub mod lifecycle;
pub mod middleware;
pub mod privileges;
pub mod proxy;
pub mod rejection;
pub mod snapshot;
pub mod telemetry;

#[cfg(test)]
pub(crate) mod test_support;
