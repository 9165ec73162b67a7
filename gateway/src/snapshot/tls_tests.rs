//! Which policy a server name asks for.
