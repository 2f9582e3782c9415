//! What the operator logs, and what panics.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// What was logged, and what panicked.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    text: Vec<u8>,
    panic: Option<String>,
}

impl Logs {
    /// Keeps all that this process logs from now on, as the operator's program writes it, and the first panic.
    pub fn keep() -> Self {
        let logs = Self::default();
        // Refused where something else keeps them already: then there are none here.
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .without_time()
            .with_writer(logs.clone())
            .try_init();
        let kept = logs.clone();
        std::panic::set_hook(Box::new(move |panic| {
            kept.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .panic
                .get_or_insert_with(|| panic.to_string());
        }));
        logs
    }

    /// All that was logged.
    pub fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept.text).into_owned()
    }

    /// The first panic.
    pub fn panics(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .panic
            .clone()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
