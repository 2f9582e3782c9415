//! The fields of a schema as the rows of a table.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::enums::Enums;
use crate::markdown::code;

/// One field.
pub struct Field {
    /// Path from the top of the object; `[]` stands for each item of a list.
    pub path: String,
    /// Type of its value.
    pub type_: String,
    /// Its default, or that it is required.
    pub default: String,
    /// What it means and what its value has to be like.
    pub meaning: String,
}

/// Type, path and all below, of one property of an object's schema.
pub fn collect(schema: &JSONSchemaProps, path: &str, required: bool, enums: &Enums, fields: &mut Vec<Field>) {
    fields.push(Field {
        path: path.to_owned(),
        type_: type_of(schema),
        default: default(schema, required),
        meaning: meaning(schema, enums),
    });
    let (inner, path) = match item(schema) {
        // The items of a plain list have no fields of their own; what they have to be like stands with the list.
        Some(item) => (item, format!("{path}[]")),
        None => (schema, path.to_owned()),
    };
    for (name, property) in inner.properties.iter().flatten() {
        let required = inner.required.iter().flatten().any(|field| field == name);
        collect(property, &format!("{path}.{name}"), required, enums, fields);
    }
}

/// Messages of the CEL rules of a schema itself, not of what is below it.
pub fn rules(schema: &JSONSchemaProps) -> Vec<String> {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    rules
        .map(|rule| rule.message.clone().unwrap_or_else(|| code(&rule.rule)))
        .collect()
}

fn item(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => Some(item),
        _ => None,
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "integer or string".to_owned();
    }
    if let Some(item) = item(schema) {
        return format!("list of {}", type_of(item));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        return format!("map of {}", type_of(value));
    }
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some(type_), _) => type_.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

fn default(schema: &JSONSchemaProps, required: bool) -> String {
    match &schema.default {
        Some(value) => code(&value.0.to_string()),
        None if required => "required".to_owned(),
        None => String::new(),
    }
}

fn meaning(schema: &JSONSchemaProps, enums: &Enums) -> String {
    let mut sentences: Vec<String> = schema.description.iter().cloned().collect();
    sentences.extend(
        constraints(schema, enums)
            .into_iter()
            .map(|c| format!("{}.", sentence(&c))),
    );
    if let Some(item) = item(schema) {
        sentences.extend(
            constraints(item, enums)
                .into_iter()
                .map(|c| format!("Each: {c}.")),
        );
    }
    sentences.join(" ")
}

fn constraints(schema: &JSONSchemaProps, enums: &Enums) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(values(schema, enums));
    found.extend(bounds(schema.minimum, schema.maximum, ""));
    found.extend(bounds(schema.min_length, schema.max_length, " characters"));
    found.extend(bounds(schema.min_items, schema.max_items, " items"));
    found.extend(
        schema
            .pattern
            .iter()
            .map(|pattern| format!("matches {}", code(pattern))),
    );
    found.extend(rules(schema).into_iter().map(|rule| format!("rule: {rule}")));
    found
}

fn values(schema: &JSONSchemaProps, enums: &Enums) -> Option<String> {
    let values: Vec<String> = schema
        .enum_
        .as_ref()?
        .iter()
        .filter_map(|value| value.0.as_str().map(str::to_owned))
        .collect();
    let told: Vec<String> = match enums.meanings(&values) {
        Some(meanings) => values
            .iter()
            .zip(meanings)
            .map(|(value, meaning)| format!("{} ({})", code(value), meaning.trim_end_matches('.')))
            .collect(),
        None => values.iter().map(|value| code(value)).collect(),
    };
    Some(format!("one of {}", told.join(", ")))
}

fn bounds<N: std::fmt::Display>(least: Option<N>, most: Option<N>, unit: &str) -> Option<String> {
    match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
