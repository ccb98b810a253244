//! Two trees side by side: everything in which they differ.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Entry, Kind, TreePath};
use providers::deb::dpkg::parse_status;

use super::side::Side;
use super::{initramfs, rpmdb};

/// In what two trees differ at a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Aspect {
    OnlyOurs,
    OnlyTheirs,
    Kind,
    Mode,
    Owner,
    Links,
    Content,
    Xattrs,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub path: TreePath,
    pub aspect: Aspect,
    pub detail: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}: {}", self.aspect, self.path, self.detail)
    }
}

/// Everything in which our tree differs from the referee's, in the order of paths. Times are not
/// compared: dpkg gives directories and what scripts write the time of unpacking.
pub fn compare(ours: &Side, theirs: &Side) -> Vec<Difference> {
    let mut found = Vec::new();
    let names = |side: &Side| (side.names("etc/passwd"), side.names("etc/group"));
    let (our_names, their_names) = (names(ours), names(theirs));
    let (our_links, their_links) = (ours.links(), theirs.links());
    let paths: BTreeSet<&TreePath> = ours.tree.iter().chain(theirs.tree.iter()).map(|(path, _)| path).collect();
    for path in paths {
        let mut note = |aspect, detail: String| found.push(Difference { path: path.clone(), aspect, detail });
        let (our, their) = match (ours.entry(path), theirs.entry(path)) {
            (Some(our), Some(their)) => (our, their),
            (Some(our), None) => {
                note(Aspect::OnlyOurs, describe(our));
                continue;
            }
            (None, Some(their)) => {
                note(Aspect::OnlyTheirs, describe(their));
                continue;
            }
            (None, None) => continue,
        };
        match (&our.kind, &their.kind) {
            (Kind::File(own), Kind::File(other)) if own.digest != other.digest => {
                if let Some(detail) = contents(path, ours.texts.get(path), theirs.texts.get(path)) {
                    note(Aspect::Content, format!("{} and {} bytes: {detail}", own.size, other.size));
                }
            }
            (own, other) if own != other => note(Aspect::Kind, format!("{} and {}", describe(our), describe(their))),
            _ => {}
        }
        if our.meta.mode != their.meta.mode && !matches!(our.kind, Kind::Symlink(_)) {
            note(Aspect::Mode, format!("{:o} and {:o}", our.meta.mode, their.meta.mode));
        }
        let owner = |entry: &Entry, (users, groups): &(BTreeMap<u32, String>, BTreeMap<u32, String>)| {
            let name = |id: u32, names: &BTreeMap<u32, String>| names.get(&id).cloned().unwrap_or(id.to_string());
            format!("{}:{}", name(entry.meta.uid, users), name(entry.meta.gid, groups))
        };
        let owners = (owner(our, &our_names), owner(their, &their_names));
        if owners.0 != owners.1 {
            note(Aspect::Owner, format!("{} and {}", owners.0, owners.1));
        }
        if our_links.get(path) != their_links.get(path) {
            note(Aspect::Links, format!("{:?} and {:?}", our_links.get(path), their_links.get(path)));
        }
        if our.meta.xattrs != their.meta.xattrs {
            note(Aspect::Xattrs, format!("{:?} and {:?}", our.meta.xattrs, their.meta.xattrs));
        }
    }
    found
}

fn describe(entry: &Entry) -> String {
    let what = match &entry.kind {
        Kind::File(content) => format!("a file of {} bytes", content.size),
        Kind::Directory => "a directory".into(),
        Kind::Symlink(target) => format!("a link to {}", target.escape_ascii()),
        other => format!("{other:?}"),
    };
    format!("{what}, {:o} {}:{}", entry.meta.mode, entry.meta.uid, entry.meta.gid)
}

/// How two files with different bytes differ; `None` where they mean the same.
fn contents(path: &TreePath, ours: Option<&Vec<u8>>, theirs: Option<&Vec<u8>>) -> Option<String> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Some("other bytes".into()) };
    let (ours, theirs) = match (meaning(path, ours), meaning(path, theirs)) {
        (Some(ours), Some(theirs)) if ours == theirs => return None,
        (Some(ours), Some(theirs)) => (ours, theirs),
        _ => (lines(ours), lines(theirs)),
    };
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let apart: Vec<String> = keys
        .into_iter()
        .filter(|key| ours.get(*key) != theirs.get(*key))
        .map(|key| match (ours.get(key), theirs.get(key)) {
            (Some(own), Some(other)) => format!("{key}: {own} and {other}"),
            (Some(own), None) => format!("only ours: {key}: {own}"),
            (_, other) => format!("only theirs: {key}: {}", other.map_or("", String::as_str)),
        })
        .collect();
    let shown: Vec<&str> = apart.iter().take(12).map(String::as_str).collect();
    Some(format!("{} parts differ\n      {}", apart.len(), shown.join("\n      ")))
}

/// What a file says, in parts; `None` for a file whose bytes are all that counts.
fn meaning(path: &TreePath, bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = String::from_utf8_lossy(bytes);
    let set = |parts: &mut dyn Iterator<Item = &str>| {
        parts.map(str::trim).filter(|part| !part.is_empty()).map(|part| (part.to_owned(), String::new())).collect()
    };
    let name = path.to_string();
    Some(match name.as_str() {
        "/var/lib/dpkg/status" => records(bytes),
        "/var/lib/apt/extended_states" => set(&mut text.split("\n\n")),
        // dpkg adds interests in the order of unpacking, which is each tool's own.
        _ if name.starts_with("/var/lib/dpkg/triggers/") => set(&mut text.lines()),
        // So does ucf with files that it keeps, in the order of configuring.
        "/var/lib/ucf/hashfile" | "/var/lib/ucf/registry" => set(&mut text.lines()),
        "/etc/passwd" | "/etc/group" | "/etc/shadow" | "/etc/gshadow" => accounts(&name, &text),
        "/var/lib/rpm/rpmdb.sqlite" => rpmdb::rows(bytes),
        _ if ["/boot/initrd", "/boot/initramfs-"].iter().any(|start| name.starts_with(start)) => {
            initramfs::unpack(bytes)
        }
        _ => return None,
    })
}

fn lines(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().enumerate().map(|(at, line)| (format!("line {:5}", at + 1), line.to_owned())).collect()
}

fn records(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for record in parse_status(bytes).unwrap() {
        for (field, value) in record.fields {
            parts.insert(format!("{} {field}", record.name), value);
        }
    }
    parts
}

/// Accounts by name. Numbers that are given out in the order of configuring (100 to 999, Debian
/// policy 9.2.2) say nothing by themselves.
fn accounts(file: &str, text: &str) -> BTreeMap<String, String> {
    let numbers: &[usize] = match file {
        "/etc/passwd" => &[2, 3],
        "/etc/group" => &[2],
        _ => &[],
    };
    text.lines()
        .map(|line| {
            let mut fields: Vec<&str> = line.split(':').collect();
            for &number in numbers {
                if fields.get(number).and_then(|id| id.parse().ok()).is_some_and(|id: u32| (100..=999).contains(&id)) {
                    fields[number] = "dynamic";
                }
            }
            (fields[0].to_owned(), fields[1..].join(":"))
        })
        .collect()
}
