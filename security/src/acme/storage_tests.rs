//! The storage file: Traefik's format, what is not ours, and every way to die in the middle.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const TRAEFIK: &str = r#"{
  "le": {
    "Account": {
      "Email": "admin@example.com",
      "Registration": {
        "body": { "status": "valid", "contact": [ "mailto:admin@example.com" ] },
        "uri": "https://acme-v02.api.letsencrypt.org/acme/acct/1"
      },
      "PrivateKey": "a2V5",
      "KeyType": "4096"
    },
    "Certificates": [
      {
        "domain": { "main": "A.example.com", "sans": [ "b.example.com" ] },
        "certificate": "Y2hhaW4=",
        "key": "a2V5",
        "Store": "default"
      }
    ]
  },
  "other": { "Account": null, "Certificates": [ { "odd": [ 1, 2.5, "three" ] } ], "Unknown": true }
}"#;

fn file(content: &str) -> (tempfile::TempDir, Storage) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.json");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let storage = Storage::new(path, folder.path());
    (folder, storage)
}

fn content(storage: &Storage) -> Value {
    serde_json::from_slice(&fs::read(storage.path()).unwrap()).unwrap()
}

fn certificate(main: &str, chain: &str) -> StoredCertificate {
    StoredCertificate {
        domain: Domain { main: main.into(), sans: Vec::new() },
        chain: chain.into(),
        key: Zeroizing::new(b"key".to_vec()),
    }
}

#[test]
fn a_file_of_traefiks_is_read_and_what_is_not_ours_in_it_stays() {
    let (_folder, storage) = file(TRAEFIK);
    let stored = storage.open("le").unwrap();
    let account = stored.account.unwrap();
    assert_eq!(account.uri, "https://acme-v02.api.letsencrypt.org/acme/acct/1");
    assert_eq!((account.email.as_str(), account.key.as_slice()), ("admin@example.com", &b"key"[..]));
    let [found] = stored.certificates.as_slice() else { panic!("{:?}", stored.certificates) };
    assert_eq!(*found.domain.main, *"a.example.com");
    assert_eq!(found.chain, b"chain");

    storage.put_certificate("le", &certificate("new.example.com", "one")).unwrap();
    storage.put_certificate("le", &certificate("new.example.com", "two")).unwrap();
    storage
        .set_account("le", Some(&StoredAccount { uri: "https://ca.test/2".to_owned(), ..account }))
        .unwrap();
    let before: Value = serde_json::from_str(TRAEFIK).unwrap();
    let after = content(&storage);
    assert_eq!(after["other"], before["other"]);
    assert_eq!(after["le"]["Certificates"][0], before["le"]["Certificates"][0]);
    assert_eq!(after["le"]["Account"]["KeyType"], "4096");
    assert_eq!(after["le"]["Account"]["Registration"]["uri"], "https://ca.test/2");
    let added = &after["le"]["Certificates"][1];
    assert_eq!(
        added,
        &json!({
            "domain": { "main": "new.example.com" }, "certificate": "dHdv", "key": "a2V5", "Store": "default"
        })
    );
    assert_eq!(after["le"]["Certificates"].as_array().unwrap().len(), 2);
    assert_eq!(fs::metadata(storage.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_missing_or_empty_file_is_fine_and_one_that_is_removed_is_made_again_with_all_it_held() {
    let (_folder, storage) = file("");
    assert!(storage.open("le").unwrap().account.is_none());
    storage.put_certificate("le", &certificate("a.test", "one")).unwrap();
    fs::remove_file(storage.path()).unwrap();
    storage.put_certificate("le", &certificate("b.test", "two")).unwrap();
    assert_eq!(content(&storage)["le"]["Certificates"].as_array().unwrap().len(), 2);
    fs::remove_file(storage.path()).unwrap();
    assert!(storage.open("le").unwrap().certificates.is_empty());
    assert_eq!(fs::metadata(storage.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_another_hand_changed_meanwhile_is_not_lost() {
    let (_folder, storage) = file("{}");
    storage.open("le").unwrap();
    fs::write(storage.path(), r#"{ "mine": { "x": 1 } }"#).unwrap();
    storage.put_certificate("le", &certificate("a.test", "one")).unwrap();
    assert_eq!(content(&storage)["mine"], json!({ "x": 1 }));
}

#[test]
fn a_file_that_others_may_read_is_refused_with_its_mode() {
    for mode in [0o640, 0o604, 0o660, 0o601] {
        let (_folder, storage) = file(TRAEFIK);
        fs::set_permissions(storage.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = storage.open("le").unwrap_err();
        assert!(error.to_string().contains(&format!("permissions {mode:o} for ")), "{error}");
        assert!(error.hint().starts_with("chmod 600 "), "{}", error.hint());
        assert!(storage.put_certificate("le", &certificate("a.test", "one")).is_err());
        assert_eq!(fs::read_to_string(storage.path()).unwrap(), TRAEFIK);
    }
}

#[test]
fn a_file_that_is_torn_at_any_byte_is_left_as_it_is() {
    let (_folder, storage) = file(TRAEFIK);
    for end in 1..TRAEFIK.len() {
        fs::write(storage.path(), &TRAEFIK[..end]).unwrap();
        assert!(matches!(storage.open("le"), Err(StorageError::Content { .. })), "torn at {end}");
        assert!(storage.put_certificate("le", &certificate("a.test", "one")).is_err());
        assert_eq!(fs::read_to_string(storage.path()).unwrap(), TRAEFIK[..end]);
    }
    for other in ["[]", "1", r#"{ "le": [] }"#, r#"{ "le": { "Certificates": {} } }"#, "<html>"] {
        fs::write(storage.path(), other).unwrap();
        assert!(matches!(storage.open("le"), Err(StorageError::Content { .. })), "{other}");
    }
}

#[test]
fn a_write_in_place_that_died_at_any_byte_is_ended_by_the_next_start() {
    let after = TRAEFIK.replace("admin@example.com", "somebody.else@example.com");
    let shorter = r#"{ "le": null }"#;
    for after in [after.as_str(), shorter] {
        for written in 0..=after.len() {
            let (folder, storage) = file(TRAEFIK);
            let mut torn = after.as_bytes()[..written].to_vec();
            torn.extend(TRAEFIK.as_bytes().get(written..).unwrap_or_default());
            fs::write(storage.path(), &torn).unwrap();
            let change = Change { before: TRAEFIK.to_owned(), after: after.to_owned() };
            fs::write(&storage.copy, serde_json::to_vec(&change).unwrap()).unwrap();
            storage.open("le").unwrap();
            assert_eq!(fs::read_to_string(storage.path()).unwrap(), after, "died at {written}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the copy is gone");
        }
    }
}

#[test]
fn a_copy_that_somebody_has_overtaken_is_dropped() {
    let (_folder, storage) = file(r#"{ "theirs": null }"#);
    let change = Change { before: TRAEFIK.to_owned(), after: "{}".to_owned() };
    fs::write(&storage.copy, serde_json::to_vec(&change).unwrap()).unwrap();
    storage.open("le").unwrap();
    assert_eq!(content(&storage), json!({ "theirs": null }));
    assert!(!storage.copy.exists());
}

#[test]
fn a_file_that_cannot_be_replaced_is_written_in_place() {
    let (_folder, storage) = file(TRAEFIK);
    let text = serde_json::to_string_pretty(&json!({ "le": null })).unwrap();
    storage.write_in_place(storage.path(), &text).unwrap();
    assert_eq!(fs::read_to_string(storage.path()).unwrap(), text);
    assert!(!storage.copy.exists());
}

#[test]
fn a_full_disk_leaves_the_file_as_it_was() {
    // A folder in the place of the temporary file fails like a write that finds no room: nothing can be put beside.
    let (folder, storage) = file(TRAEFIK);
    fs::create_dir(folder.path().join(".acme.json.new")).unwrap();
    fs::write(folder.path().join(".acme.json.new/x"), "").unwrap();
    assert!(storage.put_certificate("le", &certificate("a.test", "one")).is_err());
    assert_eq!(fs::read_to_string(storage.path()).unwrap(), TRAEFIK);
}

#[test]
fn no_error_prints_what_the_file_holds() {
    let (_folder, storage) = file(r#"{ "le": { "Account": { "PrivateKey": "c2VjcmV0" torn"#);
    let error = super::super::in_words(&storage.open("le").unwrap_err());
    assert!(!error.contains("c2VjcmV0") && error.contains("line 1"), "{error}");
}
