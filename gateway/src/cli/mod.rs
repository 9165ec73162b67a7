//! Commands of the program: which there are, and which one is meant. Each has its own file.

mod arguments;
mod certificates;
mod check;
mod client;
mod explain;
mod healthcheck;
mod offline;
mod reload;
mod run;
mod status;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use config::install::load::{Disk, LoadInstallError, Loaded, load};
use config::problem::did_you_mean;

/// It worked.
pub const OK: u8 = 0;
/// It did not.
pub const FAILED: u8 = 1;
/// The call or the configuration is wrong.
pub const USAGE: u8 = 2;
/// The running gateway does not answer.
pub const UNREACHABLE: u8 = 3;

/// How the program was called. `main` takes it from the process.
#[derive(Debug, Clone)]
pub struct Call {
    /// Arguments behind the command (behind the program, where no command was given), as written.
    pub arguments: Vec<String>,
    /// The environment; variables that are not Unicode are left out.
    pub variables: Arc<BTreeMap<String, String>>,
}

impl Call {
    /// Looks variables up, for templates.
    pub fn environment(&self) -> discovery::Environment {
        let variables = Arc::clone(&self.variables);
        Arc::new(move |name| variables.get(name).cloned())
    }
}

/// A command, as the help lists it.
struct Command {
    name: &'static str,
    does: &'static str,
    run: Run,
}

/// What happens when a command is called.
enum Run {
    /// It runs and says how it ended.
    With(fn(&Call) -> u8),
    /// It is known from the documentation, and this version does not have it.
    NotYet,
}

const COMMANDS: &[Command] = &[
    Command { name: "run", does: "serve (the default)", run: Run::With(run::run) },
    Command { name: "check", does: "list every problem of the configuration", run: Run::With(check::check) },
    Command {
        name: "explain",
        does: "what would happen to a request, and why",
        run: Run::With(explain::explain),
    },
    Command {
        name: "status",
        does: "what the running gateway says of itself",
        run: Run::With(status::status),
    },
    Command {
        name: "reload",
        does: "have the running gateway read everything again",
        run: Run::With(reload::reload),
    },
    Command {
        name: "certificates",
        does: "list, renew and export certificates",
        run: Run::With(certificates::certificates),
    },
    Command {
        name: "healthcheck",
        does: "for Docker: does the running gateway answer",
        run: Run::With(healthcheck::healthcheck),
    },
    Command { name: "version", does: "print the version", run: Run::With(version) },
    Command { name: "completions", does: "print completions for a shell", run: Run::With(completions) },
    Command { name: "help", does: "print this help", run: Run::With(help) },
    Command { name: "migrate", does: "", run: Run::NotYet },
    Command { name: "decisions", does: "", run: Run::NotYet },
    Command { name: "hash-password", does: "", run: Run::NotYet },
    Command { name: "schema", does: "", run: Run::NotYet },
];

/// Runs the command that these arguments (without the program's name) ask for.
pub fn main(arguments: Vec<String>, variables: BTreeMap<String, String>) -> ExitCode {
    let mut call = Call { arguments, variables: Arc::new(variables) };
    let code = match call.arguments.first().map(String::as_str) {
        None => run::run(&call),
        Some("-h") => help(&call),
        Some("-V" | "--version") => version(&call),
        // Traefik's flags, as they are.
        Some(flag) if flag.starts_with('-') => run::run(&call),
        Some(_) => {
            let name = call.arguments.remove(0);
            dispatch(&name, &call)
        }
    };
    ExitCode::from(code)
}

fn dispatch(name: &str, call: &Call) -> u8 {
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(Command { run: Run::With(run), .. }) => run(call),
        Some(Command { run: Run::NotYet, .. }) => {
            complain(&format!("hearthgate {name}: not offered by this version yet"));
            USAGE
        }
        None => {
            let meant = did_you_mean(name, offered().map(|command| command.name));
            let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            complain(&format!("hearthgate: there is no command `{name}`{hint}"));
            complain("`hearthgate --help` lists the commands");
            USAGE
        }
    }
}

fn offered() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| matches!(command.run, Run::With(_)))
}

fn help(_: &Call) -> u8 {
    let mut text = String::from(
        "hearthgate: an edge gateway for Docker Compose stacks\n\n\
         usage: hearthgate [run] [--entryPoints.web.address=:80] [--configFile=FILE] …\n       \
         hearthgate COMMAND [--help]\n\ncommands:\n",
    );
    for command in offered() {
        text.push_str(&format!("  {:<12} {}\n", command.name, command.does));
    }
    text.push_str(
        "\n`run` takes Traefik's flags as they are, in any case; `TRAEFIK_*` and `HEARTHGATE_*` variables and the \
         file are read too.\nFile, then TRAEFIK_*, then HEARTHGATE_*, then flags: the later wins.\n",
    );
    print(&text);
    OK
}

fn version(_: &Call) -> u8 {
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    print(&format!("Version:      {version}\nProgram:      hearthgate\nOS/Arch:      {os}/{arch}\n"));
    OK
}

fn completions(call: &Call) -> u8 {
    let shell = call.arguments.first().and_then(|shell| shell.parse::<clap_complete::Shell>().ok());
    let Some(shell) = shell else {
        complain("usage: hearthgate completions bash|elvish|fish|powershell|zsh");
        return USAGE;
    };
    let commands = offered().map(|command| clap::Command::new(command.name).about(command.does));
    let mut program = clap::Command::new("hearthgate").disable_help_subcommand(true).subcommands(commands);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "hearthgate", &mut script);
    print(&String::from_utf8_lossy(&script));
    OK
}

/// The install configuration that a call asks for, and its problems; or all that keeps it from being used.
pub(crate) fn load_install(call: &Call) -> Result<Loaded, LoadInstallError> {
    let variables = call.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
    load(&call.arguments, variables, &Disk)
}

/// Writes to standard output. A reader that went away is not worth a word.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error and everything that led to it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: u8) {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let code = main(arguments.clone(), BTreeMap::new());
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(expected)), "{arguments:?}");
    }

    #[test]
    fn a_command_is_found_or_the_call_is_wrong() {
        check(&["--help"], OK);
        check(&["-h"], OK);
        check(&["help"], OK);
        check(&["version"], OK);
        check(&["--version"], OK);
        check(&["completions", "bash"], OK);
        check(&["completions", "cmd"], USAGE);
        check(&["migrate"], USAGE);
        check(&["ceck"], USAGE);
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let bind = crate::proxy::entry_point::BindError {
            entry_point: "web".into(),
            address: ":80".to_owned(),
            source: std::io::Error::other("permission denied"),
        };
        assert_eq!(chain(&bind), "entry point `web`: listen on :80: permission denied");
    }
}
