//! Install file, variables and flags -> [`Install`]. The one place of this crate that reads files.
//!
//! What Traefik keeps apart is joined here: file < `TRAEFIK_*` < `HEARTHGATE_*` < flags.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Install;
use super::notices::{notices, removed};
use super::raw::RawInstall;
use super::resolve::{FromFiles, resolve};
use super::sources::{flags, overlay, variables};
use crate::document::{DecodeError, Node, Shape, Style, Value, decode, parse_toml, parse_yaml};
use crate::problem::{Origin, Problem};
use crate::secret::Secret;

/// Largest install file or secret that is read.
const FILE_BYTES: u64 = 16 << 20;

/// Root keys of routing files, which an install file may carry too: `providers.file` reads them.
const ROUTING_SECTIONS: [&str; 4] = ["http", "tcp", "udp", "tls"];

/// What `load` reads.
pub trait Files {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Its permission bits, where there are any.
    fn mode(&self, path: &Path) -> Option<u32>;
}

/// The disk.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let file = std::fs::File::open(path)?;
        let mut text = String::new();
        if file.take(FILE_BYTES + 1).read_to_string(&mut text)? as u64 > FILE_BYTES {
            return Err(io::Error::other("larger than 16 MiB"));
        }
        Ok(text)
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode())
    }
}

/// What came out of a configuration that the gateway can start with.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub install: Install,
    /// What is not served, or unsafe.
    pub problems: Vec<Problem>,
}

/// The gateway does not start (exit status 2): a file that cannot be read or parsed, an unknown key, a value of
/// a wrong type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the install configuration is not valid ({} problems)", problems.len())]
pub struct LoadInstallError {
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// Loads the install configuration.
///
/// `arguments` are the flags, without program name and command; `environment` is all of it: what is not ours or
/// Traefik's is used for `DOCKER_*`, `HOME` and `XDG_CONFIG_HOME` alone.
pub fn load(
    arguments: &[String],
    environment: impl IntoIterator<Item = (String, String)>,
    files: &dyn Files,
) -> Result<Loaded, LoadInstallError> {
    let mut environment: Vec<(String, String)> = environment.into_iter().collect();
    environment.sort();
    let shape = Shape::of::<RawInstall>();
    let mut fatal = Vec::new();
    let mut problems = Vec::new();

    let flags = flags(arguments, &shape);
    fatal.extend(flags.problems);
    let mut layers = Vec::new();
    let mut config_file = flags.config_file;
    for prefix in ["HEARTHGATE_", "TRAEFIK_"] {
        let mut read = |path: &str, origin: &Origin| read_secret(files, path, origin, &mut problems);
        let variables = variables(&environment, prefix, &shape, &mut read);
        fatal.extend(variables.errors);
        problems.extend(variables.problems);
        layers.push(variables.tree);
        config_file = config_file.or(variables.config_file);
    }

    let (file, mut tree) = match read_install_file(config_file, &environment, files) {
        Ok(Some((path, tree))) => (Some(path), tree),
        Ok(None) => (None, Node::empty(Origin::Gateway)),
        Err(problem) => {
            fatal.push(problem);
            (None, Node::empty(Origin::Gateway))
        }
    };
    if let Value::Map(entries) = &mut tree.value {
        entries.retain(|(key, _)| !ROUTING_SECTIONS.iter().any(|name| name.eq_ignore_ascii_case(&key.text)));
    }
    while let Some(layer) = layers.pop() {
        tree = overlay(tree, layer);
    }
    let tree = overlay(tree, flags.tree);

    let raw = match decode::<RawInstall>(&tree, Style::File) {
        Ok(raw) => raw,
        Err(errors) => {
            fatal.extend(errors.into_iter().map(problem_of));
            fatal.extend(problems.into_iter().filter(|problem| problem.severity == crate::Severity::Error));
            return Err(LoadInstallError { problems: sorted(fatal) });
        }
    };
    problems.extend(notices(&tree));
    let mut read = |path: &str, origin: &Origin| read_secret(files, path, origin, &mut problems);
    let secrets = read_secrets(&tree, &mut read);
    problems.extend(secrets.unread);
    fatal.extend(secrets.problems);
    let secrets = FromFiles { admin_token: secrets.admin_token, eab_keys: secrets.eab_keys };
    let resolved = resolve(raw, &tree, file, secrets, &environment);
    fatal.extend(resolved.fatal);
    problems.extend(resolved.problems);
    if fatal.is_empty() {
        Ok(Loaded { install: resolved.install, problems: sorted(problems) })
    } else {
        Err(LoadInstallError { problems: sorted(fatal) })
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.origin, &a.subject, &a.message).cmp(&(&b.origin, &b.subject, &b.message)));
    problems.dedup();
    problems
}

/// An unknown key or a value of a wrong type.
fn problem_of(error: DecodeError) -> Problem {
    let subject = match &error.origin {
        // The flag or variable is the subject.
        Origin::Flag { .. } | Origin::Variable { .. } => String::new(),
        Origin::File { .. } | Origin::Container { .. } | Origin::Gateway if error.path.is_empty() => {
            String::new()
        }
        Origin::File { .. } | Origin::Container { .. } | Origin::Gateway => {
            format!("option `{}`", error.path)
        }
    };
    let hint = removed(&error.path).map(str::to_owned).or(error.hint);
    Problem { hint, ..Problem::error(error.origin, subject, error.message) }
}

/// The named file, or the first of the usual places.
fn read_install_file(
    named: Option<(String, Origin)>,
    environment: &[(String, String)],
    files: &dyn Files,
) -> Result<Option<(PathBuf, Node)>, Problem> {
    if let Some((path, origin)) = named {
        let path = PathBuf::from(path);
        let text = files.read(&path).map_err(|error| {
            Problem::error(
                origin,
                "",
                format!("the install file `{}` cannot be read: {error}", path.display()),
            )
        })?;
        return parse(&text, &path).map(|tree| Some((path, tree)));
    }
    for path in usual_places(environment) {
        match files.read(&path) {
            Ok(text) => return parse(&text, &path).map(|tree| Some((path, tree))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => {
                let origin = Origin::file(&path, 0, 0);
                return Err(Problem::error(origin, "", format!("the install file cannot be read: {error}")));
            }
        }
    }
    Ok(None)
}

fn usual_places(environment: &[(String, String)]) -> Vec<PathBuf> {
    let variable = |name: &str| {
        environment.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
    };
    let mut places = Vec::new();
    for folder in ["", "/etc/hearthgate"] {
        places.extend(["yml", "yaml", "toml"].map(|end| Path::new(folder).join(format!("hearthgate.{end}"))));
    }
    let folders = [
        Some(PathBuf::from("/etc/traefik")),
        variable("XDG_CONFIG_HOME").map(PathBuf::from),
        variable("HOME").map(|home| Path::new(home).join(".config")),
        Some(PathBuf::new()),
    ];
    for folder in folders.into_iter().flatten() {
        places.extend(["toml", "yaml", "yml"].map(|end| folder.join(format!("traefik.{end}"))));
    }
    places
}

fn parse(text: &str, path: &Path) -> Result<Node, Problem> {
    match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("toml") => parse_toml(text, path),
        Some("yml" | "yaml") => parse_yaml(text, path),
        _ => Err(Problem::error(Origin::file(path, 0, 0), "", "the format of the install file is not known")
            .with_hint("let its name end in `.yml`, `.yaml` or `.toml`")),
    }
}

/// The text of a secret's file, without the newline that editors leave at its end.
fn read_secret(
    files: &dyn Files,
    path: &str,
    origin: &Origin,
    problems: &mut Vec<Problem>,
) -> Result<String, Problem> {
    let text = files.read(Path::new(path)).map_err(|error| {
        Problem::error(origin.clone(), "", format!("the file `{path}` cannot be read: {error}"))
    })?;
    if files.mode(Path::new(path)).is_some_and(|mode| mode & 0o044 != 0) {
        let problem =
            Problem::warning(origin.clone(), format!("file `{path}`"), "others may read this secret");
        problems.push(problem.with_hint(format!("run `chmod 600 {path}`")));
    }
    Ok(text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
        .to_owned())
}

struct Secrets {
    admin_token: Option<String>,
    /// By resolver.
    eab_keys: BTreeMap<String, Secret<String>>,
    problems: Vec<Problem>,
    /// Files of one certificate resolver that cannot be read: it is left out, and the rest starts.
    unread: Vec<Problem>,
}

/// Secrets that may stand in a file of their own: written both ways they contradict each other.
fn read_secrets(tree: &Node, read: &mut dyn FnMut(&str, &Origin) -> Result<String, Problem>) -> Secrets {
    let mut secrets =
        Secrets { admin_token: None, eab_keys: BTreeMap::new(), problems: Vec::new(), unread: Vec::new() };
    let mut check = |block: Option<&Node>, path: &str, key: &str| {
        let block = block?;
        let file_key = format!("{key}File");
        let direct = block.get(key).filter(|node| !node.is_empty());
        let file = block.get(&file_key).filter(|node| !node.is_empty())?;
        if direct.is_some() {
            let subject = format!("option `{path}.{file_key}`");
            let message = format!("`{path}.{key}` is set too");
            secrets
                .problems
                .push(Problem::error(file.origin.clone(), subject, message).with_hint("set one of the two"));
            return None;
        }
        Some((file.text()?.to_owned(), file.origin.clone()))
    };
    let token = check(tree.get("admin"), "admin", "token");
    let crowdsec = tree.get("crowdsec");
    let below = |name| crowdsec.and_then(|node| node.get(name));
    // Nothing reads these yet, and their sections are reported; two forms at once are an error all the same.
    check(crowdsec, "crowdsec", "apiKey");
    check(below("captcha"), "crowdsec.captcha", "secretKey");
    check(below("appsec"), "crowdsec.appsec", "apiKey");
    check(tree.get("redis"), "redis", "password");
    let docker = tree.get("providers").and_then(|node| node.get("docker"));
    check(docker, "providers.docker", "password");
    let mut eab_files = Vec::new();
    for (name, resolver) in tree.get("certificatesResolvers").map_or(&[][..], Node::entries) {
        let eab = resolver.get("acme").and_then(|node| node.get("eab"));
        let file = check(eab, &format!("certificatesResolvers.{}.acme.eab", name.text), "hmacEncoded");
        eab_files.extend(file.map(|file| (name.text.clone(), file)));
    }
    for (resolver, (path, origin)) in eab_files {
        match read(&path, &origin) {
            Ok(key) => {
                secrets.eab_keys.insert(resolver, Secret::new(key));
            }
            Err(problem) => secrets.unread.push(problem),
        }
    }
    if let Some((path, origin)) = token {
        match read(&path, &origin) {
            Ok(token) => secrets.admin_token = Some(token),
            Err(problem) => secrets.problems.push(problem),
        }
    }
    secrets
}
