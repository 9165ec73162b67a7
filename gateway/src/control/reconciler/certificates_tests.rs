//! Which certificates are served, and what is said about them.
