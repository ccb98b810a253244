//! Files that specs name, and the examples and schemas that we ship.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

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
