//! Conditions as the API conventions want them: one of each type, the time of the last change of status kept.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seedbed_crds::Condition;
use seedbed_crds::reasons::{Reason, condition};
use seedbed_planted::planted;

/// Longest message of a condition that the API server takes.
const MAX_MESSAGE: usize = 32_000;

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Whether it holds could not be found out.
    Unknown,
}

impl Status {
    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One condition as it was found, without times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its type.
    pub type_: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// What was found and what to do.
    pub message: String,
}

impl Finding {
    /// A condition that was found.
    pub fn new(
        type_: &'static str,
        status: impl Into<Status>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status: status.into(),
            reason,
            message: message.into(),
        }
    }
}

/// How an object as a whole is doing, from which `Ready`, `Progressing` and `Stalled` are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Summary {
    /// It is as asked for.
    Ready,
    /// Something is being done, or waited for.
    Progressing(Reason, String),
    /// It was as asked for and is not now, and nothing has to be done by the operator.
    Degraded(Reason, String),
    /// Nothing goes on until a person changes something.
    Stalled(Reason, String),
    /// It could not be found out.
    Unknown(Reason, String),
}

impl Summary {
    /// `Ready`, `Progressing` and `Stalled`, as kstatus reads them.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings_as(condition::READY, Reason::AsAsked, "")
    }

    /// The same for what comes to an end: `Succeeded` in the place of `Ready`, and what is said where it has.
    pub fn findings_of_end(&self, reason: Reason, message: &str) -> Vec<Finding> {
        self.findings_as(condition::SUCCEEDED, reason, message)
    }

    fn findings_as(&self, type_: &'static str, when_ready: Reason, said: &str) -> Vec<Finding> {
        let (ready, progressing, stalled, reason, message) = match self {
            Self::Ready => (Status::True, false, false, when_ready, said.to_owned()),
            Self::Progressing(r, m) => (Status::False, true, false, *r, m.clone()),
            Self::Degraded(r, m) => (Status::False, false, false, *r, m.clone()),
            Self::Stalled(r, m) => (Status::False, false, true, *r, m.clone()),
            Self::Unknown(r, m) => (Status::Unknown, false, false, *r, m.clone()),
        };
        let told = |holds: bool| {
            if holds {
                (reason, message.clone())
            } else {
                (Reason::AsAsked, String::new())
            }
        };
        let (progressing_reason, progressing_message) = told(progressing);
        let (stalled_reason, stalled_message) = told(stalled);
        vec![
            Finding::new(type_, ready, reason, message.clone()),
            Finding::new(
                condition::PROGRESSING,
                progressing,
                progressing_reason,
                progressing_message,
            ),
            Finding::new(condition::STALLED, stalled, stalled_reason, stalled_message),
        ]
    }

    /// One word for the printer column.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing(Reason::Deleting, _) => "Deleting",
            Self::Progressing(Reason::Paused, _) | Self::Degraded(Reason::Paused, _) => "Paused",
            Self::Progressing(..) => "Progressing",
            Self::Degraded(..) => "Degraded",
            Self::Stalled(..) => "Stalled",
            Self::Unknown(..) => "Unknown",
        }
    }
}

/// Whether the condition of that type sums up the others.
pub fn is_summary(type_: &str) -> bool {
    [condition::READY, condition::SUCCEEDED].contains(&type_)
}

/// The conditions with the findings in them, sorted by type with the summary first. The time of a condition changes only with its
/// status; conditions that nobody speaks of any more go.
pub fn merge(
    old: &[Condition],
    findings: Vec<Finding>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut merged: Vec<Condition> = findings
        .into_iter()
        .map(|finding| {
            let before = old
                .iter()
                .find(|c| c.type_ == finding.type_ && c.status == finding.status.as_str())
                .filter(|_| !planted!(RestampConditions));
            Condition {
                type_: finding.type_.to_owned(),
                status: finding.status.as_str().to_owned(),
                reason: finding.reason.as_str().to_owned(),
                message: truncate(finding.message, MAX_MESSAGE),
                observed_generation: generation,
                last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
            }
        })
        .collect();
    merged.sort_by_key(|c| (!is_summary(&c.type_), c.type_.clone()));
    merged
}

/// Whether the condition of that type is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

fn truncate(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let mut end = bytes;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn one(status: bool, message: &str) -> Vec<Finding> {
        vec![Finding::new(
            condition::HOST_REACHABLE,
            status,
            Reason::HostReachable,
            message,
        )]
    }

    #[test]
    fn the_time_changes_with_the_status_only() {
        let first = merge(&[], one(true, "a"), Some(1), at(10));
        let second = merge(&first, one(true, "b"), Some(2), at(20));
        assert_eq!(second[0].last_transition_time.0, at(10));
        assert_eq!(
            (second[0].message.as_str(), second[0].observed_generation),
            ("b", Some(2))
        );
        let third = merge(&second, one(false, "b"), Some(2), at(30));
        assert_eq!(third[0].last_transition_time.0, at(30));
    }

    #[test]
    fn nothing_new_changes_nothing() {
        let first = merge(&[], one(true, "a"), Some(1), at(10));
        assert_eq!(merge(&first, one(true, "a"), Some(1), at(99)), first);
    }

    #[test]
    fn what_comes_to_an_end_has_succeeded_in_the_place_of_ready() {
        let found = Summary::Ready.findings_of_end(Reason::PreflightPassed, "planned");
        let merged = merge(&[], found, Some(1), at(10));
        let types: Vec<&str> = merged.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Succeeded", "Progressing", "Stalled"]);
        assert_eq!(
            (merged[0].reason.as_str(), merged[0].message.as_str()),
            ("PreflightPassed", "planned")
        );
    }

    #[test]
    fn exactly_one_of_the_three_speaks() {
        for summary in [
            Summary::Ready,
            Summary::Progressing(Reason::Reconciling, "m".into()),
            Summary::Stalled(Reason::InvalidSpec, "m".into()),
        ] {
            let found = summary.findings();
            assert_eq!(
                found.iter().filter(|f| f.status == Status::True).count(),
                1,
                "{summary:?}"
            );
        }
    }
}
