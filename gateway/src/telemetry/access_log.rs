//! The access log: which requests are written, and where. How a line looks is `log_line`'s matter.

use std::cell::RefCell;

use config::install::{AccessLog as Settings, AccessLogFilters};
use config::problem::Origin;
use config::{Install, Problem};

use super::AccessRecord;
use super::log_line::LineFormat;
use super::log_writer::{LogWriter, Sink, open};

/// Writes one line for each request that passes the filters.
#[derive(Debug)]
pub(super) struct AccessLog {
    filters: AccessLogFilters,
    format: LineFormat,
    /// None where not even a thread could be started; said as a problem.
    writer: Option<LogWriter>,
}

thread_local! {
    /// The line that this thread is writing; its memory is used again.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    pub(super) fn start(install: &Install, settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let sink = match &settings.file_path {
            None => Sink::Stdout,
            Some(path) => match open(path) {
                Ok(file) => Sink::File(path.clone(), file),
                Err(error) => {
                    problems.push(
                        Problem::error(
                            Origin::Gateway,
                            "access log",
                            format!("cannot open {}: {error}", path.display()),
                        )
                        .with_hint("its lines go to standard output; give `accessLog.filePath` a folder that the gateway may write"),
                    );
                    Sink::Stdout
                }
            },
        };
        let writer = LogWriter::start("access-log", sink)
            .map_err(|error| {
                problems.push(Problem::error(
                    Origin::Gateway,
                    "access log",
                    format!("cannot start its writer, no line is written: {error}"),
                ));
            })
            .ok();
        Self { filters: settings.filters.clone(), format: LineFormat::new(install, settings), writer }
    }

    pub(super) fn record(&self, record: &AccessRecord<'_>, count: u64) {
        let Some(writer) = &self.writer else { return };
        if !passes(&self.filters, record) {
            return;
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.format.write(line, record, count);
            line.push(b'\n');
            writer.append(line);
        });
    }

    pub(super) fn reopen(&self) {
        if let Some(writer) = &self.writer {
            writer.reopen();
        }
    }

    pub(super) fn flush(&self, limit: std::time::Duration) {
        if let Some(writer) = &self.writer {
            writer.flush(limit);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, LogWriter::dropped)
    }
}

/// Whether a line is kept: no filter is set, or any that is set matches.
pub(super) fn passes(filters: &AccessLogFilters, record: &AccessRecord<'_>) -> bool {
    let by_status = !filters.status_codes.is_empty();
    if !by_status && !filters.retry_attempts && filters.min_duration.is_none() {
        return true;
    }
    (by_status && filters.status_codes.iter().any(|(first, last)| (*first..=*last).contains(&record.status)))
        || (filters.retry_attempts && record.retries > 0)
        || filters.min_duration.is_some_and(|least| record.duration >= least)
}
