//! Parcels that mean harm.

use std::fs::{self, File};
use std::path::Path;

use ::oci::archive::Rewind;
use layers::{Blake3, Content, Meta, Time, tar};

use super::*;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn meta() -> Meta {
    Meta::root_owned(0o644, Time::default())
}

fn file(bytes: &[u8]) -> Change {
    Change::Set(Entry::file(Content::of(bytes), meta()))
}

fn directory() -> Change {
    Change::Set(Entry::directory(Meta { mode: 0o755, ..meta() }))
}

fn hard_link(target: &str) -> Change {
    Change::Set(Entry { kind: Kind::HardLink(path(target)), meta: Meta::default() })
}

fn layer(changes: &[(&str, Change)]) -> Layer {
    Layer { changes: changes.iter().map(|(name, change)| (path(name), change.clone())).collect() }
}

/// A parcel, member by member.
#[derive(Default)]
struct Parcel(Vec<u8>);

impl Parcel {
    fn put(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.extend(tar::file_head(name.as_bytes(), bytes.len() as u64, &meta()).unwrap());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn contents(mut self, contents: &[&[u8]]) -> Vec<u8> {
        let mut contents: Vec<_> = contents.iter().map(|bytes| (Blake3::of(bytes), *bytes)).collect();
        contents.sort();
        for (digest, bytes) in contents {
            self = self.put(&format!("contents/{digest}"), bytes);
        }
        self.0.extend_from_slice(&tar::END);
        self.0
    }
}

fn take(store: &Store, parcel: &[u8], index: Option<Layer>) -> Result<(Staging, Unpacked), Error> {
    let staging = store.stage().unwrap();
    let at = staging.path().join("parcel");
    fs::write(&at, parcel).unwrap();
    let unpacked = read(Rewind(File::open(&at).unwrap()), parcel.len() as u64, &staging, index, Notes::All)?;
    Ok((staging, unpacked))
}

/// Everything below a directory, with what files hold.
fn listing(top: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top).unwrap() {
        let at = entry.unwrap().path();
        match at.symlink_metadata().unwrap().is_dir() {
            true => found.extend(listing(&at)),
            false => found.push((at.clone(), fs::read(&at).unwrap_or_default())),
        }
        found.push((at, Vec::new()));
    }
    found.sort();
    found
}

#[test]
fn nothing_is_written_through_a_link() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store"), "a").unwrap();
    let outside = home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("there"), b"untouched").unwrap();
    let before = listing(&outside);
    let to = outside.as_os_str().as_encoded_bytes();
    let link = || Change::Set(Entry::symlink(to, Time::default()));
    let replacing = || Change::Replace(Entry::symlink(to, Time::default()));
    let none = Layer::default();
    let ways: Vec<(&str, Layer, Layer)> = vec![
        ("a file", layer(&[("a", link()), ("a/one", file(b"x"))]), none.clone()),
        ("a file that is there", layer(&[("a", link()), ("a/there", file(b"x"))]), none.clone()),
        ("below a replacing link", layer(&[("a", replacing()), ("a/one", file(b"x"))]), none.clone()),
        ("a directory", layer(&[("a", link()), ("a/made", directory())]), none.clone()),
        ("a directory above", layer(&[("a", link()), ("a/b/c", file(b"x"))]), none.clone()),
        ("a hard link", layer(&[("a", link()), ("a/one", hard_link("x")), ("x", file(b"x"))]), none.clone()),
        (
            "a hard link to it",
            layer(&[("a", link()), ("a/there", file(b"x")), ("b", hard_link("a/there"))]),
            none.clone(),
        ),
        ("a copy", layer(&[("a", link()), ("a/one", file(b"x")), ("b", file(b"x"))]), none.clone()),
        ("a link", layer(&[("a", link()), ("a/one", link())]), none),
        ("besides, a directory", layer(&[("a", link()), ("b", file(b"x"))]), layer(&[("a/made", directory())])),
        (
            "besides, another name",
            layer(&[("a", hard_link("below")), ("b", file(b"x"))]),
            layer(&[("a", file(b"x")), ("a/made", directory())]),
        ),
    ];
    for (what, index, besides) in ways {
        let besides = besides.encode();
        let whole = Parcel::default().put("index", &index.encode()).put("besides", &besides).contents(&[b"x"]);
        let rest = Parcel::default().put("besides", &besides).contents(&[b"x"]);
        for taken in [take(&store, &whole, None), take(&store, &rest, Some(index))] {
            assert!(taken.is_err(), "{what} is taken");
            assert_eq!(listing(&outside), before, "{what}");
        }
        assert_eq!(fs::read_dir(store.root().join("layers")).unwrap().count(), 0);
    }
}

#[test]
fn notes_have_one_budget_and_only_what_is_asked_for_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), "a").unwrap();
    let keys: Vec<Key> = (0..3u8).map(|number| KeyBuilder::new("test", 1).field("number", [number]).finish()).collect();
    let large = vec![7; 30 << 20];
    let mut parcel = Parcel::default().put("index", &Layer::default().encode());
    for key in &keys {
        parcel = parcel.put(&format!("keys/{}", key.to_hex()), &large);
    }
    let parcel = parcel.contents(&[]);
    let take = |notes: Notes<'_>| {
        let staging = store.stage().unwrap();
        let at = staging.path().join("parcel");
        fs::write(&at, &parcel).unwrap();
        read(Rewind(File::open(&at).unwrap()), parcel.len() as u64, &staging, None, notes)
    };
    let error = take(Notes::All).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    assert_eq!(take(Notes::None).unwrap().answers, []);
    let found = take(Notes::Of(&keys[1])).unwrap().answers;
    assert!(found.len() == 1 && found[0].key == keys[1] && found[0].note == large);
}

#[test]
fn one_content_has_one_size_and_one_member_says_what_is_besides() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), "a").unwrap();
    let lie = Content { size: 7, ..Content::of(b"x") };
    let index = layer(&[("a", file(b"x")), ("b", Change::Set(Entry::file(lie, meta())))]);
    let parcel = Parcel::default().put("index", &index.encode()).contents(&[b"x"]);
    assert!(take(&store, &parcel, None).is_err());
    let besides = Layer::default().encode();
    let twice = Parcel::default().put("index", &besides).put("besides", &besides).put("besides", &besides);
    assert!(take(&store, &twice.contents(&[]), None).is_err());
    take(&store, &Parcel::default().put("index", &besides).put("besides", &besides).contents(&[]), None).unwrap();
}
