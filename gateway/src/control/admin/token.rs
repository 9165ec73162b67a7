//! The admin token: what the operator set, or one made at the first start in `stateDir/admin.token`, where the
//! commands read it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use config::problem::Origin;
use config::secret::Secret;
use config::{Install, Problem};
use subtle::ConstantTimeEq;

/// Shortest token that an operator may set for a listener that others can reach.
const LEAST_BYTES: usize = 32;

/// The token that writes need.
#[derive(Debug, Clone)]
pub(super) struct Token(Secret<String>);

/// Where the token of a gateway without a configured one lies.
pub fn token_path(state_dir: &Path) -> PathBuf {
    state_dir.join("admin.token")
}

impl Token {
    /// The configured token, or the one in `stateDir`, or a new one. `private` says that only this machine's
    /// users reach the listener.
    pub(super) fn establish(install: &Install, private: bool, problems: &mut Vec<Problem>) -> Self {
        if let Some(token) = &install.admin.token {
            if private || token.expose().len() >= LEAST_BYTES {
                return Self(token.clone());
            }
            problems.push(
                Problem::error(
                    Origin::Gateway,
                    "admin token",
                    format!("`admin.token` is shorter than {LEAST_BYTES} bytes and the admin listener is not on loopback: it is not used"),
                )
                .with_hint("write a longer one, for example the output of `openssl rand -hex 32`; until then the token in `stateDir` is valid"),
            );
        }
        let path = token_path(&install.state_dir);
        match read_or_make(&path, problems) {
            Ok(token) => {
                tracing::info!(path = %path.display(), "the admin token is in this file");
                Self(token)
            }
            Err(error) => {
                problems.push(
                    Problem::warning(
                        Origin::Gateway,
                        "admin token",
                        format!(
                            "cannot be kept in {}: {error}; calls that change something are refused",
                            path.display()
                        ),
                    )
                    .with_hint("make `stateDir` writable, or set `admin.tokenFile`"),
                );
                // A token that nobody knows.
                Self(random())
            }
        }
    }

    /// Compares in constant time.
    pub(super) fn is(&self, offered: &[u8]) -> bool {
        self.0.expose().as_bytes().ct_eq(offered).into()
    }
}

fn read_or_make(path: &Path, problems: &mut Vec<Problem>) -> io::Result<Secret<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= LEAST_BYTES => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                problems.push(
                    Problem::warning(
                        Origin::Gateway,
                        "admin token",
                        format!("{} can be read by others", path.display()),
                    )
                    .with_hint("`chmod 600` it"),
                );
            }
            Ok(Secret::new(text.trim().to_owned()))
        }
        // Cut short by a crash, or emptied: as good as none.
        Ok(_) => make(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(error),
    }
}

/// Writes a new token beside its place and moves it there, so that a reader finds all of it or nothing.
fn make(path: &Path) -> io::Result<Secret<String>> {
    let token = random();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("token.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(token.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    Ok(token)
}

/// 32 random bytes in hexadecimal.
fn random() -> Secret<String> {
    let mut bytes = [0_u8; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the system's source of randomness works");
    Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = token_path(&directory.path().join("state"));
        let mut problems = Vec::new();
        let first = read_or_make(&path, &mut problems).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path, &mut problems).unwrap(), first);
        assert!(problems.is_empty(), "{problems:?}");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_or_make(&path, &mut problems).unwrap(), first);
        assert_eq!(problems.len(), 1);
        fs::write(&path, "").unwrap();
        assert_ne!(read_or_make(&path, &mut problems).unwrap(), first);
    }
}
