use super::*;

const GOOD: &str = "Origin: Debian\nSuite: stable-security\nCodename: trixie-security\nDate: Fri, 20 Nov 2026 00:12:42 UTC\nValid-Until: Fri, 27 Nov 2026 00:12:42 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\nComponents: updates/main updates/contrib\nMD5Sum:\n 00 1 x\nSHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        0 main/binary-amd64/Packages\n";

#[test]
fn a_release_is_read() {
    let release = Release::parse(GOOD).unwrap();
    assert_eq!(release.date.0, 1_795_133_562);
    assert_eq!(release.valid_until.unwrap().0 - release.date.0, 7 * 86_400);
    assert_eq!(release.components, ["main", "contrib"]);
    assert!(release.by_hash && !release.all_included);
    assert!(release.is_named("trixie-security") && release.is_named("stable-security"));
    assert!(!release.is_named("trixie") && !release.is_named(""));
    assert_eq!(release.names(), "'stable-security' (trixie-security)");
    assert_eq!(release.entries["main/binary-amd64/Packages"].size, 0);
}

#[test]
fn dates_as_generators_write_them() {
    for (text, good) in [
        ("Fri, 20 Nov 2026 00:12:42 UTC", true),
        ("Fri, 20 Nov 2026 00:12:42 +0000", true),
        ("Fri, 20 Nov 2026 00:12:42 GMT", true),
        ("Mon, 20 Nov 2026 00:12:42 UTC", true),
        ("20 Nov 2026 00:12:42 Z", true),
        ("Fri, 20 Nov 2026", false),
        ("2026-11-20T00:12:42Z", false),
        ("soon", false),
        ("", false),
    ] {
        let release = Release::parse(&GOOD.replace("Fri, 20 Nov 2026 00:12:42 UTC", text));
        match release {
            Ok(release) => assert!(good && release.date.0 == 1_795_133_562, "{text:?}"),
            Err(error) => assert!(!good, "{text:?}: {error}"),
        }
    }
}

#[test]
fn releases_with_faults_are_refused() {
    for (from, to) in [
        ("Date:", "Dato:"),
        ("SHA256:", "SHA512:"),
        ("Origin: Debian\n", "Origin: Debian\nno field\n"),
        ("Origin: Debian\n", " continuation\nOrigin: Debian\n"),
        ("Origin: Debian\n", "Suite: other\n"),
        ("        0 main", "        -1 main"),
        ("        0 main", " 99999999999999999999 main"),
        (" main/binary-amd64/Packages", ""),
        (" main/binary-amd64/Packages", " ../../etc/passwd"),
        (" main/binary-amd64/Packages", " /etc/passwd"),
        ("e3b0c442", "zzb0c442"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        assert!(Release::parse(&GOOD.replacen(from, to, 1)).is_err(), "{to}");
    }
    let digest = "00".repeat(32);
    let two = format!("{GOOD} {digest} 5 main/binary-amd64/Packages\n");
    assert!(Release::parse(&two).is_err(), "one path with two digests");
}

#[test]
fn what_follows_the_paragraph_does_not_count() {
    let release = Release::parse(&format!("{GOOD}\nSuite: evil\nCodename: evil\n")).unwrap();
    assert!(!release.is_named("evil"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[A-Za-z0-9: \n\t./-]{0,300}") {
        let _ = Release::parse(&text);
        let _ = Release::parse(&format!("{GOOD}{text}"));
    }
}

#[test]
fn ids_are_plain_words() {
    for good in ["debian", "a", "1st", "my.repo_x-2"] {
        assert_eq!(good.parse::<RepositoryId>().unwrap().as_str(), good);
    }
    for bad in ["", "Debian", "a/b", "-a", ".", "a b", "ä", &"x".repeat(65)] {
        assert!(bad.parse::<RepositoryId>().is_err(), "{bad:?}");
    }
}
