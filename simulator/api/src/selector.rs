//! Which objects a list or a watch is about.

use serde_json::Value;

use crate::Refusal;

/// What an object has to have: labels and fields, each equal or not equal to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Wanted>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    path: Vec<String>,
    value: Option<String>,
    negated: bool,
}

impl Selector {
    /// From the query's `labelSelector` and `fieldSelector`.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut wanted = Vec::new();
        for part in labels.split(',').filter(|p| !p.is_empty()) {
            if part.contains(['(', ')', '!']) && !part.contains("!=") {
                return Err(Refusal::unsupported(&format!("the label selector {labels:?}")));
            }
            let (key, value, negated) = split(part);
            let path = vec!["metadata".to_owned(), "labels".to_owned(), key];
            wanted.push(Wanted { path, value, negated });
        }
        for part in fields.split(',').filter(|p| !p.is_empty()) {
            let (key, value, negated) = split(part);
            let path = key.split('.').map(str::to_owned).collect();
            wanted.push(Wanted {
                path,
                value: Some(value.unwrap_or_default()),
                negated,
            });
        }
        Ok(Self(wanted))
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|wanted| {
            let found = wanted
                .path
                .iter()
                .try_fold(object, |value, field| value.get(field))
                .and_then(Value::as_str);
            let is = match &wanted.value {
                // A field that is not set counts as empty; a label that is not set is not there.
                Some(value) if value.is_empty() => found.unwrap_or_default().is_empty(),
                Some(value) => found == Some(value),
                None => found.is_some(),
            };
            is != wanted.negated
        })
    }
}

fn split(part: &str) -> (String, Option<String>, bool) {
    for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(sign) {
            return (key.trim().to_owned(), Some(value.trim().to_owned()), negated);
        }
    }
    (part.trim().to_owned(), None, false)
}
