//! Text to tree: YAML 1.2 and, since YAML contains it, JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, StrInput, Tag};

use super::problem::Problem;
use super::tree::{Key, Node, Source, Span, Value};

/// Largest document in bytes: a spec is written by hand, and a thousand files and packages fit.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Most values in one document, those that aliases repeat counted each time: what stops a text
/// of a few hundred bytes from becoming gigabytes ("billion laughs").
const NODES_MAX: usize = 100_000;
/// Most bytes of text in one document, counted in the same way.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting: a spec needs seven levels.
const DEPTH_MAX: usize = 64;

/// Reads one document.
///
/// # Errors
/// What is not YAML, is too large or nests too deeply, a key that stands twice in one mapping,
/// and a second document: the problem and its place. Reading ends at the first, because what
/// follows a fault of form has no certain meaning.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Node, Problem> {
    let name = path.to_path_buf();
    let place = |text: String| Span { source: Arc::new(Source { path: name.clone(), text }), start: 0, end: 0 };
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the file is larger than {} KiB", DOCUMENT_BYTES_MAX >> 10);
        return Err(Problem::error(&place(String::new()), message));
    }
    let text = match std::str::from_utf8(bytes) {
        // A byte order mark is allowed at the start and means nothing (YAML 1.2.2, section 5.2).
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let end = good.len();
            let span = Span { start: end, end, ..place(good) };
            return Err(Problem::error(&span, "the file is not UTF-8"));
        }
    };
    if let Some(at) = text.find('\0') {
        let span = Span { start: at, end: at, ..place(text) };
        return Err(Problem::error(&span, "the file contains a NUL byte"));
    }
    let source = Arc::new(Source { path: name, text });
    Reader::new(&source).document()
}

/// How much was read, for the bounds above.
#[derive(Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    text_bytes: usize,
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, (Node, Weight)>,
    read: Weight,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        let mut options = granit_parser::options! {
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
            disallow_directives: true,
        };
        options.set_emit_comments(false);
        let parser = Parser::new_from_str_with_options(&source.text, options);
        Self { source, parser, anchors: BTreeMap::new(), read: Weight::default() }
    }

    fn place(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or_default();
        Span { source: Arc::clone(self.source), start: range.start, end: range.end.max(range.start) }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.place(span))),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(self.source.text.len());
                let span = Span { source: Arc::clone(self.source), start: at, end: at };
                Err(Problem::error(&span, format!("this is not YAML: {}", error.info())))
            }
            None => {
                let end = self.source.text.len();
                let span = Span { source: Arc::clone(self.source), start: end, end };
                Err(Problem::error(&span, "the file ends too early"))
            }
        }
    }

    fn document(mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(Problem::error(&span, "the file holds more than one document"));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                Event::StreamEnd => {
                    return root.ok_or_else(|| Problem::error(&span, "the file is empty"));
                }
                _ => return Err(Problem::error(&span, "this has no meaning here")),
            }
        }
    }

    /// Counts what is read at a place.
    fn count(&mut self, more: Weight, span: &Span) -> Result<(), Problem> {
        self.read.nodes = self.read.nodes.saturating_add(more.nodes);
        self.read.text_bytes = self.read.text_bytes.saturating_add(more.text_bytes);
        if self.read.nodes > NODES_MAX {
            return Err(Problem::error(span, format!("the document holds more than {NODES_MAX} values")));
        }
        if self.read.text_bytes > TEXT_BYTES_MAX {
            let message = format!("the document holds more than {} MiB of text", TEXT_BYTES_MAX >> 20);
            return Err(Problem::error(span, message));
        }
        Ok(())
    }

    /// The node that begins with an event.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        if depth > DEPTH_MAX {
            return Err(Problem::error(&span, format!("this nests deeper than {DEPTH_MAX} levels")));
        }
        let before = self.read;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(Weight { nodes: 1, text_bytes: text.len() }, &span)?;
                let value = scalar(text.into_owned(), style, tag.as_deref(), &span)?;
                (Node { value, span }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.count(Weight { nodes: 1, text_bytes: 0 }, &span)?;
                refuse_tag(tag.as_deref(), "seq", &span)?;
                (self.list(span, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.count(Weight { nodes: 1, text_bytes: 0 }, &span)?;
                refuse_tag(tag.as_deref(), "map", &span)?;
                (self.map(span, depth)?, anchor)
            }
            Event::Alias(id) => {
                let Some(weight) = self.anchors.get(&id).map(|(_, weight)| *weight) else {
                    return Err(Problem::error(&span, "this alias refers to a value that contains it"));
                };
                // Counted before it is copied: the copy is what must be bounded.
                self.count(weight, &span)?;
                match self.anchors.get(&id) {
                    Some((node, _)) => (node.clone(), 0),
                    None => return Err(Problem::error(&span, "this alias refers to nothing")),
                }
            }
            _ => return Err(Problem::error(&span, "expected a value")),
        };
        if anchor != 0 {
            let weight =
                Weight { nodes: self.read.nodes - before.nodes, text_bytes: self.read.text_bytes - before.text_bytes };
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok(node)
    }

    fn list(&mut self, mut whole: Span, depth: usize) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                whole.end = whole.end.max(span.end);
                return Ok(Node { value: Value::List(items), span: whole });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, mut whole: Span, depth: usize) -> Result<Node, Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    whole.end = whole.end.max(span.end);
                    return Ok(Node { value: Value::Map(entries), span: whole });
                }
                Event::Scalar(text, ..) => Key { text: text.into_owned(), span },
                _ => return Err(Problem::error(&span, "a key must be a text")),
            };
            self.count(Weight { nodes: 1, text_bytes: key.text.len() }, &key.span)?;
            if let Some(first) = seen.insert(key.text.clone(), key.span.clone()) {
                let (line, _) = first.line_and_column();
                let message = format!("the key '{}' stands twice", key.text);
                return Err(Problem::error(&key.span, message).hint(format!("its first place is line {line}")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((key, value));
        }
    }
}

/// What a scalar's text means by YAML's core schema, as far as it matters here: whether it is
/// nothing, and whether quotes make it a text.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Value, Problem> {
    let is_text = match tag.map(|tag| tag.core_suffix()) {
        None => style != ScalarStyle::Plain,
        Some(Some("str")) => true,
        Some(_) => {
            return Err(Problem::error(span, "this tag is not allowed").hint("remove what begins with '!'"));
        }
    };
    Ok(match text.as_str() {
        _ if is_text => Value::Quoted(text),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::Plain(text),
    })
}

fn refuse_tag(tag: Option<&Tag>, allowed: &str, span: &Span) -> Result<(), Problem> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(allowed) => {
            Err(Problem::error(span, "this tag is not allowed").hint("remove what begins with '!'"))
        }
        _ => Ok(()),
    }
}
