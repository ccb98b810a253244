//! A document as a tree of values, each of which knows where it stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One file that was read.
#[derive(PartialEq, Eq, Debug)]
pub struct Source {
    /// As the user named it.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The file.
    pub source: Arc<Source>,
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// Line and column of the first character, both counted from 1, the column in characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// The line that holds the first character, and how many of its characters the span covers
    /// (at least 1).
    pub fn line_text(&self) -> (&str, usize) {
        let text = self.source.text.as_str();
        let start = self.start.min(text.len());
        let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line_end = text.get(start..).and_then(|after| after.find('\n')).map_or(text.len(), |at| start + at);
        let line = text.get(line_start..line_end).unwrap_or_default();
        let covered = text.get(start..self.end.clamp(start, line_end)).unwrap_or_default();
        (line, covered.trim_end().chars().count().max(1))
    }

    /// The file, as the user named it.
    pub fn path(&self) -> &Path {
        &self.source.path
    }
}

/// A value and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place.
    pub span: Span,
}

/// What a document can hold. Scalars stay the text they were written as: whether `24.10` is a
/// number is decided by who asks for it.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing: `null`, `~`, or no text at all.
    Null,
    /// A scalar without quotes: a text, a number or a truth value.
    Plain(String),
    /// A scalar in quotes or a block: always a text.
    Quoted(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Its place.
    pub span: Span,
}

impl Node {
    /// What it is, for messages: "a list".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Plain(_) | Value::Quoted(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Plain(text) | Value::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }
}
