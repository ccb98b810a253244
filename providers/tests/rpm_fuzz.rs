//! Package files with bytes changed at random, always the same ones: whatever comes out of it, nothing
//! panics, hangs, takes memory, or lands outside its directory. RPM_FUZZ_SECONDS makes it last.

mod package_files;

use std::path::Path;
use std::time::{Duration, Instant};

use layers::Sha256;
use package_files::made_up::{
    self, Item, Values, cpio, end, longs, main_header, package, string, strings, stripped, words,
};
use providers::rpm::file::Statement;
use providers::rpm::{Header, Scripts, Unverified, extract};
use providers::trust::{Keyring, UnixTime};
use providers::unpack::Aliases;

/// Numbers that look random and are the same each time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most.max(1) as u64).unwrap()
    }
}

/// Changes some bytes: single ones, words, pieces copied, cut out or cut off.
fn change(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const WORDS: [u32; 10] = [0, 1, 2, 16, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff_fff0, 0x0fff_ffff, 65_536];
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(8) {
            0..3 => bytes[at] ^= 1 << numbers.below(8),
            3 => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
            4 | 5 => {
                let word = WORDS[numbers.below(WORDS.len())].to_be_bytes();
                let start = at & !3;
                for (place, byte) in bytes[start..].iter_mut().zip(word) {
                    *place = byte;
                }
            }
            6 => {
                let from = numbers.below(bytes.len());
                let length = numbers.below(40).min(bytes.len() - from).min(bytes.len() - at);
                let piece = bytes[from..from + length].to_vec();
                bytes[at..at + length].copy_from_slice(&piece);
            }
            _ => match numbers.below(4) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..(at + numbers.below(20)).min(bytes.len()))),
                _ => bytes.insert(at, 0),
            },
        }
    }
}

/// A directory in memory where there is one: packages come and go by the thousand.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn seconds() -> Duration {
    let wanted = std::env::var("RPM_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(wanted.unwrap_or(2))
}

/// Runs a target on changed copies of seeds until the time is up.
fn fuzz(seeds: &[Vec<u8>], mut target: impl FnMut(&[u8], u64)) {
    let (start, mut round) = (Instant::now(), 0u64);
    while start.elapsed() < seconds() {
        for seed in seeds {
            let mut bytes = seed.clone();
            change(&mut bytes, &mut Numbers(round));
            target(&bytes, round);
            round += 1;
        }
    }
    println!("{round} rounds");
    assert!(round > 10);
}

fn items() -> Vec<Item> {
    let linked = |path: &str| Item { inode: 7, ..Item::file(path, b"content") };
    vec![
        Item::directory("/usr/d"),
        linked("/usr/d/one"),
        linked("/usr/d/two"),
        Item::symlink("/usr/link", "d/one"),
        Item { capabilities: "cap_net_raw=ep".into(), ..Item::file("/bin/tool", b"body") },
        Item { flags: 1 << 6, ..Item::file("/ghost", b"") },
    ]
}

fn rich(values: Values) -> Values {
    values
        .set(1023, string("echo pre"))
        .set(1085, strings(&["/bin/sh", "-e"]))
        .set(1065, strings(&["one", "two"]))
        .set(1066, strings(&["bash", "dash"]))
        .set(1067, strings(&["", "1:2-3"]))
        .set(1068, words(&[1 << 16, 1 << 17 | 2]))
        .set(1069, words(&[0, 1]))
        .set(1092, strings(&["/bin/sh", "<lua>"]))
        .set(1047, strings(&["x", "y"]))
        .set(1112, words(&[8, 0]))
        .set(1113, strings(&["0:1-2", ""]))
}

fn payloads() -> [Vec<u8>; 2] {
    let plain = [
        cpio("./usr/d", 0, b""),
        cpio("./usr/d/one", 0, b""),
        cpio("./usr/d/two", 7, b"content"),
        cpio("./usr/link", 5, b"d/one"),
        cpio("./bin/tool", 4, b"body"),
        end(),
    ];
    let numbers = [
        stripped(0, b""),
        stripped(1, b""),
        stripped(2, b"content"),
        stripped(3, b"d/one"),
        stripped(4, b"body"),
        stripped(u32::MAX, b""),
    ];
    [plain.concat(), numbers.concat()]
}

/// Extracts it, and looks whether anything lies beside its directory.
fn unpack(scratch: &Path, bytes: &[u8]) -> bool {
    let out = scratch.join("out");
    std::fs::create_dir(&out).unwrap();
    let path = made_up::write(scratch, bytes);
    let done = Unverified::open(&path)
        .and_then(|package| package.accept(Sha256::of(bytes)))
        .and_then(|package| extract(&package, &out, &Aliases::merged_usr()));
    let beside = std::fs::read_dir(scratch).unwrap().count();
    assert_eq!(beside, 2, "the package and its directory");
    std::fs::remove_dir_all(&out).unwrap();
    done.is_ok()
}

#[test]
fn headers() {
    let values = rich(main_header(&items(), b""));
    fuzz(&[values.bytes(63), values.set(5112, longs(&[1])).bytes(63)], |bytes, _| {
        let Ok(header) = Header::parse(bytes) else { return };
        for (tag, ..) in header.tags() {
            let _ = (header.string(tag), header.strings(tag).map(|all| all.len()), header.u32(tag), header.bin(tag));
            let _ = (header.u16_list(tag).map(Iterator::count), header.u64_list(tag).map(Iterator::count));
        }
        let _ = (Scripts::read(&header), Statement::read(&header).nevra());
        assert_eq!(Header::parse_blob(header.raw()).unwrap(), header);
    });
}

/// The header says what it says, and the payload comes as it comes, with digests that are right.
#[test]
fn payloads_and_their_headers() {
    let scratch = scratch();
    let seeds: Vec<Vec<u8>> = payloads().to_vec();
    let mut good = 0u64;
    fuzz(&seeds, |payload, round| {
        let main = rich(main_header(&items(), payload)).bytes(63);
        let mut changed = main.clone();
        if round % 3 == 0 {
            change(&mut changed, &mut Numbers(round ^ 0xabcd));
        }
        let signature = made_up::signature_header(&changed, payload);
        good += u64::from(unpack(scratch.path(), &package(&signature, &changed, payload)));
    });
    println!("{good} extracted");
    for payload in payloads() {
        let main = rich(main_header(&items(), &payload)).bytes(63);
        assert!(unpack(scratch.path(), &package(&made_up::signature_header(&main, &payload), &main, &payload)));
    }
}

/// Whole files: no change at all goes unseen, for digests cover everything but the lead, the padding
/// and room for signatures.
#[test]
fn whole_files() {
    let scratch = scratch();
    let keyring = Keyring::parse(include_bytes!("../data/keys/ubuntu.asc")).unwrap();
    let seeds: Vec<Vec<u8>> = payloads().map(|payload| made_up::honest(&items(), &payload)).into();
    fuzz(&seeds, |bytes, round| {
        unpack(scratch.path(), bytes);
        if round % 4 == 0 {
            let path = made_up::write(scratch.path(), bytes);
            assert!(providers::rpm::verify(&path, &keyring, UnixTime(1_795_262_400)).is_err(), "nobody signed it");
        }
    });
}

/// A signature packet by a key that the keyring has, with arithmetic from nowhere.
fn signature_packet(version: u8, key: &[u8]) -> Vec<u8> {
    let id = &key[12..20];
    let number = [&[0x08, 0x00][..], &[0xaa; 256]].concat();
    let made = [0x60, 0, 0, 0];
    let body = match version {
        3 => [&[3, 5, 0][..], &made, id, &[1, 8, 1, 2], &number].concat(),
        4 => {
            let hashed = [&[5, 2][..], &made, &[22, 33, 4], key].concat();
            let length = u8::try_from(hashed.len()).unwrap();
            [&[4, 0, 1, 8, 0, length][..], &hashed, &[0, 10, 9, 16], id, &[1, 2], &number].concat()
        }
        _ => {
            let hashed = [&[5, 2][..], &made].concat();
            [&[6, 0, 27, 8, 0, 0, 0, 6][..], &hashed, &[0, 0, 0, 10, 9, 16], id, &[1, 2, 16], &[7; 16], &[9; 64]]
                .concat()
        }
    };
    [&[0x89][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat()
}

#[test]
fn signatures() {
    let scratch = scratch();
    let keyring = Keyring::parse(include_bytes!("../data/keys/ubuntu.asc")).unwrap();
    let key = hex::decode(keyring.fingerprints().next().unwrap().as_str()).unwrap();
    let [payload, _] = payloads();
    let main = main_header(&items(), &payload).bytes(63);
    let plain = made_up::signature_header(&main, &payload);
    let mut reached = 0u64;
    fuzz(&[3, 4, 6].map(|version| signature_packet(version, &key)), |packet, round| {
        if packet.is_empty() {
            return;
        }
        let tag = [267, 268, 1002, 1005][usize::try_from(round % 4).unwrap()];
        let signed = plain.clone().set(tag, made_up::bin(packet));
        let path = made_up::write(scratch.path(), &package(&signed, &main, &payload));
        let error = providers::rpm::verify(&path, &keyring, UnixTime(1_795_262_400)).unwrap_err();
        let by_known = providers::trust::Error::Bad { key: keyring.fingerprints().next().unwrap().clone() };
        let wrong = std::error::Error::source(&error).is_some_and(|source| source.to_string() == by_known.to_string());
        reached += u64::from(wrong);
    });
    println!("{reached} reached the arithmetic");
    assert!(reached > 0);
}
