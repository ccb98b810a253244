//! Registries that misbehave while something is pushed to them.

use std::sync::{Arc, Mutex};

use layers::Sha256;
use registry::{BlobPush, Content, Options, Pushed, Reason};

use crate::server::{Answer, Request, Server};
use crate::support::{client, client_as, noise, plain, repository};

/// The registry's side of an upload that works.
#[derive(Default)]
struct Uploads {
    bytes: Mutex<Vec<u8>>,
    done: Mutex<bool>,
}

impl Uploads {
    fn answer(&self, request: &Request) -> Answer {
        let mut bytes = self.bytes.lock().unwrap();
        let range = |length: usize| format!("0-{}", length.saturating_sub(1));
        match request.method.as_str() {
            "HEAD" if *self.done.lock().unwrap() => Answer::new(200).with("content-length", &bytes.len().to_string()),
            "HEAD" => Answer::new(404),
            "POST" => {
                bytes.clear();
                Answer::new(202).with("location", "/v2/a/blobs/uploads/1?state=x%26y").with("range", "0-0")
            }
            "GET" => {
                Answer::new(204).with("location", "/v2/a/blobs/uploads/1?state=g").with("range", &range(bytes.len()))
            }
            "PATCH" => {
                let start =
                    request.header("content-range").and_then(|text| text.split('-').next()?.parse::<usize>().ok());
                if start.is_some_and(|start| start != bytes.len()) {
                    return Answer::error(416, "BLOB_UPLOAD_INVALID");
                }
                bytes.extend_from_slice(&request.body);
                Answer::new(202).with("location", "/v2/a/blobs/uploads/1?state=p").with("range", &range(bytes.len()))
            }
            "PUT" => {
                bytes.extend_from_slice(&request.body);
                let digest = format!("sha256:{}", Sha256::of(&bytes));
                if !request.path.ends_with(&format!("&digest={}", digest.replace(':', "%3A"))) {
                    return Answer::error(400, "DIGEST_INVALID");
                }
                *self.done.lock().unwrap() = true;
                Answer::new(201).with("docker-content-digest", &digest)
            }
            _ => Answer::new(405),
        }
    }
}

fn blob() -> Vec<u8> {
    noise(4, 500_000)
}

fn push_with(options: Options, server: &Server) -> Result<Pushed, registry::Error> {
    let there = repository(&client(options), &server.host(), "a");
    there.push_blobs(vec![BlobPush::of(blob())]).map(|pushed| pushed[0])
}

/// Pushes in chunks to uploads that a handler may spoil; what was asked, and what came of it.
fn push(
    chunk: u64,
    spoil: impl Fn(&Request, usize, &Uploads) -> Option<Answer> + Send + Sync + 'static,
) -> (Vec<(String, usize)>, Result<Pushed, registry::Error>) {
    let uploads = Arc::new(Uploads::default());
    let inside = uploads.clone();
    let server = Server::start(move |request, _| {
        // Counted over all places, which change from request to request.
        let before = COUNT.with_count(&inside, &request.method);
        spoil(request, before, &inside).unwrap_or_else(|| inside.answer(request))
    });
    let result = push_with(Options { chunk, ..plain(&server.host()) }, &server);
    if result.is_ok() {
        assert!(*uploads.bytes.lock().unwrap() == blob());
    }
    let log = server.log().iter().map(|request| (request.method.clone(), request.body.len())).collect();
    (log, result)
}

/// Counts requests of a method at each of the servers of this file.
struct Count(Mutex<Vec<(usize, String)>>);

static COUNT: Count = Count(Mutex::new(Vec::new()));

impl Count {
    fn with_count(&self, uploads: &Arc<Uploads>, method: &str) -> usize {
        let mut seen = self.0.lock().unwrap();
        let this = (Arc::as_ptr(uploads) as usize, method.to_owned());
        let before = seen.iter().filter(|one| **one == this).count();
        seen.push(this);
        before
    }
}

fn sizes(log: &[(String, usize)], method: &str) -> Vec<usize> {
    log.iter().filter(|(one, _)| one == method).map(|(_, size)| *size).collect()
}

#[test]
fn small_blobs_go_in_one_and_large_ones_in_chunks() {
    let (log, result) = push(500_000, |_, _, _| None);
    assert_eq!(result.unwrap(), Pushed::Sent);
    let methods: Vec<&str> = log.iter().map(|(method, _)| method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "POST", "PUT"]);
    let (log, result) = push(200_000, |_, _, _| None);
    result.unwrap();
    assert_eq!(sizes(&log, "PATCH"), [200_000, 200_000, 100_000]);
    assert_eq!(sizes(&log, "PUT"), [0]);
    // A registry may want larger chunks.
    let (log, result) = push(1000, |request, _, uploads| {
        (request.method == "POST").then(|| uploads.answer(request).with("oci-chunk-min-length", "300000"))
    });
    result.unwrap();
    assert_eq!(sizes(&log, "PATCH"), [300_000, 200_000]);
}

#[test]
fn an_upload_goes_on_where_the_registry_has_got_to() {
    // Half of the second chunk arrives, and the answer says that something is broken.
    let (log, result) = push(200_000, |request, before, uploads| {
        (request.method == "PATCH" && before == 1).then(|| {
            uploads.bytes.lock().unwrap().extend_from_slice(&request.body[..100_000]);
            Answer::new(500)
        })
    });
    result.unwrap();
    assert_eq!(sizes(&log, "PATCH"), [200_000, 200_000, 200_000]);
    assert_eq!((sizes(&log, "POST").len(), sizes(&log, "GET").len()), (1, 1));
    // The registry says itself that it kept less.
    let (log, result) = push(200_000, |request, before, uploads| {
        (request.method == "PATCH" && before == 0).then(|| {
            uploads.bytes.lock().unwrap().extend_from_slice(&request.body[..150_000]);
            Answer::new(202).with("location", "/v2/a/blobs/uploads/1?x=1").with("range", "0-149999")
        })
    });
    result.unwrap();
    assert_eq!(sizes(&log, "PATCH"), [200_000, 200_000, 150_000]);
    // It has forgotten the upload: a new one.
    let (log, result) = push(200_000, |request, before, _| match request.method.as_str() {
        "PATCH" if before == 1 => Some(Answer::error(404, "BLOB_UPLOAD_UNKNOWN")),
        _ => None,
    });
    result.unwrap();
    assert_eq!(sizes(&log, "POST").len(), 2);
    // The answer to the end is lost, and it did arrive.
    let (log, result) = push(200_000, |request, _, uploads| {
        (request.method == "PUT").then(|| {
            uploads.answer(request);
            Answer::bytes("never seen").cut(0).status(500)
        })
    });
    result.unwrap();
    assert_eq!(sizes(&log, "PUT").len(), 1);
}

#[test]
fn registries_without_chunks_or_with_small_ones() {
    let (log, result) =
        push(200_000, |request, _, _| (request.method == "PATCH").then(|| Answer::error(405, "UNSUPPORTED")));
    result.unwrap();
    assert_eq!(sizes(&log, "PUT"), [500_000]);
    let (log, result) = push(400_000, |request, _, _| (request.body.len() > 150_000).then(|| Answer::new(413)));
    result.unwrap();
    assert_eq!(sizes(&log, "PATCH"), [400_000, 200_000, 100_000, 100_000, 100_000, 100_000, 100_000]);
}

#[test]
fn an_upload_that_never_works_ends() {
    for status in [500, 429, 416] {
        let (log, result) =
            push(200_000, move |request, _, _| (request.method == "PATCH").then(|| Answer::new(status)));
        result.unwrap_err();
        assert!(sizes(&log, "PATCH").len() <= 5, "{status}: {log:?}");
    }
    let (log, result) = push(500_000, |request, _, _| (request.method == "PUT").then(|| Answer::error(403, "DENIED")));
    let error = result.unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Denied(_))), "{error}");
    assert_eq!(sizes(&log, "PUT").len(), 1);
    // One that takes neither chunks nor the whole.
    let (log, result) = push(200_000, |request, _, _| match request.method.as_str() {
        "PATCH" => Some(Answer::new(405)),
        "PUT" => Some(Answer::new(413)),
        _ => None,
    });
    result.unwrap_err();
    assert!(log.len() < 100, "{}", log.len());
    // A registry that keeps nothing of any chunk.
    let (log, result) = push(200_000, |request, _, _| {
        (request.method == "PATCH")
            .then(|| Answer::new(202).with("location", "/v2/a/blobs/uploads/1").with("range", "0-0"))
    });
    result.unwrap_err();
    assert!(sizes(&log, "PATCH").len() <= 5, "{log:?}");
}

#[test]
fn an_upload_elsewhere_does_not_carry_credentials() {
    let storage = Server::start(|_, _| Answer::new(201));
    let to = format!("http://localhost:{}/bucket?signature=s", storage.port);
    let server = Server::start(move |request, _| match (request.method.as_str(), request.header("authorization")) {
        (_, None) => Answer::error(401, "UNAUTHORIZED").with("www-authenticate", "Basic"),
        ("POST", _) => Answer::new(202).with("location", &to),
        _ => Answer::new(404),
    });
    let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
    repository(&client, &server.host(), "a").push_blobs(vec![BlobPush::of(&b"small"[..])]).unwrap();
    let seen = storage.log();
    assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].body.as_slice()), (1, "PUT", &b"small"[..]));
    assert!(seen[0].path.starts_with("/bucket?signature=s&digest=sha256"));
    assert!(seen[0].header("authorization").is_none());
    assert!(server.log().last().unwrap().header("authorization").is_some());
    // In plain text, what is written does not leave this machine.
    let server = Server::start(|request, _| match request.method.as_str() {
        "POST" => Answer::new(202).with("location", "http://storage.example/bucket"),
        _ => Answer::new(404),
    });
    let error = push_with(plain(&server.host()), &server).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Unsafe { .. })), "{error}");
}

#[test]
fn a_mount_that_is_not_allowed_becomes_an_upload() {
    let uploads = Uploads::default();
    let server = Server::start(move |request, _| {
        if request.path.contains("mount=") { Answer::error(403, "DENIED") } else { uploads.answer(request) }
    });
    let there = repository(&client(plain(&server.host())), &server.host(), "a");
    let push = BlobPush { mount_from: vec!["other/b".parse().unwrap()], ..BlobPush::of(blob()) };
    assert_eq!(there.push_blobs(vec![push]).unwrap(), [Pushed::Sent]);
    let mounts: Vec<Request> = server.log().into_iter().filter(|request| request.path.contains("mount=")).collect();
    assert_eq!(mounts.len(), 1);
    assert!(mounts[0].path.ends_with("&from=other%2Fb"), "{}", mounts[0].path);
}

#[test]
fn a_blob_of_another_size_is_not_taken_for_ours() {
    let server = Server::start(|_, _| Answer::new(200).with("content-length", "5"));
    let error = push_with(plain(&server.host()), &server).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Size { got: 5, .. })), "{error}");
}

#[test]
fn a_file_that_is_not_what_was_said_is_not_sent() {
    let server = Server::start(|request, _| Uploads::default().answer(request));
    let there = repository(&client(plain(&server.host())), &server.host(), "a");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blob");
    let push = BlobPush { content: Content::File(path.clone()), ..BlobPush::of(blob()) };
    let error = there.push_blobs(vec![push.clone()]).unwrap_err();
    assert!(matches!(error, registry::Error::File(_)), "{error}");
    std::fs::write(&path, b"short").unwrap();
    let error = there.push_blobs(vec![push]).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Size { got: 5, .. })), "{error}");
    assert!(server.log().iter().all(|request| request.method == "HEAD"));
}
