//! Behaviour on the wire: one module per behaviour.

mod layering;
