//! Values of a spec that can be written in more than one way.

use std::borrow::Cow;

use layers::TreePath;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::choice::Stage;
use super::decode::{Decode, Decoder};
use super::names::FromText;
use super::problem::Problem;
use super::tree::{Node, Value};

/// An absolute path of the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImagePath(pub TreePath);

impl FromText for ImagePath {
    const WHAT: &'static str = "a path of the image";

    fn from_text(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("it must begin with '/'".to_owned());
        }
        // Paths stand in line-based files of the image (passwd, fstab).
        if text.chars().any(char::is_control) {
            return Err("it contains a control character".to_owned());
        }
        match TreePath::new(text) {
            Ok(path) if path.is_root() => Err("it is the root itself".to_owned()),
            Ok(path) => Ok(Self(path)),
            Err(layers::Error::BadPath { reason, .. }) => Err(reason.to_owned()),
            Err(other) => Err(other.to_string()),
        }
    }
}

impl JsonSchema for ImagePath {
    fn schema_name() -> Cow<'static, str> {
        "ImagePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/.", "description": "an absolute path of the image" })
    }
}

/// Words of a kernel command line, written as one text or as a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cmdline(pub Vec<String>);

/// Longest kernel command line, in bytes (`COMMAND_LINE_SIZE` of x86 and arm64).
const CMDLINE_BYTES_MAX: usize = 2048;

impl Decode for Cmdline {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let texts = match &node.value {
            Value::Plain(text) | Value::Quoted(text) => vec![text.clone()],
            Value::List(_) => Vec::<String>::decode(node, decoder)?,
            Value::Null => Vec::new(),
            Value::Map(_) => return decoder.unexpected(node, "a text or a list of words"),
        };
        let words: Vec<String> =
            texts.iter().flat_map(|text| text.split_ascii_whitespace()).map(str::to_owned).collect();
        let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
        if bytes > CMDLINE_BYTES_MAX {
            let message = format!("{}: it is longer than {CMDLINE_BYTES_MAX} bytes", decoder.path());
            return decoder.refuse(Problem::error(&node.span, message));
        }
        if words.iter().any(|word| word.chars().any(|c| c.is_control() || !c.is_ascii())) {
            let message = format!("{}: only printable ASCII is allowed", decoder.path());
            return decoder.refuse(Problem::error(&node.span, message));
        }
        Some(Self(words))
    }

    fn missing() -> Option<Self> {
        Some(Self::default())
    }

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        }))
    }
}

/// The stages to run: a list that is read whole or not at all, because a part of it would mean
/// something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stages(pub Vec<Stage>);

impl Decode for Stages {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Value::List(items) = &node.value else {
            return decoder.unexpected(node, "a list of stages");
        };
        let stages = Vec::<Stage>::decode(node, decoder)?;
        if items.is_empty() {
            let message = format!("{}: no stage is left", decoder.path());
            return decoder.refuse(Problem::error(&node.span, message).hint("remove the key to run all stages"));
        }
        (stages.len() == items.len()).then_some(Self(stages))
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        let items = Stage::schema(generator)?;
        Some(json_schema!({ "type": "array", "items": items, "minItems": 1 }))
    }
}

/// What sudo allows, as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SudoChoice {
    /// `false`.
    No,
    /// `true`: after the user's own password.
    Yes,
    /// `nopasswd`.
    NoPassword,
}

impl FromText for SudoChoice {
    const WHAT: &'static str = "what sudo allows";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "false" => Ok(Self::No),
            "true" => Ok(Self::Yes),
            "nopasswd" => Ok(Self::NoPassword),
            _ => Err("expected true, false or nopasswd".to_owned()),
        }
    }
}

impl JsonSchema for SudoChoice {
    fn schema_name() -> Cow<'static, str> {
        "SudoChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "nopasswd"] })
    }
}

/// A pattern of interface names (systemd.network(5), `Name=`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfacePattern(pub String);

impl FromText for InterfacePattern {
    const WHAT: &'static str = "a pattern of interface names";

    fn from_text(text: &str) -> Result<Self, String> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"*?[]!._:- ".contains(&b);
        if text.trim().is_empty() || !text.bytes().all(is_allowed) {
            return Err("expected a name or a pattern: eth0, en*".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl JsonSchema for InterfacePattern {
    fn schema_name() -> Cow<'static, str> {
        "InterfacePattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
