//! Nothing of its own: the benches lie in `benches/benches`, their figures in `README.md`.
