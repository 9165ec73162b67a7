//! `exec`: a program of the user's own sets the record: `<program> present|cleanup _acme-challenge.name. value`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use config::secret::Secret;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::settings::Scrubber;
use super::{DnsError, DnsProvider, TxtRecord};

/// Its code.
pub(super) const CODE: &str = "exec";

/// What is kept of the output; the rest is read and forgotten, so that no program waits for us.
const OUTPUT_LIMIT: usize = 16 * 1024;

/// What the program sees of our environment.
pub(super) const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

#[derive(Debug)]
pub(super) struct Exec {
    pub(super) program: PathBuf,
    /// All that the program sees.
    pub(super) environment: Vec<(String, Secret<String>)>,
    pub(super) limit: Duration,
    pub(super) scrubber: Scrubber,
}

impl Exec {
    async fn run(&self, action: &'static str, record: &TxtRecord) -> Result<(), DnsError> {
        let failed = |reason: String| DnsError::Provider { provider: CODE, action, reason };
        let program = self.program.display();
        let mut child = Command::new(&self.program)
            .args([action, &record.fqdn(), &record.value])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, OsString::from(value.expose()))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("cannot run {program}: {error}")))?;
        let group = Group::of(&child);
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let ended = timeout(self.limit, async {
            let (output, errors, status) = tokio::join!(read(stdout), read(stderr), child.wait());
            (output, errors, status)
        })
        .await;
        let Ok((output, errors, status)) = ended else {
            group.kill();
            // The child is ours to wait for, so that it leaves no zombie.
            let _ = child.wait().await;
            return Err(failed(format!(
                "{program} still ran after {} s and was killed",
                self.limit.as_secs()
            )));
        };
        group.forget();
        for (stream, text) in [("stdout", output), ("stderr", errors)] {
            for line in text.lines() {
                tracing::debug!(program = %program, action, stream, line = self.scrubber.clean(line), "DNS hook");
            }
        }
        let status = status.map_err(|error| failed(format!("cannot wait for {program}: {error}")))?;
        if status.success() {
            return Ok(());
        }
        Err(failed(format!("{program} ended with {status}; its output is in the log, at level DEBUG")))
    }
}

#[async_trait]
impl DnsProvider for Exec {
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.run("present", record).await
    }

    async fn clean_up(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.run("cleanup", record).await
    }
}

/// The program with all that it started. Killed on drop, unless it has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn kill(mut self) {
        self.end();
    }

    fn forget(mut self) {
        self.0 = None;
    }

    fn end(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended by itself in this moment.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        let room = OUTPUT_LIMIT - kept.len();
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
