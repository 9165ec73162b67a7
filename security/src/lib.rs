//! Who is the client, what did it ask for, and how we prove who we are. Values first; tasks in the folders.

pub mod acme;
pub mod canonical;
pub mod certificate;
pub mod certificate_store;
pub mod client_ip;
