//! Files that settings name (certificates, keys, CA files): read with a bound, and watched wherever they lie.
//!
//! Such files are replaced in many ways: written in place, renamed over, or by a symbolic link that points elsewhere,
//! to the file or to one of its folders. Whatever the way, a change shows in a [`Stamp`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, sleep, timeout};

pub use crate::files::Stamp;
use crate::files::{EMPTY_AGAIN, Watcher, cannot, folder_of, settle, stamp, woken};

/// Files, and what they were like when they were last read; nothing where there was no file.
pub type Stamps = BTreeMap<Arc<Path>, Option<Stamp>>;

/// The safety net where a change goes unnoticed: at least this long between two looks at all files, and longer where
/// looking itself takes long.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_AT_MANY: Duration = Duration::from_secs(10);
const MANY: usize = 1_000;

/// How long the reader has to say what it found after it was told of a change.
const READING: Duration = Duration::from_secs(10);

/// What a file is like now. Blocks.
pub fn look(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|metadata| stamp(&metadata))
}

/// Those of these files that are not as they were. Blocks.
pub fn changed(stamps: &Stamps) -> BTreeSet<Arc<Path>> {
    stamps.iter().filter(|(path, before)| look(path) != **before).map(|(path, _)| Arc::clone(path)).collect()
}

/// Reads a file into `bytes`, and returns its permission bits; an error is in words. Nothing is copied on the way, so
/// that who clears `bytes` has cleared it all. Blocks.
pub fn read(path: &Path, at_most: u64, bytes: &mut Vec<u8>) -> Result<u32, String> {
    let mut file = File::open(path).map_err(|error| cannot("read", &error))?;
    let metadata = file.metadata().map_err(|error| cannot("read", &error))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let too_large = || format!("is larger than the {} KiB that are read", at_most / 1024);
    if metadata.len() > at_most {
        return Err(too_large());
    }
    // With room for more than there is: a buffer that grows leaves copies behind.
    bytes.reserve_exact(usize::try_from(metadata.len()).unwrap_or(usize::MAX).saturating_add(4096));
    file.by_ref().take(at_most + 1).read_to_end(bytes).map_err(|error| cannot("read", &error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > at_most {
        return Err(too_large());
    }
    Ok(metadata.permissions().mode() & 0o7777)
}

/// Says which files are not as `stamps` says they were, whenever that is so, until nobody listens. Whoever reads them
/// then sends the new stamps.
pub async fn watch(mut stamps: watch::Receiver<Arc<Stamps>>, notices: mpsc::Sender<BTreeSet<Arc<Path>>>) {
    let mut watcher = None;
    let mut followed = Arc::new(Stamps::new());
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let current = Arc::clone(&stamps.borrow_and_update());
        if current.is_empty() {
            watcher = None;
            followed = current;
            tokio::select! {
                () = notices.closed() => return,
                open = stamps.changed() => if open.is_err() { return },
            }
            continue;
        }
        if !Arc::ptr_eq(&current, &followed) {
            if watcher.is_none() {
                watcher = Watcher::new();
            }
            watcher = follow(watcher, Arc::clone(&current)).await;
            followed = Arc::clone(&current);
        }
        tokio::select! {
            () = notices.closed() => return,
            open = stamps.changed() => match open {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = woken(&mut watcher) => settle(&mut watcher).await,
            _ = tick.tick() => {}
        }
        if current.len() > MANY {
            tick.reset_after(LOOK_AT_MANY);
        }
        if stamps.has_changed().unwrap_or(true) {
            continue;
        }
        let mut found = differing(Arc::clone(&current)).await;
        if found.iter().any(|path| is_empty(path)) {
            // It may be about to be written.
            sleep(EMPTY_AGAIN).await;
            found = differing(current).await;
        }
        if found.is_empty() {
            continue;
        }
        if notices.send(found).await.is_err() {
            return;
        }
        let _ = timeout(READING, stamps.changed()).await;
    }
}

async fn differing(stamps: Arc<Stamps>) -> BTreeSet<Arc<Path>> {
    spawn_blocking(move || changed(&stamps)).await.unwrap_or_default()
}

fn is_empty(path: &Path) -> bool {
    look(path).is_some_and(|stamp| stamp.bytes == 0)
}

async fn follow(watcher: Option<Watcher>, stamps: Arc<Stamps>) -> Option<Watcher> {
    let mut watcher = watcher?;
    let followed = spawn_blocking(move || {
        watcher.follow_all(places(stamps.keys()), Path::is_file);
        watcher
    });
    followed.await.ok()
}

/// Everything whose change may be a change of one of these files: the file itself, its folder, where its links point,
/// and the folders that those links lie in.
fn places<'a>(files: impl Iterator<Item = &'a Arc<Path>>) -> BTreeSet<PathBuf> {
    let mut places = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for file in files {
        places.extend(file.is_file().then(|| file.to_path_buf()));
        let Some(folder) = folder_of(file) else { continue };
        let real = file.canonicalize().ok();
        places.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        if folders.insert(folder.clone()) {
            for part in folder.ancestors().filter(|part| part.is_symlink()) {
                places.extend(folder_of(part));
            }
            places.insert(folder);
        }
    }
    places
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;
