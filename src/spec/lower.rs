//! Tree to tree. Two things are done yet: the short form becomes the long one, and keys of partitions
//! that other tools spell in another way become ours.
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

/// Keys of a partition as other tools spell them (osbuild, systemd-repart, kickstart), and as we do.
const PARTITION_KEYS: &[(&str, &str)] = &[
    ("mountpoint", "mount"),
    ("mount_point", "mount"),
    ("fs_type", "filesystem"),
    ("fstype", "filesystem"),
    ("format", "filesystem"),
];

/// Runs every pass over the tree.
pub fn lower(document: Node, problems: &mut Problems) -> Node {
    let mut document = match document.get(SHORT_FORM_MARK) {
        Some(_) if document.get("image").is_none() => long_form(document, problems),
        _ => document,
    };
    if let Some(Value::List(partitions)) = below(&mut document, &["disk", "partitions"]).map(|node| &mut node.value) {
        partitions.iter_mut().for_each(our_keys);
    }
    document
}

/// The value below a chain of keys, to be changed.
fn below<'a>(node: &'a mut Node, path: &[&str]) -> Option<&'a mut Node> {
    path.iter().try_fold(node, |node, name| match &mut node.value {
        Value::Map(entries) => entries.iter_mut().find(|(key, _)| key.text == *name).map(|(_, value)| value),
        _ => None,
    })
}

/// Spells the keys of a partition as we do; one that stands beside ours stays, and is unknown.
fn our_keys(partition: &mut Node) {
    for (theirs, ours) in PARTITION_KEYS {
        if partition.get(ours).is_none()
            && let Value::Map(entries) = &mut partition.value
            && let Some((key, _)) = entries.iter_mut().find(|(key, _)| key.text == *theirs)
        {
            key.text = (*ours).to_owned();
        }
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
