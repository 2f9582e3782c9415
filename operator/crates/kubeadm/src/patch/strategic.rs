//! Strategic merge for kubeadm's documents.

use serde_json::{Map, Value};

use super::{
    Problem,
    schema::{describe, escape},
};

const DIRECTIVE: &str = "$patch";

/// Lists whose entries are told apart by fields of theirs, wherever in a document they stand: the list's name, the
/// field that every entry must have, and a second field that tells entries apart where a patch names it.
const KEYED_LISTS: &[(&str, &str, Option<&str>)] = &[
    ("extraArgs", "name", None),
    ("kubeletExtraArgs", "name", None),
    ("extraEnvs", "name", None),
    ("extraVolumes", "name", None),
    ("taints", "key", Some("effect")),
    ("registerWithTaints", "key", Some("effect")),
    ("bootstrapTokens", "token", None),
];

/// Merges `patch` into `document`.
pub(super) fn merge(document: &Value, patch: &Value) -> Result<Value, Problem> {
    if !patch.is_object() {
        return Err(Problem::WrongType {
            path: String::new(),
            found: describe(patch),
            expected: "a map".into(),
        });
    }
    merged("", "", Some(document), patch)?.ok_or_else(|| Problem::Directive {
        path: String::new(),
        found: "$patch: delete for the whole document".into(),
    })
}

/// What stands at `place` after the merge, or `None` where nothing does. `name` is the last part of it.
fn merged(place: &str, name: &str, base: Option<&Value>, patch: &Value) -> Result<Option<Value>, Problem> {
    match patch {
        Value::Null => Ok(None),
        Value::Object(patch) => merged_map(place, base, patch),
        Value::Array(patch) => merged_list(place, name, base, patch).map(Some),
        scalar => match base {
            Some(Value::Object(_)) => wrong_type(place, scalar, "a map"),
            Some(Value::Array(_)) => wrong_type(place, scalar, "a list"),
            _ => Ok(Some(scalar.clone())),
        },
    }
}

fn wrong_type<T>(place: &str, found: &Value, expected: &str) -> Result<T, Problem> {
    Err(Problem::WrongType {
        path: place.to_owned(),
        found: describe(found),
        expected: expected.to_owned(),
    })
}

fn merged_map(
    place: &str,
    base: Option<&Value>,
    patch: &Map<String, Value>,
) -> Result<Option<Value>, Problem> {
    let mut result = match (directive(place, patch)?, base) {
        (Some(Directive::Delete), _) => return Ok(None),
        (Some(Directive::Replace), _) | (None, None | Some(Value::Null)) => Map::new(),
        (None, Some(Value::Object(map))) => map.clone(),
        (None, Some(other)) => {
            let expected = if other.is_array() {
                a_list(place)
            } else {
                "a single value".to_owned()
            };
            return wrong_type(place, &Value::Object(patch.clone()), &expected);
        }
    };
    for (name, value) in patch.iter().filter(|(name, _)| *name != DIRECTIVE) {
        let inner = format!("{place}/{}", escape(name));
        match merged(&inner, name, result.get(name), value)? {
            Some(value) => result.insert(name.clone(), value),
            None => result.remove(name),
        };
    }
    Ok(Some(result.into()))
}

/// What is expected where a list stands. A map of arguments is how kubeadm's documents had them before v1beta4.
fn a_list(place: &str) -> String {
    match KEYED_LISTS
        .iter()
        .find(|(list, ..)| place.ends_with(&format!("/{list}")))
    {
        Some((_, key, _)) => format!("a list of maps, each with the field {key}"),
        None => "a list".to_owned(),
    }
}

fn merged_list(place: &str, name: &str, base: Option<&Value>, patch: &[Value]) -> Result<Value, Problem> {
    let base = match base {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(list)) => list,
        Some(other) => {
            let expected = if other.is_object() {
                "a map"
            } else {
                "a single value"
            };
            return wrong_type(place, &Value::Array(patch.to_vec()), expected);
        }
    };
    let Some((_, key, second)) = KEYED_LISTS.iter().find(|(list, ..)| *list == name) else {
        for entry in patch.iter().filter_map(Value::as_object) {
            if let Some(found) = entry.keys().find(|key| key.starts_with('$')) {
                return Err(Problem::Directive {
                    path: place.to_owned(),
                    found: found.clone(),
                });
            }
        }
        return Ok(patch.to_vec().into());
    };
    let mut entries = Vec::with_capacity(patch.len());
    let mut kept = base;
    for entry in patch {
        let Value::Object(entry) = entry else {
            return wrong_type(place, entry, "a map in this list");
        };
        let directive = directive(place, entry)?;
        if entry.len() == 1 && matches!(directive, Some(Directive::Replace)) {
            kept = &[];
        } else if entry.contains_key(*key) {
            entries.push(Entry {
                fields: entry,
                used: false,
            });
        } else {
            return Err(Problem::MergeKey {
                path: place.to_owned(),
                key,
            });
        }
    }
    let mut result = Vec::with_capacity(kept.len() + entries.len());
    for old in kept {
        let mut untouched = true;
        for entry in entries.iter_mut().filter(|entry| entry.names(old, key, *second)) {
            untouched = false;
            // An argument may be given more than once: the patch's entries take the place of the first.
            if !std::mem::replace(&mut entry.used, true) {
                result.extend(merged_map(place, Some(old), entry.fields)?);
            }
        }
        if untouched {
            result.push(old.clone());
        }
    }
    for entry in entries.iter().filter(|entry| !entry.used) {
        result.extend(merged_map(place, None, entry.fields)?);
    }
    Ok(result.into())
}

/// An entry of a patch's list.
struct Entry<'a> {
    fields: &'a Map<String, Value>,
    used: bool,
}

impl Entry<'_> {
    /// Whether it is about `old`: the same key, and the same second field where the patch names that.
    fn names(&self, old: &Value, key: &str, second: Option<&str>) -> bool {
        let same = |field| self.fields.get(field) == old.get(field);
        same(key) && second.is_none_or(|field| !self.fields.contains_key(field) || same(field))
    }
}

#[derive(Clone, Copy)]
enum Directive {
    Delete,
    Replace,
}

fn directive(place: &str, map: &Map<String, Value>) -> Result<Option<Directive>, Problem> {
    if let Some(found) = map.keys().find(|key| key.starts_with('$') && *key != DIRECTIVE) {
        return Err(Problem::Directive {
            path: place.to_owned(),
            found: found.clone(),
        });
    }
    match map.get(DIRECTIVE) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some("delete") => Ok(Some(Directive::Delete)),
            Some("replace") => Ok(Some(Directive::Replace)),
            _ => Err(Problem::Directive {
                path: place.to_owned(),
                found: format!("$patch: {value}"),
            }),
        },
    }
}
