//! What a look gave.

/// What a look gave: the thing as it was seen, or why it could not be seen. [`Observed::Unknown`] never means absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// It was seen.
    Known(T),
    /// It could not be seen, for this reason.
    Unknown(String),
}

impl<T> Observed<T> {
    /// What was seen, if anything was.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// The same look at a part of it.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Known(value) => Observed::Known(f(value)),
            Self::Unknown(why) => Observed::Unknown(why),
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Observed<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}
