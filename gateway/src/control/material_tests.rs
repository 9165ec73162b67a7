//! Files of certificates, read and read again.
