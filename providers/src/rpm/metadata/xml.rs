//! A pull reader of XML for documents of strangers: one pass, bounded depth and lengths, no
//! document types and so no entities but XML's own five, and an end that has to be there.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::events::Event;
use quick_xml::events::attributes::Attributes;
use quick_xml::{Reader, XmlVersion};

use super::Error;

/// How deep elements may nest: comps.xml, the deepest document, has five levels.
const MAX_DEPTH: usize = 32;

/// The longest tag, text or comment, in bytes. Descriptions of large advisories take some hundred
/// thousand.
const MAX_EVENT: usize = 2 * 1024 * 1024;

/// Input that gives only so many bytes until it is told that it may go on.
struct Metered<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        if let (Some(into), Some(from)) = (into.get_mut(..count), available.get(..count)) {
            into.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(format!("a tag or text has more than {MAX_EVENT} bytes")));
        }
        let bytes = self.inner.fill_buf()?;
        Ok(bytes.get(..bytes.len().min(self.left)).unwrap_or(bytes))
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.inner.consume(count);
    }
}

/// The reader. It stands at a start tag, whose name and attributes can be asked for, or has just
/// left an element.
pub(in crate::rpm) struct Xml<R: BufRead> {
    reader: Reader<Metered<R>>,
    buffer: Vec<u8>,
    document: &'static str,
    depth: usize,
    name: String,
    attributes: String,
}

/// What was met.
enum Step {
    Start,
    End,
    Text,
    Eof,
}

impl<R: BufRead> Xml<R> {
    /// Reads up to the root element, which has to have this name (without its prefix).
    pub(in crate::rpm) fn open(input: R, document: &'static str, root: &str) -> Result<Self, Error> {
        let mut reader = Reader::from_reader(Metered { inner: input, left: MAX_EVENT });
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = true;
        config.allow_unmatched_ends = false;
        let (name, attributes) = (String::new(), String::new());
        let mut xml = Self { reader, buffer: Vec::new(), document, depth: 0, name, attributes };
        loop {
            match xml.step(None)? {
                Step::Start if xml.name() == root => return Ok(xml),
                Step::Start => {
                    let found = xml.name().chars().take(40).collect::<String>();
                    return Err(xml.wrong(format!("it begins with <{found}>, not with <{root}>")));
                }
                Step::Text => {}
                Step::End | Step::Eof => return Err(xml.wrong(format!("it has no <{root}>"))),
            }
        }
    }

    /// An error at this place.
    pub(in crate::rpm) fn wrong(&self, sentence: impl Into<String>) -> Error {
        Error { document: self.document, at: Some(self.reader.buffer_position()), sentence: sentence.into() }
    }

    /// How deep the element that was last begun lies: what [`Xml::child`] wants to be told.
    pub(in crate::rpm) fn level(&self) -> usize {
        self.depth
    }

    /// The name of the element that was last begun, without its prefix.
    pub(in crate::rpm) fn name(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or_default()
    }

    /// Goes to the next child of the element at `level`, over what is left of the child before;
    /// false when the element has ended.
    pub(in crate::rpm) fn child(&mut self, level: usize) -> Result<bool, Error> {
        if self.depth < level {
            return Ok(false);
        }
        loop {
            match self.step(None)? {
                Step::Start if self.depth == level.saturating_add(1) => return Ok(true),
                Step::End if self.depth < level => return Ok(false),
                Step::Eof => return Err(self.wrong("it ends in the middle")),
                Step::Start | Step::End | Step::Text => {}
            }
        }
    }

    /// The text of the element that was last begun, without that of elements inside it.
    pub(in crate::rpm) fn text(&mut self) -> Result<String, Error> {
        let level = self.depth;
        let mut text = String::new();
        loop {
            let here = self.depth == level;
            match self.step(here.then_some(&mut text))? {
                Step::End if self.depth < level => return Ok(text),
                Step::Eof => return Err(self.wrong("it ends in the middle")),
                Step::Text if text.len() > MAX_EVENT => {
                    return Err(self.wrong(format!("a text has more than {MAX_EVENT} bytes")));
                }
                Step::Start | Step::End | Step::Text => {}
            }
        }
    }

    /// The text as a box, without spaces around it, of at most `limit` bytes.
    pub(in crate::rpm) fn word(&mut self, what: &str, limit: usize) -> Result<Box<str>, Error> {
        let text = self.text()?;
        let text = text.trim();
        if text.len() > limit {
            return Err(self.wrong(format!("{what} has {} bytes, more than the {limit} allowed", text.len())));
        }
        Ok(text.into())
    }

    /// The text as a number.
    pub(in crate::rpm) fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Error> {
        let text = self.word(what, 64)?;
        text.parse().map_err(|_| self.wrong(format!("{what} is no number: {text:?}")))
    }

    /// Hands each attribute of the element that was last begun to `each`; names with their prefix.
    pub(in crate::rpm) fn attributes<'s>(
        &'s self,
        mut each: impl FnMut(&'s str, Cow<'s, str>) -> Result<(), String>,
    ) -> Result<(), Error> {
        for attribute in Attributes::new(&self.attributes, 0) {
            let attribute = attribute.map_err(|error| self.wrong(error.to_string()))?;
            if attribute.value.contains('<') {
                return Err(self.wrong("an attribute has a '<' in it (XML 1.0, section 3.1)"));
            }
            // No entity has a value with an entity in it: there are only the five of XML itself.
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| self.wrong(error.to_string()))?;
            let name = attribute.key.into_inner();
            each(name, value).map_err(|sentence| self.wrong(sentence))?;
        }
        Ok(())
    }

    /// One attribute of the element that was last begun.
    pub(in crate::rpm) fn attribute(&self, wanted: &str) -> Result<Option<String>, Error> {
        let mut found = None;
        self.attributes(|name, value| {
            if name == wanted {
                found = Some(value.into_owned());
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Nothing but the end may follow: call it when the root has ended.
    pub(in crate::rpm) fn finish(&mut self) -> Result<(), Error> {
        loop {
            match self.step(None)? {
                Step::Eof => return Ok(()),
                Step::Text => {}
                Step::Start | Step::End => return Err(self.wrong("more follows its end")),
            }
        }
    }

    /// The next event; text goes to `text` when there is one.
    fn step(&mut self, text: Option<&mut String>) -> Result<Step, Error> {
        self.buffer.clear();
        self.reader.get_mut().left = MAX_EVENT;
        let position = self.reader.buffer_position();
        let wrong = |sentence: String| Error { document: self.document, at: Some(position), sentence };
        let event = self.reader.read_event_into(&mut self.buffer).map_err(|error| wrong(plain(&error)))?;
        Ok(match event {
            Event::Start(tag) | Event::Empty(tag) => {
                self.depth = self.depth.saturating_add(1);
                if self.depth > MAX_DEPTH {
                    return Err(wrong(format!("its elements are nested more than {MAX_DEPTH} deep")));
                }
                self.name.clear();
                self.name.push_str(tag.name().into_inner());
                self.attributes.clear();
                self.attributes.push_str(tag.attributes_raw());
                Step::Start
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Step::End
            }
            Event::Text(part) => {
                if let Some(text) = text {
                    text.push_str(&part.xml_content(XmlVersion::Implicit1_0));
                }
                Step::Text
            }
            Event::CData(part) => {
                if let Some(text) = text {
                    text.push_str(&part.xml_content(XmlVersion::Implicit1_0));
                }
                Step::Text
            }
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| wrong(plain(&error)))?;
                let name = reference.into_inner();
                if let Some(text) = text {
                    match (character, quick_xml::escape::resolve_predefined_entity(&name)) {
                        (Some(character), _) => text.push(character),
                        (None, Some(known)) => text.push_str(known),
                        (None, None) => {
                            let name: String = name.chars().take(40).collect();
                            return Err(wrong(format!("it names the entity {name:?}, which XML does not have")));
                        }
                    }
                }
                Step::Text
            }
            Event::DocType(_) => return Err(wrong("it has a document type, which no repository needs".into())),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => Step::Text,
            Event::Eof => Step::Eof,
        })
    }
}

/// What the XML reader says, as a sentence that fits after "read primary.xml: ".
fn plain(error: &quick_xml::Error) -> String {
    match error {
        quick_xml::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
