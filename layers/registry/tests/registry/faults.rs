//! Registries that misbehave while something is pulled from them.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use layers::Sha256;
use registry::{BlobPull, Descriptor, Error, Options, Reason, Selector, Tag, media_type};

use crate::server::{Answer, Request, Server};
use crate::support::{client, noise, plain, quick, repository};

fn blob() -> Vec<u8> {
    noise(3, 300_000)
}

/// Pulls the blob from a server into a directory.
fn pull_with(options: Options, server: &Server, directory: &Path) -> Result<(), Error> {
    let blob = blob();
    let there = repository(&client(options), &server.host(), "a");
    let target = directory.join("blob");
    let digest = Sha256::of(&blob);
    there.pull_blobs(vec![BlobPull { digest, size: blob.len() as u64, target: target.clone() }])?;
    assert!(std::fs::read(&target).unwrap() == blob);
    assert_eq!(files(directory), ["blob"]);
    Ok(())
}

fn pull(server: &Server, directory: &Path) -> Result<(), Error> {
    pull_with(plain(&server.host()), server, directory)
}

fn files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// What a pull fails of, and what is left.
fn failure(handler: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> (Failure, Vec<String>, usize) {
    let server = Server::start(handler);
    let directory = tempfile::tempdir().unwrap();
    let error = pull(&server, directory.path()).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    (Failure(error), files(directory.path()), server.log().len())
}

struct Failure(Error);

impl Failure {
    fn is(&self, test: impl Fn(&Reason) -> bool) -> bool {
        self.0.reason().is_some_and(test)
    }
}

#[test]
fn a_dropped_connection_is_gone_on_with_where_it_broke() {
    let server = Server::start(|request, before| match before {
        0 => Answer::blob(request, &blob()).cut(100_000),
        1 => Answer::blob(request, &blob()).cut(50_000),
        _ => Answer::blob(request, &blob()),
    });
    let directory = tempfile::tempdir().unwrap();
    pull(&server, directory.path()).unwrap();
    let ranges: Vec<Option<usize>> = server.log().iter().map(Request::range).collect();
    assert_eq!(ranges, [None, Some(100_000), Some(150_000)]);
}

#[test]
fn a_later_run_goes_on_with_what_an_earlier_one_left() {
    let broken = Server::start(|request, before| match before {
        0 => Answer::blob(request, &blob()).cut(120_000),
        _ => Answer::new(503),
    });
    let directory = tempfile::tempdir().unwrap();
    let error = pull(&broken, directory.path()).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Status { status: 503, .. })), "{error}");
    assert_eq!(files(directory.path()), ["blob.part"]);
    let good = Server::start(|request, _| Answer::blob(request, &blob()));
    pull(&good, directory.path()).unwrap();
    assert_eq!(good.log()[0].range(), Some(120_000));

    // What is left may be of no use: wrong bytes, too many, or all of them.
    for left in [vec![0; 1000], vec![0; 400_000], blob(), vec![0; 300_000]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("blob.part"), left).unwrap();
        pull(&good, directory.path()).unwrap();
    }
    // A server without ranges sends everything again.
    let plain = Server::start(|_, _| Answer::bytes(blob()));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("blob.part"), &blob()[..1000]).unwrap();
    pull(&plain, directory.path()).unwrap();
}

#[test]
fn busy_and_broken_servers_are_asked_again_within_bounds() {
    let server = Server::start(|request, before| match before {
        0 => Answer::error(500, "UNKNOWN"),
        1 => Answer::error(429, "TOOMANYREQUESTS").with("retry-after", "1"),
        2 => Answer::new(502),
        _ => Answer::blob(request, &blob()),
    });
    let directory = tempfile::tempdir().unwrap();
    let started = Instant::now();
    pull(&server, directory.path()).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "it was asked to wait");

    let (reason, left, asked) = failure(|_, _| Answer::error(500, "UNKNOWN"));
    assert!(reason.is(|reason| matches!(reason, Reason::Status { status: 500, .. })), "{}", reason.0);
    assert_eq!((left.len(), asked), (0, 4));
    // Nobody waits for an hour, nor asks again before.
    let started = Instant::now();
    let (reason, _, asked) = failure(|_, _| Answer::error(429, "TOOMANYREQUESTS").with("retry-after", "3600"));
    assert!(reason.0.to_string().contains("asks to wait 3600 s (TOOMANYREQUESTS"), "{}", reason.0);
    assert!(asked == 1 && started.elapsed() < Duration::from_secs(60));
    // What does not pass is not asked for again.
    for (status, code) in [(403, "DENIED"), (404, "BLOB_UNKNOWN"), (400, "NAME_INVALID"), (501, "UNSUPPORTED")] {
        let (reason, _, asked) = failure_without_hint(status, code);
        assert!(reason.to_string().contains(code), "{reason}");
        assert_eq!(asked, 1);
    }
}

fn failure_without_hint(status: u16, code: &'static str) -> (Error, Vec<String>, usize) {
    let server = Server::start(move |_, _| Answer::error(status, code));
    let directory = tempfile::tempdir().unwrap();
    let error = pull(&server, directory.path()).unwrap_err();
    (error, files(directory.path()), server.log().len())
}

#[test]
fn other_bytes_than_asked_for_are_never_there() {
    let (reason, left, asked) = failure(|_, _| {
        let mut other = blob();
        other[5000] ^= 1;
        Answer::bytes(other)
    });
    assert!(reason.is(|reason| matches!(reason, Reason::Digest { .. })), "{}", reason.0);
    assert_eq!((left.len(), asked), (0, 1));
    let (reason, left, _) = failure(|_, _| Answer::bytes(&blob()[..200_000]));
    assert!(reason.is(|reason| matches!(reason, Reason::Size { got: 200_000, .. })), "{}", reason.0);
    assert_eq!(left.len(), 0);
    let (reason, left, _) = failure(|_, _| Answer::bytes([blob(), blob()].concat()));
    assert!(reason.is(|reason| matches!(reason, Reason::Size { .. })), "{}", reason.0);
    assert_eq!(left.len(), 0);
    // Truncated, again and again: what came is kept, what is missing is told.
    let (reason, left, asked) = failure(|_, _| Answer::bytes(blob()).cut(1000));
    assert!(reason.is(|reason| matches!(reason, Reason::Connection(_))), "{}", reason.0);
    assert_eq!((left, asked), (vec!["blob.part".to_owned()], 4));
    let (reason, left, _) = failure(|_, _| Answer::bytes(noise(8, 65_536)).endless());
    assert!(reason.is(|reason| matches!(reason, Reason::Long { limit: 300_000 })), "{}", reason.0);
    assert_eq!(left.len(), 0);
    let (reason, _, _) = failure(|request, _| {
        Answer::bytes(blob()).with("content-range", &format!("bytes 7-{}/{}", request.body.len(), 9)).status(206)
    });
    assert!(reason.is(|reason| matches!(reason, Reason::Connection(_))), "{}", reason.0);
}

#[test]
fn silence_and_cancellation_end_it() {
    let server = Server::start(|_, _| Answer::bytes(blob()).stall(1000));
    let directory = tempfile::tempdir().unwrap();
    let options = Options { stall: Duration::from_millis(200), retries: 1, ..plain(&server.host()) };
    let error = pull_with(options, &server, directory.path()).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Stalled(_))), "{error}");

    // A byte now and then is not much better.
    let slow = Server::start(|_, _| Answer::bytes(blob()).trickle());
    let options = Options { stall: Duration::from_secs(1), retries: 0, ..plain(&slow.host()) };
    let error = pull_with(options, &slow, directory.path()).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Stalled(_))), "{error}");

    let options = plain(&server.host());
    let cancel = options.cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.cancel();
    });
    let started = Instant::now();
    let error = pull_with(options, &server, directory.path()).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "it did not wait for the registry");
}

#[test]
fn manifests_that_are_not_what_was_asked_for() {
    let image = format!(r#"{{"schemaVersion":2,"mediaType":"{}","layers":[]}}"#, media_type::IMAGE_MANIFEST);
    let ask = |answer: Answer, selector: &Selector| {
        let server = Server::start(move |_, _| answer.clone());
        let options = Options { retries: 0, ..plain(&server.host()) };
        repository(&client(options), &server.host(), "a").manifest(selector, media_type::ALL_IMAGES)
    };
    let latest = Selector::Tag(Tag::latest());
    let good = || Answer::bytes(image.clone()).with("content-type", media_type::IMAGE_MANIFEST);
    assert!(ask(good(), &latest).unwrap().is_some());
    assert!(ask(good(), &Selector::Digest(Sha256::of(image.as_bytes()))).unwrap().is_some());
    type Test = fn(&Reason) -> bool;
    let digest: Test = |reason| matches!(reason, Reason::Digest { .. });
    let media: Test = |reason| matches!(reason, Reason::MediaType { .. });
    let protocol: Test = |reason| matches!(reason, Reason::Protocol(_));
    let long: Test = |reason| matches!(reason, Reason::Long { .. });
    let typed = |body: &str, kind: &str| Answer::bytes(body).with("content-type", kind);
    let index = media_type::IMAGE_INDEX;
    let v1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let empty = format!("sha256:{}", Sha256::of(b""));
    let cases: [(&str, Answer, Selector, Test); 9] = [
        ("another digest", good(), Selector::Digest(Sha256::of(b"x")), digest),
        ("a header that says so", good().with("docker-content-digest", &empty), latest.clone(), digest),
        ("type by the header", typed(&image, index), latest.clone(), media),
        ("schema 1", typed(r#"{"schemaVersion":1}"#, v1), latest.clone(), media),
        ("a web page", typed("<html>", "text/html"), latest.clone(), protocol),
        ("an array", typed("[2]", media_type::IMAGE_MANIFEST), latest.clone(), protocol),
        ("both at once", typed(r#"{"layers":[],"manifests":[]}"#, index), latest.clone(), protocol),
        ("too long", typed(&" ".repeat(5 << 20), index), latest.clone(), long),
        ("endless", typed(&" ".repeat(1 << 20), index).endless(), latest.clone(), long),
    ];
    for (name, answer, selector, test) in cases {
        let error = ask(answer, &selector).unwrap_err();
        assert!(error.reason().is_some_and(test), "{name}: {error}");
    }
    // A small blob in memory is bound, too.
    let server = Server::start(|_, _| Answer::bytes("x".repeat(65_536)).endless());
    let there = repository(&client(plain(&server.host())), &server.host(), "a");
    let error = there.read_blob(&Descriptor::new("x", Sha256::of(b"x"), 1000), 2000).unwrap_err();
    assert!(error.reason().is_some_and(long), "{error}");
    let error = there.read_blob(&Descriptor::new("x", Sha256::of(b"x"), 3000), 2000).unwrap_err();
    assert!(error.reason().is_some_and(long), "{error}");
}

#[test]
fn pages_of_tags_are_turned_to_the_end_and_nowhere_else() {
    let paged = |link: fn(&str) -> Option<String>| {
        Server::start(move |request, _| {
            let number = request.path.rsplit("last=").next().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
            let answer = Answer::bytes(format!(r#"{{"name":"a","tags":["t{number}","no tag!"]}}"#));
            match link(&(number + 1).to_string()) {
                Some(target) => answer.with("link", &format!("<{target}>; rel=\"next\"")),
                None => answer,
            }
        })
    };
    let tags = |server: &Server| repository(&client(plain(&server.host())), &server.host(), "a").tags();
    let server = paged(|next| (next != "5").then(|| format!("/v2/a/tags/list?n=1&last={next}")));
    let found: Vec<String> = tags(&server).unwrap().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["t0", "t1", "t2", "t3", "t4"]);
    let server = paged(|_| Some("http://elsewhere.example/v2/a/tags/list".into()));
    assert!(matches!(tags(&server).unwrap_err().reason(), Some(Reason::Unsafe { .. })));
    let server = paged(|_| Some("/v2/a/tags/list?last=1".into()));
    assert!(matches!(tags(&server).unwrap_err().reason(), Some(Reason::Protocol(_))));
    let server = Server::start(|_, _| Answer::bytes(r#"{"name":"a","tags":null}"#));
    assert_eq!(tags(&server).unwrap(), Some(Vec::new()));
}

#[test]
fn referrers_of_a_registry_that_keeps_track() {
    let subject = Sha256::of(b"subject");
    let entry = |kind: &str| {
        format!(
            r#"{{"mediaType":"{}","digest":"sha256:{}","size":1,"artifactType":"{kind}"}}"#,
            media_type::IMAGE_MANIFEST,
            Sha256::of(kind.as_bytes())
        )
    };
    let server = Server::start(move |request, _| {
        if !request.path.contains("/referrers/") {
            return Answer::new(500);
        }
        let second = request.path.contains("page=2");
        let kinds = if second { entry("c") } else { format!("{},{}", entry("a"), entry("b")) };
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{kinds}]}}"#, media_type::IMAGE_INDEX);
        let answer = Answer::bytes(index).with("content-type", media_type::IMAGE_INDEX);
        if second {
            answer
        } else {
            answer.with("link", &format!("<{}?page=2>; rel=next", request.path.split('?').next().unwrap()))
        }
    });
    let there = repository(&client(plain(&server.host())), &server.host(), "a");
    let kinds = |wanted| -> Vec<String> {
        there.referrers(&subject, wanted).unwrap().into_iter().filter_map(|one| one.artifact_type).collect()
    };
    assert_eq!(kinds(None), ["a", "b", "c"]);
    assert_eq!(kinds(Some("b")), ["b"]);
    assert!(server.log().iter().any(|request| request.path.ends_with("?artifactType=b")));
}

#[test]
fn a_registry_on_this_machine_need_not_be_named_insecure() {
    // It does not understand the greeting of TLS, and says so.
    let server = Server::start(|_, _| Answer::bytes("{}"));
    let error = client(quick()).ping(&"127.0.0.1:1".parse().unwrap()).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Connection(_))), "{error}");
    client(plain(&server.host())).ping(&server.host().parse().unwrap()).unwrap();
    let web = Server::start(|_, _| Answer::new(404));
    let error = client(plain(&web.host())).ping(&web.host().parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("not a registry"), "{error}");
}

#[test]
fn no_more_transfers_at_a_time_than_allowed() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(|request, _| {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(30));
        NOW.fetch_sub(1, Ordering::SeqCst);
        let number = request.path.rsplit(':').next().unwrap();
        let body = (0..20u8).map(|byte| vec![byte; 1000]).find(|body| Sha256::of(body).to_hex() == number);
        body.map_or(Answer::new(404), Answer::bytes)
    });
    let directory = tempfile::tempdir().unwrap();
    let options = Options { parallel: NonZeroUsize::new(3).unwrap(), ..plain(&server.host()) };
    let pulls = (0..20u8).map(|byte| BlobPull {
        digest: Sha256::of(&vec![byte; 1000]),
        size: 1000,
        target: directory.path().join(byte.to_string()),
    });
    repository(&client(options), &server.host(), "a").pull_blobs(pulls.collect()).unwrap();
    assert_eq!(files(directory.path()).len(), 20);
    assert!((2..=3).contains(&MOST.load(Ordering::SeqCst)), "{MOST:?}");
}
