//! JSON Schemas and the reference of specs, made from the types.

use std::collections::BTreeSet;
use std::fmt::Write;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::config::file::ConfigFile;

use super::Spec;

/// The schema of specs (JSON Schema, draft 2020-12), for editors and other programs.
pub fn spec_schema() -> String {
    rendered::<Spec>("image-composer build specification")
}

/// The schema of the global configuration.
pub fn config_schema() -> String {
    rendered::<ConfigFile>("image-composer global configuration")
}

fn schema<T: JsonSchema>(title: &str) -> Value {
    let mut root = SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<T>();
    root.insert("title".to_owned(), title.into());
    root.to_value()
}

fn rendered<T: JsonSchema>(title: &str) -> String {
    let mut text = format!("{:#}", schema::<T>(title));
    text.push('\n');
    text
}

/// The reference of specs, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    let spec = schema::<Spec>("spec");
    let mut done = BTreeSet::new();
    section(&mut text, &spec, &spec, "", &mut done);
    text.push_str(SHORT_FORM);
    text.push_str("\n## The global configuration\n\n");
    text.push_str(CONFIGURATION);
    let config = schema::<ConfigFile>("configuration");
    let mut done = BTreeSet::new();
    section(&mut text, &config, &config, "", &mut done);
    text
}

const INTRODUCTION: &str = "\
# Build specifications

<!-- Made from the types in src/spec: IMAGE_COMPOSER_WRITE=1 cargo test --lib generated -->

A spec is a YAML file, or the same in JSON. Keys that nobody knows are refused, and every problem is
shown at once with its place. Paths are relative to the spec's directory. Values of the command line
win over those of the spec, which win over the global configuration.

Every scalar is read as it is written: `version: 24.10` is not `24.1`, and `permissions: 0644` is
octal with quotes or without.

";

const SHORT_FORM: &str = "
## The short form

A spec that has the key `distro` in place of `image` is in the short form, which is meant for JSON:

```json
{ \"distro\": \"debian\", \"version\": \"13\", \"arch\": \"amd64\",
  \"packages\": [\"openssh-server\"], \"immutable\": false, \"output\": \"qcow2\",
  \"kernel\": { \"version\": \"6.12\", \"cmdline\": \"quiet\" } }
```

It means the same as the long form with `image.base.os`, `image.base.version`,
`image.base.architecture`, `customizations.packages.install` and `output.format`. `name` is the
image's name; without it, it is made of distribution and version.
";

const CONFIGURATION: &str = "\
The first of these files that exists is read: the one that `--config` names,
`$XDG_CONFIG_HOME/image-composer/config.yaml` (not for root), `/etc/image-composer/config.yaml`.

";

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> (&'a Value, Option<&'a str>) {
    let reference = schema.get("$ref").and_then(Value::as_str);
    match reference.and_then(|reference| reference.strip_prefix("#/$defs/")) {
        Some(name) => (&root["$defs"][name], Some(name)),
        None => (schema, None),
    }
}

/// A table of the keys of a mapping, then the mappings below it.
fn section(text: &mut String, root: &Value, schema: &Value, path: &str, done: &mut BTreeSet<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let title = if path.is_empty() { "The document".to_owned() } else { format!("`{path}`") };
    // Writing to a text cannot fail.
    let _ = write!(text, "### {title}\n\n");
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        let _ = write!(text, "{description}\n\n");
    }
    text.push_str("| key | value | meaning |\n|---|---|---|\n");
    let required = required(schema);
    for (key, value) in properties {
        let meaning = value.get("description").and_then(Value::as_str).unwrap_or_default();
        let must = if required.contains(key.as_str()) { " **Required.**" } else { "" };
        let _ = writeln!(text, "| `{key}` | {} | {meaning}{must} |", kind(root, value));
    }
    text.push('\n');
    for (key, value) in properties {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        for (below, path) in mappings(root, value, &path) {
            if done.insert(path.clone()) {
                section(text, root, below, &path, done);
            }
        }
    }
}

fn required(schema: &Value) -> BTreeSet<&str> {
    let listed = schema.get("required").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The mappings that a value holds: itself, its items, or what stands under keys of any name.
fn mappings<'a>(root: &'a Value, value: &'a Value, path: &str) -> Vec<(&'a Value, String)> {
    let (schema, _) = resolved(root, value);
    let mut found = Vec::new();
    if schema.get("properties").is_some() {
        found.push((schema, path.to_owned()));
    }
    if let Some(items) = schema.get("items") {
        found.extend(mappings(root, items, &format!("{path}[]")));
    }
    if let Some(any @ Value::Object(_)) = schema.get("additionalProperties") {
        found.extend(mappings(root, any, &format!("{path}.NAME")));
    }
    found
}

/// What a value is, in a few words.
fn kind(root: &Value, value: &Value) -> String {
    let (schema, name) = resolved(root, value);
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let mut words: Vec<String> = values.iter().map(|value| format!("`{}`", plain(value))).collect();
        // `true` and "true" are one spelling to a reader.
        let mut seen = BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        return words.join(", ");
    }
    if let Some(only) = schema.get("const") {
        return format!("`{}`", plain(only));
    }
    if let Some(either) = schema.get("anyOf").and_then(Value::as_array) {
        let words: Vec<String> = either.iter().map(|value| kind(root, value)).collect();
        return words.join(" or ");
    }
    if let Some(items) = schema.get("items") {
        return format!("list of {}", kind(root, items));
    }
    if let Some(own) = name.and(schema.get("description")).and_then(Value::as_str)
        && schema.get("properties").is_none()
    {
        return own.to_owned();
    }
    type_words(schema)
}

fn type_words(schema: &Value) -> String {
    let any = Map::new();
    let schema = schema.as_object().unwrap_or(&any);
    let types = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => Vec::new(),
    };
    match types.iter().find(|name| **name != "null").copied() {
        Some("string") => "text".to_owned(),
        Some("integer" | "number") => "number".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("array") => "list".to_owned(),
        _ => "mapping".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Compares a generated file with what is checked in; writes it where that is asked for.
    fn check(path: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("IMAGE_COMPOSER_WRITE").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{} is stale; this writes it: IMAGE_COMPOSER_WRITE=1 cargo test --lib generated",
            path.display()
        );
    }

    #[test]
    fn generated_files_are_fresh() {
        check("schemas/spec.schema.json", &spec_schema());
        check("schemas/config.schema.json", &config_schema());
        check("docs/spec.md", &reference());
    }
}
