//! Files that the routing configuration names (certificates, keys, CA files), as the control plane last read them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use config::routing::tls::Pem;

/// Contents by path. What did not change on disk is the same value as before.
#[derive(Debug, Default, Clone)]
pub struct Files(HashMap<PathBuf, Result<File, Arc<str>>>);

/// A file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its bytes. May hold a private key, and so they never print.
    pub bytes: Arc<[u8]>,
    /// Its permission bits.
    pub mode: u32,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} bytes)", self.bytes.len())
    }
}

impl Files {
    /// These contents; an error says in words why a file could not be read.
    pub fn new(contents: HashMap<PathBuf, Result<File, Arc<str>>>) -> Self {
        Self(contents)
    }

    /// The bytes behind what was written: the text itself, or the file's. The error is in words.
    pub fn bytes(&self, pem: &Pem) -> Result<Arc<[u8]>, Arc<str>> {
        match pem {
            Pem::Text(text) => Ok(Arc::from(text.as_bytes())),
            Pem::File(path) => match self.0.get(path) {
                Some(Ok(file)) => Ok(Arc::clone(&file.bytes)),
                Some(Err(error)) => Err(Arc::clone(error)),
                None => Err(Arc::from("it was not read")),
            },
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What is known of a file.
    pub fn get(&self, path: &std::path::Path) -> Option<&Result<File, Arc<str>>> {
        self.0.get(path)
    }
}
