//! Wire behaviour.
