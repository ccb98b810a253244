use super::*;
use image::Sink;
use image::raw::RawFile;
use layers::KeyBuilder;

#[test]
fn an_image_comes_back_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let cache = ImageCache::new(&home.path().join("cache"), "boot");
    let key = KeyBuilder::new("image", 1).finish();
    let target = |name: &str| Target { directory: home.path().join(name), force: false };
    let one = target("one");
    one.prepare(&[]).unwrap();
    let path = one.directory.join("a.raw");
    fs::write(&path, b"bytes").unwrap();
    let artifact = Artifact { path: path.clone(), kind: "raw".into(), sha256: Sha256::of(b"bytes"), size: 5 };
    cache.keep(&key, "a", &[artifact], &one, 5).unwrap();
    let record = cache.find(&key).unwrap();
    assert_eq!(cache.look(&key, &record, &one, &|| Ok(())).unwrap(), Lying::Whole);
    let two = target("two");
    two.prepare(&[]).unwrap();
    assert_eq!(cache.look(&key, &record, &two, &|| Ok(())).unwrap(), Lying::Elsewhere);
    cache.restore(&key, &record, &two, &|| Ok(())).unwrap().unwrap();
    assert_eq!(fs::read(two.directory.join("a.raw")).unwrap(), b"bytes");
    // Whoever changes an output changes neither the cache nor the belief that it is in place.
    fs::write(two.directory.join("a.raw"), b"other").unwrap();
    let record = cache.find(&key).unwrap();
    assert_eq!(cache.look(&key, &record, &two, &|| Ok(())).unwrap(), Lying::Elsewhere);
    fs::write(cache.place(&key).join("a.raw"), b"bytez").unwrap();
    let three = target("three");
    three.prepare(&[]).unwrap();
    assert!(cache.restore(&key, &record, &three, &|| Ok(())).unwrap().is_none());
    assert!(cache.find(&key).is_none());
}

#[test]
fn an_image_is_kept_on_another_file_system() {
    let home = tempfile::tempdir().unwrap();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm");
        return;
    };
    let cache = ImageCache::new(memory.path(), "boot");
    let key = KeyBuilder::new("image", 1).finish();
    let mut bytes = vec![0; 5 << 20];
    bytes[70_000..200_000].fill(1);
    bytes[3 << 20..][..10_000].fill(2);
    let path = home.path().join("a.raw");
    let file = RawFile::new(File::create(&path).unwrap(), &path, bytes.len() as u64);
    let mut file = file.unwrap();
    file.data(0, &bytes).unwrap();
    file.finish().unwrap();
    let size = bytes.len() as u64;
    let artifact = Artifact { path, kind: "raw".into(), sha256: Sha256::of(&bytes), size };
    let one = Target { directory: home.path().to_path_buf(), force: false };
    cache.keep(&key, "a", &[artifact], &one, 5).unwrap();
    assert!(fs::read(cache.place(&key).join("a.raw")).unwrap() == bytes);
    let two = Target { directory: home.path().join("two"), force: false };
    two.prepare(&[]).unwrap();
    cache.restore(&key, &cache.find(&key).unwrap(), &two, &|| Ok(())).unwrap().expect("a whole image");
    assert!(fs::read(two.directory.join("a.raw")).unwrap() == bytes);
}

#[test]
fn what_another_boot_left_is_read_through_once() {
    let home = tempfile::tempdir().unwrap();
    let key = KeyBuilder::new("image", 1).finish();
    let target = Target { directory: home.path().join("out"), force: false };
    target.prepare(&[]).unwrap();
    let path = target.directory.join("a.raw");
    fs::write(&path, b"bytes").unwrap();
    let time = path.metadata().unwrap().modified().unwrap();
    let artifact = Artifact { path: path.clone(), kind: "raw".into(), sha256: Sha256::of(b"bytes"), size: 5 };
    let [one, two] = ["one", "two"].map(|boot| ImageCache::new(&home.path().join("cache"), boot));
    one.keep(&key, "a", &[artifact], &target, 5).unwrap();
    // What a crash of the machine leaves: size and time, and not the bytes.
    let crash = |bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        file.set_modified(time).unwrap();
    };
    crash(&[0; 5]);
    let record = one.find(&key).unwrap();
    let ended = two.look(&key, &record, &target, &|| Err(crate::error::Error::interrupted()));
    ended.expect_err("Ctrl-C while it is read");
    assert_eq!(one.look(&key, &record, &target, &|| Ok(())).unwrap(), Lying::Whole, "looked at once per boot only");
    assert_eq!(two.look(&key, &record, &target, &|| Ok(())).unwrap(), Lying::Damaged(vec![path.clone()]));
    crash(b"bytes");
    assert_eq!(two.look(&key, &record, &target, &|| Ok(())).unwrap(), Lying::Whole);
    assert_eq!(two.find(&key).unwrap().boot, "two");
}
