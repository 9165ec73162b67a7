//! What can go wrong with DNS-01, in words that name no secret.

use std::path::PathBuf;
use std::time::Duration;

/// Why a provider cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildDnsError {
    /// No provider has this code.
    #[error(
        "there is no DNS provider {provider:?}{}; the providers are {}. For any other, `exec` runs a program of yours and \
         `httpreq` asks a server of yours",
        suggestion.map(|code| format!(" (did you mean {code:?}?)")).unwrap_or_default(),
        known.join(", ")
    )]
    UnknownProvider {
        /// What was written.
        provider: String,
        /// What may have been meant.
        suggestion: Option<&'static str>,
        /// What is there.
        known: Vec<&'static str>,
    },
    /// `manual`.
    #[error(
        "the DNS provider \"manual\" waits for somebody to press a key, which nobody can do in a server; `exec` runs a \
         program of yours, and `acme-dns` needs one CNAME, made once"
    )]
    Manual,
    /// Variables without a value.
    #[error("the DNS provider {provider:?} ({name}) needs {}", .variables.join(" and "))]
    Missing {
        /// Its code.
        provider: &'static str,
        /// How people call it.
        name: &'static str,
        /// Each with its other names.
        variables: Vec<String>,
    },
    /// A variable and its file.
    #[error("{variable} and {variable}_FILE are both set; one of them has to go")]
    Both {
        /// The variable.
        variable: String,
    },
    /// The file of a variable.
    #[error("{variable}_FILE: cannot read {}", .path.display())]
    File {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A variable that lego knows and this program does not serve.
    #[error("{variable} is not served: {hint}")]
    Unsupported {
        /// The variable.
        variable: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A name in `credentials` that the provider does not know.
    #[error(
        "the DNS provider {provider:?} does not know {variable}{}",
        suggestion.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
    )]
    UnknownCredential {
        /// Its code.
        provider: &'static str,
        /// What was written.
        variable: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// A value that does not fit.
    #[error("{variable}: {reason}")]
    Value {
        /// The variable.
        variable: String,
        /// Why not; without the value where it is secret.
        reason: String,
    },
    /// An entry of `resolvers`.
    #[error("resolvers: {0:?} is not an address with an optional port, as in \"1.1.1.1:53\"")]
    Resolver(String),
}

/// Why a record could not be set, seen or removed.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The DNS servers that are asked gave no answer.
    #[error("cannot ask DNS for {name} {kind}: {reason}")]
    Lookup {
        /// The name.
        name: String,
        /// Kind of record.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// Aliases that lead to each other.
    #[error("the CNAME records of {name} lead in a circle, or are more than {limit}")]
    Aliases {
        /// Where they begin.
        name: String,
        /// How many are followed.
        limit: usize,
    },
    /// No zone holds the name.
    #[error("no DNS zone was found that holds {name}")]
    NoZone {
        /// The name.
        name: String,
    },
    /// The provider refused, or could not be reached.
    #[error("DNS provider {provider}: {action} failed: {reason}")]
    Provider {
        /// Its code.
        provider: &'static str,
        /// What was asked for.
        action: &'static str,
        /// Why, without secrets.
        reason: String,
    },
    /// `acme-dns` has an account for the name, and now the user has to do something, once.
    #[error("acme-dns proves {domain} once this record is there, made by hand: {name}. CNAME {target}.")]
    AliasNeeded {
        /// The name to be proved.
        domain: String,
        /// Where the CNAME belongs.
        name: String,
        /// Where it has to lead.
        target: String,
    },
    /// Not seen in time.
    #[error("the TXT record of {name} is not seen everywhere after {} s: {}", .limit.as_secs(), .missing.join(", "))]
    NotVisible {
        /// Its name.
        name: String,
        /// How long was waited.
        limit: Duration,
        /// Each server that does not have it, and what it said.
        missing: Vec<String>,
    },
}
