//! Middlewares: what a route does to a request and its answer. They see request heads, never sockets.

/// A middleware, built from its settings. None is built yet: routers that use one answer 503 with the reason,
/// unless leaving it out lets nothing more through (decided in `config::routing::validate`).
#[derive(Debug, Clone)]
pub enum Middleware {}
