//! How TLS handshakes end, as metrics name it.

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// A new session.
    Full,
    /// A session that went on, by its ticket.
    Resumed,
    /// The proof for an ACME server was given.
    Challenge,
    /// It asked for the proof of an ACME challenge that is not open.
    UnknownChallenge,
    /// It took too long.
    Timeout,
    /// The client left, or its connection broke.
    ClientGone,
    /// The client ended it with an alert: it does not trust our certificate, mostly.
    ClientAlert,
    /// Its ClientHello was too large.
    TooLarge,
    /// It was not TLS as the protocol says.
    Malformed,
    /// No version of TLS in common.
    Version,
    /// No cipher suite, group or signature scheme in common.
    Parameters,
    /// No application protocol in common.
    Protocol,
    /// There is no certificate for the name, and the policy is strict about it.
    UnknownName,
    /// The client's certificate is missing or refused.
    ClientCertificate,
    /// The policy of the name cannot be used.
    PolicyUnavailable,
    /// Something else, of ours mostly.
    Other,
}

impl Handshake {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Full,
        Self::Resumed,
        Self::Challenge,
        Self::UnknownChallenge,
        Self::Timeout,
        Self::ClientGone,
        Self::ClientAlert,
        Self::TooLarge,
        Self::Malformed,
        Self::Version,
        Self::Parameters,
        Self::Protocol,
        Self::UnknownName,
        Self::ClientCertificate,
        Self::PolicyUnavailable,
        Self::Other,
    ];

    /// As a label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Challenge => "acme_challenge",
            Self::UnknownChallenge => "acme_challenge_unknown",
            Self::Timeout => "timeout",
            Self::ClientGone => "client_gone",
            Self::ClientAlert => "client_alert",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Parameters => "parameters",
            Self::Protocol => "protocol",
            Self::UnknownName => "unknown_name",
            Self::ClientCertificate => "client_certificate",
            Self::PolicyUnavailable => "policy_unavailable",
            Self::Other => "other",
        }
    }
}
