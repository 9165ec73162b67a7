//! Which certificate a name gets.
