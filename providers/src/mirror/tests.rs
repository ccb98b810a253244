use super::*;
use crate::distro::Catalogue;

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.into(), bytes: text.as_bytes().to_vec() }
}

fn mirrors(os: &str, files: &[SourceFile], repository: usize) -> Vec<String> {
    let catalogue = Catalogue::embedded().unwrap();
    let distro = catalogue.find("debian", "13").unwrap();
    let sources = read(files).unwrap();
    mirrors_of(&distro.repositories[repository], os, &sources).iter().map(ToString::to_string).collect()
}

#[test]
fn a_bookworm_machines_mirror_serves_trixie() {
    let deb822 = file(
        "/etc/apt/sources.list.d/debian.sources",
        "Types: deb\n# a comment\nURIs: http://near.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb deb-src\nURIs: http://near.example/debian-security/\nSuites: bookworm-security\nComponents: main\n",
    );
    assert_eq!(mirrors("debian", std::slice::from_ref(&deb822), 0), ["http://near.example/debian"]);
    assert_eq!(mirrors("debian", std::slice::from_ref(&deb822), 1), ["http://near.example/debian-security"]);
    assert!(mirrors("ubuntu", &[deb822], 0).is_empty());
}

#[test]
fn the_one_line_format() {
    let list = file(
        "/etc/apt/sources.list",
        "# deb http://off.example/debian bookworm main\n\
         deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://one.example/debian bookworm main contrib # main\n\
         deb-src http://source.example/debian bookworm main\n\
         deb\thttp://two.example/mirror/debian/\tbookworm\tmain\n\
         deb cdrom:[Debian]/ bookworm main\n\
         deb http://security.example/debian-security bookworm/updates main\n\
         deb\n deb http://short.example\n",
    );
    assert_eq!(
        mirrors("debian", std::slice::from_ref(&list), 0),
        ["https://one.example/debian", "http://two.example/mirror/debian"]
    );
    assert_eq!(mirrors("debian", &[list], 1), ["http://security.example/debian-security"]);
}

#[test]
fn third_parties_that_use_debians_suite_names_are_no_mirrors() {
    let third = file(
        "/etc/apt/sources.list.d/third.list",
        "deb [signed-by=/etc/apt/keyrings/docker.asc] https://docker.example/linux/debian bookworm stable\n\
         deb [signed-by=/etc/apt/keyrings/php.gpg] https://php.example/php bookworm main\n\
         deb https://pgdg.example/pub/repos/apt bookworm-pgdg main\n",
    );
    assert!(mirrors("debian", std::slice::from_ref(&third), 0).is_empty());
    let proxy = file("/etc/apt/sources.list", "deb https://proxy.example/remote-deb-proxy bookworm main\n");
    assert_eq!(mirrors("debian", &[third, proxy], 0), ["https://proxy.example/remote-deb-proxy"]);
}

#[test]
fn disabled_sources_and_broken_files() {
    let off = file(
        "x.sources",
        "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n",
    );
    assert!(mirrors("debian", &[off], 0).is_empty());
    let folded = file(
        "x.sources",
        "Types: deb\nURIs:\n http://a.example/debian\n http://b.example/debian\nSuites: bookworm\nComponents: main",
    );
    assert_eq!(mirrors("debian", &[folded], 0), ["http://a.example/debian", "http://b.example/debian"]);
    assert!(read(&[SourceFile { name: "x.list".into(), bytes: vec![0xff; 10] }]).is_err());
    assert!(read(&[SourceFile { name: "x.list".into(), bytes: vec![b' '; MAX_BYTES + 1] }]).is_err());
}

#[test]
fn passwords_in_mirror_urls_are_kept_and_not_shown() {
    let list = file("x.list", "deb https://me:secret@near.example/debian bookworm main\n");
    let shown = mirrors("debian", std::slice::from_ref(&list), 0);
    assert_eq!(shown, ["https://near.example/debian"]);
    assert!(!format!("{:?}", read(&[list]).unwrap()).contains("secret"));
}

#[test]
fn one_configured_mirror_serves_the_security_archive_too() {
    let catalogue = Catalogue::embedded().unwrap();
    for (os, version, mirror, expected) in [
        (
            "debian",
            "13",
            "http://m.example/pub/debian",
            ["http://m.example/pub/debian", "http://m.example/pub/debian-security"],
        ),
        ("debian", "13", "http://m.example/proxy", ["http://m.example/proxy", "http://m.example/proxy"]),
        ("ubuntu", "24.04", "http://m.example/ubuntu/", ["http://m.example/ubuntu", "http://m.example/ubuntu"]),
    ] {
        let distro = catalogue.find(os, version).unwrap();
        let mirror = BaseUrl::parse(mirror).unwrap();
        let found: Vec<String> =
            distro.repositories.iter().take(2).map(|facts| configured(distro, facts, &mirror).to_string()).collect();
        assert_eq!(found, expected);
    }
}
