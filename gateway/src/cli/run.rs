//! `hearthgate [run]`: serves until it is told to end.

use std::time::Duration;

use config::Problem;
use config::install::Install;
use config::install::load::Loaded;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Call, FAILED, OK, USAGE, chain, complain, help};
use crate::app::{Environment, Gateway, RunningGateway};
use crate::control::reconciler::ReloadHandle;
use crate::privileges::drop_privileges;
use crate::telemetry::logging::Logging;

/// How long the last lines of the logs may take to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// Serves; returns the exit code.
pub(super) fn run(call: &Call) -> u8 {
    if call.arguments.iter().any(|argument| matches!(argument.as_str(), "-h" | "-help" | "--help")) {
        return help(call);
    }
    let (install, mut problems) = match super::load_install(call) {
        Ok(Loaded { install, problems }) => (install, problems),
        Err(error) => {
            for problem in &error.problems {
                complain(&problem.to_string());
            }
            return USAGE;
        }
    };
    // Before any thread is started: a thread keeps the rights of the one that started it.
    match drop_privileges(&install) {
        Ok(found) => problems.extend(found),
        Err(error) => {
            complain(&format!("hearthgate: {}", chain(&error)));
            return FAILED;
        }
    }
    problems.extend(raise_file_limit());
    // It starts a thread, and so it comes after that.
    let (logging, found) = Logging::start(&install.log);
    problems.extend(found);
    match serve(call, install, problems, logging.as_ref()) {
        Ok(()) => OK,
        Err(error) => {
            complain(&format!("hearthgate: {}", chain(&*error)));
            FAILED
        }
    }
}

fn serve(
    call: &Call,
    install: Install,
    problems: Vec<Problem>,
    logging: Option<&Logging>,
) -> Result<(), Box<dyn std::error::Error>> {
    let environment =
        Environment { variables: call.environment(), server_name: machine_name(), ..Environment::default() };
    // Signals need a runtime; those of the gateway are its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is started: a signal that comes early must not kill.
        let signals = Signals::new()?;
        let gateway = Gateway::start(install, problems, environment)?;
        for (name, address) in gateway.entry_points() {
            tracing::info!("entry point `{name}` listens on {address}");
        }
        tracing::info!("admin listener listens on {}", gateway.admin());
        until_the_end(gateway, signals, logging).await;
        Ok(())
    })
}

/// Answers signals until one of them, and the drain that it begins, ends it.
async fn until_the_end(gateway: RunningGateway, mut signals: Signals, logging: Option<&Logging>) {
    loop {
        tokio::select! {
            name = signals.end.next() => {
                tracing::info!("{name}: draining");
                break;
            }
            _ = signals.reload.recv() => {
                tracing::info!("SIGHUP: reading everything again");
                tokio::spawn(reload(gateway.reload_handle()));
            }
            _ = signals.reopen.recv() => {
                gateway.telemetry().reopen();
                if let Some(logging) = logging {
                    logging.reopen();
                }
                tracing::info!("SIGUSR1: log files opened again");
            }
        }
    }
    let telemetry = gateway.telemetry();
    tokio::select! {
        cut = gateway.shutdown() => tracing::info!("drained; {cut} connections were cut"),
        // Dropping the shutdown stops everything at once.
        name = signals.end.next() => tracing::warn!("{name} once more: stopped at once"),
    }
    telemetry.flush(FLUSH);
}

async fn reload(handle: ReloadHandle) {
    if let Ok(report) = handle.reload().await {
        let (version, changes, problems) = (report.version, report.changes.len(), report.problems.len());
        tracing::info!("reloaded: version {version}, {changes} changes, {problems} problems");
    }
}

/// The signals that mean something here.
struct Signals {
    end: Ends,
    /// SIGHUP.
    reload: Signal,
    /// SIGUSR1.
    reopen: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Ok(Self {
            end: Ends { terminate: terminate?, interrupt: interrupt? },
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }
}

/// The signals that end the program.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Every connection takes a file descriptor, two with its server: all that the system grants are used.
fn raise_file_limit() -> Option<Problem> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft >= hard {
        return None;
    }
    let error = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).err()?;
    Some(Problem::warning(
        config::Origin::Gateway,
        "open files",
        format!("the limit stays at {soft} instead of {hard}: {error}"),
    ))
}

/// The name of this machine (of the container, in one).
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "hearthgate".to_owned(),
        name => name.to_owned(),
    }
}
