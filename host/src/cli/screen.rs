//! Lines that appear while a person types: logs, and what the nodes of `dev` say.
//!
//! ```text
//!   tracing ──┐                                            ┌─► above the prompt
//!             ├──► bounded queue ──► the screen's thread ──┤
//!   nodes ────┘                                            └─► standard error
//! ```
//!
//! Why a thread: printing above a prompt may wait for the prompt's own thread, and a task that logs
//! must never wait for a person. When the queue is full lines are counted instead of kept.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use rustyline::ExternalPrinter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be printed. A terminal draws thousands a second.
const LINES_MAX: usize = 1024;
/// Longest wait for the last lines when the program ends.
const FLUSH_MAX: Duration = Duration::from_millis(500);

enum Item {
    Line {
        /// Lines that were dropped before this one.
        missing: u64,
        line: String,
    },
    Printer(Box<dyn ExternalPrinter + Send>),
    Flush(SyncSender<()>),
}

/// Where lines go. Cheap to clone; all clones are one screen.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    items: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Screen {
    /// Starts the screen's thread, which ends when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (items, queue) = mpsc::sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let screen = Self { items, dropped: Arc::clone(&dropped) };
        thread::Builder::new().name("screen".to_owned()).spawn(move || draw(&queue, &dropped))?;
        Ok(screen)
    }

    /// Prints a line soon. Never waits.
    pub(super) fn print(&self, line: String) {
        let missing = self.dropped.swap(0, Ordering::Relaxed);
        match self.items.try_send(Item::Line { missing, line }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(missing + 1, Ordering::Relaxed);
            }
            // The thread only ends with the last clone, or by a panic that was printed.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// From now on prints above a prompt.
    pub(super) fn attach(&self, printer: impl ExternalPrinter + Send + 'static) {
        // Without its thread the screen has nothing to draw on.
        self.items.send(Item::Printer(Box::new(printer))).ok();
    }

    /// Waits until all lines so far are printed, at most half a second.
    pub(super) fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.items.try_send(Item::Flush(done)).is_ok() {
            // Late or gone: the program ends all the same.
            wait.recv_timeout(FLUSH_MAX).ok();
        }
    }
}

fn draw(queue: &Receiver<Item>, dropped: &AtomicU64) {
    let mut printer: Option<Box<dyn ExternalPrinter + Send>> = None;
    for item in queue {
        match item {
            Item::Line { missing, line } => {
                admit(&mut printer, missing);
                show(&mut printer, line);
            }
            Item::Printer(new) => printer = Some(new),
            Item::Flush(done) => {
                admit(&mut printer, dropped.swap(0, Ordering::Relaxed));
                done.send(()).ok();
            }
        }
    }
    admit(&mut printer, dropped.swap(0, Ordering::Relaxed));
}

fn admit(printer: &mut Option<Box<dyn ExternalPrinter + Send>>, missing: u64) {
    if missing > 0 {
        show(printer, format!("… {missing} lines are missing here"));
    }
}

fn show(printer: &mut Option<Box<dyn ExternalPrinter + Send>>, mut line: String) {
    line.push('\n');
    if let Some(above) = printer {
        if above.print(line.clone()).is_ok() {
            return;
        }
        // The prompt has ended.
        *printer = None;
    }
    // Nobody reads standard error: there is no other place to say so.
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// One event's writer; tracing writes each event in one piece.
#[derive(Debug)]
pub(super) struct LogLine<'a>(&'a Screen);

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(self)
    }
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(String::from_utf8_lossy(bytes).trim_end().to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Above(SyncSender<String>);

    impl ExternalPrinter for Above {
        fn print(&mut self, line: String) -> rustyline::Result<()> {
            self.0.send(line).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe).into())
        }
    }

    #[test]
    fn lines_appear_above_the_prompt_in_order() {
        let (sender, lines) = mpsc::sync_channel(8);
        let screen = Screen::start().unwrap();
        screen.attach(Above(sender));
        screen.print("one".into());
        screen.make_writer().write_all(b"two\n").unwrap();
        screen.flush();
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["one\n", "two\n"]);
    }

    #[test]
    fn a_screen_that_cannot_draw_never_holds_up_a_task() {
        let (sender, lines) = mpsc::sync_channel(0);
        let screen = Screen::start().unwrap();
        screen.attach(Above(sender));
        for n in 0..2 * LINES_MAX {
            screen.print(n.to_string());
        }
        drop(screen);
        let lines: Vec<String> = lines.iter().collect();
        assert_eq!(lines.first().map(String::as_str), Some("0\n"));
        assert!(lines.iter().any(|line| line.contains("lines are missing here")));
    }
}
