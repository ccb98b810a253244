//! What people get when they err: every problem, at its place, in plain words.

use std::path::Path;

use super::*;

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
