//! Where a gateway is in its life. `app.rs` moves it on, the control plane (`/ready`, `/ping`) reads it.

use tokio::sync::watch;

/// A stage of life. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Ordinary work.
    Serving,
    /// Told to end: not ready any more. Each entry point goes on accepting for its
    /// `requestAcceptGraceTimeout`, then open requests may end within its `graceTimeOut`.
    Draining,
    /// Nothing may go on.
    Stopped,
}

/// Moves a gateway through its life. There is one per gateway.
#[derive(Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
}

/// Reads where a gateway is in its life. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LifecycleReader {
    phase: watch::Receiver<Phase>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving) }
    }
}

impl Lifecycle {
    /// Moves on to `phase`; a step back is passed over.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }

    /// A reader.
    pub fn reader(&self) -> LifecycleReader {
        LifecycleReader { phase: self.phase.subscribe() }
    }
}

impl LifecycleReader {
    /// A gateway that serves for ever: for parts that are tested alone.
    pub fn always_serving() -> Self {
        Lifecycle::default().reader()
    }

    /// Where it is now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until it is in `phase` or further.
    pub async fn reached(&mut self, phase: Phase) {
        let gone = self.phase.wait_for(|current| *current >= phase).await.is_err();
        if gone && self.phase() < phase {
            // The sender went away without a word: `always_serving`, or a dropped gateway whose runtime ends
            // with it. Either way nothing more will come.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn life_only_moves_forward() {
        let lifecycle = Lifecycle::default();
        let mut reader = lifecycle.reader();
        assert_eq!(reader.phase(), Phase::Serving);
        lifecycle.enter(Phase::Stopped);
        lifecycle.enter(Phase::Draining);
        assert_eq!(reader.phase(), Phase::Stopped);
        reader.reached(Phase::Draining).await;
    }
}
