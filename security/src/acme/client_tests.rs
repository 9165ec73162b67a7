//! Faults that a real ACME server does not make: a double on a loopback port answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;

use config::install::acme::Challenges;
use instant_acme::{Account, NewAccount};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers each request with the next of these heads and bodies; `{base}` is its own address.
async fn double(answers: &[(&str, &str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let base = format!("http://{address}");
    let mut answers: VecDeque<(String, String)> =
        answers.iter().map(|(head, body)| ((*head).to_owned(), body.replace("{base}", &base))).collect();
    tokio::spawn(async move {
        while let Some((head, body)) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // The whole request has arrived when the client waits.
            while !is_whole(&request) {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn settings(directory: SocketAddr, limit: Duration) -> CertificateResolver {
    CertificateResolver {
        name: "le".into(),
        ca_server: format!("http://{directory}/dir"),
        email: None,
        storage: "acme.json".into(),
        key_type: config::install::acme::KeyType::Ec256,
        certificates_duration: Duration::from_secs(1),
        preferred_chain: None,
        profile: None,
        disable_common_name: false,
        external_account: None,
        trust: CaTrust::default(),
        client_timeout: limit,
        response_header_timeout: limit,
        certificate_timeout: limit,
        challenges: Challenges::default(),
    }
}

/// What registering an account at this double ends with.
async fn registering(answers: &[(&str, &str)]) -> Result<(), CaError> {
    let double = double(answers).await;
    let settings = settings(double, Duration::from_secs(20));
    let key = Arc::new(AccountKey::generate().unwrap());
    let http = AcmeHttp::new(&settings, key, Clock::new(|| SystemTime::UNIX_EPOCH)).unwrap();
    let wanted = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
    let made = Account::builder_with_http(Box::new(http)).create(&wanted, settings.ca_server, None).await;
    made.map(|_| ()).map_err(CaError::from)
}

const DIRECTORY: (&str, &str) = (
    "200 OK\r\ncontent-type: application/json",
    r#"{"newNonce":"{base}/nonce","newAccount":"{base}/account","newOrder":"{base}/order"}"#,
);
/// Without content, and with a status that the library would not take.
const NONCE: (&str, &str) = ("204 No Content\r\nreplay-nonce: one", "");
const BAD_NONCE: (&str, &str) = (
    "400 Bad Request\r\nreplay-nonce: next\r\ncontent-type: application/problem+json",
    r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"old"}"#,
);
const ACCOUNT: (&str, &str) =
    ("201 Created\r\nlocation: http://ca.test/1\r\ncontent-type: application/json", r#"{"status":"valid"}"#);

#[tokio::test]
async fn ten_bad_nonces_in_a_row_are_no_obstacle() {
    let mut answers = vec![DIRECTORY, NONCE];
    answers.extend([BAD_NONCE; 10]);
    answers.push(ACCOUNT);
    registering(&answers).await.unwrap();
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_told_in_readable_words() {
    let page = "<html><body><h1>503</h1>\n<p>Come\u{1b}[31m back</p></body></html>";
    for head in [
        "503 Unavailable\r\ncontent-type: text/html\r\nretry-after: 77",
        "200 OK\r\ncontent-type: text/html\r\nretry-after: 77",
    ] {
        let error = registering(&[(head, page)]).await.unwrap_err();
        let CaError::NotAcme { words, retry_after, .. } = error else { panic!("{error}") };
        assert_eq!(words, "503 Come\\u{1b}[31m back");
        assert_eq!(retry_after, Some(Duration::from_secs(77)));
    }
}

#[tokio::test]
async fn too_many_requests_are_told_with_and_without_the_time_to_wait() {
    let check = async |header: &str, expected: Option<u64>| {
        let head = format!("429 Too Many\r\ncontent-type: application/problem+json{header}");
        let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow\ndown"}"#;
        let error = registering(&[DIRECTORY, NONCE, (&head, body)]).await.unwrap_err();
        let CaError::Refused { kind, words, retry_after, status } = error else { panic!("{error}") };
        assert_eq!((kind.as_str(), words.as_str(), status), ("rateLimited", "slow down (rateLimited)", 429));
        assert_eq!(retry_after, expected.map(Duration::from_secs));
    };
    check("", None).await;
    check("\r\nretry-after: 3600", Some(3600)).await;
    check("\r\nretry-after: Thu, 01 Jan 1970 00:02:00 GMT", Some(120)).await;
    check("\r\nretry-after: soon", None).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limit = Duration::from_millis(50);
    let settings = settings(silent.local_addr().unwrap(), limit);
    let key = Arc::new(AccountKey::generate().unwrap());
    let http = AcmeHttp::new(&settings, key, Clock::new(|| SystemTime::UNIX_EPOCH)).unwrap();
    let request = Request::builder().uri(settings.ca_server).body(BodyWrapper::default()).unwrap();
    let Err(error) = http.request(request).await else { panic!("it answered") };
    assert_eq!(CaError::from(error), CaError::Silent(limit));
}

#[test]
fn links_to_other_chains_are_found_among_others() {
    let mut headers = HeaderMap::new();
    headers.append(LINK, HeaderValue::from_static("<https://ca.test/dir>;rel=\"index\""));
    headers.append(
        LINK,
        HeaderValue::from_static("<https://ca.test/1>;rel=\"alternate\", <https://ca.test/2>; rel=alternate"),
    );
    assert_eq!(alternates(&headers), ["https://ca.test/1", "https://ca.test/2"]);
}
