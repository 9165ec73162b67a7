//! The storage file of certificate resolvers, `acme.json`, exactly as Traefik has it: accounts and certificates of several
//! resolvers in one file. What we do not know in it stays as it is.
//!
//! It is read again before each change, so that what another hand changed is not lost, and written so that a crash at any
//! moment leaves the old content or the new one.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use config::routing::tls::Domain;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::atomic;

/// A storage file. One value for each file: several resolvers may share it.
#[derive(Debug)]
pub struct Storage {
    /// As it was written in the configuration, for people.
    path: PathBuf,
    /// Where a copy is kept while a file that cannot be replaced is written in place.
    copy: PathBuf,
    /// What the file last held: where it is removed, it is made again from this. One change at a time.
    last: Mutex<Map<String, Value>>,
}

/// Why a storage file cannot be used. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Others may read it.
    #[error("permissions {mode:o} for {} are too open, please use 600", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read or written.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else, or is torn.
    #[error("{} is not a storage file of certificate resolvers, or is torn: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl StorageError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Mode { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Io { .. } => "make the folder, and let the gateway write to it".to_owned(),
            Self::Content { path, .. } => format!(
                "bring back a copy of {}, or move it away: then a new account and new certificates are asked for",
                path.display()
            ),
        }
    }
}

/// What a file holds of one resolver.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) account: Option<StoredAccount>,
    pub(super) certificates: Vec<StoredCertificate>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredAccount {
    pub(super) email: String,
    /// Its URL at the server; empty if it was not registered.
    pub(super) uri: String,
    /// PKCS#1.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredCertificate {
    pub(super) domain: Domain,
    /// PEM, leaf first.
    pub(super) chain: Vec<u8>,
    /// PEM.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// A change that is written in place, as the copy tells it.
#[derive(Serialize, Deserialize)]
struct Change {
    before: String,
    after: String,
}

impl Storage {
    /// The file at `path`; `state_dir` is for copies.
    pub fn new(path: PathBuf, state_dir: &Path) -> Self {
        let name = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            path.as_os_str().as_encoded_bytes(),
        ));
        let copy = state_dir.join(format!("acme-{}.copy", &name[..16]));
        Self { path, copy, last: Mutex::default() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds of a resolver. A missing or empty file is fine; a missing one is made, so that one that cannot
    /// be is known before a certificate is there that cannot be kept. Blocks.
    pub(super) fn open(&self, resolver: &str) -> Result<Stored, StorageError> {
        let mut last = self.last.lock();
        atomic::make(&self.path).map_err(|source| self.io("make", source))?;
        let file = self.read()?.unwrap_or_default();
        let stored = self.stored(file.get(resolver));
        *last = file;
        stored
    }

    /// Changes the account of a resolver. `None` takes it away.
    pub(super) fn set_account(
        &self,
        resolver: &str,
        account: Option<&StoredAccount>,
    ) -> Result<(), StorageError> {
        self.change(resolver, |entry| {
            let Some(account) = account else {
                entry.insert("Account".to_owned(), Value::Null);
                return;
            };
            let contact: Vec<String> = match account.email.is_empty() {
                true => Vec::new(),
                false => vec![format!("mailto:{}", account.email)],
            };
            let mut object = object(entry.remove("Account"));
            let mut registration = self::object(object.remove("Registration"));
            let mut body = self::object(registration.remove("body"));
            body.insert("status".to_owned(), Value::from("valid"));
            body.insert("contact".to_owned(), json!(contact));
            registration.insert("body".to_owned(), Value::Object(body));
            registration.insert("uri".to_owned(), Value::from(account.uri.as_str()));
            object.insert("Email".to_owned(), Value::from(account.email.as_str()));
            object.insert("Registration".to_owned(), Value::Object(registration));
            object.insert("PrivateKey".to_owned(), Value::from(STANDARD.encode(&account.key)));
            entry.insert("Account".to_owned(), Value::Object(object));
        })
    }

    /// Adds a certificate of a resolver, in the place of the one with the same names.
    pub(super) fn put_certificate(
        &self,
        resolver: &str,
        certificate: &StoredCertificate,
    ) -> Result<(), StorageError> {
        self.change(resolver, |entry| {
            let mut list = match entry.remove("Certificates") {
                Some(Value::Array(list)) => list,
                Some(_) | None => Vec::new(),
            };
            let same = |item: &&mut Value| domain(item).as_ref() == Some(&certificate.domain);
            match list.iter_mut().find(same) {
                Some(Value::Object(item)) => write_certificate(item, certificate),
                Some(_) | None => {
                    let mut item = Map::new();
                    write_certificate(&mut item, certificate);
                    list.push(Value::Object(item));
                }
            }
            entry.insert("Certificates".to_owned(), Value::Array(list));
        })
    }

    /// Reads the file, changes the entry of a resolver, writes it back. Blocks.
    fn change(
        &self,
        resolver: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), StorageError> {
        let mut last = self.last.lock();
        let mut file = match self.read()? {
            Some(file) => file,
            None => last.clone(),
        };
        // Refused before it is changed: an entry of another shape is somebody else's.
        self.stored(file.get(resolver))?;
        let mut entry = object(file.remove(resolver));
        change(&mut entry);
        entry.entry("Account").or_insert(Value::Null);
        entry.entry("Certificates").or_insert(Value::Null);
        file.insert(resolver.to_owned(), Value::Object(entry));
        let text = serde_json::to_string_pretty(&file).map_err(|error| self.content(&error))?;
        self.write(&Zeroizing::new(text))?;
        *last = file;
        Ok(())
    }

    /// The whole file, if there is one.
    fn read(&self) -> Result<Option<Map<String, Value>>, StorageError> {
        let mode = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read", source)),
        };
        if mode & 0o077 != 0 {
            return Err(StorageError::Mode { path: self.path.clone(), mode });
        }
        let bytes = Zeroizing::new(fs::read(&self.path).map_err(|source| self.io("read", source))?);
        let bytes = match self.unfinished(&bytes)? {
            Some(whole) => Zeroizing::new(whole.into_bytes()),
            None => bytes,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Map::new()));
        }
        // The parser's words may quote a key: only the place is told.
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(Value::Object(file)) => Ok(Some(file)),
            Ok(Value::Null) => Ok(Some(Map::new())),
            Ok(_) => Err(self.content("it does not hold one object")),
            Err(error) => {
                Err(self.content(format!("invalid JSON at line {}, column {}", error.line(), error.column())))
            }
        }
    }

    /// Ends a change that was written in place when the process died, and returns what the file holds then.
    fn unfinished(&self, now: &[u8]) -> Result<Option<String>, StorageError> {
        let copy = match fs::read(&self.copy) {
            Ok(copy) => Zeroizing::new(copy),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read the copy of", source)),
        };
        // The copy itself was replaced as a whole; what is not whole is not ours.
        let Ok(change) = serde_json::from_slice::<Change>(&copy) else { return Ok(None) };
        let whole = serde_json::from_slice::<Value>(now).is_ok();
        let ours = now != change.after.as_bytes()
            && (!whole || is_between(now, change.before.as_bytes(), change.after.as_bytes()));
        if ours {
            write_in_place(&self.path, change.after.as_bytes()).map_err(|source| self.io("write", source))?;
        }
        atomic::remove(&self.copy).map_err(|source| self.io("remove the copy of", source))?;
        Ok(ours.then_some(change.after))
    }

    fn write(&self, text: &str) -> Result<(), StorageError> {
        // Where the path is a link, what it leads to is the file.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        match atomic::replace(&path, text.as_bytes()) {
            Ok(()) => Ok(()),
            Err(error) if in_place_only(&error) && path.exists() => self.write_in_place(&path, text),
            Err(source) => Err(self.io("write", source)),
        }
    }

    /// A file that is mounted by itself, or lies in a folder that is closed, cannot be replaced. It is written in
    /// place, and what a crash would tear is kept beside until it is whole.
    fn write_in_place(&self, path: &Path, text: &str) -> Result<(), StorageError> {
        let before = fs::read_to_string(path).map_err(|source| self.io("read", source))?;
        let change = Change { before, after: text.to_owned() };
        let copy = serde_json::to_vec(&change).map_err(|error| self.content(&error))?;
        atomic::replace(&self.copy, &Zeroizing::new(copy))
            .map_err(|source| self.io("keep a copy in the state directory while writing", source))?;
        write_in_place(path, text.as_bytes()).map_err(|source| self.io("write", source))?;
        atomic::remove(&self.copy).map_err(|source| self.io("remove the copy of", source))
    }

    fn stored(&self, entry: Option<&Value>) -> Result<Stored, StorageError> {
        let entry = match entry {
            None | Some(Value::Null) => return Ok(Stored::default()),
            Some(Value::Object(entry)) => entry,
            Some(_) => return Err(self.content("a resolver's entry is not an object")),
        };
        let account = match entry.get("Account") {
            None | Some(Value::Null) => None,
            Some(account) => {
                Some(account_of(account).ok_or_else(|| self.content("an account cannot be understood"))?)
            }
        };
        let certificates = match entry.get("Certificates") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().filter_map(certificate_of).collect(),
            Some(_) => return Err(self.content("`Certificates` is not a list")),
        };
        Ok(Stored { account, certificates })
    }

    fn io(&self, action: &'static str, source: io::Error) -> StorageError {
        StorageError::Io { action, path: self.path.clone(), source }
    }

    fn content(&self, reason: impl ToString) -> StorageError {
        StorageError::Content { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// Whether a file must be written in place since it cannot be replaced.
fn in_place_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn write_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(content)?;
    file.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
    file.sync_all()
}

/// Whether `now` is what a write in place leaves on its way from `before` to `after`.
fn is_between(now: &[u8], before: &[u8], after: &[u8]) -> bool {
    let written = now.iter().zip(after).take_while(|(now, after)| now == after).count();
    let rest = before.get(written..).unwrap_or_default();
    now[written..] == *rest || now == before
}

fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(object)) => object,
        Some(_) | None => Map::new(),
    }
}

/// A member, by Traefik's name or that in another case: older releases wrote both.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object
        .get(name)
        .or_else(|| object.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    member(value, name).and_then(Value::as_str)
}

fn account_of(account: &Value) -> Option<StoredAccount> {
    account.as_object()?;
    let uri = member(account, "Registration").and_then(|registration| text(registration, "uri"));
    let key = STANDARD.decode(text(account, "PrivateKey").unwrap_or_default()).ok()?;
    Some(StoredAccount {
        email: text(account, "Email").unwrap_or_default().to_owned(),
        uri: uri.unwrap_or_default().to_owned(),
        key: Zeroizing::new(key),
    })
}

fn domain(certificate: &Value) -> Option<Domain> {
    let domain = member(certificate, "domain")?;
    let main = text(domain, "main")?.to_ascii_lowercase();
    let sans = match member(domain, "sans") {
        Some(Value::Array(sans)) => {
            sans.iter().filter_map(Value::as_str).map(|name| name.to_ascii_lowercase().into()).collect()
        }
        Some(_) | None => Vec::new(),
    };
    Some(Domain { main: main.into(), sans })
}

/// None for what cannot be served: it stays in the file.
fn certificate_of(certificate: &Value) -> Option<StoredCertificate> {
    Some(StoredCertificate {
        domain: domain(certificate)?,
        chain: STANDARD.decode(text(certificate, "certificate")?).ok()?,
        key: Zeroizing::new(STANDARD.decode(text(certificate, "key")?).ok()?),
    })
}

fn write_certificate(item: &mut Map<String, Value>, certificate: &StoredCertificate) {
    let mut domain = object(item.remove("domain"));
    domain.insert("main".to_owned(), Value::from(&*certificate.domain.main));
    domain.remove("sans");
    if !certificate.domain.sans.is_empty() {
        let sans: Vec<&str> = certificate.domain.sans.iter().map(|name| &**name).collect();
        domain.insert("sans".to_owned(), json!(sans));
    }
    item.insert("domain".to_owned(), Value::Object(domain));
    item.insert("certificate".to_owned(), Value::from(STANDARD.encode(&certificate.chain)));
    item.insert("key".to_owned(), Value::from(STANDARD.encode(&certificate.key)));
    item.entry("Store").or_insert_with(|| Value::from("default"));
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
