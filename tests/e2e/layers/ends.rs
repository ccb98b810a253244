//! Commands that are killed at any moment, and cleaning beside builds and imports.

use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use super::*;
use crate::registry::{Registry, Setup};
use crate::support::have;
use crate::wrong::ends::{Random, signal};

/// How often each command is killed.
const ROUNDS: u32 = 4;
/// Bytes of the layer that is moved about, so that a command takes some time.
const BYTES: u64 = 24 << 20;

/// Runs a command undisturbed, then kills it at random moments and runs it again; each time all must be well
/// after `reset` and the command.
fn killed(case: &Case, words: &[&str], reset: &dyn Fn(), check: &dyn Fn()) {
    let mut random = Random::new();
    reset();
    let whole = case.run(words);
    whole.with(0, &[]);
    check();
    for round in 0..ROUNDS {
        reset();
        let mut command = case.command(words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let wait = random.part_of(whole.took);
        std::thread::sleep(wait);
        signal(&child, Signal::KILL);
        let status = child.wait().unwrap();
        println!("round {round} of {words:?}: killed after {wait:?}: {status}");
        case.nobody_is_alive();
        let again = case.run(words);
        // One that was at its end is not in the way of the next, which refuses before it sweeps.
        if again.code != Some(0) {
            assert!(again.text.contains("it exists already"), "{}", again.text);
            case.run(&[words, &["--force"]].concat()).with(0, &[]);
        }
        check();
    }
}

fn digest(path: &Path) -> String {
    must(Command::new("sh").args(["-c", "find . -type f -print0 | sort -z | xargs -0 sha256sum"]).current_dir(path))
}

fn remove(path: &Path) {
    must(Command::new("rm").arg("-rf").arg(path));
}

#[test]
fn kill_9_in_the_middle_loses_nothing_and_leaves_nothing() {
    if !have(&["docker-registry"]) {
        return;
    }
    let Some(case) = Case::new("kill-layers") else { return };
    let noise: Vec<u8> =
        (0..BYTES / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes()).collect();
    fs::write(case.directory.join("noise"), noise).unwrap();
    spec(&case, "small", &["tiny-hello"], "  files:\n    - {source: ./noise, destination: /var/noise}\n");
    let yaml = fs::read_to_string(case.directory.join("small.yml")).unwrap();
    case.write("small.yml", &yaml.replace("format: oci", "format: oci, compression: zstd"));
    case.build(&[]).with(0, &[]);
    let layers = listed(&case);
    let large = layers.iter().max_by_key(|layer| layer["bytes"].as_u64()).unwrap();
    let id = large["id"].as_str().unwrap().to_owned();
    assert!(large["bytes"].as_u64().unwrap() >= BYTES, "{large}");
    let at = |name: &str| case.directory.join(name);
    // Only what was there before, and what the command makes.
    let before = names(&case.directory);
    let only = |more: &[&str]| {
        let found = names(&case.directory);
        let new: Vec<&String> = found.iter().filter(|name| !before.contains(name)).collect();
        assert_eq!(new, more);
    };

    // Out of the store, over what is there.
    killed(&case, &["layers", "export", &id[..12], "large.tar", "--force"], &|| {}, &|| only(&["large.tar"]));
    // Into another.
    let Some(other) = Case::of(User::WithRange, "kill-layers") else { return };
    must(Command::new("cp").arg(at("large.tar")).arg(other.directory.join("large.tar")));
    must(Command::new("chmod").arg("644").arg(other.directory.join("large.tar")));
    killed(
        &other,
        &["layers", "import", "large.tar"],
        &|| remove(&other.directory.join("cache/store/layers")),
        &|| {
            other.run(&["layers", "verify"]).with(0, &["1 layers are whole"]);
            other.nothing_is_left();
        },
    );
    other.run(&["layers", "info", &id[..12]]).with(0, &[&id, "made of: copy ./noise"]);
    remove(&at("large.tar"));

    // A layout as a directory, as a file in the place of another, and out of a registry.
    let image = "output/small.oci.tar";
    case.run(&["oci", "export", image, "reference"]).with(0, &[]);
    let reference = digest(&at("reference"));
    let before = names(&case.directory);
    let only = |more: &[&str]| {
        let found = names(&case.directory);
        let new: Vec<&String> = found.iter().filter(|name| !before.contains(name)).collect();
        assert_eq!(new, more);
    };
    killed(&case, &["oci", "export", image, "layout"], &|| remove(&at("layout")), &|| {
        assert_eq!(digest(&at("layout")), reference);
        only(&["layout"]);
    });
    remove(&at("layout"));
    case.run(&["oci", "export", image, "image.tar"]).with(0, &[]);
    let whole = fs::read(at("image.tar")).unwrap();
    killed(&case, &["oci", "export", image, "image.tar", "--force"], &|| {}, &|| {
        assert!(fs::read(at("image.tar")).unwrap() == whole);
        only(&["image.tar"]);
    });
    remove(&at("image.tar"));
    let registry = Registry::start(Setup::default());
    let name = format!("docker://{}/small:1", registry.host());
    case.run(&["oci", "push", image, &name]).with(0, &[]);
    killed(&case, &["oci", "pull", &name, "pulled"], &|| remove(&at("pulled")), &|| {
        let blobs = |of: &str| digest(&at(of).join("blobs"));
        assert_eq!(blobs("pulled"), blobs("reference"));
        only(&["pulled"]);
        case.nothing_is_left();
    });
}

#[test]
fn two_builds_cleaning_and_importing_at_once() {
    let Some(case) = Case::new("gc-two") else { return };
    case.write("change.sh", "#!/bin/sh\necho one > /var/one\n");
    spec(&case, "small", &["tiny-slow", "tiny-hello"], "  scripts:\n    - path: ./change.sh\n");
    // Whatever is not in use is too old.
    let path = case.directory.join("config/image-composer/config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    case.write(
        "config/image-composer/config.yaml",
        &format!("{text}storage: {{package_cache: {{retention_days: 0}}}}\n"),
    );
    case.build(&["-o", "zero", "--no-image-cache"]).with(0, &[]);
    let hello = id(&listed(&case), "tiny-hello 1.0");
    case.run(&["layers", "export", &hello, "hello.tar"]).with(0, &[]);
    remove(&case.directory.join("cache/store"));
    let mut children = ["one", "two"].map(|output| case.start(&["-o", output, "--no-image-cache"]));
    let (mut refused, mut done) = (0, 0);
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let ended = case.run(&["layers", "gc"]);
        match ended.code {
            Some(0) => done += 1,
            _ => {
                ended.with(1, &["a build is running with this cache directory"]);
                refused += 1;
            }
        }
        case.run(&["layers", "import", "hello.tar"]).with(0, &[&hello]);
        std::thread::sleep(Duration::from_millis(30));
    }
    println!("cleaning was refused {refused} times and done {done} times");
    assert!(refused > 0);
    for child in &mut children {
        let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
    }
    let sums = |name: &str| fs::read_to_string(case.directory.join(name).join("small.SHA256SUMS")).unwrap();
    assert_eq!((sums("one"), sums("two")), (sums("zero"), sums("zero")));
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    // Now nobody is in the way.
    case.run(&["layers", "gc"]).with(0, &["freed "]);
    case.build(&["-o", "three", "--no-image-cache"]).with(0, &[]);
    assert_eq!(sums("three"), sums("one"));
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    case.nothing_is_left();
}
