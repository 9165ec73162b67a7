//! Files that are read, watched and read again: what the file and the table provider share.
//!
//! A change is noticed by `notify` and, as a safety net (network file systems, bind mounts, no watches left), by a
//! look at names, times and sizes every two seconds. Each file keeps its last good version while it does not
//! parse; the others apply.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::install::FileSource;
use config::name::ProviderName;
use config::routing::file::FileRouting;
use config::routing::merge::{Rule, combine};
use config::{Origin, Problem};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};

use crate::{Freshness, ProviderChannels, Update};

/// Larger files are no routing files.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Bounds of a folder.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 16;

/// Quiet time after a change before files are read, and the longest wait.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLE_AT_MOST: Duration = Duration::from_secs(1);

/// A file that was just emptied is looked at again after this: it may be about to be written.
pub(crate) const EMPTY_AGAIN: Duration = Duration::from_millis(250);

/// The safety net.
const POLL: Duration = Duration::from_secs(2);

type Parse = Box<dyn Fn(&str, &Path) -> Result<FileRouting, Box<Problem>> + Send + Sync>;

/// A set of files and what was last read of them.
pub(crate) struct Files {
    provider: ProviderName,
    source: FileSource,
    watch: bool,
    parse: Parse,
    versions: BTreeMap<PathBuf, Version>,
    /// The file or folder itself cannot be read.
    absent: Option<Problem>,
    found: Found,
}

/// What is known of one file.
#[derive(Debug, Default)]
struct Version {
    /// What was read last.
    text: Option<Result<String, String>>,
    /// The last version that parsed.
    good: Option<FileRouting>,
    /// Why a newer one did not.
    trouble: Option<Problem>,
}

/// What there is on disk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Found {
    files: BTreeMap<PathBuf, Stamp>,
    folders: BTreeSet<PathBuf>,
    /// Why the file or folder itself cannot be read.
    absent: Option<String>,
    /// Not everything was looked at.
    cut: bool,
}

/// Two equal stamps: very probably nothing was written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<SystemTime>,
    /// Changes with the mode too: a file may become readable.
    changed: (i64, i64),
    pub(crate) bytes: u64,
    inode: u64,
}

impl Files {
    pub(crate) fn new(provider: ProviderName, source: FileSource, watch: bool, parse: Parse) -> Self {
        let (versions, found) = (BTreeMap::new(), Found::default());
        Self { provider, source, watch, parse, versions, absent: None, found }
    }

    /// Reads once.
    pub(crate) async fn load(&mut self) -> Update {
        self.read().await;
        self.update()
    }

    /// Reads, watches and sends until nobody listens.
    pub(crate) async fn run(mut self, mut channels: ProviderChannels) {
        let mut watcher = self.watch.then(Watcher::new).flatten();
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reloads_open = true;
        self.read().await;
        self.follow(&mut watcher);
        let update = self.update();
        if channels.updates.send(update).await.is_err() {
            return;
        }
        loop {
            let mut reload = None;
            tokio::select! {
                () = channels.updates.closed() => return,
                asked = channels.reloads.recv(), if reloads_open => match asked {
                    Some(asked) => reload = Some(asked),
                    None => {
                        reloads_open = false;
                        continue;
                    }
                },
                () = woken(&mut watcher) => settle(&mut watcher).await,
                _ = tick.tick(), if self.watch => {}
            }
            // Neighbours in a watched folder change too.
            if reload.is_none() && self.look().await == self.found {
                continue;
            }
            let changed = self.read().await;
            self.follow(&mut watcher);
            if (changed || reload.is_some()) && channels.updates.send(self.update()).await.is_err() {
                return;
            }
            if let Some(reload) = reload {
                // Who asked may have given up.
                let _ = reload.send(());
            }
        }
    }

    async fn look(&self) -> Found {
        let source = self.source.clone();
        tokio::task::spawn_blocking(move || look(&source)).await.unwrap_or_default()
    }

    /// Reads everything. True if anything differs from before.
    async fn read(&mut self) -> bool {
        let mut found = self.look().await;
        let mut texts = read_all(&found).await;
        let emptied = texts.iter().any(|(path, text)| {
            let before = self.versions.get(path).and_then(|version| version.text.as_ref());
            text.as_ref().is_ok_and(String::is_empty) && before.is_some_and(|before| before != text)
        });
        if emptied {
            sleep(EMPTY_AGAIN).await;
            found = self.look().await;
            texts = read_all(&found).await;
        }
        let changed = self.take(&found, texts);
        self.found = found;
        changed
    }

    fn take(&mut self, found: &Found, texts: BTreeMap<PathBuf, Result<String, String>>) -> bool {
        let place = match &self.source {
            FileSource::File(path) | FileSource::Directory(path) => path.clone(),
        };
        let absent = found.absent.as_ref().map(|message| {
            let message = match self.versions.values().any(|version| version.good.is_some()) {
                true => format!("{message}; what was last read of it stays"),
                false => format!("{message}; it is read when it comes"),
            };
            Problem::error(Origin::file(place.clone(), 0, 0), String::new(), message)
        });
        let absent = absent.or_else(|| {
            found.cut.then(|| {
                let message =
                    format!("more than {MAX_FILES} files or {MAX_DEPTH} levels: the rest is not read");
                Problem::error(Origin::file(place, 0, 0), String::new(), message)
            })
        });
        let mut changed = absent != self.absent;
        self.absent = absent;
        if found.absent.is_some() {
            return changed;
        }
        let before = self.versions.len();
        self.versions.retain(|path, _| texts.contains_key(path));
        changed |= self.versions.len() != before;
        for (path, text) in texts {
            let version = self.versions.entry(path.clone()).or_default();
            if version.text.as_ref() == Some(&text) {
                continue;
            }
            changed = true;
            version.read(&path, text, &self.parse);
        }
        changed
    }

    fn update(&self) -> Update {
        let mut problems: Vec<Problem> = self.absent.iter().cloned().collect();
        let mut fragments = Vec::new();
        for version in self.versions.values() {
            problems.extend(version.trouble.clone());
            if let Some(good) = &version.good {
                problems.extend(good.problems.iter().cloned());
                fragments.push(good.routing.clone());
            }
        }
        let (routing, clashes) = combine(fragments, Rule::Files);
        problems.extend(clashes);
        problems.sort();
        problems.dedup();
        let freshness = match &self.found.absent {
            Some(message) if !self.versions.is_empty() => Freshness::Stale(message.clone()),
            Some(_) | None => Freshness::Current,
        };
        Update { provider: self.provider.clone(), routing, problems, freshness }
    }

    fn follow(&self, watcher: &mut Option<Watcher>) {
        if let Some(watcher) = watcher {
            watcher.follow(&self.source, &self.found);
        }
    }
}

impl Version {
    fn read(&mut self, path: &Path, text: Result<String, String>, parse: &Parse) {
        let outcome = match &text {
            Ok(text) => {
                parse(text.strip_prefix('\u{feff}').unwrap_or(text), path).map_err(|problem| *problem)
            }
            Err(message) => Err(Problem::error(Origin::file(path, 0, 0), String::new(), message.clone())),
        };
        self.text = Some(text);
        match outcome {
            Ok(good) => {
                self.good = Some(good);
                self.trouble = None;
            }
            Err(problem) => {
                let rest = match self.good {
                    Some(_) => "its last good version stays",
                    None => "nothing of this file is served",
                };
                let message = format!("{}; {rest}", problem.message);
                self.trouble = Some(Problem { message, ..problem });
            }
        }
    }
}

/// Everything there is to read. Blocks.
fn look(source: &FileSource) -> Found {
    let mut found = Found::default();
    match source {
        FileSource::File(path) => match fs::metadata(path) {
            Ok(metadata) => {
                found.files.insert(path.clone(), stamp(&metadata));
            }
            Err(error) => found.absent = Some(cannot("read", &error)),
        },
        FileSource::Directory(path) => match fs::read_dir(path) {
            Ok(entries) => look_into(path, entries, 0, &mut found),
            Err(error) => found.absent = Some(cannot("read the folder", &error)),
        },
    }
    found
}

fn look_into(folder: &Path, entries: fs::ReadDir, depth: usize, found: &mut Found) {
    found.folders.insert(folder.to_owned());
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `..data` and its like are where Kubernetes keeps the versions of a folder; `.#x` is an editor's lock.
        if name.starts_with("..") || name.starts_with(".#") {
            continue;
        }
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if depth >= MAX_DEPTH {
                found.cut = true;
            } else if let Ok(entries) = fs::read_dir(&path) {
                look_into(&path, entries, depth + 1, found);
            } else {
                found.folders.insert(path);
            }
            continue;
        }
        let ours = path.extension().is_some_and(|extension| {
            ["yml", "yaml", "toml"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
        // A linked file is read, a linked folder is not: it would be read twice.
        if !ours || path.is_dir() {
            continue;
        }
        if found.files.len() >= MAX_FILES {
            found.cut = true;
            continue;
        }
        let none = Stamp { modified: None, changed: (0, 0), bytes: 0, inode: 0 };
        found.files.insert(path.clone(), fs::metadata(&path).map_or(none, |metadata| stamp(&metadata)));
    }
}

pub(crate) fn stamp(metadata: &fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    Stamp {
        modified: metadata.modified().ok(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.len(),
        inode: metadata.ino(),
    }
}

async fn read_all(found: &Found) -> BTreeMap<PathBuf, Result<String, String>> {
    let paths: Vec<PathBuf> = found.files.keys().cloned().collect();
    let read = move || {
        paths
            .into_iter()
            .map(|path| {
                let text = read_one(&path);
                (path, text)
            })
            .collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn read_one(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| cannot("read", &error))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let too_large = || format!("is larger than the {} MiB that are read", MAX_FILE_BYTES / (1024 * 1024));
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| cannot("read", &error))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| cannot("read", &error))?;
    // It may have grown while it was read.
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to())
            .filter(|b| **b == b'\n')
            .count();
        format!("is not UTF-8 text (line {line})")
    })
}

pub(crate) fn cannot(what: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => format!("cannot {what}: permission denied"),
        _ => format!("cannot {what}: {error}"),
    }
}

/// Wakes on changes. Folders and files are watched both: a file that is bind-mounted alone and rewritten in place
/// shows no change in its folder, a file that is replaced shows none in itself.
pub(crate) struct Watcher {
    inner: RecommendedWatcher,
    wakes: mpsc::Receiver<()>,
    watched: BTreeSet<PathBuf>,
}

impl Watcher {
    pub(crate) fn new() -> Option<Self> {
        let (sender, wakes) = mpsc::channel(1);
        let notice = move |event: notify::Result<notify::Event>| {
            let matters = match event.map(|event| event.kind) {
                // Our own reading is an access.
                Ok(EventKind::Access(kind)) => kind == AccessKind::Close(AccessMode::Write),
                Ok(_) | Err(_) => true,
            };
            if matters {
                // Full: it will wake anyway.
                let _ = sender.try_send(());
            }
        };
        match notify::recommended_watcher(notice) {
            Ok(inner) => Some(Self { inner, wakes, watched: BTreeSet::new() }),
            Err(error) => {
                tracing::warn!(%error, "changes of files are looked for every two seconds: no watcher");
                None
            }
        }
    }

    fn follow(&mut self, source: &FileSource, found: &Found) {
        let mut wanted: BTreeSet<PathBuf> = found.folders.iter().chain(found.files.keys()).cloned().collect();
        // A file may be replaced: its folder tells. What is not there yet is awaited in the nearest folder that is.
        let awaited = match source {
            FileSource::File(path) => Some(path),
            FileSource::Directory(path) => found.absent.is_some().then_some(path),
        };
        if let Some(path) = awaited {
            wanted.extend(folder_of(path));
        }
        self.follow_all(wanted, |path| found.files.contains_key(path));
    }

    /// Watches these files and folders, and nothing else.
    pub(crate) fn follow_all(&mut self, wanted: BTreeSet<PathBuf>, is_file: impl Fn(&Path) -> bool) {
        for gone in self.watched.difference(&wanted) {
            let _ = self.inner.unwatch(gone);
        }
        for path in &wanted {
            // A file under the same name may be another one now.
            if self.watched.contains(path) && !is_file(path) {
                continue;
            }
            let _ = self.inner.unwatch(path);
            if let Err(error) = self.inner.watch(path, RecursiveMode::NonRecursive) {
                tracing::debug!(path = %path.display(), %error, "not watched: changes are looked for every two seconds");
            }
        }
        self.watched = wanted;
    }
}

/// The folder that a file lies in, or the nearest one above it that is there.
pub(crate) fn folder_of(path: &Path) -> Option<PathBuf> {
    let path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    path.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned)
}

/// Until something changes; for ever without a watcher.
pub(crate) async fn woken(watcher: &mut Option<Watcher>) {
    if let Some(watcher) = watcher
        && watcher.wakes.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// Until changes pause.
pub(crate) async fn settle(watcher: &mut Option<Watcher>) {
    let Some(watcher) = watcher else { return };
    let end = Instant::now() + SETTLE_AT_MOST;
    while Instant::now() < end {
        if timeout(SETTLE, watcher.wakes.recv()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reading_and_following_do_not_wake_the_watcher_themselves() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("a.yml"), "http: {}").unwrap();
        let source = FileSource::Directory(folder.path().to_owned());
        let mut watcher = Watcher::new().unwrap();
        for _ in 0..3 {
            let found = look(&source);
            watcher.follow(&source, &found);
            assert_eq!(read_all(&found).await.len(), 1);
        }
        let wake = timeout(Duration::from_millis(400), watcher.wakes.recv()).await;
        assert!(wake.is_err(), "it would read for ever");
        fs::write(folder.path().join("a.yml"), "http: {} ").unwrap();
        timeout(Duration::from_secs(20), watcher.wakes.recv()).await.unwrap().unwrap();
    }
}
