//! What an HTTP request asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use crate::{Kind, Kinds, Preconditions, Refusal, Selector, Subresource};

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Merge,
    Apply,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Verb {
    Get(String),
    List(Selector),
    /// From that resourceVersion or, without one, with all objects first; and whether it is said that these were all.
    Watch(Selector, Option<u64>, bool),
    Create(Value),
    /// To be made as if it were, and nothing stored.
    TryCreate(Value),
    Replace(String, Value, Subresource),
    Patch(String, Value, PatchType, Subresource),
    Delete(String, Preconditions),
    Evict(String, Preconditions),
}

/// A request to objects of a kind.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) verb: Verb,
    pub(crate) shape: Shape,
}

/// How objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    Metadata,
    Table,
}

impl Shape {
    /// By the header `Accept`, of which the first part counts.
    fn of(accept: &str) -> Self {
        let first = accept.split(',').next().unwrap_or_default();
        if first.contains("as=PartialObjectMetadata") {
            Self::Metadata
        } else if first.contains("as=Table") {
            Self::Table
        } else {
            Self::Whole
        }
    }
}

/// The parts of a request that count.
pub(crate) struct Parts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

/// Reads a request. Paths: <https://kubernetes.io/docs/reference/using-api/api-concepts/>.
pub(crate) fn read(parts: &Parts<'_>, kinds: &Kinds) -> Result<Asked, Refusal> {
    let words: Vec<_> = parts
        .path
        .split('/')
        .filter(|w| !w.is_empty())
        .map(decode)
        .collect();
    let words: Vec<&str> = words.iter().map(Cow::as_ref).collect();
    let (group, version, rest) = match words.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(Refusal::no_such_page()),
    };
    let (namespace, rest) = match rest {
        // A namespace itself is an object, and so are its subresources.
        ["namespaces", _] | ["namespaces", _, "status"] => ("", rest),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name, sub) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, sub] => (*plural, Some(*name), Some(*sub)),
        _ => return Err(Refusal::no_such_page()),
    };
    let kind = kinds
        .find(group, version, plural)
        .ok_or_else(Refusal::no_such_page)?;
    let has_part = match sub {
        None => true,
        Some("status") => kind.has_status,
        Some("eviction") => kind.plural == "pods",
        Some(_) => false,
    };
    if !has_part {
        return Err(Refusal::no_such_page());
    }
    Ok(Asked {
        kind: kind.clone(),
        namespace: namespace.to_owned(),
        verb: verb(parts, kind, name, sub)?,
        shape: Shape::of(parts.accept),
    })
}

fn verb(parts: &Parts<'_>, kind: &Kind, name: Option<&str>, sub: Option<&str>) -> Result<Verb, Refusal> {
    let query = query(parts.query);
    let part = if sub == Some("status") {
        Subresource::Status
    } else {
        Subresource::Main
    };
    match (parts.method, name, sub) {
        (&Method::GET, Some(name), None | Some("status")) => Ok(Verb::Get(name.to_owned())),
        (&Method::GET, None, None) => {
            let of = |key: &str| query.get(key).map(Cow::as_ref).unwrap_or_default();
            let selector = Selector::parse(kind, of("labelSelector"), of("fieldSelector"))?;
            if matches!(of("watch"), "true" | "1") {
                Ok(Verb::Watch(
                    selector,
                    of("resourceVersion").parse().ok().filter(|r| *r > 0),
                    of("sendInitialEvents") == "true",
                ))
            } else {
                Ok(Verb::List(selector))
            }
        }
        (&Method::POST, None, None) => match query.get("dryRun").map(Cow::as_ref) {
            None => Ok(Verb::Create(body(parts)?)),
            Some("All") => Ok(Verb::TryCreate(body(parts)?)),
            Some(other) => Err(Refusal::unsupported(&format!("dryRun {other}"))),
        },
        (&Method::PUT, Some(name), None | Some("status")) => {
            Ok(Verb::Replace(name.to_owned(), body(parts)?, part))
        }
        (&Method::PATCH, Some(name), None | Some("status")) => {
            let kind = match parts.content_type {
                "application/merge-patch+json" => PatchType::Merge,
                "application/apply-patch+yaml" if !query.contains_key("fieldManager") => {
                    return Err(Refusal::anonymous());
                }
                "application/apply-patch+yaml" => PatchType::Apply,
                other => return Err(Refusal::unsupported(&format!("a patch of type {other}"))),
            };
            Ok(Verb::Patch(name.to_owned(), body(parts)?, kind, part))
        }
        (&Method::DELETE, Some(name), None) => {
            let options = if parts.body.is_empty() {
                Value::Null
            } else {
                body(parts)?
            };
            Ok(Verb::Delete(name.to_owned(), preconditions(&options)))
        }
        (&Method::POST, Some(name), Some("eviction")) => {
            let options = body(parts)?["deleteOptions"].take();
            Ok(Verb::Evict(name.to_owned(), preconditions(&options)))
        }
        (&Method::POST, Some(_), _) => Err(Refusal::not_allowed()),
        (method, ..) => Err(Refusal::unsupported(&format!("{method} {}", parts.path))),
    }
}

fn preconditions(options: &Value) -> Preconditions {
    let of = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
    Preconditions {
        uid: of("uid"),
        resource_version: of("resourceVersion"),
        grace_seconds: options["gracePeriodSeconds"].as_u64(),
    }
}

fn body(parts: &Parts<'_>) -> Result<Value, Refusal> {
    serde_json::from_slice(parts.body)
        .map_err(|error| Refusal::bad(format!("the body is not understood: {error}")))
}

fn query(text: &str) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    text.split('&')
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Text as it was before it was percent-encoded; a `+` is a space.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                if let [Some(high), Some(low)] = digits {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                }
            }
            byte => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded() {
        assert_eq!(decode("metadata.name%3Dcoredns"), "metadata.name=coredns");
        assert_eq!(decode("a+b%2"), "a b");
        assert_eq!(decode("plain"), "plain");
    }
}
