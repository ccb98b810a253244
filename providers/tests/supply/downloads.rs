//! Files of known digest from servers that are slow, broken or hostile, and from a damaged cache.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use layers::Sha256;
use providers::CacheDir;
use providers::fetch::{BaseUrl, Error, Fetcher, FileRequest, Options, Progress, Reason, Silent};

use crate::server::{Server, Way};

pub fn options() -> Options {
    Options {
        retries: 3,
        first_wait: Duration::from_millis(10),
        stall: Duration::from_millis(400),
        ..Options::default()
    }
}

fn fetcher() -> Fetcher {
    Fetcher::new(options(), Arc::new(Silent)).unwrap()
}

/// Bytes that do not repeat, so that a piece at the wrong place shows.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn request(urls: &[&str], path: &str, bytes: &[u8]) -> FileRequest {
    FileRequest {
        what: format!("the file {path}"),
        mirrors: urls.iter().map(|url| BaseUrl::parse(url).unwrap()).collect(),
        paths: vec![path.to_owned()],
        size: bytes.len() as u64,
        sha256: Sha256::of(bytes),
    }
}

struct Setup {
    server: Server,
    cache: CacheDir,
    _directory: tempfile::TempDir,
}

fn setup() -> Setup {
    let directory = tempfile::tempdir().unwrap();
    Setup { server: Server::start(), cache: CacheDir::new(directory.path()), _directory: directory }
}

impl Setup {
    fn get(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let paths = fetcher().files(&[request(&[&self.server.url()], "f", bytes)], &self.cache)?;
        Ok(std::fs::read(&paths[0]).unwrap())
    }

    /// What is left where downloads grow.
    fn leftovers(&self) -> usize {
        std::fs::read_dir(self.cache.partial()).unwrap().count()
    }
}

fn reason(error: Error) -> Reason {
    match error {
        Error::Exhausted { mut attempts, .. } => attempts.pop().unwrap().reason,
        other => panic!("unexpected: {other}"),
    }
}

#[test]
fn many_files_arrive_whole_and_in_the_order_asked_for() {
    let setup = setup();
    let files: Vec<Vec<u8>> = (0..40).map(|n| content(1000 * n + 1)).collect();
    for (number, bytes) in files.iter().enumerate() {
        setup.server.put(&format!("pool/f+{number}"), &[Way::Good(bytes.clone())]);
    }
    let requests: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(number, bytes)| request(&[&setup.server.url()], &format!("pool/f+{number}"), bytes))
        .collect();
    let paths = fetcher().files(&requests, &setup.cache).unwrap();
    for (path, bytes) in paths.iter().zip(&files) {
        assert_eq!(&std::fs::read(path).unwrap(), bytes);
    }
    assert_eq!(setup.leftovers(), 0);
}

#[test]
fn an_empty_file_is_a_file() {
    let setup = setup();
    setup.server.put("f", &[Way::Good(Vec::new())]);
    assert_eq!(setup.get(&[]).unwrap(), Vec::<u8>::new());
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let setup = setup();
    let bytes = content(300_000);
    setup.server.put("f", &[Way::CutAfter(100_000, bytes.clone()), Way::Good(bytes.clone())]);
    assert_eq!(setup.get(&bytes).unwrap(), bytes);
    assert_eq!(setup.server.log(), [("/f".to_owned(), None), ("/f".to_owned(), Some(100_000))]);
}

#[test]
fn an_interrupted_run_is_resumed_by_the_next() {
    let setup = setup();
    let bytes = content(300_000);
    setup.server.put("f", &[Way::CutAfter(50_000, bytes.clone()), Way::Status(404)]);
    assert!(matches!(reason(setup.get(&bytes).unwrap_err()), Reason::Missing));
    assert_eq!(setup.leftovers(), 1);
    setup.server.put("f", &[Way::Good(bytes.clone())]);
    assert_eq!(setup.get(&bytes).unwrap(), bytes);
    assert_eq!(setup.server.log().last().unwrap().1, Some(50_000));
    assert_eq!(setup.leftovers(), 0);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let setup = setup();
    let bytes = content(200_000);
    setup.server.put("f", &[Way::CutAfter(50_000, bytes.clone()), Way::NoRanges(bytes.clone())]);
    assert_eq!(setup.get(&bytes).unwrap(), bytes);
}

#[test]
fn a_damaged_partial_file_is_thrown_away() {
    let setup = setup();
    let bytes = content(100_000);
    std::fs::create_dir_all(setup.cache.partial()).unwrap();
    std::fs::write(setup.cache.partial().join(Sha256::of(&bytes).to_hex()), vec![7u8; 60_000]).unwrap();
    setup.server.put("f", &[Way::Good(bytes.clone())]);
    assert_eq!(setup.get(&bytes).unwrap(), bytes);
    let ranges: Vec<_> = setup.server.log().into_iter().map(|(_, range)| range).collect();
    assert_eq!(ranges, [Some(60_000), None]);
}

#[test]
fn a_truncated_file_is_refused() {
    let setup = setup();
    let bytes = content(10_000);
    setup.server.put("f", &[Way::Good(bytes[..9_000].to_vec())]);
    let error = reason(setup.get(&bytes).unwrap_err());
    assert!(matches!(error, Reason::Short { got: 9_000, expected: 10_000 } | Reason::Status(416)), "{error}");
    assert!(!setup.cache.package(&Sha256::of(&bytes)).exists());
}

#[test]
fn an_altered_file_is_refused_and_the_next_mirror_asked() {
    let setup = setup();
    let bytes = content(10_000);
    let mut altered = bytes.clone();
    altered[5_000] ^= 1;
    setup.server.put("bad/f", &[Way::Good(altered.clone())]);
    setup.server.put("good/f", &[Way::Good(bytes.clone())]);
    let (bad, good) = (format!("{}/bad", setup.server.url()), format!("{}/good", setup.server.url()));
    let error = fetcher().files(&[request(&[&bad], "f", &bytes)], &setup.cache).unwrap_err();
    assert!(error.to_string().contains(&Sha256::of(&altered).to_hex()), "{error}");
    assert!(error.hint().unwrap().contains("another mirror"));
    assert!(matches!(reason(error), Reason::Digest { .. }));
    assert_eq!(setup.leftovers(), 0);
    let paths = fetcher().files(&[request(&[&bad, &good], "f", &bytes)], &setup.cache).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), bytes);
}

#[test]
fn a_file_longer_than_stated_is_refused_before_it_is_written() {
    let setup = setup();
    let bytes = content(1_000);
    setup.server.put("f", &[Way::Good(content(5_000_000))]);
    assert!(matches!(reason(setup.get(&bytes).unwrap_err()), Reason::Long { limit: 1_000 }));
    assert_eq!(setup.leftovers(), 0);
}

#[test]
fn passing_failures_are_retried_and_lasting_ones_are_not() {
    let setup = setup();
    let bytes = content(1_000);
    setup.server.put("f", &[Way::Status(503), Way::Status(429), Way::Status(500), Way::Good(bytes.clone())]);
    assert_eq!(setup.get(&bytes).unwrap(), bytes);
    let other = content(2_000);
    setup.server.put("f", &[Way::Status(403)]);
    let before = setup.server.log().len();
    assert!(matches!(reason(setup.get(&other).unwrap_err()), Reason::Status(403)));
    assert_eq!(setup.server.log().len(), before + 1);
    setup.server.put("f", &[Way::Status(502)]);
    let before = setup.server.log().len();
    assert!(matches!(reason(setup.get(&other).unwrap_err()), Reason::Status(502)));
    assert_eq!(setup.server.log().len(), before + 4);
}

#[test]
fn a_mirror_that_hangs_is_left_for_another() {
    let setup = setup();
    let bytes = content(100_000);
    setup.server.put("slow/f", &[Way::StallAfter(30_000, bytes.clone())]);
    setup.server.put("good/f", &[Way::Good(bytes.clone())]);
    let (slow, good) = (format!("{}/slow", setup.server.url()), format!("{}/good", setup.server.url()));
    let start = Instant::now();
    let paths = fetcher().files(&[request(&[&slow, &good], "f", &bytes)], &setup.cache).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), bytes);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(setup.server.log().last().unwrap(), &("/good/f".to_owned(), Some(30_000)));
}

#[test]
fn a_mirror_that_only_hangs_ends_in_an_error_that_says_so() {
    let setup = setup();
    setup.server.put("f", &[Way::StallAfter(0, content(10))]);
    let error = setup.get(&content(10)).unwrap_err();
    assert!(error.to_string().contains("sent next to nothing for 0.4 s"), "{error}");
}

#[test]
fn a_mirror_that_trickles_hangs_too() {
    let setup = setup();
    let bytes = content(100_000);
    setup.server.put("f", &[Way::Trickle(1, bytes.clone())]);
    let options = Options { retries: 0, stall: Duration::from_millis(1_200), slowest: 1_000, ..options() };
    let fetcher = Fetcher::new(options, Arc::new(Silent)).unwrap();
    let start = Instant::now();
    let error = fetcher.files(&[request(&[&setup.server.url()], "f", &bytes)], &setup.cache).unwrap_err();
    assert!(matches!(reason(error), Reason::Stalled(_)));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn redirects_are_followed() {
    let setup = setup();
    let bytes = content(1_000);
    setup.server.put("f", &[Way::Redirect("/elsewhere/g".into())]);
    setup.server.put("elsewhere/g", &[Way::Good(bytes.clone())]);
    assert_eq!(setup.get(&bytes).unwrap(), bytes);
}

#[test]
fn a_cache_hit_asks_nobody_and_a_damaged_one_is_fetched_again() {
    let setup = setup();
    let bytes = content(10_000);
    setup.server.put("f", &[Way::Good(bytes.clone())]);
    setup.get(&bytes).unwrap();
    setup.get(&bytes).unwrap();
    assert_eq!(setup.server.log().len(), 1);
    let kept = setup.cache.package(&Sha256::of(&bytes));
    for damage in [&bytes[..9_999], &content(10_001)[..], &vec![0u8; 10_000]] {
        std::fs::write(&kept, damage).unwrap();
        assert_eq!(setup.get(&bytes).unwrap(), bytes);
    }
    assert_eq!(setup.server.log().len(), 4);
}

#[test]
fn offline_uses_the_cache_and_names_what_is_missing() {
    let setup = setup();
    let (kept, gone) = (content(10_000), content(20_000));
    setup.server.put("f", &[Way::Good(kept.clone())]);
    setup.get(&kept).unwrap();
    let offline = Fetcher::new(Options { offline: true, ..options() }, Arc::new(Silent)).unwrap();
    let url = setup.server.url();
    offline.files(&[request(&[&url], "f", &kept)], &setup.cache).unwrap();
    let asked = setup.server.log().len();
    let error = offline.files(&[request(&[&url], "f", &kept), request(&[&url], "g", &gone)], &setup.cache).unwrap_err();
    assert_eq!(error.to_string(), "find offline: the file g");
    assert_eq!(setup.server.log().len(), asked);
}

#[test]
fn file_urls_work_also_offline() {
    let setup = setup();
    let bytes = content(10_000);
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("a b")).unwrap();
    std::fs::write(place.path().join("a b/f%20"), &bytes).unwrap();
    let url = format!("file://{}", place.path().display());
    let offline = Fetcher::new(Options { offline: true, ..options() }, Arc::new(Silent)).unwrap();
    let paths = offline.files(&[request(&[&url], "a b/f%20", &bytes)], &setup.cache).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), bytes);
    std::fs::write(place.path().join("a b/f%20"), &bytes[..5_000]).unwrap();
    std::fs::remove_file(&paths[0]).unwrap();
    assert!(offline.files(&[request(&[&url], "a b/f%20", &bytes)], &setup.cache).is_err());
    assert!(matches!(
        reason(offline.files(&[request(&[&url], "nothing", &bytes)], &setup.cache).unwrap_err()),
        Reason::Missing
    ));
    assert!(offline.files(&[request(&["file:///dev"], "zero", &bytes)], &setup.cache).is_err());
}

#[test]
fn cancelling_ends_a_fetch_soon() {
    let setup = setup();
    setup.server.put("f", &[Way::StallAfter(10, content(1_000))]);
    let options = Options { stall: Duration::from_secs(60), ..options() };
    let cancel = options.cancel.clone();
    let fetcher = Fetcher::new(options, Arc::new(Silent)).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.cancel();
    });
    let start = Instant::now();
    let error = fetcher.files(&[request(&[&setup.server.url()], "f", &content(1_000))], &setup.cache).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let setup = setup();
    let error =
        fetcher().files(&[request(&["http://user:secret@127.0.0.1:1"], "f", &content(10))], &setup.cache).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("http://127.0.0.1:1/f") && !text.contains("secret"), "{text}");
}

#[test]
fn two_runs_at_once_do_not_harm_each_other() {
    let setup = setup();
    let bytes = content(400_000);
    setup.server.put("f", &[Way::Trickle(40_000, bytes.clone())]);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| setup.get(&bytes))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap().unwrap(), bytes);
        }
    });
    assert_eq!(setup.leftovers(), 0);
}

#[test]
fn files_of_killed_runs_are_swept() {
    let setup = setup();
    let bytes = content(1_000);
    std::fs::create_dir_all(setup.cache.partial()).unwrap();
    std::fs::write(setup.cache.partial().join(format!("{}.x1", Sha256::of(b"a"))), b"left behind").unwrap();
    setup.server.put("f", &[Way::Good(bytes.clone())]);
    setup.get(&bytes).unwrap();
    assert_eq!(setup.leftovers(), 0);
}

#[test]
fn two_sizes_for_one_digest_are_refused() {
    let setup = setup();
    let bytes = content(100);
    let mut other = request(&[&setup.server.url()], "f", &bytes);
    other.size = 99;
    let error = fetcher().files(&[request(&[&setup.server.url()], "f", &bytes), other], &setup.cache).unwrap_err();
    assert!(matches!(error, Error::TwoSizes { .. }));
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Progress for Recorder {
    fn started(&self, what: &str, size: Option<u64>) {
        self.0.lock().unwrap().push(format!("started {what} {}", size.unwrap_or(0)));
    }
    fn advanced(&self, _: &str, _: u64) {}
    fn restarted(&self, _: &str) {}
    fn retried(&self, _: &str, _: &str, reason: &str) {
        self.0.lock().unwrap().push(format!("retried {reason}"));
    }
    fn finished(&self, _: &str, from: Option<&str>) {
        self.0.lock().unwrap().push(format!("finished {}", from.is_some()));
    }
}

#[test]
fn progress_is_told() {
    let setup = setup();
    let bytes = content(100);
    setup.server.put("f", &[Way::Status(500), Way::Good(bytes.clone())]);
    let recorder = Arc::new(Recorder::default());
    let fetcher = Fetcher::new(options(), recorder.clone()).unwrap();
    let wanted = [request(&[&setup.server.url()], "f", &bytes)];
    fetcher.files(&wanted, &setup.cache).unwrap();
    fetcher.files(&wanted, &setup.cache).unwrap();
    assert_eq!(
        *recorder.0.lock().unwrap(),
        ["started the file f 100", "retried the server answered 500", "finished true", "finished false"]
    );
}
