//! Files as certificate tools replace them.

use std::os::unix::fs::symlink;

use super::*;

const SOON: Duration = Duration::from_secs(20);

struct Stage {
    folder: tempfile::TempDir,
    stamps: watch::Sender<Arc<Stamps>>,
    notices: mpsc::Receiver<BTreeSet<Arc<Path>>>,
}

impl Stage {
    fn new(prepare: impl FnOnce(&Path), names: &[&str]) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        prepare(folder.path());
        let stamps = read(folder.path(), names);
        let (stamps, receiver) = watch::channel(stamps);
        let (sender, notices) = mpsc::channel(1);
        tokio::spawn(watch(receiver, sender));
        Self { folder, stamps, notices }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the files that are said to have changed.
    async fn told(&mut self) -> Vec<String> {
        let paths = timeout(SOON, self.notices.recv()).await.expect("it is noticed").unwrap();
        let names = paths.iter().map(|path| path.strip_prefix(self.folder.path()).unwrap());
        names.map(|name| name.display().to_string()).collect()
    }

    fn has_read(&self) {
        let stamps = self.stamps.borrow().keys().map(|path| (Arc::clone(path), look(path))).collect();
        self.stamps.send_replace(Arc::new(stamps));
    }
}

fn read(folder: &Path, names: &[&str]) -> Arc<Stamps> {
    let paths = names.iter().map(|name| Arc::<Path>::from(folder.join(name)));
    Arc::new(
        paths
            .map(|path| {
                let stamp = look(&path);
                (path, stamp)
            })
            .collect(),
    )
}

#[tokio::test]
async fn a_file_that_is_replaced_or_written_in_place_is_told_of_once() {
    let prepare = |folder: &Path| {
        fs::write(folder.join("a.pem"), "one").unwrap();
        fs::write(folder.join("b.pem"), "one").unwrap();
    };
    let mut stage = Stage::new(prepare, &["a.pem", "b.pem", "later.pem"]);
    fs::write(stage.path("new"), "two").unwrap();
    fs::rename(stage.path("new"), stage.path("a.pem")).unwrap();
    assert_eq!(stage.told().await, ["a.pem"]);
    stage.has_read();
    fs::write(stage.path("b.pem"), "other").unwrap();
    assert_eq!(stage.told().await, ["b.pem"]);
    stage.has_read();
    fs::write(stage.path("later.pem"), "one").unwrap();
    assert_eq!(stage.told().await, ["later.pem"]);
    stage.has_read();
    fs::remove_file(stage.path("a.pem")).unwrap();
    assert_eq!(stage.told().await, ["a.pem"]);
}

#[tokio::test]
async fn a_link_to_a_file_or_to_its_folder_that_points_elsewhere_is_a_change() {
    let prepare = |folder: &Path| {
        for version in ["one", "two"] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("cert.pem"), version).unwrap();
        }
        fs::create_dir(folder.join("live")).unwrap();
        symlink("../one/cert.pem", folder.join("live/cert.pem")).unwrap();
        symlink("one", folder.join("current")).unwrap();
    };
    let mut stage = Stage::new(prepare, &["live/cert.pem", "current/cert.pem"]);
    let turn = |stage: &Stage, target: &str, name: &str| {
        symlink(target, stage.path("new")).unwrap();
        fs::rename(stage.path("new"), stage.path(name)).unwrap();
    };
    turn(&stage, "../two/cert.pem", "live/cert.pem");
    assert_eq!(stage.told().await, ["live/cert.pem"]);
    stage.has_read();
    turn(&stage, "two", "current");
    assert_eq!(stage.told().await, ["current/cert.pem"]);
}

#[test]
fn a_file_is_read_up_to_a_bound_and_says_in_words_why_it_is_not() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("a.pem");
    fs::write(&path, [b'x'; 1024]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(super::read(&path, 1024, &mut bytes), Ok(0o640));
    assert_eq!(bytes.len(), 1024);
    let refused = |path: &Path| super::read(path, 1000, &mut Vec::new()).unwrap_err();
    assert_eq!(refused(&path), "is larger than the 0 KiB that are read");
    assert_eq!(refused(&folder.path().join("none")), "does not exist");
    assert_eq!(refused(folder.path()), "is not a regular file");
}
