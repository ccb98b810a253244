//! Specs as people write them, and what they get when they err.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::names::FromText;
use super::resolved::*;
use super::*;

/// An ed25519 key of nobody.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f nobody";

fn providers() -> KnownProviders {
    let release = |version: &str, recommends: bool, network_match: &str| Release {
        version: version.to_owned(),
        recommends,
        // The rpm distributions' GRUB is for UEFI.
        grub_for_bios: !recommends,
        network_match: network_match.to_owned(),
    };
    let versions = |list: &[&str]| list.iter().map(|v| release(v, false, "en*")).collect::<Vec<_>>();
    KnownProviders(BTreeMap::from([
        ("azurelinux".to_owned(), vec![release("3.0", true, "e*")]),
        ("debian".to_owned(), versions(&["12", "13", "trixie"])),
        ("ubuntu".to_owned(), versions(&["22.04", "24.10"])),
    ]))
}

fn resolved_in(directory: &Path, text: &str) -> Result<ResolvedSpec, Vec<Problem>> {
    let providers = providers();
    let around =
        Surroundings { spec_directory: directory, current_directory: Path::new("/work"), providers: &providers };
    resolve_text(Path::new("spec.yml"), text.as_bytes(), &around).map(|(spec, _)| spec)
}

pub(crate) fn resolved(text: &str) -> ResolvedSpec {
    resolved_in(Path::new("/nowhere"), text).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The problems of a text, each as "line:column message".
fn problems(text: &str) -> Vec<String> {
    let found = resolved_in(Path::new("/nowhere"), text).expect_err("the spec is accepted");
    let place = |problem: &Problem| problem.span.as_ref().map_or((0, 0), |span| span.line_and_column());
    found
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| format!("{}:{} {}", place(problem).0, place(problem).1, problem.message))
        .collect()
}

pub(crate) fn minimal(rest: &str) -> String {
    format!("image: {{name: a, base: {{os: debian, version: 13}}}}\n{rest}")
}

#[test]
fn the_smallest_spec_has_every_default() {
    let spec = resolved(&minimal(""));
    assert_eq!((spec.variant, spec.architecture), (Variant::Minimal, Architecture::Amd64));
    assert_eq!((spec.locale.as_str(), spec.timezone.as_str(), spec.hostname.as_str()), ("C.UTF-8", "UTC", "a"));
    assert_eq!((spec.formats.as_slice(), spec.compression), ([Format::Raw].as_slice(), Compression::None));
    assert_eq!(spec.stages.len(), 5);
    assert_eq!(spec.disk.size, Some(6 << 30));
    let sizes: Vec<String> = spec.partitions().map(|p| format!("{} {}", p.id, p.size)).collect();
    assert_eq!(sizes, ["esp 512MiB", "root rest"]);
    assert_eq!(spec.destination, Path::new("/work/output"));
    let interface = &spec.network.interfaces[0];
    assert_eq!((interface.match_name.as_deref(), interface.dhcp), (Some("en*"), Dhcp::Yes));
}

#[test]
fn scalars_are_read_as_written() {
    let spec = resolved("image: {name: a, base: {os: ubuntu, version: 24.10}}\n");
    assert_eq!(spec.os_version.as_str(), "24.10");
    let directory = tempfile::tempdir().unwrap();
    for mode in ["0644", "\"0644\"", "644", "0o644"] {
        let text = minimal(&format!(
            "customizations: {{files: [{{content: x, destination: /etc/x, permissions: {mode}}}]}}\n"
        ));
        let spec = resolved_in(directory.path(), &text).unwrap();
        assert_eq!(spec.files[0].permissions, Some(Mode(0o644)), "{mode}");
    }
}

#[test]
fn yaml_json_and_the_short_form_mean_the_same() {
    let yaml = "image:\n  name: debian-13\n  base:\n    os: debian\n    version: 13\n    architecture: x86_64\n\
                kernel: {cmdline: quiet splash}\ncustomizations:\n  packages:\n    install:\n      - nginx\n\
                output:\n  format: qcow2\n";
    let json = "{\n\t\"image\": {\"name\": \"debian-13\", \"base\": {\"os\": \"debian\", \"version\": \"13\", \
                \"architecture\": \"amd64\"}},\n\t\"kernel\": {\"cmdline\": [\"quiet\", \"splash\"]},\n\
                \t\"customizations\": {\"packages\": {\"install\": [\"nginx\"]}},\n\t\"output\": {\"format\": [\"qcow2\"]}\n}\n";
    let short = "{\"distro\": \"Debian\", \"version\": \"13\", \"arch\": \"x86_64\", \"packages\": [\"nginx\"], \
                 \"immutable\": false, \"output\": \"qcow2\", \"kernel\": {\"cmdline\": \"quiet splash\"}}";
    let expected = resolved(yaml);
    assert_eq!(expected.kernel.cmdline, ["quiet", "splash"]);
    assert_eq!(resolved(json), expected);
    assert_eq!(resolved(short), expected);
    let azure = resolved("{\"distro\": \"AzureLinux\", \"version\": \"3.0\"}");
    assert_eq!((azure.os.as_str(), azure.os_version.as_str()), ("azurelinux", "3.0"));
    let example = include_str!("../../examples/azurelinux-minimal.json");
    let long = "image: {name: azurelinux-short, base: {os: azurelinux, version: 3.0, architecture: x86_64}}\n\
                kernel: {cmdline: quiet}\ncustomizations: {packages: {install: [sudo, tdnf]}}\n\
                output: {format: [vhd, qcow2]}\n";
    assert_eq!(resolved(example), resolved(long));
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "\
image:
  name: ../evil
  base:
    os: debain
    version: 13
    tpye: minimal
customizations:
  users:
    - name: Debian
    - {name: a, password_hash: secret}
  services:
    enable: [ssh]
";
    assert_eq!(
        problems(text),
        [
            "2:9 image.name: \"../evil\" is not an image name: '/' is not allowed: use letters, digits, '.', '_', '+', '~' and '-'",
            "6:5 unknown key 'tpye' in image.base",
            "9:13 customizations.users[0].name: \"Debian\" is not a user name: 'D' is not allowed: use lower-case letters, digits, '_' and '-'",
            "10:32 customizations.users[1].password_hash: \"secret\" is not a password hash: it is not a crypt(3) hash such as '$6$salt$...' or '$y$...'",
            "12:5 unknown key 'enable' in customizations.services",
        ]
    );
}

#[test]
fn problems_of_form_do_not_hide_those_of_meaning() {
    let found = problems(
        "image: {name: a, base: {os: debain, version: 13}}\ncolour: red\ncustomizations: {scripts: [{path: x.sh}, {}]}\n",
    );
    assert_eq!(
        found,
        [
            "1:29 Provider 'debain' is not configured in the global configuration",
            "2:1 unknown key 'colour'",
            "3:35 Missing required file 'x.sh' referenced in build spec",
            "3:42 missing key 'customizations.scripts[1].path'",
        ]
    );
}

#[test]
fn a_problem_shows_the_line_and_a_hint() {
    let found = resolved_in(Path::new("/nowhere"), &minimal("customizations:\n  packages:\n    instal: [nginx]\n"));
    let text = shown(&found.unwrap_err());
    assert_eq!(
        text,
        "unknown key 'instal' in customizations.packages\n --> spec.yml:4:5\n  |\n4 |     instal: [nginx]\n  |     ^^^^^^\n  = hint: did you mean 'install'?\n"
    );
}

#[test]
fn the_seeds_messages_are_kept_to_the_word() {
    let text = minimal(
        "customizations:\n  files:\n    - source: ./files/sshd_config\n      destination: /etc/ssh/sshd_config\n\
         \x20 scripts:\n    - path: ./scripts/setup.sh\noutput: {format: vhd, compression: gzip}\n",
    );
    let found = problems(&text);
    assert!(found[0].ends_with("Missing required file './files/sshd_config' referenced in build spec"), "{found:?}");
    assert!(found[1].ends_with("Missing required file './scripts/setup.sh' referenced in build spec"), "{found:?}");
    assert!(found.iter().any(|p| p.ends_with("Invalid combination of compression 'gzip' with format 'vhd'")));
    let found = problems("image: {name: a, base: {os: redhat, version: 10}}\n");
    assert_eq!(found, ["1:29 Provider 'redhat' is not configured in the global configuration"]);
    let found = problems(&minimal("output: {format: [raw, qcow2], compression: xz}\n"));
    assert_eq!(found, ["2:45 Invalid combination of compression 'xz' with format 'qcow2'"]);
}

#[test]
fn what_cannot_boot_is_refused() {
    let found = problems(&minimal("bootloader: none\noutput: {format: [iso, raw]}\n"));
    assert!(found.iter().any(|problem| problem.contains("an iso needs a boot loader")), "{found:?}");
    let disk = "bootloader: grub\ndisk: {partitions: [{type: bios}, {type: root}, {type: linux-generic, mount: /boot/grub, size: 1G}]}\n";
    let found = problems(&minimal(disk));
    assert!(found.iter().any(|problem| problem.contains("/boot/grub cannot be a partition")), "{found:?}");
}

#[test]
fn a_partition_for_a_bios_is_there_where_grub_has_a_part_for_it() {
    let roles = |os: &str| {
        let spec = resolved(&format!("image: {{name: a, base: {{os: {os}}}}}\nbootloader: grub\n"));
        spec.partitions().map(|partition| partition.role).collect::<Vec<_>>()
    };
    use crate::spec::resolved::PartitionRole::{Bios, Esp, Root};
    assert_eq!(roles("debian, version: 13"), [Esp, Bios, Root]);
    assert_eq!(roles("azurelinux, version: 3.0"), [Esp, Root]);
}

#[test]
fn a_vhd_has_its_own_largest_size() {
    let spec = |size: &str| minimal(&format!("output: {{format: [qcow2, vhd]}}\ndisk: {{size: {size}}}\n"));
    assert_eq!(problems(&spec("2041GiB")), ["3:14 disk.size: a vhd holds 2040 GiB at most"]);
    assert_eq!(resolved(&spec("2040GiB")).formats, [Format::Qcow2, Format::Vhd]);
}

#[test]
fn what_is_not_supported_yet_is_refused_in_so_many_words() {
    for rest in [
        "template: {name: x}",
        "variables: {A: {default: b}}",
        "platform_specific: {edge_microvisor: {toolkit_version: 3.0}}",
        "immutable: true",
        "disk: {partitions: [{type: root, filesystem: btrfs}]}",
    ] {
        let found = problems(&minimal(rest));
        assert!(found.iter().any(|problem| problem.contains("not supported yet")), "{rest}: {found:?}");
    }
    resolved(&minimal("immutable: false\n"));
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
fn forms_that_are_no_spec_are_refused() {
    for (text, expected) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("image: [", "this is not YAML"),
        ("image: {name: a}\nimage: {name: b}\n", "the key 'image' stands twice"),
        ("a: 1\n---\nb: 2\n", "the file holds more than one document"),
        ("image: !ruby/object {}\n", "this tag is not allowed"),
        ("- a\n", "expected a mapping, found a list"),
        ("? [a]\n: b\n", "a key must be a text"),
        ("image: *nobody\n", "this is not YAML"),
        ("image: &a [*a]\n", "this alias refers to a value that contains it"),
    ] {
        let found = problems(text);
        assert!(found[0].contains(expected), "{text:?}: {found:?}");
    }
    let not_text = parse(Path::new("s.yml"), b"image: \xff\n").unwrap_err();
    assert_eq!(not_text[0].message, "the file is not UTF-8");
    assert_eq!(not_text[0].span.as_ref().unwrap().line_and_column(), (1, 8));
}

#[test]
fn bombs_end_quickly() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(problems(&laughs)[0].contains("more than 100000 values"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 1000].join(", "));
    assert!(problems(&long)[0].contains("of text"));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(problems(&deep).len(), 1);
    let block: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(problems(&block).len(), 1);
    assert!(problems(&"x".repeat(2 << 20))[0].contains("larger than 1024 KiB"));
    let many: String = (0..40_000).map(|key| format!("k{key}: 1\n")).collect();
    assert_eq!(problems(&many).len(), 100);
}

#[test]
fn anchors_may_be_used() {
    let spec =
        resolved(&minimal("customizations: {packages: {install: &all [nginx, vim]}, services: {enabled: *all}}\n"));
    assert_eq!(spec.services.enabled.len(), 2);
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
fn sources_are_read_whole_and_links_stay_links() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("files/sub")).unwrap();
    fs::write(root.join("files/b"), "bytes").unwrap();
    fs::write(root.join("files/sub/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("files/sub/run"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("b", root.join("files/a")).unwrap();
    fs::write(root.join("keys"), format!("# mine\n{KEY}\n\n{KEY}\n")).unwrap();
    let text = minimal(
        "customizations:\n  files: [{source: files, destination: /opt/x, owner: www-data}]\n  scripts: [{path: files/sub/run, env: {A: b}}]\n  users: [{name: a, ssh_keys: [keys]}]\n",
    );
    let spec = resolved_in(root, &text).unwrap();
    let entries: Vec<(String, &SourceKind)> =
        spec.files[0].entries.iter().map(|entry| (entry.path.to_string(), &entry.kind)).collect();
    let names: Vec<&str> = entries.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["/", "/a", "/b", "/sub", "/sub/run"]);
    assert_eq!(entries[1].1, &SourceKind::Symlink(b"b".to_vec()));
    let SourceKind::File { content, executable, .. } = entries[4].1 else { panic!("{entries:?}") };
    assert!(*executable && content.size == 10);
    assert_eq!(spec.users[0].ssh_keys, [KEY, KEY]);
    // A digest is of what is there, not of where it is or when it changed.
    let digest = spec.digest();
    fs::write(root.join("files/b"), "other").unwrap();
    assert_ne!(resolved_in(root, &text).unwrap().digest(), digest);
    fs::write(root.join("files/b"), "bytes").unwrap();
    assert_eq!(resolved_in(root, &text).unwrap().digest(), digest);
    fs::set_permissions(root.join("files/sub/run"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(resolved_in(root, &text).unwrap().digest(), digest, "only the owner's right to execute counts");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for rest in
        ["files: [{source: pipe, destination: /x}]", "scripts: [{path: pipe}]", "users: [{name: a, ssh_keys: [pipe]}]"]
    {
        let text = minimal(&format!("customizations: {{{rest}}}\n"));
        let found = resolved_in(directory.path(), &text).unwrap_err();
        assert!(found[0].message.contains("is a pipe"), "{rest}: {}", shown(&found));
    }
}

#[test]
fn digests_tell_what_is_different_and_nothing_else() {
    let base = resolved(&minimal("output: {format: raw, destination: a}\n"));
    let elsewhere =
        resolved(&minimal("build: {cache: {use_image_cache: false}}\noutput: {format: raw, destination: b}\n"));
    assert_eq!(base.digest(), elsewhere.digest());
    let wrapped = resolved(&minimal("output: {format: qcow2, compression: zstd}\n"));
    assert_ne!(base.digest(), wrapped.digest());
    assert_eq!(base.content_digest(), wrapped.content_digest());
    let mut digests: Vec<[u8; 32]> = [
        "",
        "kernel: {cmdline: quiet}",
        "kernel: {version: 6.12}",
        "kernel: {package: '6.12'}",
        "customizations: {packages: {install: [nginx]}}",
        "customizations: {packages: {remove: [nginx]}}",
        "customizations: {packages: {recommends: true}}",
        "customizations: {services: {enabled: [nginx]}}",
        "customizations: {services: {masked: [nginx]}}",
        "customizations: {users: [{name: a}]}",
        "customizations: {users: [{name: a, sudo: true}]}",
        "customizations: {users: [{name: a, groups: [b]}]}",
        "customizations: {files: [{content: a, destination: /b}]}",
        "customizations: {files: [{content: a, destination: /b, permissions: 0600}]}",
        "customizations: {network: {interfaces: []}}",
        "customizations: {hostname: b}",
        "disk: {size: 5GiB}",
        "bootloader: none",
        "build: {network: true}",
    ]
    .iter()
    .map(|rest| resolved(&minimal(rest)).content_digest())
    .collect();
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
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

#[test]
fn stages_must_make_sense() {
    let spec = resolved(&minimal("build: {stages: [validate, packages]}\n"));
    assert_eq!(spec.stages.into_iter().collect::<Vec<_>>(), [Stage::Validate, Stage::Packages]);
    assert!(problems(&minimal("build: {stages: [validate, finalize]}\n"))[0].contains("'packages' is missing"));
    assert!(problems(&minimal("build: {stages: [validat]}\n"))[0].contains("expected a stage"));
}

#[test]
fn examples_are_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|ending| ending == "yml" || ending == "json") {
            continue;
        }
        count += 1;
        let (spec, warnings) = load_resolved(&path, Path::new("/"), &providers())
            .unwrap_or_else(|error| panic!("{error}: {}", shown(error.problem_list())));
        assert!(warnings.is_empty(), "{}: {}", path.display(), shown(&warnings));
        assert!(spec.users.iter().all(|user| user.password_hash.is_none() && user.ssh_keys.is_empty()));
    }
    assert!(count >= 6);
}

#[test]
fn schemas_take_the_examples_and_refuse_what_we_refuse() {
    let schema: serde_json::Value = serde_json::from_str(&schema::spec_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yml") {
            let value: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        }
    }
    for bad in [
        r#"{"image": {"name": "a", "base": {"os": "debian"}}}"#,
        r#"{"image": {"name": "a", "base": {"os": "debian", "version": "13"}}, "output": {"format": "zip"}}"#,
        r#"{"image": {"name": "a", "base": {"os": "debian", "version": "13"}}, "colour": "red"}"#,
        r#"{"image": {"name": "a", "base": {"os": "debian", "version": "13"}}, "disk": {"size": "big"}}"#,
    ] {
        assert!(!validator.is_valid(&serde_json::from_str(bad).unwrap()), "{bad}");
    }
}

#[test]
fn architectures_have_each_family_s_spelling() {
    let arm = Architecture::from_text("aarch64").unwrap();
    assert_eq!((arm.deb(), arm.rpm(), arm.uefi()), ("arm64", "aarch64", "AA64"));
}
