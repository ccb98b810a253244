//! What the store holds, as people see it.

pub mod damage;
mod ends;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use layers::{Change, Content, Entry, Layer, Meta, Time, TreePath, tar};
use serde_json::Value;

use crate::fidelity::odd;
use crate::support::{User, must};
use crate::wrong::case::{Case, names};

fn spec(case: &Case, name: &str, packages: &[&str], more: &str) {
    let text = format!(
        "image: {{name: {name}, base: {{os: tiny, version: 1}}}}\noutput: {{format: oci}}\ncustomizations:\n  \
         packages: {{install: [{}]}}\n{more}",
        packages.join(", ")
    );
    case.write("small.yml", &text);
}

fn listed(case: &Case) -> Vec<Value> {
    let text = case.run(&["layers", "ls", "--json"]);
    serde_json::from_str::<Vec<Value>>(&text.text).unwrap()
}

/// The id of the layer that this made.
fn id(layers: &[Value], made: &str) -> String {
    let found = layers.iter().find(|layer| layer["made"].as_str().is_some_and(|found| found == made));
    found.unwrap_or_else(|| panic!("no layer of {made}: {layers:#?}"))["id"].as_str().unwrap().to_owned()
}

fn directory(case: &Case, id: &str) -> PathBuf {
    case.directory.join("cache/store/layers").join(id)
}

#[test]
fn layers_are_listed_compared_checked_and_moved() {
    let Some(case) = Case::of(User::WithRange, "layers") else { return };
    case.run(&["layers", "ls"]).with(0, &["no layer is kept"]);
    let packages = [&["tiny-hello"], &odd::names()[..]].concat();
    let script = "  scripts:\n    - path: ./change.sh\n";
    case.write("change.sh", "#!/bin/sh\necho one > /var/one; echo more > /etc/passwd.more\n");
    spec(&case, "one", &packages, script);
    case.build(&[]).with(0, &[]);
    case.write("change.sh", "#!/bin/sh\necho two > /var/one; echo more > /var/two\n");
    spec(&case, "two", &["tiny-hello"], script);
    case.build(&[]).with(0, &[]);

    let layers = listed(&case);
    let hello = id(&layers, "tiny-hello 1.0");
    case.run(&["layers", "ls"]).with(0, &["tiny-hello 1.0", &hello[..12], "this hour"]);
    case.run(&["layers", "tree"]).with(0, &["one\n", "two\n", "tiny-system 1.0  (also ", "change.sh"]);
    case.run(&["layers", "tree", "three"]).with(1, &["no spec 'three'"]);
    case.run(&["layers", "info", &hello[..10]])
        .with(0, &[&hello, "made of: tiny-hello 1.0", "files: 1", "spec: one", "spec: two"]);
    case.run(&["layers", "info", "0000zzzz"]).with(1, &["no layer has an id that begins with"]);
    case.run(&["layers", "du"]).with(0, &["one: ", "two: ", "of no spec: "]);
    case.run(&["layers", "diff", &hello[..12], &hello[..12]]).with(0, &[]);
    case.run(&["layers", "diff", "one", "two"])
        .with(1, &["+ /var/two", "- /etc/passwd.more", "~ /var/one", "- /usr/bin/odd-tool"]);
    case.run(&["layers", "diff", "one", &hello[..12]]).with(2, &["cannot be compared"]);

    // Everything is whole; then somebody changes a byte, a link, an index.
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    let system = id(&layers, "tiny-system 1.0");
    fs::write(directory(&case, &hello).join("fs/usr/share/tiny-hello/data"), b"hallo\n").unwrap();
    fs::remove_file(directory(&case, &system).join("fs/usr/bin/sh")).unwrap();
    case.run(&["layers", "verify"]).with(
        1,
        &[
            &format!("damaged: {hello} (tiny-hello 1.0)"),
            "/usr/share/tiny-hello/data has other bytes",
            "/usr/bin/sh is another link",
            "2 of ",
        ],
    );
    case.run(&["layers", "verify", "--repair"]).with(0, &["removed 2 damaged layers", "that were made on top of them"]);
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    // The next build makes them again, and the image is the same.
    let before = fs::read_to_string(case.directory.join("output/two.SHA256SUMS")).unwrap();
    case.build(&["--force", "--no-image-cache"]).with(0, &[]);
    assert_eq!(fs::read_to_string(case.directory.join("output/two.SHA256SUMS")).unwrap(), before);
    assert_eq!(id(&listed(&case), "tiny-hello 1.0"), hello);

    // To another machine, and there it is what it was.
    case.run(&["layers", "export", &hello[..12], "hello.tar"]).with(0, &["wrote"]);
    case.run(&["layers", "export", &hello[..12], "hello.tar"]).with(1, &["it exists already"]);
    let Some(other) = Case::new("layers") else { return };
    let parcel = case.directory.join("hello.tar");
    let there = other.directory.join("hello.tar");
    must(Command::new("cp").arg(&parcel).arg(&there));
    must(Command::new("chown").arg(other.user.name()).arg(&there));
    other.run(&["layers", "import", "hello.tar"]).with(0, &[&hello, "builds do not use it"]);
    assert_eq!(id(&listed(&other), "tiny-hello 1.0"), hello);
    other.run(&["layers", "import", "hello.tar", "--trust-keys"]).with(0, &[&hello]);
    other.run(&["layers", "verify"]).with(0, &["1 layers are whole"]);
    let mut bytes = fs::read(&there).unwrap();
    let at = bytes.windows(6).rposition(|window| window == b"hello\n").unwrap();
    bytes[at] ^= 1;
    fs::write(&there, bytes).unwrap();
    other.run(&["layers", "import", "hello.tar"]).with(1, &["content is not what its index says"]);
    other.run(&["layers", "gc"]).with(0, &["freed 0 B"]);
    assert_eq!(listed(&other).len(), 1);
}

#[test]
fn nothing_that_a_build_uses_is_collected() {
    let Some(case) = Case::new("gc") else { return };
    spec(&case, "slow", &["tiny-slow"], "");
    let mut child = case.start(&[]);
    // Until the build has its place.
    let end = Instant::now() + Duration::from_secs(20);
    while names(&case.directory.join("cache/store/layers")).is_empty() {
        assert!(Instant::now() < end, "the build makes no layer");
        std::thread::sleep(Duration::from_millis(20));
    }
    case.run(&["layers", "gc"]).with(1, &["a build is running with this cache directory"]);
    case.run(&["layers", "verify", "--repair"]).with(1, &["a build is running with this cache directory"]);
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    assert!(child.wait().unwrap().success());
    case.run(&["layers", "gc"]).with(0, &["freed 0 B"]);
    case.nothing_is_left();
}

#[test]
fn a_layer_of_others_writes_nothing_elsewhere() {
    let Some(case) = Case::new("hostile") else { return };
    case.write("outside/there", "untouched");
    let outside = case.directory.join("outside");
    let meta = Meta::root_owned(0o644, Time::default());
    let link = Entry::symlink(outside.as_os_str().as_encoded_bytes(), Time::default());
    let file = Entry::file(Content::of(b"planted"), meta.clone());
    for name in ["a/there", "a/one", "a/b/c"] {
        let changes = [("a", &link), (name, &file)];
        let changes = changes.map(|(path, entry)| (TreePath::new(path).unwrap(), Change::Set(entry.clone())));
        let index = Layer { changes: changes.into() }.encode();
        let mut parcel = Vec::new();
        for (name, bytes) in
            [("index".to_owned(), &index[..]), (format!("contents/{}", Content::of(b"planted").digest), b"planted")]
        {
            parcel.extend(tar::file_head(name.as_bytes(), bytes.len() as u64, &meta).unwrap());
            parcel.extend_from_slice(bytes);
            parcel.resize(parcel.len().next_multiple_of(512), 0);
        }
        parcel.extend_from_slice(&tar::END);
        fs::write(case.directory.join("hostile.tar"), parcel).unwrap();
        for words in [&["layers", "import", "hostile.tar"][..], &["layers", "import", "hostile.tar", "--trust-keys"]] {
            case.run(words).with(1, &["lies below something that is not a directory"]);
            assert_eq!(names(&outside), ["there"]);
            assert_eq!(fs::read(outside.join("there")).unwrap(), b"untouched");
        }
    }
    case.run(&["layers", "ls"]).with(0, &["no layer is kept"]);
}

#[test]
fn an_imported_layer_stands_in_for_none_of_ours() {
    let Some(case) = Case::new("genuine") else { return };
    spec(&case, "one", &["tiny-hello"], "");
    case.build(&[]).with(0, &[]);
    let ours = id(&listed(&case), "write settings");
    case.run(&["layers", "export", &ours, "ours.tar"]).with(0, &["wrote"]);
    let mut bytes = fs::read(case.directory.join("ours.tar")).unwrap();
    // The same index; directories above that everybody may write to.
    let name = b"besides\0";
    let head = (0..bytes.len()).step_by(512).find(|at| bytes[*at..].starts_with(name)).unwrap();
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[head + 124..head + 135]).unwrap(), 8).unwrap();
    let body = head + 512..head + 512 + size;
    let mut besides = Layer::decode(&bytes[body.clone()]).unwrap();
    assert!(besides.changes.keys().any(|path| path.as_bytes() == b"etc"), "{besides:?}");
    for change in besides.changes.values_mut() {
        let Change::Set(entry) = change else { panic!("{change:?}") };
        entry.meta.mode = 0o777;
    }
    bytes[body].copy_from_slice(&besides.encode());

    let Some(other) = Case::new("planted") else { return };
    fs::write(other.directory.join("ours.tar"), bytes).unwrap();
    spec(&other, "one", &["tiny-hello"], "");
    let mode = || fs::metadata(directory(&other, &ours).join("fs/etc")).unwrap().permissions().mode() & 0o777;
    other.run(&["layers", "import", "ours.tar"]).with(0, &[&ours, "builds do not use it"]);
    assert_eq!(mode(), 0o777);
    other.build(&[]).with(0, &[]);
    assert_eq!((id(&listed(&other), "write settings"), mode()), (ours.clone(), 0o755));
    // Nor afterwards, nor in the place of one that is damaged.
    other.run(&["layers", "import", "ours.tar"]).with(0, &[&ours]);
    assert_eq!(mode(), 0o755);
    fs::write(directory(&other, &ours).join("fs/etc/hostname"), b"two\n").unwrap();
    other.run(&["layers", "verify", "--repair"]).with(0, &["removed 1 damaged layers"]);
    other.run(&["layers", "import", "ours.tar"]).with(0, &[&ours]);
    assert_eq!(mode(), 0o777);
    other.build(&["--force", "--no-image-cache"]).with(0, &[]);
    assert_eq!(mode(), 0o755);
    let sums = |case: &Case| fs::read_to_string(case.directory.join("output/one.SHA256SUMS")).unwrap();
    assert_eq!(sums(&case), sums(&other));
}
