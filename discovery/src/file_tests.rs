//! The file provider on real folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::install::FileSource;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::*;
use crate::Freshness;

/// A provider under way on a folder of its own.
struct Running {
    folder: TempDir,
    updates: mpsc::Receiver<Update>,
    reloads: mpsc::Sender<oneshot::Sender<()>>,
}

fn provider(source: FileSource) -> FileProvider {
    FileProvider::new(install::FileProvider { source, watch: true }, Arc::new(|_| None))
}

impl Running {
    /// Starts on `path` below a new folder that holds `files`.
    fn start(files: &[(&str, &str)], source: impl FnOnce(&Path) -> FileSource) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            write(&folder.path().join(name), text);
        }
        let (sender, updates) = mpsc::channel(16);
        let (reloads, receiver) = mpsc::channel(4);
        let provider = Box::new(provider(source(folder.path())));
        tokio::spawn(provider.run(ProviderChannels { updates: sender, reloads: receiver }));
        Self { folder, updates, reloads }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for an update with these routers and problems that hold these texts.
    async fn until(&mut self, routers: &[&str], problems: &[&str]) -> Update {
        let mut last = String::new();
        let wait = async {
            loop {
                let update = self.updates.recv().await.expect("the provider runs");
                if names(&update) == routers && told(&update, problems) {
                    return update;
                }
                last = format!("{:?} {:?}", names(&update), update.problems);
            }
        };
        let found = timeout(Duration::from_secs(20), wait).await;
        found.unwrap_or_else(|_| panic!("wanted {routers:?} {problems:?}, last was {last}"))
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A routing file with one router of that name.
fn routing(name: &str) -> String {
    format!("http:\n  routers:\n    {name}: {{ rule: \"Host(`{name}.test`)\", service: s@file }}\n")
}

fn names(update: &Update) -> Vec<&str> {
    update.routing.http.routers.keys().map(String::as_str).collect()
}

fn told(update: &Update, problems: &[&str]) -> bool {
    update.problems.len() == problems.len()
        && problems.iter().zip(&update.problems).all(|(text, problem)| problem.to_string().contains(text))
}

fn file(name: &'static str) -> impl FnOnce(&Path) -> FileSource {
    move |folder| FileSource::File(folder.join(name))
}

fn whole(folder: &Path) -> FileSource {
    FileSource::Directory(folder.to_owned())
}

#[tokio::test]
async fn a_folder_is_read_at_all_levels_and_other_files_are_passed_over() {
    let files = [
        ("a.yml", routing("a")),
        ("sub/deep/b.yaml", routing("b")),
        ("c.toml", "[http.routers.c]\nrule = \"Host(`c`)\"\nservice = \"s\"\n".to_owned()),
        ("notes.txt", "not: [routing".to_owned()),
        ("..data/d.yml", routing("d")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut running = Running::start(&files, whole);
    running.until(&["a", "b", "c"], &[]).await;
}

#[tokio::test]
async fn changes_new_folders_and_removals_are_noticed() {
    let mut running = Running::start(&[("a.yml", &routing("a"))], whole);
    running.until(&["a"], &[]).await;
    write(&running.path("a.yml"), &routing("b"));
    running.until(&["b"], &[]).await;
    write(&running.path("new/c.yml"), &routing("c"));
    running.until(&["b", "c"], &[]).await;
    write(&running.path("new/c.yml"), &routing("d"));
    running.until(&["b", "d"], &[]).await;
    fs::remove_file(running.path("a.yml")).unwrap();
    running.until(&["d"], &[]).await;
}

#[tokio::test]
async fn a_file_that_does_not_parse_keeps_its_last_good_version_and_others_apply() {
    let mut running = Running::start(&[("a.yml", &routing("a")), ("b.yml", &routing("b"))], whole);
    running.until(&["a", "b"], &[]).await;
    write(&running.path("a.yml"), "http:\n  routers: [oh\n");
    let update = running.until(&["a", "b"], &["its last good version stays"]).await;
    assert!(update.problems[0].to_string().contains("a.yml:"), "{}", update.problems[0]);
    write(&running.path("b.yml"), &routing("c"));
    running.until(&["a", "c"], &["its last good version stays"]).await;
    write(&running.path("a.yml"), &routing("d"));
    running.until(&["c", "d"], &[]).await;
}

#[tokio::test]
async fn at_the_start_nothing_of_a_broken_file_is_served() {
    let mut running = Running::start(&[("a.yml", "http: [oh\n"), ("b.yml", &routing("b"))], whole);
    running.until(&["b"], &["nothing of this file is served"]).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_is_read() {
    let mut running = Running::start(&[("a.yml", &routing("a"))], file("a.yml"));
    running.until(&["a"], &[]).await;
    for name in ["b", "c"] {
        write(&running.path("next"), &routing(name));
        fs::rename(running.path("next"), running.path("a.yml")).unwrap();
        running.until(&[name], &[]).await;
    }
}

#[tokio::test]
async fn a_file_that_is_emptied_takes_its_routes_along() {
    let mut running = Running::start(&[("a.yml", &routing("a"))], file("a.yml"));
    running.until(&["a"], &[]).await;
    fs::File::create(running.path("a.yml")).unwrap();
    running.until(&[], &[]).await;
    write(&running.path("a.yml"), &routing("b"));
    running.until(&["b"], &[]).await;
}

#[tokio::test]
async fn a_missing_file_is_awaited_and_one_that_vanishes_stays_served() {
    let mut running = Running::start(&[], file("later/a.yml"));
    let update = running.until(&[], &["does not exist; it is read when it comes"]).await;
    assert_eq!(update.freshness, Freshness::Current);
    write(&running.path("later/a.yml"), &routing("a"));
    running.until(&["a"], &[]).await;
    fs::remove_file(running.path("later/a.yml")).unwrap();
    let update = running.until(&["a"], &["does not exist; what was last read of it stays"]).await;
    assert!(matches!(update.freshness, Freshness::Stale(_)));
    write(&running.path("later/a.yml"), &routing("b"));
    running.until(&["b"], &[]).await;
}

#[tokio::test]
async fn a_folder_that_is_swapped_by_links_is_read() {
    use std::os::unix::fs::symlink;
    let mut running =
        Running::start(&[("..1/a.yml", &routing("a")), ("..2/a.yml", &routing("b"))], |folder| {
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/a.yml", folder.join("a.yml")).unwrap();
            whole(folder)
        });
    running.until(&["a"], &[]).await;
    symlink("..2", running.path("..next")).unwrap();
    fs::rename(running.path("..next"), running.path("..data")).unwrap();
    running.until(&["b"], &[]).await;
}

#[tokio::test]
async fn of_one_name_in_two_files_the_first_file_wins() {
    let mut running = Running::start(
        &[("a.yml", &routing("x")), ("b.yml", &routing("x").replace("x.test", "other.test"))],
        whole,
    );
    let update = running.until(&["x"], &["x"]).await;
    assert_eq!(update.routing.http.routers["x"].value.rule, "Host(`x.test`)");
}

#[tokio::test]
async fn what_is_no_text_or_too_large_costs_its_own_file() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.yml"), b"http:\n  # \xff\n").unwrap();
    let large = fs::File::create(folder.path().join("b.yml")).unwrap();
    large.set_len(9 * 1024 * 1024).unwrap();
    fs::create_dir(folder.path().join("c.yml")).unwrap();
    write(&folder.path().join("d.yml"), &routing("d"));
    let update = provider(whole(folder.path())).load().await;
    assert_eq!(names(&update), ["d"]);
    assert!(
        told(&update, &["is not UTF-8 text (line 2)", "is larger than the 8 MiB"]),
        "{:?}",
        update.problems
    );
}

#[tokio::test]
async fn a_reload_is_acknowledged_after_its_update() {
    let mut running = Running::start(&[("a.yml", &routing("a"))], file("a.yml"));
    running.until(&["a"], &[]).await;
    write(&running.path("a.yml"), &routing("b"));
    let (sender, done) = oneshot::channel();
    running.reloads.send(sender).await.unwrap();
    timeout(Duration::from_secs(20), done).await.unwrap().unwrap();
    let mut seen = Vec::new();
    while let Ok(update) = running.updates.try_recv() {
        seen = names(&update).into_iter().map(str::to_owned).collect();
    }
    assert_eq!(seen, ["b"]);
}
