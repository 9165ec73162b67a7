//! The tables of Traefik cases, and what the rule language promises beyond them.
