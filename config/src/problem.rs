//! Problems: things the user can fix. Every part of a configuration that is left out, changed in meaning or
//! unsafe yields one, with its place, its subject and what to write instead.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One thing the user can fix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Whether something was left out.
    pub severity: Severity,
    /// Where it was written.
    pub origin: Origin,
    /// What it is about, in the form `` router `blog` ``; empty where the place says it all.
    pub subject: String,
    /// What is wrong, in lower case and without a full stop. Where Traefik has a text for it, that text comes
    /// first.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something was left out or refused.
    Error,
    /// It works, but not as the user may think.
    Warning,
}

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file; line and column count from 1, 0 where they are not known.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
    },
    /// The labels of a container.
    Container {
        /// Its name, without the leading slash.
        name: Arc<str>,
        /// Its full identifier.
        id: Arc<str>,
    },
    /// A command-line flag.
    Flag {
        /// As written, without its value.
        name: String,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// The gateway itself: defaults, listeners, neighbours that do not answer.
    Gateway,
}

impl Problem {
    /// Something was left out or refused.
    pub fn error(origin: Origin, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            origin,
            subject: subject.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// It works, but not as the user may think.
    pub fn warning(origin: Origin, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(origin, subject, message) }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Origin {
    /// A place in a file.
    pub fn file(path: impl Into<PathBuf>, line: u32, column: u32) -> Self {
        Self::File { path: path.into(), line, column }
    }

    /// The labels of a container.
    pub fn container(name: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self::Container { name: name.into(), id: id.into() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column: 0 } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Container { name, .. } => write!(f, "container `{name}`"),
            Self::Flag { name } => write!(f, "flag `{name}`"),
            Self::Variable { name } => write!(f, "variable `{name}`"),
            Self::Gateway => f.write_str("gateway"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// `` routes.yml:3:7: error: router `blog`: unknown middleware `auth`; did you mean `auth@file`? ``
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.origin, self.severity)?;
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The candidate that was probably meant by `written`, if one is near enough (compared without case).
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(written.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_what_to_write_instead() {
        let problem =
            Problem::error(Origin::file("routes.yml", 3, 7), "router `blog`", "unknown middleware `auth`")
                .with_hint("did you mean `auth@file`?");
        assert_eq!(
            problem.to_string(),
            "routes.yml:3:7: error: router `blog`: unknown middleware `auth`; did you mean `auth@file`?"
        );
    }

    #[test]
    fn a_suggestion_is_made_only_for_a_near_miss() {
        let known = ["entryPoints", "middlewares", "priority", "rule", "service", "tls"];
        assert_eq!(did_you_mean("entrypoint", known), Some("entryPoints"));
        assert_eq!(did_you_mean("midlewares", known), Some("middlewares"));
        assert_eq!(did_you_mean("compress", known), None);
    }
}
