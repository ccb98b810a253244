//! Values that do not fit, or do not fit together.

use std::fs;

use super::*;

#[test]
fn what_cannot_boot_is_refused() {
    let found = problems(&minimal("bootloader: none\noutput: {format: [iso, raw]}\n"));
    assert!(found.iter().any(|problem| problem.contains("an iso needs a boot loader")), "{found:?}");
    let disk = "bootloader: grub\ndisk: {partitions: [{type: bios}, {type: root}, {type: linux-generic, mount: /boot/grub, size: 1G}]}\n";
    let found = problems(&minimal(disk));
    assert!(found.iter().any(|problem| problem.contains("/boot/grub cannot be a partition")), "{found:?}");
}

#[test]
fn a_vhd_has_its_own_largest_size() {
    let spec = |size: &str| minimal(&format!("output: {{format: [qcow2, vhd]}}\ndisk: {{size: {size}}}\n"));
    assert_eq!(problems(&spec("2041GiB")), ["3:14 disk.size: a vhd holds 2040 GiB at most"]);
    assert_eq!(resolved(&spec("2040GiB")).formats, [Format::Qcow2, Format::Vhd]);
}

#[test]
fn an_image_to_start_from_is_a_layout_or_at_a_registry() {
    let spec = |from: &str| format!("image: {{name: a, base: {{os: debian, version: 13, from: \"{from}\"}}}}");
    let hold = tempfile::tempdir().unwrap();
    fs::create_dir(hold.path().join("layout")).unwrap();
    let found = |from: &str| resolved_in(hold.path(), &spec(from)).map(|spec| spec.base.unwrap().place);
    let layout =
        |name: Option<&str>| BasePlace::Layout { path: hold.path().join("layout"), name: name.map(str::to_owned) };
    assert_eq!(found("oci:layout").unwrap(), layout(None));
    assert_eq!(found("oci:layout:small:1.0").unwrap(), layout(Some("small:1.0")));
    let text = "docker://localhost:5000/team/small:1.0";
    assert_eq!(found(text).unwrap(), BasePlace::Registry(text.parse().unwrap()));
    for (from, message, hint) in [
        ("podman:x", "names no image", "oci:PATH"),
        ("layout", "names no image", "oci:PATH"),
        ("oci:", "names no image", "oci:PATH"),
        ("oci:layout:", "names no image", "oci:PATH"),
        ("oci://localhost/x", "names no image", "docker://localhost/x"),
        ("oci:missing", "Missing required file 'missing'", "relative to"),
        ("docker://", "names no image of a registry", "docker://HOST/REPOSITORY:TAG"),
    ] {
        let problems = shown(&found(from).expect_err(from));
        assert!(problems.contains(message) && problems.contains(hint), "{from}: {problems}");
    }
    // Nothing is said of an image that starts from nothing.
    let (with, without) = (spec("oci:layout"), minimal(""));
    let digest = |text: &str| resolved_in(hold.path(), text).unwrap().content_digest();
    assert_ne!(digest(&with), digest(&without));
}

#[test]
fn users_are_checked() {
    let user = |keys: &str| minimal(&format!("customizations: {{users: [{{{keys}}}]}}\n"));
    let spec = resolved(&user(&format!("name: a, ssh_keys: ['{KEY}'], sudo: nopasswd, uid: 1500, home: /srv/a")));
    let first = &spec.users[0];
    assert_eq!((first.ssh_keys.as_slice(), first.sudo), ([KEY.to_owned()].as_slice(), Sudo::NoPassword));
    assert_eq!((first.uid, first.home.as_ref().map(|home| home.to_string())), (Some(1500), Some("/srv/a".to_owned())));
    for (keys, expected) in [
        ("name: a, password_hash: ''", "an empty password"),
        ("name: a, password: x", "unknown key 'password'"),
        ("name: a, uid: 0", "not for a user"),
        ("name: a, gecos: 'a:b'", "neither ':'"),
        ("name: a, shell: bash", "must begin with '/'"),
        ("name: a, home: /srv/../etc", "climbs out"),
        ("name: root, sudo: true", "root has its own"),
        ("name: a}, {name: a", "stands twice"),
        ("name: a, ssh_keys: ['ssh-ed25519 xyz']", "neither a public ssh key"),
        ("name: a, ssh_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----']", "private key"),
        ("name: a, ssh_keys: [./key.pub]", "Missing required file './key.pub'"),
    ] {
        let found = problems(&user(keys));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{keys}: {found:?}");
    }
}

#[test]
fn sizes_must_fit() {
    let spec = resolved(&minimal(
        "disk: {size: 2GiB, partitions: [{type: esp, size: 64MiB}, {type: root, size: 1GiB, label: sys}]}\n",
    ));
    let shown: Vec<String> = spec.partitions().map(|p| format!("{} {} {}", p.id, p.size, p.label)).collect();
    assert_eq!(shown, ["esp 64MiB ESP", "root 1GiB sys"]);
    let found = problems(&minimal("disk: {size: 1GiB, partitions: [{type: root, size: 1GiB}]}\n"));
    assert_eq!(found, ["2:14 the partitions do not fit on the disk: 514 MiB are missing"]);
    for rest in [
        "disk: {partitions: [{type: esp, size: 8MiB}]}",
        "disk: {partitions: [{type: esp, size: rest}]}",
        "disk: {partitions: [{type: root}, {type: root}]}",
        "disk: {partitions: [{type: root, size: 16777216T}]}",
        "disk: {partitions: [{type: root, label: a-label-that-is-too-long}]}",
        "disk: {size: 17TiB}",
        "disk: {size: 100MiB}",
    ] {
        assert!(!problems(&minimal(rest)).is_empty(), "{rest}");
    }
}

#[test]
fn repositories_need_a_key_or_the_users_word() {
    let repository = |rest: &str| {
        minimal(&format!("customizations: {{repositories: [{{name: r, url: 'https://example.org/deb'{rest}}}]}}\n"))
    };
    assert!(problems(&repository(""))[0].contains("has no key"));
    assert!(problems(&repository(", key: r.asc"))[0].contains("Missing required file 'r.asc'"));
    let spec = resolved(&repository(", trusted: true, suites: ./, priority: -10"));
    assert_eq!(
        (&spec.repositories[0].key, spec.repositories[0].priority),
        (&RepositoryKey::TrustedUnsigned, Some(-10))
    );
    assert!(problems(&repository(", trusted: true, suites: trixie"))[0].contains("do not fit together"));
    let found = problems(&minimal("customizations: {repositories: [{name: r, url: 'ftp://x', trusted: true}]}\n"));
    assert!(found[0].contains("is not the URL of a repository"));
}
