//! What libraries trace goes the way of all other messages: through the reporter, so that no line
//! stands in the middle of a bar.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::Metadata;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::LogLevel;
use crate::progress::{Event, Level, Reporter};

/// Our crates: what others trace is for their authors.
const OURS: [&str; 5] = ["image_composer", "sandbox", "layers", "image", "providers"];

/// Sends traces to the reporter.
pub fn start(reporter: &Arc<dyn Reporter>, level: LogLevel) {
    let level = match level {
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error => tracing::Level::ERROR,
    };
    let ours = OURS.iter().fold(Targets::new(), |targets, name| targets.with_target(*name, level));
    let lines = fmt::layer()
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .with_writer(ToReporter(Arc::clone(reporter)))
        .with_filter(ours);
    // A second call in one process (tests) changes nothing.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

struct ToReporter(Arc<dyn Reporter>);

impl<'a> MakeWriter<'a> for ToReporter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { reporter: Arc::clone(&self.0), level: Level::Info, text: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        let level = match *meta.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        Line { reporter: Arc::clone(&self.0), level, text: Vec::new() }
    }
}

/// One trace on its way; told when it is whole.
struct Line {
    reporter: Arc<dyn Reporter>,
    level: Level,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        self.reporter.report(&Event::Message { level: self.level, text: text.trim_end() });
    }
}
