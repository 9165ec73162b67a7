//! TLS that clients speak to us: the handshake, which policy it follows, and the certificate. The one file of the hot
//! path, with its parts, that names the TLS library; what comes out is a [`Socket`] like any other.
//!
//! The bytes of the ClientHello stay at hand until it is known who serves the connection, so that a TCP router can
//! pass them on untouched. A handshake has a task of its own, which ends before the connection is served: nothing of
//! it is kept while the connection rests.

mod certificates;
mod client_auth;
mod policy;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{AlertDescription, HandshakeKind, PeerIncompatible, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::StartHandshake;

use self::policy::Prepared;
use super::connection;
use super::context::{Connection, OpenConnection, Shared, TlsInfo};
use super::pingora::EntryPointApp;
use super::socket::{Socket, poll_read_behind};
use super::tcp::{self, Claim, Hello};
use crate::snapshot::Snapshot;
use crate::snapshot::stream::TcpRoute;
use crate::snapshot::tls::TlsPolicy;
use crate::telemetry::Handshake;

/// A whole handshake, from its first byte.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Longest ClientHello, with its record headers.
const HELLO_BYTES: usize = 64 * 1024;
/// After a refusal: how long, and how many bytes, the client's side is read and thrown away, so that it reads the
/// alert and not a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;
/// The application protocol of ACME challenges (RFC 8737).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// Makes the handshake in a task of its own, and serves what comes of it.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    app: &Arc<EntryPointApp>,
    socket: Socket,
    ahead: BytesMut,
    connection: Arc<Connection>,
    open: OpenConnection,
) {
    let place = open.next_task();
    let task = accept(Arc::clone(shared), Arc::clone(app), socket, ahead, connection, open);
    let task = tokio::spawn(task);
    shared.connections.set_abort(place, task.abort_handle());
}

async fn accept(
    shared: Arc<Shared>,
    app: Arc<EntryPointApp>,
    socket: Socket,
    ahead: BytesMut,
    connection: Arc<Connection>,
    mut open: OpenConnection,
) {
    let deadline = Instant::now() + HANDSHAKE_LIMIT;
    let id = connection.entry_point.id;
    let handshake = handshake(&shared, &connection, socket, ahead);
    let outcome = match tokio::time::timeout_at(deadline, handshake).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(refusal)) => {
            shared.recorder.handshake(id, refusal.result);
            tracing::debug!(
                peer = ?connection.peer,
                entry_point = &*connection.entry_point.name,
                result = refusal.result.label(),
                reason = &*refusal.reason,
                "TLS handshake failed"
            );
            if let Some((socket, alert)) = refusal.farewell {
                farewell(socket, &alert).await;
            }
            return;
        }
        Err(_) => {
            shared.recorder.handshake(id, Handshake::Timeout);
            tracing::debug!(
                peer = ?connection.peer,
                entry_point = &*connection.entry_point.name,
                "TLS handshake did not end in time"
            );
            return;
        }
    };
    match outcome {
        Outcome::Terminated { socket, info, result, route } => {
            shared.recorder.handshake(id, result);
            let connection = Arc::new(connection.with_tls(info));
            open.replace(&connection);
            match route {
                None => connection::spawn(&shared, &app, socket, BytesMut::new(), connection, open),
                Some(route) => forward(&shared, connection, socket, BytesMut::new(), route, open),
            }
        }
        Outcome::Passthrough { socket, ahead, route } => {
            forward(&shared, connection, socket, ahead, route, open);
        }
        Outcome::Challenge(mut socket) => {
            shared.recorder.handshake(id, Handshake::Challenge);
            // The handshake was the proof; there is nothing to say.
            drop(tokio::time::timeout(LINGER, socket.shutdown()).await);
        }
    }
}

/// What a handshake comes to.
enum Outcome {
    /// TLS has ended here; without a TCP router, HTTP follows.
    Terminated { socket: Socket, info: TlsInfo, result: Handshake, route: Option<Arc<TcpRoute>> },
    /// Untouched: `ahead` is all that was read.
    Passthrough { socket: Socket, ahead: BytesMut, route: Arc<TcpRoute> },
    /// A challenge of an ACME server, answered.
    Challenge(Socket),
}

/// Gives a connection to a TCP router, in a task of its own.
fn forward(
    shared: &Arc<Shared>,
    connection: Arc<Connection>,
    socket: Socket,
    ahead: BytesMut,
    route: Arc<TcpRoute>,
    open: OpenConnection,
) {
    let place = open.next_task();
    let forwarding = Arc::clone(shared);
    let task = tokio::spawn(async move {
        tcp::forward(&forwarding, &connection, socket, ahead, route).await;
        drop(open);
    });
    shared.connections.set_abort(place, task.abort_handle());
}

/// Why there is no connection.
struct Refusal {
    result: Handshake,
    /// For the log.
    reason: Box<str>,
    /// The socket, and what is still to be written to it.
    farewell: Option<(Socket, Vec<u8>)>,
}

impl Refusal {
    /// Refused by us, with this alert.
    fn alert(socket: Socket, alert: AlertDescription, result: Handshake, reason: &str) -> Self {
        let record = [21, 3, 3, 0, 2, 2, alert.into()];
        Self { result, reason: reason.into(), farewell: Some((socket, record.to_vec())) }
    }
}

async fn handshake(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut socket: Socket,
    mut ahead: BytesMut,
) -> Result<Outcome, Refusal> {
    let accepted = match read_hello(&mut socket, &mut ahead).await {
        Ok(accepted) => accepted,
        Err(HelloError::Gone) => {
            return Err(Refusal {
                result: Handshake::ClientGone,
                reason: "the client left".into(),
                farewell: None,
            });
        }
        Err(HelloError::TooLarge) => {
            let (alert, result) = (AlertDescription::DecodeError, Handshake::TooLarge);
            return Err(Refusal::alert(socket, alert, result, "the ClientHello is too large"));
        }
        // What every client since TLS 1.2 says is missing: it speaks something older.
        Err(HelloError::Bad(
            rustls::Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired),
            _,
        )) => {
            let (alert, result) = (AlertDescription::ProtocolVersion, Handshake::Version);
            return Err(Refusal::alert(socket, alert, result, "the client speaks no version since TLS 1.2"));
        }
        Err(HelloError::Bad(error, alert)) => {
            let (result, reason) = (result_of(&error), error.to_string());
            let alert = written(alert);
            if alert.is_empty() {
                // Another message than a ClientHello.
                return Err(Refusal::alert(socket, AlertDescription::UnexpectedMessage, result, &reason));
            }
            return Err(Refusal { result, reason: reason.into(), farewell: Some((socket, alert)) });
        }
    };
    let hello = hello(&accepted);
    let snapshot = shared.snapshot.load();
    let id = connection.entry_point.id;
    let is_challenge = hello.alpn.iter().any(|protocol| **protocol == *ACME_TLS);
    let is_open = || hello.sni.as_deref().is_some_and(|sni| snapshot.challenges.tls.contains_key(sni));
    if is_challenge && (!connection.entry_point.acme_by_pass || is_open()) {
        return challenge(&snapshot, &hello, accepted, socket).await;
    }
    let Some(routes) = snapshot.routes.entry_points.get(id.0) else {
        let (alert, result) = (AlertDescription::InternalError, Handshake::Other);
        return Err(Refusal::alert(socket, alert, result, "nothing is known yet"));
    };
    let (policy, route) = match tcp::claim(routes, &hello, connection) {
        Claim::Passthrough(route) => return Ok(Outcome::Passthrough { socket, ahead, route }),
        Claim::Terminate(route, policy) => (policy, Some(route)),
        Claim::Http(policy) => (policy, None),
        Claim::Nobody => {
            let (alert, result) = (AlertDescription::UnrecognisedName, Handshake::UnknownName);
            return Err(Refusal::alert(socket, alert, result, "no TCP router serves this name"));
        }
    };
    drop(ahead);
    let (socket, info, result) = terminate(shared, &snapshot, &hello, accepted, socket, policy).await?;
    Ok(Outcome::Terminated { socket, info, result, route })
}

/// Ends TLS here, as `policy` says.
async fn terminate(
    shared: &Arc<Shared>,
    snapshot: &Snapshot,
    hello: &Hello,
    accepted: Accepted,
    socket: Socket,
    policy: Arc<TlsPolicy>,
) -> Result<(Socket, TlsInfo, Handshake), Refusal> {
    let prepared = policy.slot.get_or_init(|| Prepared::new(&policy, shared.snapshot.downgrade()));
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => {
            let (alert, result) = (AlertDescription::HandshakeFailure, Handshake::PolicyUnavailable);
            return Err(Refusal::alert(socket, alert, result, reason));
        }
    };
    let local = socket.local_address().map(|address| address.ip());
    let config = match prepared.config_for(snapshot, hello.sni.as_deref(), local) {
        Ok(config) => config,
        Err(certificates::NoCertificate { strict: true }) => {
            let (alert, result) = (AlertDescription::UnrecognisedName, Handshake::UnknownName);
            return Err(Refusal::alert(socket, alert, result, "no certificate for this name"));
        }
        Err(certificates::NoCertificate { strict: false }) => {
            let (alert, result) = (AlertDescription::InternalError, Handshake::Other);
            return Err(Refusal::alert(socket, alert, result, "there is no certificate at all"));
        }
    };
    let started = StartHandshake::from_parts(accepted, socket).into_stream(config);
    let stream = match started.into_fallible().await {
        Ok(stream) => stream,
        Err((error, socket)) => return Err(failed(&error, socket)),
    };
    let session = stream.get_ref().1;
    if let Err(error) = prepared.check_resumed(session) {
        let farewell = Some((Socket::Tls(Box::new(stream)), Vec::new()));
        let reason = error.to_string().into();
        return Err(Refusal { result: Handshake::ClientCertificate, reason, farewell });
    }
    let result = match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => Handshake::Resumed,
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) | None => Handshake::Full,
    };
    let info = info(session, policy);
    Ok((Socket::Tls(Box::new(stream)), info, result))
}

/// TLS-ALPN-01: the handshake itself is the answer.
async fn challenge(
    snapshot: &Snapshot,
    hello: &Hello,
    accepted: Accepted,
    socket: Socket,
) -> Result<Outcome, Refusal> {
    let certificate = hello.sni.as_deref().and_then(|sni| snapshot.challenges.tls.get(sni));
    let Some(config) = certificate.and_then(policy::challenge_config) else {
        let (alert, result) = (AlertDescription::UnrecognisedName, Handshake::UnknownChallenge);
        return Err(Refusal::alert(socket, alert, result, "no ACME challenge is open for this name"));
    };
    let started = StartHandshake::from_parts(accepted, socket).into_stream(config);
    match started.into_fallible().await {
        Ok(stream) => Ok(Outcome::Challenge(Socket::Tls(Box::new(stream)))),
        Err((error, socket)) => Err(failed(&error, socket)),
    }
}

/// A handshake that the library ended; it has sent its alert.
fn failed(error: &io::Error, socket: Socket) -> Refusal {
    let reason = error.to_string().into();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Refusal { result: result_of(error), reason, farewell: Some((socket, Vec::new())) },
        None => Refusal { result: Handshake::ClientGone, reason, farewell: None },
    }
}

/// Says goodbye in a way that the alert arrives.
async fn farewell(mut socket: Socket, alert: &[u8]) {
    let goodbye = async {
        socket.write_all(alert).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut (&mut socket).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Who does not listen any more misses nothing.
    drop(tokio::time::timeout(LINGER, goodbye).await);
}

enum HelloError {
    Gone,
    TooLarge,
    Bad(rustls::Error, AcceptedAlert),
}

/// Reads the whole ClientHello, however it was cut into records and packets. Its bytes stay in `ahead`.
async fn read_hello(socket: &mut Socket, ahead: &mut BytesMut) -> Result<Accepted, HelloError> {
    let mut acceptor = Acceptor::default();
    let mut taken = 0;
    loop {
        while taken < ahead.len() {
            let mut rest = &ahead[taken..];
            match acceptor.read_tls(&mut rest) {
                Ok(0) | Err(_) => return Err(HelloError::TooLarge),
                Ok(read) => taken += read,
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    return if taken > HELLO_BYTES { Err(HelloError::TooLarge) } else { Ok(accepted) };
                }
                Ok(None) => {}
                Err((error, alert)) => return Err(HelloError::Bad(error, alert)),
            }
        }
        if ahead.len() >= HELLO_BYTES {
            return Err(HelloError::TooLarge);
        }
        match poll_fn(|cx| poll_read_behind(socket, ahead, cx)).await {
            Ok(0) | Err(_) => return Err(HelloError::Gone),
            Ok(_) => {}
        }
    }
}

fn written(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    alert.write_all(&mut bytes).expect("writing to memory does not fail");
    bytes
}

fn hello(accepted: &Accepted) -> Hello {
    let hello = accepted.client_hello();
    Hello {
        sni: hello.server_name().map(folded),
        alpn: hello.alpn().into_iter().flatten().map(Box::from).collect(),
    }
}

/// A server name as everything else compares it.
fn folded(name: &str) -> Box<str> {
    name.trim().trim_end_matches('.').to_ascii_lowercase().into()
}

/// What the access log and the routes need to know of a connection.
fn info(session: &ServerConnection, policy: Arc<TlsPolicy>) -> TlsInfo {
    TlsInfo {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(_) | None => "",
        },
        cipher: session.negotiated_cipher_suite().map_or("", policy::suite_name),
        policy,
        http2: session.alpn_protocol() == Some(b"h2"),
        client_subject: session
            .peer_certificates()
            .and_then(|chain| client_auth::subject(chain.first()?))
            .unwrap_or_default(),
    }
}

/// A failure as a label.
fn result_of(error: &rustls::Error) -> Handshake {
    use rustls::Error;
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => Handshake::Version,
        Error::PeerIncompatible(_) => Handshake::Parameters,
        Error::NoApplicationProtocol => Handshake::Protocol,
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Handshake::ClientCertificate,
        Error::AlertReceived(_) => Handshake::ClientAlert,
        Error::InvalidMessage(_)
        | Error::PeerMisbehaved(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => Handshake::Malformed,
        _ => Handshake::Other,
    }
}
