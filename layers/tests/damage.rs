//! A store that is damaged bit by bit: the damage is named, what is damaged is not used, and all else is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use layers::{Change, Content, Entry, Flaw, Key, KeyBuilder, Kind, Layer, Meta, Store, Time, TreePath};

/// Bits that are changed in each file, one at a time.
const FLIPS: usize = 24;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn key(name: &str) -> Key {
    KeyBuilder::new("test", 1).field("name", name).finish()
}

const NAMES: [&str; 3] = ["one", "two", "three"];

fn note(name: &str) -> Vec<u8> {
    format!("note of {name}").repeat(20).into_bytes()
}

/// A place for a store: in memory where there is room, since files are written again and again.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Makes the layer of a name as a build does: it has files, a link, a directory, and a further name of a file
/// of a layer below.
fn make(store: &Store, name: &str) -> layers::StoredLayer {
    let staging = store.stage().unwrap();
    let files = staging.files().unwrap();
    fs::create_dir_all(files.join("usr/share")).unwrap();
    let large: Vec<u8> = name.bytes().cycle().take(20_000).collect();
    fs::write(files.join("usr/share/large"), &large).unwrap();
    fs::write(files.join("usr/name"), name).unwrap();
    fs::write(files.join("usr/other"), "of the layer below").unwrap();
    std::os::unix::fs::symlink(format!("to-{name}"), files.join("usr/link")).unwrap();
    let meta = |mode| Meta::root_owned(mode, Time::seconds(1_000_000_000));
    let mut layer = Layer::of([
        (path("usr/link"), Entry::symlink(format!("to-{name}").as_bytes(), Time::seconds(7))),
        (path("usr/name"), Entry::file(Content::of(name.as_bytes()), meta(0o4755))),
        (path("usr/other"), Entry { kind: Kind::HardLink(path("usr/below")), meta: Meta::default() }),
        (path("usr/share"), Entry::directory(meta(0o755))),
        (path("usr/share/large"), Entry::file(Content::of(&large), meta(0o644))),
    ]);
    layer.changes.insert(path("usr/gone"), Change::Remove);
    let stored = store.publish(staging, layer, &key(name), &note(name)).unwrap();
    stored.describe(name);
    stored
}

/// What a look at everything finds: layers and keys with something wrong.
fn found(store: &Store) -> Vec<String> {
    let mut found: Vec<String> = store.loose().unwrap().iter().map(|loose| loose.key.to_hex()).collect();
    for listed in store.list().unwrap() {
        let Some(layer) = store.peek(&listed.id).unwrap() else {
            found.push(listed.id.to_hex());
            continue;
        };
        let mut buffer = vec![0; 4096];
        let mut files = layer.contents();
        let is_broken = files.any(|(path, content, host)| Flaw::of_file(path, content, &host, &mut buffer).is_some());
        drop(files);
        if is_broken || !layer.misshapen().is_empty() {
            found.push(listed.id.to_hex());
        }
    }
    found
}

/// Every file of the store, by its path in it.
fn files(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut pending) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => pending.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// Numbers that do not repeat for long (xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The damage is named, the layer of `name` is not used and everything else is, and what is made again is as
/// it was.
fn check(home: &Path, ids: &[String], damaged: Option<&str>, what: &str) {
    let store = Store::open(home, "first boot").unwrap();
    let named = found(&store);
    match damaged {
        None => assert_eq!(named, [""; 0], "{what}: named"),
        Some(name) => {
            let position = NAMES.iter().position(|other| *other == name).unwrap();
            assert_eq!(named.len(), 1, "{what}: {named:?}");
            assert!(named[0] == ids[position] || named[0] == key(name).to_hex(), "{what}: {named:?}");
        }
    }
    // What no build of this boot has looked through since, the first one of the next does.
    static BOOTS: AtomicUsize = AtomicUsize::new(0);
    let boot = BOOTS.fetch_add(1, Ordering::Relaxed);
    let store = Store::open(home, &format!("boot {boot}")).unwrap();
    for (name, id) in NAMES.iter().zip(ids) {
        let recalled = store.recall(&key(name)).unwrap();
        if damaged == Some(name) {
            assert!(recalled.is_none(), "{what}: used");
            make(&store, name);
        }
        let (layer, noted) = store.recall(&key(name)).unwrap().unwrap_or_else(|| panic!("{what}: {name} is lost"));
        assert_eq!((layer.id.to_hex(), noted), (id.clone(), note(name)), "{what}");
        assert!(layer.is_whole(), "{what}");
    }
    assert_eq!(found(&store), [""; 0], "{what}: after all is made again");
}

#[test]
fn no_bit_of_a_store_changes_unnoticed() {
    let home = place();
    let store = Store::open(home.path(), "first boot").unwrap();
    let ids: Vec<String> = NAMES.iter().map(|name| make(&store, name).id.to_hex()).collect();
    check(home.path(), &ids, None, "nothing");
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut state = seed | 1;
    let all = files(home.path());
    let mut kinds = std::collections::BTreeSet::new();
    for file in &all {
        let shown = file.strip_prefix(home.path()).unwrap().display().to_string();
        let owner = |name: &&&str| {
            let position = NAMES.iter().position(|other| other == *name).unwrap();
            shown.contains(&ids[position]) || shown.contains(&key(name).to_hex())
        };
        let name = NAMES.iter().find(owner).unwrap();
        let kind = file.file_name().unwrap().to_string_lossy().into_owned();
        // Of these two nothing depends on: one is words, the other says when it was looked through.
        let counts = !["made", "checked"].contains(&kind.as_str());
        kinds.insert(if shown.starts_with("keys/") { "a key".to_owned() } else { kind });
        let whole = fs::read(file).unwrap();
        for _ in 0..FLIPS {
            let bit = random(&mut state) as usize % (whole.len() * 8);
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(file, &bytes).unwrap();
            let what = format!("bit {bit} of {shown}");
            if shown.ends_with("/besides") && Layer::decode(&bytes).is_ok_and(|layer| is_same(&layer, &whole)) {
                // A bit of what is not used of it: owners, times.
                check(home.path(), &ids, None, &what);
            } else {
                check(home.path(), &ids, counts.then_some(*name), &what);
            }
            fs::write(file, &whole).unwrap();
        }
    }
    let expected = ["a key", "besides", "checked", "index", "large", "made", "name", "other"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// Whether what an index says of the contents of files is what it said.
fn is_same(layer: &Layer, whole: &[u8]) -> bool {
    let whole = Layer::decode(whole).unwrap();
    layer.files().eq(whole.files())
}

#[test]
fn names_and_links_of_a_store_do_not_change_unnoticed() {
    let home = place();
    let store = Store::open(home.path(), "first boot").unwrap();
    let ids: Vec<String> = NAMES.iter().map(|name| make(&store, name).id.to_hex()).collect();
    let at = |name: &str| home.path().join("layers").join(&ids[1]).join("fs/usr").join(name);
    type Damage<'a> = Box<dyn Fn() + 'a>;
    let damage: [(&str, Damage<'_>); 6] = [
        (
            "a link to elsewhere",
            Box::new(|| {
                fs::remove_file(at("link")).unwrap();
                std::os::unix::fs::symlink("to-twn", at("link")).unwrap();
            }),
        ),
        ("another name", Box::new(|| fs::rename(at("name"), at("nbme")).unwrap())),
        (
            "a directory that is none",
            Box::new(|| {
                fs::remove_dir_all(at("share")).unwrap();
                fs::write(at("share"), "").unwrap();
            }),
        ),
        ("a file too many", Box::new(|| fs::write(at("more"), "").unwrap())),
        ("a file too short", Box::new(|| fs::write(at("share/large"), "").unwrap())),
        ("a layer that is gone", Box::new(|| fs::remove_dir_all(home.path().join("layers").join(&ids[1])).unwrap())),
    ];
    for (what, damage) in damage {
        damage();
        check(home.path(), &ids, Some("two"), what);
    }
}
