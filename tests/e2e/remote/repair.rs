//! Damage is repaired with what another machine sent.

use super::*;
use crate::layers::damage::flip;

#[test]
fn what_is_damaged_is_fetched_where_a_cache_has_it() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let remote = |more: &str| format!("{{url: \"oci://{}/cache\"{more}}}", registry.host());
    let Some(case) = machine(User::WithoutRange, "remote-repair", &remote("")) else { return };
    let ((private, public), (_, other)) = (key_pair(&case, "cache.key"), key_pair(&case, "other.key"));
    configure(&case, &remote(&format!(", push: true, signing_key: {private}")));
    case.compose();
    let lineage = case.lineage();
    let last = case.layer_of(LAST).0;
    let configured = case.layer_of("configure other packages").0;
    let hello = case.layer_of("tiny-hello 1.0").0;
    let damage = || {
        flip(&case.layer(&last).join("fs/var/changed"), 3);
        must(Command::new("rm").arg("-r").arg(case.layer(&configured)));
        flip(&case.layer(&hello).join("index"), 100);
    };

    // Who signed is nobody that is trusted: all of it is removed, and the next build makes it.
    damage();
    configure(&case, &remote(&format!(", keys: [\"{other}\"]")));
    case.run(&["layers", "verify"]).with(
        1,
        &[
            &format!("damaged: {last} ({LAST})\n  /var/changed has other bytes\n"),
            &format!("damaged: {configured}\n  its index is missing\n"),
            &format!("damaged: {hello}\n  its index is damaged\n"),
            "3 of ",
        ],
    );
    let ended = case.run(&["layers", "verify", "--repair"]);
    ended.with(0, &["is not signed by a key that is trusted", "removed 3 damaged layers"]);
    assert!(!ended.text.contains("fetched"), "{}", ended.text);
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    configure(&case, &remote(", push: false").replace(&registry.host(), "localhost:1"));
    assert!(case.compose().text.contains(SAID));
    assert_eq!(case.lineage(), lineage);

    // What a package holds no cache has.
    damage();
    configure(&case, &remote(&format!(", keys: [\"{public}\"]")));
    let from = format!("  fetched from {}/cache\n", registry.host());
    case.run(&["layers", "verify", "--repair"]).with(
        0,
        &[
            &format!("damaged: {last} ({LAST})\n  /var/changed has other bytes\n{from}"),
            &format!("damaged: {configured}\n  its index is missing\n{from}"),
            &format!(
                "damaged: {hello}\n  its index is damaged\n  removed: `image-composer build` with the spec of small \
                 makes it again\n"
            ),
            "fetched 2 damaged layers",
            "removed 1 damaged layers",
        ],
    );
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    configure(&case, &remote(", push: false").replace(&registry.host(), "localhost:1"));
    let text = case.compose().text;
    for step in [LAST, "configure other packages"] {
        assert!(text.contains(&format!("{step}: reused")), "{step}: {text}");
    }
    assert_eq!(case.lineage(), lineage);
    case.nothing_is_left();

    // A cache that a spec names is asked where the spec is named.
    case.reconfigure();
    let spec = fs::read_to_string(case.directory.join("small.yml")).unwrap();
    case.write("small.yml", &format!("{spec}build: {{cache: {{remote: [{}]}}}}\n", remote("")));
    let damage = || flip(&case.layer(&last).join("fs/var/changed"), 3);
    damage();
    let ended = case.run(&["layers", "verify", "--repair", "nowhere.yml"]);
    ended.with(3, &["nowhere.yml"]);
    case.run(&["layers", "verify", "--repair"])
        .with(0, &["  removed: `image-composer build` with the spec of small makes it again\n"]);
    case.compose();
    assert_eq!(case.lineage(), lineage);
    damage();
    case.run(&["layers", "verify", "small.yml"]).with(2, &["--repair"]);
    case.run(&["layers", "verify", "--repair", "small.yml"]).with(0, &[&from, "fetched 1 damaged layers"]);
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);

    // While somebody builds, nothing is put in anybody's way.
    let gate = fs::File::create(case.directory.join("cache/slots/all")).unwrap();
    gate.lock_shared().unwrap();
    case.run(&["layers", "verify", "--repair"]).with(1, &["a build is running with this cache directory"]);
}

#[test]
fn what_was_made_of_damage_does_not_come_back_from_where_it_was_sent() {
    if !have(&["docker-registry"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let url = format!("oci://{}/cache", registry.host());
    let Some(case) = machine(User::WithoutRange, "remote-forget", &format!("{{url: \"{url}\", push: true}}")) else {
        return;
    };
    case.compose();
    let hello = case.layer_of("tiny-hello 1.0").0;
    let data = case.layer(&hello).join("fs/usr/share/tiny-hello/data");
    let whole = fs::read(&data).unwrap();
    case.write("change.sh", "#!/bin/sh\ncat /usr/share/tiny-hello/data > /var/changed\n");
    let changed = || {
        let lineage = case.lineage();
        let layers = names(&case.directory.join("cache/store/layers"));
        let made = layers.into_iter().filter(|id| lineage.contains(id.as_str()));
        let mut made = made.filter_map(|id| fs::read(case.layer(&id).join("fs/var/changed")).ok());
        made.next().unwrap()
    };
    flip(&data, 3);
    case.compose();
    let bad = changed();
    assert_ne!(bad, whole);
    case.run(&["layers", "verify", "--repair"]).with(0, &["removed 1 damaged layers", "made on top of them"]);
    let text = case.compose().text;
    assert!(text.contains(SAID) && !text.contains("fetched from"), "{text}");
    assert_eq!(changed(), whole);

    // And the registry has what is good now.
    forget(&case);
    let text = case.compose().text;
    assert!(!text.contains(SAID) && text.contains(&format!("{LAST}: fetched")), "{text}");
    assert_eq!(changed(), whole);
    case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    case.nothing_is_left();
}
