//! `hearthgate certificates`: what the running gateway has and orders, renewals before their time, and certificates
//! for other programs.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::arguments::{Arguments, Opt, parse};
use super::client::{Client, admin_option};
use super::{Call, FAILED, OK, UNREACHABLE, USAGE, chain, complain, print};

const USAGE_TEXT: &str = "\
usage: hearthgate certificates list [--format text|json]
       hearthgate certificates renew [DOMAIN]
       hearthgate certificates export DOMAIN --dir DIR [--post-hook COMMAND]
       [--admin ADDRESS] [flags of the install configuration]

list    what is served and what is ordered, with the reason where something is not there
renew   orders the certificates for DOMAIN (all of the certificate resolvers) before their time
export  writes DIR/DOMAIN.pem (chain) and DIR/DOMAIN.key (mode 600). Where that changed something, COMMAND is run with
        HEARTHGATE_DOMAIN, HEARTHGATE_CERTIFICATE and HEARTHGATE_KEY (the paths) in its environment
exit status: 0 done, 1 refused or failed, 2 wrong call, 3 not reachable
";

const OPTIONS: &[Opt] = &[
    Opt { names: &["-h", "--help"], takes_value: false },
    Opt { names: &["--format"], takes_value: true },
    Opt { names: &["--dir"], takes_value: true },
    Opt { names: &["--post-hook"], takes_value: true },
    admin_option(),
];

/// What is wrong, and the exit code.
type Wrong = (String, u8);

/// Does one of the three; returns the exit code.
pub(super) fn certificates(call: &Call) -> u8 {
    match try_certificates(call) {
        Ok(text) => {
            print(&text);
            OK
        }
        Err((wrong, code)) => {
            complain(&format!("hearthgate certificates: {wrong}"));
            code
        }
    }
}

fn try_certificates(call: &Call) -> Result<String, Wrong> {
    let usage = |wrong: &str| (wrong.to_owned(), USAGE);
    let arguments = parse(call, OPTIONS, 2).map_err(|wrong| (wrong, USAGE))?;
    if arguments.has("-h") {
        return Ok(USAGE_TEXT.to_owned());
    }
    let mut words = arguments.positional.iter().map(String::as_str);
    match (words.next(), words.next()) {
        (Some("list"), None) => list(&arguments),
        (Some("renew"), domain) => renew(&arguments, domain),
        (Some("export"), Some(domain)) => {
            let dir = arguments.value("--dir").ok_or_else(|| usage("`export` needs `--dir DIR`"))?;
            export(&arguments, domain, Path::new(dir))
        }
        (Some("export"), None) => Err(usage("`export` needs a domain")),
        (Some("list"), Some(_)) => Err(usage("`list` takes no name")),
        (Some(other), _) => Err((format!("`{other}` is none of `list`, `renew` and `export`"), USAGE)),
        (None, _) => Err(usage("write `list`, `renew` or `export`; `--help` says more")),
    }
}

fn client(arguments: &Arguments) -> Result<Client, Wrong> {
    Client::of(arguments).map_err(|wrong| (wrong, USAGE))
}

fn post(arguments: &Arguments, path: &str, body: &Value) -> Result<Value, Wrong> {
    let answer = client(arguments)?
        .post_json(path, body)
        .map_err(|unreachable| (unreachable.to_string(), UNREACHABLE))?;
    if (200..300).contains(&answer.status) { Ok(answer.json()) } else { Err((answer.complaint(), FAILED)) }
}

fn list(arguments: &Arguments) -> Result<String, Wrong> {
    let as_json = match arguments.value("--format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err((format!("`{other}` is no format; write `text` or `json`"), USAGE)),
    };
    let answer = client(arguments)?
        .get("/api/certificates")
        .map_err(|unreachable| (unreachable.to_string(), UNREACHABLE))?;
    if answer.status != 200 {
        return Err((answer.complaint(), FAILED));
    }
    if as_json {
        return Ok(format!("{}\n", String::from_utf8_lossy(&answer.body)));
    }
    Ok(table(answer.json().as_array().map_or(&[][..], Vec::as_slice)))
}

/// One line a certificate, and its trouble below it.
fn table(certificates: &[Value]) -> String {
    if certificates.is_empty() {
        return "there is no certificate\n".to_owned();
    }
    let mut text = String::new();
    for certificate in certificates {
        let word = |key: &str| certificate[key].as_str();
        let names: Vec<&str> =
            certificate["sans"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let names =
            if names.is_empty() { word("commonName").unwrap_or("?").to_owned() } else { names.join(", ") };
        let source = word("resolver").or_else(|| word("file")).unwrap_or("?");
        let until =
            word("notAfter").map_or_else(|| "not there yet".to_owned(), |time| format!("until {time}"));
        let state = word("state").or_else(|| word("status")).unwrap_or("?");
        text.push_str(&format!("{names}  {until}  {source}  {state}\n"));
        if let Some(reason) = word("reason") {
            let attempts = certificate["attempts"].as_u64().unwrap_or(0);
            text.push_str(&format!("    failed {attempts} times in a row: {reason}\n"));
        }
        if let Some(next) = word("nextTry") {
            text.push_str(&format!("    next: {next}\n"));
        }
    }
    text
}

fn renew(arguments: &Arguments, domain: Option<&str>) -> Result<String, Wrong> {
    let body = domain.map_or_else(|| json!({}), |domain| json!({ "domain": domain }));
    let answer = post(arguments, "/api/certificates/renew", &body)?;
    let count = answer["renewing"].as_u64().unwrap_or(0);
    Ok(format!("{count} being renewed; `hearthgate certificates list` shows how it goes\n"))
}

fn export(arguments: &Arguments, domain: &str, dir: &Path) -> Result<String, Wrong> {
    let answer = post(arguments, "/api/certificates/export", &json!({ "domain": domain }))?;
    let part = |key: &str| {
        answer[key].as_str().ok_or_else(|| (format!("the gateway's answer has no `{key}`"), FAILED))
    };
    let (chain_pem, key_pem) = (part("certificate")?, part("key")?);
    let written = write(dir, part("domain")?, chain_pem, key_pem)
        .map_err(|error| (format!("write to `{}`: {error}", dir.display()), FAILED))?;
    let Written { chain: chain_path, key, changed } = written;
    let mut text = format!("{}\n{}\n", chain_path.display(), key.display());
    if !changed {
        text.push_str("nothing changed\n");
    } else if let Some(command) = arguments.value("--post-hook") {
        let mut hook = hook(command);
        hook.env("HEARTHGATE_DOMAIN", domain)
            .env("HEARTHGATE_CERTIFICATE", &chain_path)
            .env("HEARTHGATE_KEY", &key);
        let status = hook.status().map_err(|error| (format!("run the hook: {}", chain(&error)), FAILED))?;
        if !status.success() {
            return Err((format!("the hook ended with {status}"), FAILED));
        }
    }
    Ok(text)
}

/// Through the shell, where there is one: the image has none, and there words are parted at blanks.
fn hook(command: &str) -> Command {
    if Path::new("/bin/sh").exists() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]);
        return shell;
    }
    let mut words = command.split_whitespace();
    let mut program = Command::new(words.next().unwrap_or_default());
    program.args(words);
    program
}

/// What an export left behind.
#[derive(Debug)]
struct Written {
    chain: PathBuf,
    key: PathBuf,
    changed: bool,
}

/// Both files, each replaced as a whole; the key is closed to others from its first byte.
fn write(dir: &Path, domain: &str, chain: &str, key: &str) -> io::Result<Written> {
    // `*.example.com` is `_.example.com`, and nothing leads out of the folder.
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let name: String = domain.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect();
    let paths = [dir.join(format!("{name}.pem")), dir.join(format!("{name}.key"))];
    let same = |path: &Path, text: &str| std::fs::read(path).is_ok_and(|there| there == text.as_bytes());
    let changed = !(same(&paths[0], chain) && same(&paths[1], key));
    if changed {
        std::fs::create_dir_all(dir)?;
        let prepare = |text: &str, mode: u32| {
            let mut file = tempfile::Builder::new().prefix(".hearthgate-").tempfile_in(dir)?;
            file.as_file().set_permissions(PermissionsExt::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            io::Result::Ok(file)
        };
        let (new_chain, new_key) = (prepare(chain, 0o644)?, prepare(key, 0o600)?);
        new_key.persist(&paths[1])?;
        new_chain.persist(&paths[0])?;
        std::fs::File::open(dir)?.sync_all()?;
    }
    let [chain, key] = paths;
    Ok(Written { chain, key, changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_line_for_each_and_the_trouble_below_it() {
        let certificates = [
            json!({ "sans": ["a.test", "*.a.test"], "notAfter": "2027-01-01T00:00:00Z", "file": "/c.pem", "status": "enabled" }),
            json!({
                "sans": ["b.test"], "resolver": "le", "state": "backingOff", "status": "disabled", "attempts": 3,
                "reason": "no address", "nextTry": "2026-11-22T00:00:00Z",
            }),
        ];
        assert_eq!(
            table(&certificates),
            "a.test, *.a.test  until 2027-01-01T00:00:00Z  /c.pem  enabled\n\
             b.test  not there yet  le  backingOff\n\
             \x20   failed 3 times in a row: no address\n\
             \x20   next: 2026-11-22T00:00:00Z\n"
        );
        assert_eq!(table(&[]), "there is no certificate\n");
    }

    #[test]
    fn an_export_replaces_both_files_and_says_whether_that_changed_anything() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        let check = |domain: &str, chain: &str, key: &str, name: &str, changed: bool| {
            let written = write(&dir, domain, chain, key).unwrap();
            assert_eq!(
                (written.chain.as_path(), written.changed),
                (&*dir.join(format!("{name}.pem")), changed)
            );
            assert_eq!(std::fs::read_to_string(&written.chain).unwrap(), chain);
            assert_eq!(std::fs::read_to_string(&written.key).unwrap(), key);
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&written.chain), mode(&written.key)), (0o644, 0o600));
        };
        check("a.test", "chain", "key", "a.test", true);
        check("a.test", "chain", "key", "a.test", false);
        check("a.test", "chain 2", "key", "a.test", true);
        check("*.a.test", "chain", "key", "_.a.test", true);
        check("../x", "chain", "key", ".._x", true);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 6);
    }

    #[test]
    fn a_wrong_call_is_told() {
        for (arguments, expected) in [
            (&[][..], "write `list`, `renew` or `export`; `--help` says more"),
            (&["lst"], "`lst` is none of `list`, `renew` and `export`"),
            (&["export"], "`export` needs a domain"),
            (&["export", "a.test"], "`export` needs `--dir DIR`"),
            (&["list", "--format=xml"], "`xml` is no format; write `text` or `json`"),
        ] {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let call = Call { arguments, variables: std::sync::Arc::default() };
            assert_eq!(try_certificates(&call), Err((expected.to_owned(), USAGE)));
        }
    }
}
