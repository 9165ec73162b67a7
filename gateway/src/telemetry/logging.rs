//! The program's own log: level, form and place as `log` in the install configuration says. Lines take the same
//! way as those of the access log, so that a full disk or a reader that stopped holds nothing up.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use config::Problem;
use config::install::Log;
use config::problem::Origin;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::log_writer::{LogWriter, Sink, open};

/// How long the last lines may take to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// Libraries that say on `info` what we say ourselves, with more to it.
const QUIET: [&str; 6] = ["bollard", "h2", "hyper", "hyper_util", "notify", "rustls"];

/// The program's log at work. Dropping it writes what is left.
#[derive(Debug)]
pub struct Logging {
    writer: Arc<LogWriter>,
}

impl Logging {
    /// Makes this the log of the whole process. Where one is in place already (in a test), that one stays.
    pub fn start(settings: &Log) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        let level = match settings.level.parse::<LevelFilter>() {
            Ok(level) => level,
            Err(_) => {
                problems.push(
                    Problem::warning(
                        Origin::Gateway,
                        "log",
                        format!("there is no level `{}`: `info` is used", settings.level),
                    )
                    .with_hint("write `trace`, `debug`, `info`, `warn` or `error`"),
                );
                LevelFilter::INFO
            }
        };
        let sink = match &settings.file_path {
            None => Sink::Stdout,
            Some(path) => match open(path) {
                Ok(file) => Sink::File(path.clone(), file),
                Err(error) => {
                    problems.push(
                        Problem::error(
                            Origin::Gateway,
                            "log",
                            format!("cannot open {}: {error}", path.display()),
                        )
                        .with_hint("its lines go to standard output; give `log.filePath` a folder that the gateway may write"),
                    );
                    Sink::Stdout
                }
            },
        };
        let writer = match LogWriter::start("log", sink) {
            Ok(writer) => Arc::new(writer),
            Err(error) => {
                let message = format!("cannot start its writer, nothing is logged: {error}");
                problems.push(Problem::error(Origin::Gateway, "log", message));
                return (None, problems);
            }
        };
        let lines = Lines(Arc::clone(&writer));
        let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(false);
        let layer = if settings.json {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        } else {
            layer.with_target(false).boxed()
        };
        // `try_init` also takes in what libraries say through the `log` crate.
        let _ = tracing_subscriber::registry().with(layer.with_filter(filter(level))).try_init();
        (Some(Self { writer }), problems)
    }

    /// Opens the file again (`SIGUSR1`, after a rotation).
    pub fn reopen(&self) {
        self.writer.reopen();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.writer.flush(FLUSH);
    }
}

/// What is logged at this level. Pingora reports as errors what clients and servers do every day; our own access
/// log has all of it, so that Pingora is heard only when somebody debugs.
fn filter(level: LevelFilter) -> Targets {
    let targets = Targets::new().with_default(level);
    if level >= LevelFilter::DEBUG {
        return targets;
    }
    let quiet = level.min(LevelFilter::WARN);
    targets
        .with_target("pingora", LevelFilter::OFF)
        .with_targets(QUIET.into_iter().map(|library| (library, quiet)))
}

/// Hands each line to the writer.
#[derive(Debug, Clone)]
struct Lines(Arc<LogWriter>);

impl Write for Lines {
    /// Called once for each event, with its whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match one_line(line) {
            Some(escaped) => self.0.append(&escaped),
            None => self.0.append(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Labels and file names end up in messages: what could end a line or steer a terminal is written as `\xNN`. `None`
/// where nothing has to be changed.
fn one_line(line: &[u8]) -> Option<Vec<u8>> {
    let (text, end) = match line.split_last() {
        Some((b'\n', text)) => (text, true),
        _ => (line, false),
    };
    if !text.iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut escaped = Vec::with_capacity(line.len() + 16);
    for byte in text {
        if byte.is_ascii_control() {
            escaped.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    if end {
        escaped.push(b'\n');
    }
    Some(escaped)
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn check(level: &str, target: &str, event: Level, expected: bool) {
        let filter = filter(level.parse().unwrap());
        assert_eq!(filter.would_enable(target, &event), expected, "{level}: {event} of {target}");
    }

    #[test]
    fn an_event_is_one_line_whatever_its_message() {
        assert_eq!(one_line(b"plain\n"), None);
        assert_eq!(one_line(b"a\nb\x1b[2J\n").unwrap(), b"a\\x0ab\\x1b[2J\n");
    }

    #[test]
    fn pingora_is_heard_only_by_those_who_debug() {
        check("info", "gateway::control", Level::INFO, true);
        check("info", "gateway::control", Level::DEBUG, false);
        check("info", "pingora_proxy", Level::ERROR, false);
        check("info", "pingora_core::protocols", Level::ERROR, false);
        check("debug", "pingora_proxy", Level::ERROR, true);
        check("info", "hyper::client", Level::INFO, false);
        check("info", "hyper::client", Level::WARN, true);
        check("error", "hyper::client", Level::WARN, false);
        check("warn", "gateway", Level::INFO, false);
    }
}
