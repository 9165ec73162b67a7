//! Files of certificates, read and read again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::test_support::{DAY, clock, pair};

struct Stage {
    folder: tempfile::TempDir,
    routing: Routing,
}

impl Stage {
    /// Pairs of these names, written as `<name>.crt` and `<name>.key`.
    fn new(names: &[&str]) -> Self {
        let mut stage = Self { folder: tempfile::tempdir().unwrap(), routing: Routing::default() };
        for name in names {
            stage.write(name);
            let written = stage.written(name);
            stage.routing.tls.certificates.push(written);
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn written(&self, name: &str) -> tls::CertificateSource {
        tls::CertificateSource {
            chain: Pem::File(self.path(&format!("{name}.crt"))),
            key: Pem::File(self.path(&format!("{name}.key"))),
            origin: Origin::file("routes.yml", 3, 7),
        }
    }

    fn write(&self, name: &str) {
        let (chain, key) = pair(&[&format!("{name}.test")], clock().now(), clock().now() + DAY);
        fs::write(self.path(&format!("{name}.crt")), chain).unwrap();
        self.write_key(name, &key, 0o600);
    }

    fn write_key(&self, name: &str, key: &str, mode: u32) {
        let path = self.path(&format!("{name}.key"));
        fs::write(&path, key).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// As after a notice of the watcher.
    fn read(&self, before: &Material) -> Material {
        Material::read(&self.routing, before, &named::changed(before.stamps()))
    }

    fn problems(&self, material: &Material) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        material.problems().map(|problem| problem.to_string().replace(&folder, "")).collect()
    }
}

#[test]
fn what_did_not_change_is_the_same_value() {
    let mut stage = Stage::new(&["a", "b"]);
    let first = stage.read(&Material::default());
    assert_eq!((first.certificates().count(), stage.problems(&first).len()), (2, 0));
    stage.write("b");
    stage.routing.tls.certificates.reverse();
    let second = stage.read(&first);
    let find = |material: &Material, name: &str| {
        Arc::clone(material.certificates().find(|certificate| certificate.covers(name)).unwrap())
    };
    assert!(Arc::ptr_eq(&find(&first, "a.test"), &find(&second, "a.test")));
    assert!(!Arc::ptr_eq(&find(&first, "b.test"), &find(&second, "b.test")));
    // Written once more as it was: nothing to publish.
    let text = fs::read(stage.path("a.crt")).unwrap();
    fs::write(stage.path("a.crt"), text).unwrap();
    let third = stage.read(&second);
    assert!(Arc::ptr_eq(&find(&second, "a.test"), &find(&third, "a.test")));
    assert!(Arc::ptr_eq(third.stamps(), stage.read(&third).stamps()));
    stage.routing.tls.certificates.truncate(1);
    assert_eq!(stage.read(&third).certificates().count(), 1);
    assert_eq!(stage.read(&third).stamps().len(), 2, "what is not named is not watched");
}

#[test]
fn a_broken_renewal_keeps_the_last_good_version_and_is_a_problem() {
    let mut stage = Stage::new(&["a", "b"]);
    let good = stage.read(&Material::default());
    let place = "routes.yml:3:7: error: TLS certificate `/a.crt`: ";
    let broken = |stage: &Stage, expected: &str| {
        let material = stage.read(&good);
        assert_eq!(
            stage.problems(&material),
            [format!("{place}{expected}; its last good version is served")]
        );
        assert_eq!(material.certificates().count(), 2);
        assert!(material.is_refused());
    };
    // The chain comes first, its key a moment later.
    let (chain, key) =
        (fs::read(stage.path("a.crt")).unwrap(), fs::read_to_string(stage.path("a.key")).unwrap());
    let torn = &chain[..chain.len() / 2];
    fs::write(stage.path("a.crt"), torn).unwrap();
    broken(&stage, "certificate /a.crt: it is not valid PEM");
    stage.write("a");
    stage.write_key("a", &key, 0o600);
    broken(&stage, "certificate and key do not belong together");
    fs::write(stage.path("a.crt"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    broken(&stage, "certificate /a.crt: is larger than the 1024 KiB that are read");
    fs::remove_file(stage.path("a.crt")).unwrap();
    broken(&stage, "certificate /a.crt: does not exist");
    stage.write("a");
    fs::remove_file(stage.path("a.key")).unwrap();
    broken(&stage, "key /a.key: does not exist");
    stage.write("a");
    let renewed = stage.read(&good);
    assert!(stage.problems(&renewed).is_empty() && !renewed.is_refused());

    // One that was never good is left out, and its neighbour is served.
    fs::write(stage.path("c.crt"), "").unwrap();
    stage.write_key("c", &key, 0o600);
    let written = stage.written("c");
    stage.routing.tls.certificates.push(written);
    let material = stage.read(&renewed);
    assert_eq!(material.certificates().count(), 2);
    let expected = "routes.yml:3:7: error: TLS certificate `/c.crt`: certificate /c.crt: there is no certificate in it; it is not served";
    assert_eq!(stage.problems(&material), [expected]);
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let stage = Stage::new(&["a"]);
    let key = fs::read_to_string(stage.path("a.key")).unwrap();
    for (mode, expected) in
        [(0o600, None), (0o640, Some("its group")), (0o604, Some("everyone")), (0o400, None)]
    {
        stage.write_key("a", &key, mode);
        let expected = expected.map(|who| {
            format!("routes.yml:3:7: warning: TLS key `/a.key`: {who} can read it (mode {mode:04o}); set its mode to 0600")
        });
        let material = stage.read(&Material::default());
        assert_eq!(stage.problems(&material), Vec::from_iter(expected), "{mode:o}");
        assert_eq!(material.certificates().count(), 1);
    }
}

#[test]
fn the_default_pair_is_no_certificate_of_a_name() {
    let mut stage = Stage::new(&["a"]);
    stage.write("default");
    stage.routing.tls.default_certificate = DefaultCertificate::Pair(stage.written("default"));
    let material = stage.read(&Material::default());
    assert_eq!(material.certificates().count(), 1);
    assert!(material.default_certificate().unwrap().covers("default.test"));
    assert_eq!(material.written().count(), 2);
}

#[test]
fn a_change_of_pairs_alone_leaves_the_other_files_as_they_were() {
    let mut stage = Stage::new(&["a"]);
    fs::write(stage.path("ca.pem"), "one").unwrap();
    let auth = tls::ClientAuth::RequireAndVerify(vec![Pem::File(stage.path("ca.pem"))]);
    let options = tls::TlsOptions { client_auth: auth, ..tls::TlsOptions::default() };
    stage.routing.tls.options.insert("mutual@file".into(), Ok(Arc::new(options)));
    let first = stage.read(&Material::default());
    stage.write("a");
    let stale = named::changed(first.stamps());
    let second = first.read_pairs(&stage.routing, &stale).expect("only a pair has changed");
    assert!(Arc::ptr_eq(first.files(), second.files()));
    fs::write(stage.path("ca.pem"), "three").unwrap();
    let stale = named::changed(second.stamps());
    assert!(second.read_pairs(&stage.routing, &stale).is_none(), "policies depend on it");
    let third = Material::read(&stage.routing, &second, &stale);
    let read = third.files().get(&stage.path("ca.pem")).unwrap().as_ref().unwrap();
    assert_eq!(*read.bytes, *b"three");
}
