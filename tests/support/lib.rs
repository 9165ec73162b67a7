//! What the tests stand on: a gateway in this process or in one of its own, servers to put behind it, clients to put in
//! front of it, a real Docker Engine, ACME server and DNS server, and a way to wait for something without sleeping.
//!
//! Everything listens on 127.0.0.1 and a port that the system chooses, or on a Unix socket in a temporary folder;
//! everything ends with the value that stands for it.

pub mod client;
pub mod database;
pub mod dns;
pub mod docker;
pub mod gateway;
pub mod in_process;
pub mod load;
pub mod origin;
pub mod pebble;
pub mod relay;
pub mod tls;
pub mod wait;

pub use wait::eventually;
