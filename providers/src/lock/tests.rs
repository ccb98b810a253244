use super::*;

fn package(name: &str, group: Group, why: Why) -> LockedPackage {
    LockedPackage {
        name: name.into(),
        version: "1:2.0~rc1-3+b2".into(),
        architecture: "amd64".into(),
        sha256: Sha256::of(name.as_bytes()),
        size: 1234,
        repository: "debian".parse().unwrap(),
        path: format!("pool/main/{name}_2.0~rc1-3+b2_amd64.deb"),
        group,
        automatic: matches!(why, Why::Dependency { .. }),
        why,
    }
}

fn lock() -> Lock {
    let id: RepositoryId = "debian".parse().unwrap();
    Lock {
        format: FORMAT,
        os: "debian".into(),
        os_version: "13".into(),
        architecture: "amd64".parse().unwrap(),
        epoch: 1_789_199_741,
        base: None,
        request: Request {
            variant: "minimal".into(),
            from: None,
            kernel: Some("linux-image-cloud-amd64".into()),
            bootloader: None,
            live: false,
            kernel_version: None,
            recommends: false,
            install: ["nginx".to_owned()].into(),
            remove: BTreeSet::new(),
            repositories: [(id.clone(), "https://deb.example/debian trixie main".to_owned())].into(),
        },
        repositories: vec![LockedRepository {
            id,
            url: "https://deb.example/debian".into(),
            suite: "trixie".into(),
            component: "main".into(),
            release_sha256: Sha256::of(b"release"),
            date: 1_789_199_741,
        }],
        packages: vec![
            package("libc6", Group::Essential, Why::Essential),
            package("dbus", Group::Base, Why::Default),
            package(
                "nginx-common",
                Group::Rest,
                Why::Dependency { of: "nginx".into(), relation: "nginx-common (<< 1.26.3-3+deb13u1.1~)".into() },
            ),
            package("nginx", Group::Rest, Why::Requested),
            package("ssl-cert", Group::Rest, Why::Recommended { by: "nginx".into() }),
        ],
    }
}

#[test]
fn a_lock_comes_back_as_it_was_written() {
    let text = lock().write().unwrap();
    assert_eq!(Lock::read(text.as_bytes()).unwrap(), lock());
    assert_eq!(Lock::read(text.as_bytes()).unwrap().write().unwrap(), text);
}

#[test]
fn one_package_is_one_block() {
    let text = lock().write().unwrap();
    let start = text.find("      \"name\": \"nginx-common\"").unwrap();
    let block: String = text[start..].lines().take(15).map(|line| format!("{line}\n")).collect();
    let digest = Sha256::of(b"nginx-common");
    assert_eq!(
        block,
        format!(
            r#"      "name": "nginx-common",
      "version": "1:2.0~rc1-3+b2",
      "architecture": "amd64",
      "sha256": "{digest}",
      "size": 1234,
      "repository": "debian",
      "path": "pool/main/nginx-common_2.0~rc1-3+b2_amd64.deb",
      "group": "rest",
      "automatic": true,
      "why": {{
        "dependency": {{
          "of": "nginx",
          "relation": "nginx-common (<< 1.26.3-3+deb13u1.1~)"
        }}
      }}
"#
        )
    );
}

#[test]
fn a_lock_of_another_format_is_called_that() {
    let text = lock().write().unwrap().replacen("\"format\": 1", "\"format\": 2, \"news\": []", 1);
    assert_eq!(
        Lock::read(text.as_bytes()).unwrap_err().to_string(),
        "read the lock: it has format 2, this program reads format 1"
    );
}

fn refused(change: impl FnOnce(&mut Lock)) -> String {
    let mut changed = lock();
    change(&mut changed);
    let text = serde_json::to_string(&changed).unwrap();
    assert!(changed.write().is_err(), "what is not read is not written either");
    Lock::read(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn hostile_contents_are_refused() {
    for path in ["/etc/passwd", "../x.deb", "a/../../x.deb", "", "a//b", "a\nb", "a/..", "x?y", "\\\\host\\x"] {
        assert!(refused(|lock| lock.packages[0].path = path.into()).contains("unsafe path"), "{path:?}");
    }
    for name in ["", "../x", "a b", "-x", ".", "x/y", "ä"] {
        assert!(refused(|lock| lock.packages[0].name = name.into()).contains("no name"), "{name:?}");
        assert!(refused(|lock| lock.packages[0].architecture = name.into()).contains("no name"), "{name:?}");
    }
    for version in ["", "1 2", "1/2", "1\n"] {
        assert!(refused(|lock| lock.packages[0].version = version.into()).contains("no name"), "{version:?}");
    }
    assert!(refused(|lock| lock.packages[1].name = "libc6".into()).contains("listed twice"));
    assert!(refused(|lock| lock.packages.swap(0, 2)).contains("behind a later group"));
    assert!(refused(|lock| lock.repositories.clear()).contains("not in the lock"));
}

#[test]
fn text_that_is_no_lock_is_refused() {
    let good = lock().write().unwrap();
    for text in [
        String::new(),
        "[]".into(),
        "{}".into(),
        good[..good.len() / 2].to_owned(),
        good.replacen("\"os\":", "\"extra\": 1, \"os\":", 1),
        good.replacen("\"essential\"", "\"other\"", 1),
        good.replacen(&Sha256::of(b"libc6").to_hex(), "00", 1),
        good.replacen("\"size\": 1234", "\"size\": -1", 1),
        good.replacen("\"repository\": \"debian\"", "\"repository\": \"De/bian\"", 1),
        "[".repeat(100_000),
    ] {
        assert!(Lock::read(text.as_bytes()).is_err(), "{}", text.chars().take(60).collect::<String>());
    }
    assert!(matches!(Lock::read(&vec![b' '; MAX_BYTES + 1]), Err(Error::TooLarge { .. })));
}

#[test]
fn a_disagreement_says_what_and_how() {
    let lock = lock();
    let amd64 = "amd64".parse().unwrap();
    assert!(lock.agree("debian", "13", &amd64, &lock.request).is_ok());
    let mut asked = lock.request.clone();
    asked.install.insert("curl".into());
    asked.install.remove("nginx");
    asked.recommends = true;
    asked.kernel = None;
    asked.repositories.insert("extra".parse().unwrap(), "https://extra.example x y".into());
    let found: Vec<String> =
        lock.disagreements("debian", "12", &amd64, &asked).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "image.base.version: the lock has 13, the spec has 12",
            "kernel: the lock has linux-image-cloud-amd64, the spec has none",
            "recommends: the lock has false, the spec has true",
            "packages to install: the lock has no curl, the spec has curl",
            "packages to install: the lock has nginx, the spec has no nginx",
            "repository extra: the lock has nothing, the spec has https://extra.example x y",
        ]
    );
}
