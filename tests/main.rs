//! Behaviour on the wire: one module per behaviour, all against the program as the user starts it.

mod acme;
mod acme_dns;
mod bad_input;
mod certificate_files;
mod certificates;
mod check;
mod container;
mod discovery;
mod engine;
mod layering;
mod protocol;
mod redirects;
mod reload;
mod routing;
mod shutdown;
mod soak;
mod tcp;
mod testssl;
mod tls;
mod udp;
mod upstream_tls;
