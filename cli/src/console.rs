//! Lines for a person: what happened, and when.

use std::{
    env,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use seedbed_seed::{Outcome, Report};

/// The variable by which the scripts count from the same moment: seconds since 1970.
pub(crate) const STARTED: &str = "SEEDBED_STARTED";

/// The terminal, with a clock that started with the command.
#[derive(Debug)]
pub(crate) struct Console {
    started: u64,
}

impl Console {
    pub(crate) fn new() -> Self {
        let inherited = env::var(STARTED).ok().and_then(|text| text.parse().ok());
        Self {
            started: inherited.unwrap_or_else(now),
        }
    }

    /// When the command started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// One line with the elapsed time.
    pub(crate) fn line(&mut self, step: &str, text: &str) {
        let elapsed = now().saturating_sub(self.started);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        self.plain(&format!("{elapsed:>5} s  {step:<14} {first}"));
        for line in lines {
            self.plain(&format!("{:24} {line}", ""));
        }
    }

    /// One line as it is. A reader that went away is no reason to stop what is being done.
    #[expect(clippy::unused_self, reason = "there is one terminal, and one way to it")]
    pub(crate) fn plain(&mut self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    #[expect(clippy::unused_self, reason = "there is one terminal, and one way to it")]
    pub(crate) fn error(&mut self, error: &dyn std::error::Error) {
        let _ = writeln!(io::stderr(), "error: {error}");
    }
}

impl Report for Console {
    fn begin(&mut self, step: &str, what: &str) {
        self.line(step, &format!("… {what}"));
    }

    fn end(&mut self, step: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Changed(what) => self.line(step, what),
            Outcome::Unchanged(what) => self.line(step, &format!("unchanged: {what}")),
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
