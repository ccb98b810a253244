//! Tree to types: each type says what it reads, every problem is kept, none ends the reading.
//!
//! A value that cannot be read is noted and left out where it can be left out, so that the rest is
//! still checked: whoever has made three mistakes is told of three.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::keys::nearest;
use super::names::FromText;
use super::problem::{Problem, Problems};
use super::tree::{Key, Node, Span, Value};

/// Collects the problems of one document while it becomes types.
#[derive(Default, Debug)]
pub struct Decoder {
    /// What was wrong so far.
    pub problems: Problems,
    path: Vec<String>,
}

impl Decoder {
    /// Runs `step` below a key, so that its problems name the whole path.
    pub fn below<T>(&mut self, key: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let result = step(self);
        self.path.pop();
        result
    }

    /// The key that is being read: `customizations.users[0].name`.
    pub fn path(&self) -> String {
        let mut text = String::new();
        for part in &self.path {
            if !text.is_empty() && !part.starts_with('[') {
                text.push('.');
            }
            text.push_str(part);
        }
        if text.is_empty() { "the document".to_owned() } else { text }
    }

    /// Notes an error, and gives the `None` that stands for the value.
    pub fn refuse<T>(&mut self, problem: Problem) -> Option<T> {
        self.problems.push(problem);
        None
    }

    /// "expected …, found …", at a node.
    pub fn unexpected<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        let message = format!("{}: expected {what}, found {}", self.path(), node.kind());
        self.refuse(Problem::error(&node.span, message))
    }

    /// A key that nobody knows.
    pub fn unknown_key(&mut self, key: &Key, known: &[&str]) {
        let place = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path()) };
        let problem = Problem::error(&key.span, format!("unknown key '{}'{place}", key.text));
        let hint = match nearest(&key.text, known.iter().copied()) {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        self.problems.push(problem.hint(hint));
    }

    /// A key that must be there and is not.
    pub fn missing_key(&mut self, node: &Node, key: &str) {
        let message = format!("missing key '{}'", self.below(key, |decoder| decoder.path()));
        self.problems.push(Problem::error(&node.span, message));
    }
}

/// A type that is read from a node.
pub trait Decode: Sized {
    /// Reads it; `None` after noting at least one problem.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;

    /// Its value where the key is not there; `None`: the key is required.
    fn missing() -> Option<Self> {
        None
    }

    /// Its JSON Schema; `None`: a key that the schema does not show.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
}

impl<T: FromText + JsonSchema> Decode for T {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Some(text) = node.text() else {
            return decoder.unexpected(node, T::WHAT);
        };
        match T::from_text(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let shown: String = text.chars().take(80).collect();
                let message = format!("{}: {shown:?} is not {}: {why}", decoder.path(), T::WHAT);
                decoder.refuse(Problem::error(&node.span, message))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            Value::Plain(text) if matches!(text.as_str(), "true" | "True" | "TRUE") => Some(true),
            Value::Plain(text) if matches!(text.as_str(), "false" | "False" | "FALSE") => Some(false),
            Value::Plain(text) | Value::Quoted(text) => {
                let shown: String = text.chars().take(80).collect();
                let message = format!("{}: expected true or false, found {shown:?}", decoder.path());
                decoder.refuse(Problem::error(&node.span, message))
            }
            _ => decoder.unexpected(node, "true or false"),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(json_schema!({ "type": "boolean" }))
    }
}

macro_rules! decode_number {
    ($($number:ty: $what:literal),+) => {$(
        impl Decode for $number {
            fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
                let Value::Plain(text) = &node.value else {
                    return decoder.unexpected(node, $what);
                };
                match text.parse() {
                    Ok(number) => Some(number),
                    Err(_) => {
                        let shown: String = text.chars().take(80).collect();
                        let message = format!("{}: expected {}, found {shown:?}", decoder.path(), $what);
                        decoder.refuse(Problem::error(&node.span, message))
                    }
                }
            }

            fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
                Some(json_schema!({ "type": "integer", "minimum": <$number>::MIN, "maximum": <$number>::MAX }))
            }
        }
    )+};
}

decode_number!(
    u32: "a whole number",
    i16: "a whole number between -32768 and 32767"
);

/// A value and where it stands, for what is checked after reading.
#[derive(Clone, PartialEq, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T: Decode> Decode for Located<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(|value| Self { value, span: node.span.clone() })
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        T::schema(generator)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(Some)
    }

    fn missing() -> Option<Self> {
        Some(None)
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        T::schema(generator)
    }
}

/// The items that can be read.
fn decode_items<T: Decode>(items: &[Node], decoder: &mut Decoder) -> Vec<T> {
    let read = |(at, item)| decoder.below(&format!("[{at}]"), |decoder| T::decode(item, decoder));
    items.iter().enumerate().filter_map(read).collect()
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            Value::List(items) => Some(decode_items(items, decoder)),
            // A key whose items are all commented out.
            Value::Null => Some(Vec::new()),
            _ => decoder.unexpected(node, "a list"),
        }
    }

    fn missing() -> Option<Self> {
        Some(Vec::new())
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        let items = T::schema(generator)?;
        Some(json_schema!({ "type": ["array", "null"], "items": items }))
    }
}

/// One value, or a list of them.
#[derive(Clone, PartialEq, Debug)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            Value::List(items) => Some(decode_items(items, decoder)),
            _ => T::decode(node, decoder).map(|value| vec![value]),
        }
        .map(Self)
    }

    fn missing() -> Option<Self> {
        Some(Self(Vec::new()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        let item = T::schema(generator)?;
        Some(json_schema!({ "anyOf": [item, { "type": "array", "items": item }] }))
    }
}

/// A mapping whose keys the user chooses, in the order of the document.
#[derive(Clone, PartialEq, Debug)]
pub struct Entries<K, T>(pub Vec<(K, T)>);

impl<K: FromText, T: Decode> Decode for Entries<K, T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return decoder.unexpected(node, "a mapping"),
        };
        let mut read = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let name = K::from_text(&key.text).map_err(|why| {
                let message = format!("{}: {:?} is not {}: {why}", decoder.path(), key.text, K::WHAT);
                decoder.problems.push(Problem::error(&key.span, message));
            });
            let value = decoder.below(&key.text, |decoder| T::decode(node, decoder));
            if let (Ok(name), Some(value)) = (name, value) {
                read.push((name, value));
            }
        }
        Some(Self(read))
    }

    fn missing() -> Option<Self> {
        Some(Self(Vec::new()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        let value = T::schema(generator)?;
        Some(json_schema!({ "type": ["object", "null"], "additionalProperties": value }))
    }
}

/// Declares a struct that is read from a mapping. The one declaration gives the struct, its
/// reader (unknown keys refused, missing ones named), and its JSON Schema with the same texts.
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $type:ty, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $type, )+
        }

        impl $crate::spec::decode::Decode for $name {
            fn decode(
                node: &$crate::spec::tree::Node,
                decoder: &mut $crate::spec::decode::Decoder,
            ) -> Option<Self> {
                use $crate::spec::decode::Decode;
                const KEYS: &[&str] = &[$($crate::spec::decode::key_name(stringify!($field))),+];
                let entries = match &node.value {
                    $crate::spec::tree::Value::Map(entries) => entries.as_slice(),
                    $crate::spec::tree::Value::Null => &[],
                    _ => return decoder.unexpected(node, "a mapping"),
                };
                for (key, _) in entries {
                    if !KEYS.contains(&key.text.as_str()) {
                        decoder.unknown_key(key, KEYS);
                    }
                }
                $(
                    let $field: Option<$type> = match node.get($crate::spec::decode::key_name(stringify!($field))) {
                        Some(value) => decoder.below($crate::spec::decode::key_name(stringify!($field)), |decoder| {
                            <$type as Decode>::decode(value, decoder)
                        })
                        .or_else(<$type as Decode>::missing),
                        None => {
                            let value = <$type as Decode>::missing();
                            if value.is_none() {
                                decoder.missing_key(node, $crate::spec::decode::key_name(stringify!($field)));
                            }
                            value
                        }
                    };
                )+
                Some(Self { $($field: $field?,)+ })
            }

            fn missing() -> Option<Self> {
                Some(Self { $($field: <$type as $crate::spec::decode::Decode>::missing()?,)+ })
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
                Some(generator.subschema_for::<Self>())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use $crate::spec::decode::Decode;
                let mut properties = serde_json::Map::new();
                let mut required: Vec<&str> = Vec::new();
                $(
                    if let Some(schema) = <$type as Decode>::schema(generator) {
                        if <$type as Decode>::missing().is_none() {
                            required.push($crate::spec::decode::key_name(stringify!($field)));
                        }
                        let schema = $crate::spec::decode::described(schema, concat!($($field_doc),+));
                        properties.insert($crate::spec::decode::key_name(stringify!($field)).to_owned(), schema.to_value());
                    }
                )+
                let mut schema = schemars::json_schema!({
                    "type": "object",
                    "description": concat!($($doc),+).trim(),
                    "additionalProperties": false,
                    "properties": properties,
                });
                if !required.is_empty() {
                    schema.insert("required".to_owned(), required.into());
                }
                schema
            }
        }
    };
}
pub(crate) use record;

/// A key's schema with the key's own description.
pub fn described(mut schema: Schema, text: &str) -> Schema {
    schema.insert("description".to_owned(), text.trim().into());
    schema
}

/// A field's name as a key: `r#type` is `type`.
pub const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}
