//! Which objects a list or a watch is about.

use serde_json::Value;

use crate::{Kind, Refusal};

/// What an object has to have: labels and fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Wanted>);

/// What is wanted of the text at that path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    path: Vec<String>,
    test: Test,
    negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// It is there.
    There,
    /// It is one of these.
    OneOf(Vec<String>),
    /// It is this, where what is not set counts as empty.
    Field(String),
}

impl Selector {
    /// From the query's `labelSelector` and `fieldSelector`, for objects of that kind.
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut wanted: Vec<Wanted> = requirements(labels).into_iter().map(label).collect();
        for part in fields.split(',').filter(|p| !p.is_empty()) {
            wanted.push(field(kind, part)?);
        }
        Ok(Self(wanted))
    }

    /// Whatever there is.
    pub fn all() -> &'static Self {
        const { &Self(Vec::new()) }
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|wanted| {
            let found = wanted
                .path
                .iter()
                .try_fold(object, |value, field| value.get(field))
                .and_then(Value::as_str);
            let is = match &wanted.test {
                Test::There => found.is_some(),
                Test::OneOf(values) => found.is_some_and(|found| values.iter().any(|v| v == found)),
                Test::Field(value) => found.unwrap_or_default() == value,
            };
            is != wanted.negated
        })
    }
}

/// The parts between commas, those in parentheses aside.
fn requirements(labels: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let parts = labels.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn label(part: &str) -> Wanted {
    let words: Vec<&str> = part.splitn(3, ' ').collect();
    let (key, test, negated) = match words.as_slice() {
        [key, operator @ ("in" | "notin"), values] => {
            let values = values.trim().trim_start_matches('(').trim_end_matches(')');
            let values = values.split(',').map(|v| v.trim().to_owned()).collect();
            ((*key).to_owned(), Test::OneOf(values), *operator == "notin")
        }
        _ => match split(part) {
            (key, Some(value), negated) => (key, Test::OneOf(vec![value]), negated),
            (key, None, _) => match key.strip_prefix('!') {
                Some(key) => (key.to_owned(), Test::There, true),
                None => (key, Test::There, false),
            },
        },
    };
    Wanted {
        path: vec!["metadata".to_owned(), "labels".to_owned(), key],
        test,
        negated,
    }
}

fn field(kind: &Kind, part: &str) -> Result<Wanted, Refusal> {
    let (key, value, negated) = split(part);
    let more: &[&str] = match kind.plural {
        "pods" => &["spec.nodeName", "status.phase"],
        "nodes" => &["spec.unschedulable"],
        "secrets" => &["type"],
        _ => &[],
    };
    if !["metadata.name", "metadata.namespace"].contains(&key.as_str()) && !more.contains(&key.as_str()) {
        return Err(Refusal::bad(format!(
            "\"{key}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )));
    }
    Ok(Wanted {
        path: key.split('.').map(str::to_owned).collect(),
        test: Test::Field(value.unwrap_or_default()),
        negated,
    })
}

fn split(part: &str) -> (String, Option<String>, bool) {
    for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(sign) {
            return (key.trim().to_owned(), Some(value.trim().to_owned()), negated);
        }
    }
    (part.trim().to_owned(), None, false)
}
