//! Names, parsed once and then never bare strings.
//!
//! Routers, services and middlewares are known by their qualified name, `name@provider`: what a label or file
//! calls `auth` is `auth@docker` or `auth@file` from the moment its provider is known.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A reference that names no provider (`auth`) or one (`auth@file`), as written in a label or file.
pub fn split_reference(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once('@') {
        Some((name, provider)) => (name, Some(provider)),
        None => (reference, None),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

macro_rules! qualified_name {
    ($(#[$doc:meta])* $type:ident) => {
        name!($(#[$doc])* $type);

        impl $type {
            /// `name` of `provider`; a `name` that already carries a provider keeps its own.
            pub fn qualify(name: &str, provider: &ProviderName) -> Self {
                match split_reference(name) {
                    (_, Some(_)) => Self::from(name),
                    (_, None) => Self::from(format!("{name}@{provider}")),
                }
            }

            /// The part before `@`.
            pub fn name(&self) -> &str {
                split_reference(self.as_str()).0
            }

            /// The part after `@`; empty where the name is not qualified.
            pub fn provider(&self) -> &str {
                split_reference(self.as_str()).1.unwrap_or("")
            }
        }
    };
}

name!(
    /// An entry point: a listener of the install configuration.
    EntryPointName
);
name!(
    /// A provider: `docker`, `file`, `table` or `internal`.
    ProviderName
);
qualified_name!(
    /// A router, `name@provider`.
    RouterName
);
qualified_name!(
    /// A service, `name@provider`.
    ServiceName
);
qualified_name!(
    /// A middleware, `name@provider`.
    MiddlewareName
);

qualified_name!(
    /// A set of TLS options, `name@provider`; the default set is `default` alone, as in Traefik.
    TlsOptionsName
);

/// What Traefik calls the normalised name: split at every character that is neither a letter nor a digit,
/// joined with `-`; separators at the ends vanish (`my_app.web` becomes `my-app-web`).
pub fn normalize(text: &str) -> String {
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_the_provider_it_was_written_with() {
        let docker = ProviderName::from("docker");
        assert_eq!(ServiceName::qualify("auth", &docker).as_str(), "auth@docker");
        let other = ServiceName::qualify("auth@file", &docker);
        assert_eq!((other.name(), other.provider()), ("auth", "file"));
    }

    #[test]
    fn normalising_drops_everything_but_letters_and_digits() {
        for (text, expected) in [
            ("my_app.web", "my-app-web"),
            ("__a__", "a"),
            ("jellyfin_media", "jellyfin-media"),
            ("über-app", "über-app"),
            ("", ""),
        ] {
            assert_eq!(normalize(text), expected, "{text}");
        }
    }
}
