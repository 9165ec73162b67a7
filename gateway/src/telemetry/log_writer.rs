//! Where log lines go: a buffer that a thread swaps and writes in batches. A request appends to memory and goes
//! on; what finds the buffer full is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Lines wait at most this long for others to be written with them.
const SETTLE: Duration = Duration::from_millis(20);

/// The writer does not wait for more than this.
const BATCH_BYTES: usize = 64 * 1024;

/// What waits to be written while the disk or the reader of the pipe is slow.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// A log file or standard output, written in batches by a thread of its own.
#[derive(Debug)]
pub(super) struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes whoever waits in `flush`.
    written: Condvar,
    dropped: AtomicU64,
    limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    writing: bool,
    reopen: bool,
    flush: bool,
    stop: bool,
}

/// What is written to.
#[derive(Debug)]
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// A file, open for appending.
    File(PathBuf, File),
    /// A test's.
    #[cfg(test)]
    Test(TestSink),
}

/// A sink that tests look into, and can hold up.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(super) struct TestSink {
    pub(super) written: Arc<Mutex<Vec<u8>>>,
    pub(super) held_up: Arc<Mutex<()>>,
}

/// Opens a log file for appending, as Traefik does.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o664).open(path)
}

impl LogWriter {
    /// Starts the thread.
    pub(super) fn start(name: &str, sink: Sink) -> io::Result<Self> {
        Self::start_with_limit(name, sink, QUEUE_BYTES)
    }

    fn start_with_limit(name: &str, sink: Sink, limit: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
            limit,
        });
        let of_thread = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || of_thread.write_batches(sink))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes one whole line, its newline included.
    pub(super) fn append(&self, line: &[u8]) {
        let mut queue = self.shared.queue.lock();
        if queue.stop || queue.lines.len() + line.len() > self.shared.limit {
            drop(queue);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = queue.lines.is_empty();
        queue.lines.extend_from_slice(line);
        let is_batch = queue.lines.len() >= BATCH_BYTES;
        let wake =
            (was_empty && !queue.writing) || (is_batch && queue.lines.len() - line.len() < BATCH_BYTES);
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn reopen(&self) {
        self.shared.queue.lock().reopen = true;
        self.shared.work.notify_one();
    }

    pub(super) fn flush(&self, limit: Duration) {
        let mut queue = self.shared.queue.lock();
        queue.flush = true;
        self.shared.work.notify_one();
        let _ = self.shared.written.wait_while_for(
            &mut queue,
            |queue| queue.writing || queue.reopen || !queue.lines.is_empty(),
            limit,
        );
        queue.flush = false;
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.queue.lock().stop = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to lose.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The thread: waits for lines, lets them gather, swaps the buffer, writes it.
    fn write_batches(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        loop {
            let reopen = {
                let mut queue = self.queue.lock();
                queue.writing = false;
                self.written.notify_all();
                self.work
                    .wait_while(&mut queue, |queue| queue.lines.is_empty() && !queue.reopen && !queue.stop);
                if !queue.reopen {
                    let _ = self.work.wait_while_for(
                        &mut queue,
                        |queue| {
                            queue.lines.len() < BATCH_BYTES && !queue.stop && !queue.flush && !queue.reopen
                        },
                        SETTLE,
                    );
                }
                if queue.stop && queue.lines.is_empty() {
                    return;
                }
                queue.writing = true;
                std::mem::swap(&mut queue.lines, &mut batch);
                std::mem::take(&mut queue.reopen)
            };
            if !batch.is_empty() && sink.write(&batch).is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            batch.clear();
            // One burst shall not hold its memory for ever.
            batch.shrink_to(BATCH_BYTES * 2);
            if reopen {
                sink.reopen();
            }
        }
    }
}

impl Sink {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(batch)?;
                stdout.flush()
            }
            Self::File(_, file) => file.write_all(batch),
            #[cfg(test)]
            Self::Test(sink) => {
                drop(sink.held_up.lock());
                sink.written.lock().extend_from_slice(batch);
                Ok(())
            }
        }
    }

    /// After a rotation. A file that cannot be opened leaves the old one in use: its lines are not lost.
    fn reopen(&mut self) {
        match self {
            Self::Stdout => {}
            Self::File(path, file) => match open(path) {
                Ok(new) => *file = new,
                Err(error) => tracing::warn!("open the log {} again: {error}", path.display()),
            },
            #[cfg(test)]
            Self::Test(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let sink = TestSink::default();
        let writer = LogWriter::start("test", Sink::Test(sink.clone())).unwrap();
        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        for number in 0..1000 {
            writer.append(format!("line {number}\n").as_bytes());
        }
        writer.flush(LIMIT);
        assert_eq!(String::from_utf8(sink.written.lock().clone()).unwrap(), expected);
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_slow_reader_costs_lines_and_never_blocks() {
        let sink = TestSink::default();
        let held_up = Arc::clone(&sink.held_up);
        let guard = held_up.lock();
        let writer = LogWriter::start_with_limit("test", Sink::Test(sink.clone()), 100).unwrap();
        for _ in 0..1000 {
            writer.append(b"0123456789\n");
        }
        assert!(writer.dropped() > 900, "at most the queue and one batch are kept: {}", writer.dropped());
        drop(guard);
        writer.flush(LIMIT);
        let kept = sink.written.lock().len() as u64 / 11;
        assert_eq!(kept + writer.dropped(), 1000);
    }

    #[test]
    fn the_last_lines_are_written_when_the_log_ends() {
        let sink = TestSink::default();
        let writer = LogWriter::start("test", Sink::Test(sink.clone())).unwrap();
        writer.append(b"last\n");
        drop(writer);
        assert_eq!(*sink.written.lock(), b"last\n");
    }

    #[test]
    fn a_rotated_file_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let writer = LogWriter::start("test", Sink::File(path.clone(), open(&path).unwrap())).unwrap();
        writer.append(b"one\n");
        writer.flush(LIMIT);
        let rotated = directory.path().join("access.log.1");
        std::fs::rename(&path, &rotated).unwrap();
        writer.reopen();
        writer.flush(LIMIT);
        writer.append(b"two\n");
        writer.flush(LIMIT);
        assert_eq!(std::fs::read_to_string(rotated).unwrap(), "before\none\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }
}
