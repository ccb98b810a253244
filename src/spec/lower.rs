//! Tree to tree. One thing is done yet: the short form becomes the long one.
//!
//! The short form is `{"distro", "version", "arch", "packages", "immutable", "output", "kernel"}`.
//! Its nodes move and keep their places, so that whatever is found wrong in them later is shown
//! where the user wrote it.

use super::problem::{Problem, Problems};
use super::tree::{Key, Node, Value};

/// The key that tells the short form from the long one.
const SHORT_FORM_MARK: &str = "distro";
/// Every key of the short form.
const SHORT_FORM_KEYS: &[&str] = &["name", "distro", "version", "arch", "packages", "immutable", "output", "kernel"];

/// Runs every pass over the tree.
pub fn lower(document: Node, problems: &mut Problems) -> Node {
    match document.get(SHORT_FORM_MARK) {
        Some(_) if document.get("image").is_none() => long_form(document, problems),
        _ => document,
    }
}

fn key(text: &str, node: &Node) -> Key {
    Key { text: text.to_owned(), span: node.span.clone() }
}

fn map(entries: Vec<(Key, Node)>, at: &Node) -> Node {
    Node { value: Value::Map(entries), span: at.span.clone() }
}

/// The value below a chain of keys.
fn nested(path: &[&str], value: Node) -> (Key, Node) {
    let at = value.clone();
    let (first, rest) = path.split_first().unwrap_or((&"", &[]));
    let inner = rest.iter().rev().fold(value, |inner, name| {
        let entry = (key(name, &at), inner);
        map(vec![entry], &at)
    });
    (key(first, &at), inner)
}

fn long_form(document: Node, problems: &mut Problems) -> Node {
    let whole = map(Vec::new(), &document);
    let Value::Map(entries) = document.value else {
        return document;
    };
    let mut image = Vec::new();
    let mut base = Vec::new();
    let mut top = Vec::new();
    let mut words = (None, None);
    for (old, mut node) in entries {
        match old.text.as_str() {
            "name" => image.push((old, node)),
            "distro" => {
                // People write the product's name: AzureLinux, eLxr, Debian.
                if let Value::Plain(text) | Value::Quoted(text) = &mut node.value {
                    text.make_ascii_lowercase();
                    words.0 = Some(text.clone());
                }
                base.push((key("os", &node), node));
            }
            "version" => {
                words.1 = node.text().map(str::to_owned);
                base.push((key("version", &node), node));
            }
            "arch" => base.push((key("architecture", &node), node)),
            "packages" => top.push(nested(&["customizations", "packages", "install"], node)),
            "output" if node.entries().is_none() => top.push(nested(&["output", "format"], node)),
            "output" | "kernel" | "immutable" => top.push((old, node)),
            _ => {
                let problem = Problem::error(&old.span, format!("unknown key '{}'", old.text));
                let hint = match super::keys::nearest(&old.text, SHORT_FORM_KEYS.iter().copied()) {
                    Some(name) => format!("did you mean '{name}'?"),
                    None => format!(
                        "a spec with 'distro' is in the short form, which knows: {}",
                        SHORT_FORM_KEYS.join(", ")
                    ),
                };
                problems.push(problem.hint(hint));
            }
        }
    }
    if !image.iter().any(|(key, _)| key.text == "name")
        && let (Some(os), Some(version)) = words
    {
        let name = Value::Quoted(format!("{os}-{version}"));
        image.push((key("name", &whole), Node { value: name, span: whole.span.clone() }));
    }
    image.push((key("base", &whole), map(base, &whole)));
    top.push((key("image", &whole), map(image, &whole)));
    map(top, &whole)
}
