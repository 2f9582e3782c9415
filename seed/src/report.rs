//! Telling what is being done while it is done.

/// What a step found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something, namely this.
    Changed(String),
    /// Everything was as it should be, namely this.
    Unchanged(String),
}

impl Outcome {
    /// `Changed` or `Unchanged`, with the same words for both.
    pub fn of(changed: bool, what: impl Into<String>) -> Self {
        if changed {
            Self::Changed(what.into())
        } else {
            Self::Unchanged(what.into())
        }
    }
}

/// Somebody who wants to know.
pub trait Report {
    /// A step that takes a while begins.
    fn begin(&mut self, step: &str, what: &str);
    /// A step is over.
    fn end(&mut self, step: &str, outcome: &Outcome);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Report for Silent {
    fn begin(&mut self, _: &str, _: &str) {}
    fn end(&mut self, _: &str, _: &Outcome) {}
}
