//! Which files the gateway reads and writes after it has changed its user.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use config::install::load::{Disk, Files};
use config::install::{DockerEndpoint, FileSource, Install, TableProvider};
use config::routing::file::parse_file;
use config::routing::raw::{RawCertificate, RawRouting};
use config::routing::tls::Pem;

use super::{Identity, own};

/// Files that are read, or connected to, at any time after the start, in order.
pub(super) fn configured(install: &Install) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    if let Some(docker) = &install.providers.docker {
        match &docker.endpoint {
            DockerEndpoint::Unix(path) => files.extend([path.clone()]),
            DockerEndpoint::Http(_) => {}
            DockerEndpoint::Https { ca, cert, key, .. } => {
                files.extend([ca, cert, key].into_iter().flatten().cloned());
            }
        }
    }
    let routing: Vec<PathBuf> = match install.providers.file.as_ref().map(|settings| &settings.source) {
        Some(FileSource::File(path)) => vec![path.clone()],
        Some(FileSource::Directory(path)) => {
            files.insert(path.clone());
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        }
        None => Vec::new(),
    };
    for path in routing {
        files.extend(named_in(&path));
        files.insert(path);
    }
    match &install.providers.table {
        Some(TableProvider::File(path)) => files.extend([path.clone()]),
        Some(TableProvider::Inline(_)) | None => {}
    }
    for resolver in &install.certificate_resolvers {
        files.insert(resolver.storage.clone());
        files.extend(resolver.trust.roots.iter().filter_map(Pem::path).map(Path::to_owned));
        let credentials = resolver.challenges.dns.iter().flat_map(|challenge| &challenge.credentials);
        files.extend(
            credentials
                .filter(|(name, _)| name.ends_with("_FILE"))
                .map(|(_, path)| PathBuf::from(path.expose())),
        );
    }
    let transports = [&install.servers_transport.tls, &install.tcp_servers_transport.tls];
    files.extend(transports.into_iter().flat_map(|tls| tls.pems().filter_map(Pem::path)).map(Path::to_owned));
    files
}

/// The certificates and keys that a routing file names. One that cannot be read or parsed names none: its provider
/// says why.
fn named_in(path: &Path) -> Vec<PathBuf> {
    let known = ["toml", "yml", "yaml"];
    if !path.extension().is_some_and(|end| known.iter().any(|known| end.eq_ignore_ascii_case(known))) {
        return Vec::new();
    }
    let Ok(text) = Disk.read(path) else { return Vec::new() };
    let Ok(file) = parse_file(&text, path, &|_| None) else { return Vec::new() };
    let RawRouting { http, tcp, tls, .. } = &file.routing;
    let mut found: Vec<&str> = Vec::new();
    let mut pair = |pair: &RawCertificate| [Pem::new(&pair.cert_file), Pem::from(&pair.key_file)];
    let mut pems: Vec<Pem> =
        tls.certificates.iter().flat_map(|certificate| pair(&certificate.value)).collect();
    for store in tls.stores.values() {
        pems.extend(store.value.default_certificate.iter().flat_map(&mut pair));
    }
    for options in tls.options.values() {
        found.extend(options.value.client_auth.ca_files.iter().map(String::as_str));
    }
    for transport in http.servers_transports.values() {
        found.extend(transport.value.root_cas.iter().map(String::as_str));
        pems.extend(transport.value.certificates.iter().flat_map(&mut pair));
    }
    for tls in tcp.servers_transports.values().filter_map(|transport| transport.value.tls.as_ref()) {
        found.extend(tls.root_cas.iter().map(String::as_str));
        pems.extend(tls.certificates.iter().flat_map(&mut pair));
    }
    pems.extend(found.into_iter().map(Pem::new));
    pems.iter()
        .filter_map(Pem::path)
        .filter(|path| !path.as_os_str().is_empty())
        .map(Path::to_owned)
        .collect()
}

/// Gives the storage of certificate resolvers to the user. It is replaced as a whole each time it changes, and so its
/// folder belongs to the user too where nothing else lies in it; elsewhere an empty file is made for what is missing.
pub(super) fn own_storage(install: &Install, identity: &Identity) -> Vec<(PathBuf, io::Error)> {
    let storage: BTreeSet<&Path> =
        install.certificate_resolvers.iter().map(|resolver| resolver.storage.as_path()).collect();
    let failed = |path: &&Path| Some(((*path).to_owned(), own_file(path, &storage, identity).err()?));
    storage.iter().filter_map(failed).collect()
}

fn own_file(path: &Path, storage: &BTreeSet<&Path>, identity: &Identity) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if is_for_storage_alone(folder, storage)? {
        own(folder, 0, identity)?;
    } else if !path.exists() {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    }
    own(path, 0, identity)
}

/// Whether nothing lies in a folder but storage, and what was left of writing it.
fn is_for_storage_alone(folder: &Path, storage: &BTreeSet<&Path>) -> io::Result<bool> {
    if folder.canonicalize()?.parent().is_none() {
        return Ok(false);
    }
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        let ours = |path: &&Path| {
            path.file_name().is_some_and(|storage| {
                name == storage
                    || name.to_string_lossy().starts_with(&format!("{}.", storage.to_string_lossy()))
            })
        };
        if name != "lost+found" && !storage.iter().any(ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn install(storage: &Path, routes: &Path) -> Install {
        let flags = [
            "--certificatesresolvers.le.acme.tlschallenge=true".to_owned(),
            format!("--certificatesresolvers.le.acme.storage={}", storage.display()),
            format!("--providers.file.directory={}", routes.display()),
        ];
        config::install::load::load(&flags, [], &Disk).unwrap().install
    }

    #[test]
    fn a_folder_for_storage_alone_is_given_away_and_any_other_gets_an_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let own_ids = std::fs::metadata(folder.path()).unwrap();
        let identity = Identity { uid: own_ids.uid(), gid: own_ids.gid(), groups: Vec::new() };
        let check = |storage: &str, expected: &str| {
            let storage = folder.path().join(storage);
            let install = install(&storage, folder.path());
            let failed = own_storage(&install, &identity);
            assert!(failed.is_empty(), "{failed:?}");
            let found = match std::fs::metadata(&storage) {
                Ok(metadata) => format!("{:o} {}", metadata.mode() & 0o777, metadata.len()),
                Err(_) => format!("folder: {}", storage.parent().unwrap().is_dir()),
            };
            assert_eq!(found, expected, "{storage:?}");
        };
        check("made/below/acme.json", "folder: true");
        // `made` lies beside it.
        check("acme.json", "600 0");
        std::fs::write(folder.path().join("acme.json"), "{}").unwrap();
        check("acme.json", "600 2");
    }

    #[test]
    fn the_files_that_routing_files_name_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let routes = folder.path().join("routes");
        std::fs::create_dir(&routes).unwrap();
        let text = r"
tls:
  certificates: [{certFile: /c.pem, keyFile: /k.pem}]
  stores: {default: {defaultCertificate: {certFile: /d.pem, keyFile: /dk.pem}}}
  options: {mtls: {clientAuth: {caFiles: [/ca.pem]}}}
http: {serversTransports: {t: {rootCAs: [/root.pem], certificates: [{certFile: /cc.pem, keyFile: /ck.pem}]}}}
";
        std::fs::write(routes.join("a.yml"), text).unwrap();
        std::fs::write(routes.join("b.pem"), "").unwrap();
        let files = configured(&install(Path::new("/s/acme.json"), &routes));
        let named: Vec<_> = files.iter().filter(|path| !path.starts_with(folder.path())).collect();
        let expected = [
            "/c.pem",
            "/ca.pem",
            "/cc.pem",
            "/ck.pem",
            "/d.pem",
            "/dk.pem",
            "/k.pem",
            "/root.pem",
            "/s/acme.json",
        ];
        assert_eq!(named, expected.map(Path::new).iter().collect::<Vec<_>>());
        assert!(files.contains(&routes) && files.contains(&routes.join("b.pem")));
    }
}
