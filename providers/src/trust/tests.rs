use super::*;

#[test]
fn fingerprints_read_from_any_spelling() {
    let text = include_str!("../../data/keys/debian.asc");
    let keyring = Keyring::parse(text.as_bytes()).unwrap();
    assert_eq!(keyring.fingerprints().count(), 6);
    let spaced = "04b5 4c3c dca7 9751 b16b  c6b5 2256 29df 75b1 88bd".to_owned();
    let pinned = keyring.pinned(&[spaced].into()).unwrap();
    let left: Vec<_> = pinned.fingerprints().map(Fingerprint::as_str).collect();
    assert_eq!(left, ["04B54C3CDCA79751B16BC6B5225629DF75B188BD"]);
}

#[test]
fn garbage_is_an_error_and_not_a_panic() {
    let keyring = Keyring::parse(include_bytes!("../../data/keys/debian.asc")).unwrap();
    let now = UnixTime(1_795_262_400);
    let start = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n-----BEGIN PGP SIGNATURE-----\n";
    for text in [
        String::new(),
        "-----BEGIN PGP SIGNED MESSAGE-----".into(),
        start.into(),
        format!("{start}\n-----END PGP SIGNATURE-----\n"),
        format!("{start}\n////////\n=AAAA\n-----END PGP SIGNATURE-----\n"),
        "-----BEGIN PGP SIGNED MESSAGE-----\n\n\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n".into(),
    ] {
        assert!(keyring.verify_inline(text.as_bytes(), now).is_err(), "{text:?}");
        assert!(keyring.verify_detached(b"text", text.as_bytes(), now).is_err(), "{text:?}");
    }
    assert!(keyring.verify_inline(&[0xff; 64], now).is_err());
    assert!(keyring.verify_detached(b"text", &[0xff; 64], now).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn random_packets_do_no_harm(bytes in proptest::collection::vec(0u8.., 0..400)) {
        let _ = Keyring::parse(&bytes);
        let mut packets = vec![0x99];
        packets.extend(&bytes);
        let _ = Keyring::parse(&packets);
        if let Ok(keyring) = Keyring::parse(include_bytes!("../../data/keys/ubuntu.asc")) {
            packets[0] = 0x89;
            proptest::prop_assert!(keyring.verify_detached(b"x", &packets, UnixTime(1_795_262_400)).is_err());
        }
    }
}
