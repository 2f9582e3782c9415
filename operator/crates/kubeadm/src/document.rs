//! YAML documents as kubeadm reads them.

use serde::Serialize;
use serde_json::Value;

/// A value that could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error(
    "write {what} as YAML: {source}; this is a defect of the renderer, report it with the objects that were applied"
)]
pub struct RenderError {
    /// What was being written.
    pub what: String,
    /// The serializer's own words.
    #[source]
    pub source: serde_saphyr::ser::Error,
}

/// Writes one value as YAML, keys in alphabetical order, so that the same input always gives the same bytes whatever
/// features of the JSON library the rest of the build switches on.
pub(crate) fn to_yaml(what: &str, value: &impl Serialize) -> Result<String, RenderError> {
    let failed = |source| RenderError {
        what: what.to_owned(),
        source,
    };
    let mut options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    options.compact_list_indent = true;
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options).map_err(failed)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Writes a JSON value as YAML, sorted.
pub(crate) fn value_to_yaml(what: &str, value: &Value) -> Result<String, RenderError> {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    to_yaml(what, &sorted)
}

/// Writes several documents into one file, separated as YAML wants it.
pub(crate) fn documents_to_yaml<'a>(
    documents: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Result<String, RenderError> {
    let mut text = String::new();
    for (what, value) in documents {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&value_to_yaml(what, value)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    proptest! {
        #[test]
        fn a_text_is_read_back_as_itself(text in any::<String>()) {
            let value = json!({"value": text, "list": [{"name": text}]});
            let yaml = value_to_yaml("test", &value).unwrap();
            prop_assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), value, "{}", yaml);
        }
    }

    /// kubeadm reads YAML 1.1, where each of these without quotes is something else than a text.
    #[rstest]
    fn texts_that_look_like_something_else_are_quoted(
        #[values(
            "true",
            "no",
            "on",
            "y",
            "null",
            "~",
            "1.35",
            "0x10",
            "0o7",
            "1_000",
            "12:30:45",
            "2026-11-21",
            ""
        )]
        text: &str,
    ) {
        let yaml = value_to_yaml("test", &json!({"value": text})).unwrap();
        assert!(
            yaml == format!("value: \"{text}\"\n") || yaml == format!("value: '{text}'\n"),
            "{yaml}"
        );
    }
}
