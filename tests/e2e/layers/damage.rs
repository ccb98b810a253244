//! A store that is damaged bit by bit, through the command.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::*;
use crate::wrong::ends::Random;

/// Changes one bit of a file, so many bits after its beginning or, where it is shorter, from there on again.
pub fn flip(path: &Path, bit: usize) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let bits = file.metadata().unwrap().len() * 8;
    let bit = bit as u64 % bits;
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
}

#[test]
fn no_build_uses_what_is_damaged() {
    let Some(case) = Case::new("damage") else { return };
    case.write("change.sh", "#!/bin/sh\necho one > /var/one\n");
    spec(&case, "small", &["tiny-hello"], "  scripts:\n    - path: ./change.sh\n");
    let compose = || {
        case.build(&["--stage", "configuration", "--log-level", "debug"]).with(0, &[]);
        fs::read_to_string(case.directory.join("cache/stacks/small.json")).unwrap()
    };
    let lineage = compose();
    let layers = listed(&case);
    let (script, hello) = (id(&layers, "run ./change.sh"), id(&layers, "tiny-hello 1.0"));
    let store = case.directory.join("cache/store");
    let key_of = |id: &str| {
        let id = hex::decode(id).unwrap();
        let keys = names(&store.join("keys"));
        keys.into_iter().find(|key| fs::read(store.join("keys").join(key)).unwrap()[40..72] == id).unwrap()
    };
    let (script_key, hello_key) = (key_of(&script), key_of(&hello));
    let mut random = Random::new();
    let places = [
        (format!("layers/{script}/index"), format!("damaged: {script}\n  its index is damaged")),
        (format!("layers/{script}/fs/var/one"), "/var/one has other bytes".to_owned()),
        (
            format!("layers/{hello}/fs/usr/share/tiny-hello/data"),
            "/usr/share/tiny-hello/data has other bytes".to_owned(),
        ),
        (format!("keys/{script_key}"), format!("damaged: what is kept of the step {script_key}")),
        (format!("keys/{hello_key}"), format!("damaged: what is kept of the step {hello_key}")),
    ];
    for (path, named) in &places {
        let bit = random.part_of(Duration::from_nanos(1 << 40)).as_nanos() as usize;
        println!("bit {bit} of {path}");
        flip(&store.join(path), bit);
        case.run(&["layers", "verify"]).with(1, &[named, "1 of "]);
        assert_eq!(compose(), lineage);
        case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    }
    // In another boot of the machine nobody need say so first.
    for (path, _) in &places {
        let bit = random.part_of(Duration::from_nanos(1 << 40)).as_nanos() as usize;
        println!("bit {bit} of {path}");
        flip(&store.join(path), bit);
        for layer in names(&store.join("layers")) {
            let _ = fs::write(store.join("layers").join(layer).join("checked"), "another boot");
        }
        assert_eq!(compose(), lineage);
        case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    }
    case.nothing_is_left();
}

#[test]
fn what_was_made_on_top_of_damage_is_made_again_whatever_spec_it_was_of() {
    let Some(case) = Case::of(User::WithRange, "damage-above") else { return };
    // Each variant reads what lies below it, and takes it away, so that the image is made.
    let variant = |name: &str| {
        case.write(
            "copy.sh",
            &format!("#!/bin/sh\ncat /usr/share/tiny-hello/data > /var/{name}\nrm /usr/share/tiny-hello/data\n"),
        );
        spec(&case, "small", &["tiny-hello", "odd-tool"], "  scripts:\n    - path: ./copy.sh\n");
        case.build(&["--force", "--log-level", "debug"]).with(0, &[]).text.clone()
    };
    let sums = || fs::read_to_string(case.directory.join("output/small.SHA256SUMS")).unwrap();
    variant("one");
    let layers = listed(&case);
    let hello = id(&layers, "tiny-hello 1.0");
    let data = directory(&case, &hello).join("fs/usr/share/tiny-hello/data");
    let whole = fs::read(&data).unwrap();
    variant("two");
    let good = sums();
    flip(&data, 3);
    spec(&case, "small", &["tiny-hello", "odd-tool"], "");
    case.build(&["--force"]).with(4, &["its bytes are not those of the tree", "layers verify --repair"]);
    flip(&data, 3);
    for (finder, name) in [("a repair", "three"), ("somebody who looks", "four"), ("another build", "five")] {
        // Nothing is made yet on top of what will be damaged, and then a variant is that no spec is of any more.
        case.run(&["cache", "clean", "--images"]).with(0, &[]);
        variant("one");
        flip(&data, 3);
        variant(name);
        let bad = sums();
        assert!(variant(name).contains("finalize: reused"), "the damage is found too early");
        assert_eq!(bad, sums());
        variant("one");
        match finder {
            "a repair" => {
                let ended = case.run(&["layers", "verify", "--repair"]);
                let named = "  removed: `image-composer build` with the spec of small makes it again\n";
                ended.with(0, &["removed 1 damaged layers", "made on top of them", "images of the image cache", named]);
                case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
            }
            "somebody who looks" => {
                case.run(&["layers", "verify"]).with(1, &["/usr/share/tiny-hello/data has other bytes"]);
            }
            // In another boot of the machine, of the other variant.
            _ => {
                let layers = case.directory.join("cache/store/layers");
                for layer in names(&layers) {
                    fs::write(layers.join(layer).join("checked"), "another boot").unwrap();
                }
                let text = case.build(&["--stage", "configuration", "--log-level", "debug"]).with(0, &[]).text.clone();
                assert!(text.contains("a layer whose files are damaged"), "{text}");
            }
        }
        let text = variant(name);
        assert!(text.contains("run ./copy.sh: rebuilt") && text.contains("finalize: rebuilt"), "{text}");
        assert!(text.contains("configure essential packages: reused"), "nothing good is lost: {text}");
        // The other build made it again already.
        let how = if finder == "another build" { "reused" } else { "rebuilt" };
        assert!(text.contains(&format!("configure other packages: {how}")), "{text}");
        assert_ne!(sums(), bad);
        assert_eq!(fs::read(&data).unwrap(), whole);
        let lineage = fs::read_to_string(case.directory.join("cache/stacks/small.json")).unwrap();
        let copies = listed(&case).into_iter().filter(|layer| layer["made"].as_str() == Some("run ./copy.sh"));
        let copies: Vec<String> = copies.map(|layer| layer["id"].as_str().unwrap().to_owned()).collect();
        let copy = copies.iter().find(|id| lineage.contains(*id)).unwrap();
        assert_eq!(fs::read(directory(&case, copy).join("fs/var").join(name)).unwrap(), whole);
    }
    variant("two");
    assert_eq!(sums(), good);
    // What is missing nobody has read: what was made before it was lost stays.
    fs::remove_dir_all(directory(&case, &hello)).unwrap();
    let ended = case.run(&["layers", "verify", "--repair"]);
    ended.with(0, &["its index is missing", "removed 1 damaged layers"]);
    assert!(!ended.text.contains("on top of") && !ended.text.contains("image cache"), "{}", ended.text);
    let text = variant("two");
    assert!(text.contains("finalize: reused"), "{text}");
    fs::remove_dir_all(case.directory.join("cache/images")).unwrap();
    let text = variant("two");
    assert!(text.contains("run ./copy.sh: reused"), "{text}");
    assert_eq!(sums(), good);
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    case.nothing_is_left();
}
