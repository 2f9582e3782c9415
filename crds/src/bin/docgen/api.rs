//! The reference of the API: every kind with its fields, rules and printer columns.

use std::error::Error;
use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};

use crate::Page;
use crate::enums::Enums;
use crate::fields::{self, Field};
use crate::markdown::{NOTICE, code, list, table};

/// The page.
pub fn page(definitions: &[CustomResourceDefinition]) -> Result<Page, Box<dyn Error>> {
    let enums = Enums::all();
    let mut text = format!(
        "{NOTICE}# API reference\n\nGroup `{}`, version `{}`. All kinds are in the category `seedbed`: `kubectl get seedbed -A`.\n\
         Rules are checked by the API server when an object is applied. What needs other objects is told in the conditions: see\n\
         [conditions.md](conditions.md).\n\n",
        seedbed_crds::GROUP,
        seedbed_crds::VERSION
    );
    for definition in definitions {
        let kind = &definition.spec.names.kind;
        writeln!(text, "- [{kind}](#{})", kind.to_lowercase())?;
    }
    for definition in definitions {
        text.push_str(&kind(definition, &enums)?);
    }
    Ok(Page { name: "api.md", text })
}

fn kind(definition: &CustomResourceDefinition, enums: &Enums) -> Result<String, Box<dyn Error>> {
    let names = &definition.spec.names;
    let version = definition
        .spec
        .versions
        .first()
        .ok_or_else(|| format!("{} has no version", names.kind))?;
    let schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .ok_or_else(|| format!("{} has no schema", names.kind))?;
    let mut text = format!(
        "\n## {}\n\n{}\n\n",
        names.kind,
        schema.description.as_deref().unwrap_or_default()
    );
    let short = names.short_names.iter().flatten().map(|name| code(name));
    writeln!(
        text,
        "{}, plural {}, short {}; subresources: {}.",
        definition.spec.scope,
        code(&names.plural),
        short.collect::<Vec<_>>().join(", "),
        subresources(version)
    )?;
    let rules = fields::rules(schema);
    if !rules.is_empty() {
        write!(text, "\n### Rules\n\n{}", list(rules))?;
    }
    for part in ["spec", "status"] {
        if let Some(part_schema) = schema.properties.as_ref().and_then(|p| p.get(part)) {
            write!(text, "\n### {} {part}\n\n", names.kind)?;
            text.push_str(&part_rules(part_schema));
            text.push_str(&part_table(part, part_schema, enums));
        }
    }
    write!(text, "\n### {} columns\n\n{}", names.kind, columns(version))?;
    Ok(text)
}

fn subresources(version: &CustomResourceDefinitionVersion) -> String {
    let Some(subresources) = &version.subresources else {
        return "none".to_owned();
    };
    let mut found = Vec::new();
    if subresources.status.is_some() {
        found.push("`status`");
    }
    if subresources.scale.is_some() {
        found.push("`scale`");
    }
    found.join(", ")
}

/// The rules of the part as a whole; those of its fields stand in its table.
fn part_rules(schema: &JSONSchemaProps) -> String {
    let rules = fields::rules(schema);
    if rules.is_empty() {
        return String::new();
    }
    let rules = rules.into_iter().map(|rule| format!("Rule: {rule}"));
    format!("{}\n", list(rules))
}

fn part_table(part: &str, schema: &JSONSchemaProps, enums: &Enums) -> String {
    let mut found: Vec<Field> = Vec::new();
    for (name, property) in schema.properties.iter().flatten() {
        let required = schema.required.iter().flatten().any(|field| field == name);
        fields::collect(property, &format!("{part}.{name}"), required, enums, &mut found);
    }
    let head = if part == "spec" {
        &["Field", "Type", "Default", "Meaning"][..]
    } else {
        &["Field", "Type", "Meaning"]
    };
    table(
        head,
        found.into_iter().map(|field| {
            let mut row = vec![code(&field.path), field.type_];
            if part == "spec" {
                row.push(field.default);
            }
            row.push(field.meaning);
            row
        }),
    )
}

fn columns(version: &CustomResourceDefinitionVersion) -> String {
    let rows = version.additional_printer_columns.iter().flatten().map(|column| {
        let wide = column.priority.is_some_and(|priority| priority > 0);
        vec![
            column.name.clone(),
            if wide { "`-o wide`" } else { "always" }.to_owned(),
            column.description.clone().unwrap_or_default(),
        ]
    });
    table(&["Column", "Shown", "Meaning"], rows)
}
