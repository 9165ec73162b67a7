//! What is read from a certificate, and what is refused.
