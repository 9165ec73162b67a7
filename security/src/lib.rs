//! Who is the client, and what did it ask for: pure values on the request path.
pub mod canonical;
pub mod client_ip;
