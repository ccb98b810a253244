//! Tokens, and where credentials go and do not go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layers::Sha256;
use registry::{BlobPull, Client, DockerConfig, NoHelpers, Options, Proxies, Reason, Silent};

use crate::server::{Answer, Request, Server};
use crate::support::{client, client_as, plain, repository};

const BLOB: &[u8] = b"what is behind the door";

fn digest() -> Sha256 {
    Sha256::of(BLOB)
}

/// A registry that lets in who has the newest token of the token server, whose URL is given.
fn guarded(realm: String, newest: Arc<AtomicUsize>) -> Server {
    Server::start(move |request, _| {
        let token = format!("Bearer token-{}", newest.load(Ordering::SeqCst));
        if request.header("authorization") == Some(token.as_str()) {
            return Answer::blob(request, BLOB);
        }
        let challenge = format!(
            r#"Bearer realm="{realm}",service="the registry",scope="repository:a/b:pull",error="invalid_token""#
        );
        Answer::error(401, "UNAUTHORIZED").with("www-authenticate", &challenge)
    })
}

/// A token server; each token is another.
fn token_server(newest: Arc<AtomicUsize>, lifetime: u64) -> Server {
    Server::start(move |_, _| {
        let number = newest.fetch_add(1, Ordering::SeqCst) + 1;
        Answer::bytes(format!(r#"{{"token":"token-{number}","expires_in":{lifetime},"refresh_token":"R2"}}"#))
    })
}

fn authorization(request: &Request) -> &str {
    request.header("authorization").unwrap_or_default()
}

fn secret_of(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn a_token_is_fetched_once_and_again_when_it_is_no_longer_good() {
    let newest = Arc::new(AtomicUsize::new(0));
    let tokens = token_server(newest.clone(), 300);
    let server = guarded(format!("http://{}/token?x=1", tokens.host()), newest.clone());
    let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
    let there = repository(&client, &server.host(), "a/b");
    for _ in 0..3 {
        assert!(there.has_blob(&digest()).unwrap());
    }
    let asked = tokens.log();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?x=1&service=the+registry&scope=repository%3Aa%2Fb%3Apull&account=me");
    assert_eq!(authorization(&asked[0]), secret_of("me", "geheim"));
    // The password went to the token server alone.
    let seen: Vec<String> = server.log().iter().map(|request| authorization(request).to_owned()).collect();
    assert_eq!(seen, ["", "Bearer token-1", "Bearer token-1", "Bearer token-1"]);

    // The registry no longer takes the token: one 401, a new token, on.
    newest.fetch_add(10, Ordering::SeqCst);
    assert!(there.has_blob(&digest()).unwrap());
    assert_eq!(tokens.log().len(), 2);
    assert_eq!(server.log().len(), 6);
}

#[test]
fn a_token_that_expires_is_renewed_before_it_is_refused() {
    let newest = Arc::new(AtomicUsize::new(0));
    let tokens = token_server(newest.clone(), 2);
    let server = guarded(format!("http://{}/token", tokens.host()), newest);
    let client = client(plain(&server.host()));
    let there = repository(&client, &server.host(), "a/b");
    there.has_blob(&digest()).unwrap();
    assert_eq!(authorization(&tokens.log()[0]), "", "nobody in particular asks");
    std::thread::sleep(Duration::from_millis(2100));
    there.has_blob(&digest()).unwrap();
    assert_eq!(tokens.log().len(), 2);
    assert_eq!(server.log().len(), 3);
}

#[test]
fn an_identity_token_is_exchanged_and_replaced() {
    let newest = Arc::new(AtomicUsize::new(0));
    let tokens = token_server(newest.clone(), 2);
    let server = guarded(format!("http://{}/token", tokens.host()), newest);
    let text = format!(r#"{{"auths":{{"{}":{{"identitytoken":"R1"}}}}}}"#, server.host());
    let config = DockerConfig::parse(text.as_bytes(), "config.json", Box::new(NoHelpers)).unwrap();
    let client = Client::new(plain(&server.host()), Arc::new(config), Arc::new(Silent)).unwrap();
    let there = repository(&client, &server.host(), "a/b");
    there.has_blob(&digest()).unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    there.has_blob(&digest()).unwrap();
    let bodies: Vec<String> = tokens.log().iter().map(|one| String::from_utf8(one.body.clone()).unwrap()).collect();
    assert!(bodies[0].contains("grant_type=refresh_token") && bodies[0].ends_with("refresh_token=R1"), "{bodies:?}");
    assert!(bodies[1].ends_with("refresh_token=R2"), "{bodies:?}");
}

#[test]
fn a_registry_that_always_says_401_is_asked_twice() {
    let newest = Arc::new(AtomicUsize::new(0));
    let tokens = token_server(newest, 300);
    let realm = format!("http://{}/token", tokens.host());
    let server = Server::start(move |_, _| {
        Answer::error(401, "UNAUTHORIZED").with("www-authenticate", &format!("Bearer realm=\"{realm}\""))
    });
    let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
    let error = repository(&client, &server.host(), "a/b")
        .manifest(&registry::Selector::Tag(registry::Tag::latest()), registry::media_type::ALL_IMAGES);
    let error = error.unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Unauthorized { had: true, .. })), "{error}");
    assert!(error.to_string().contains("UNAUTHORIZED: told by the test"), "{error}");
    assert_eq!((server.log().len(), tokens.log().len()), (2, 1));
}

#[test]
fn a_token_server_that_refuses_or_breaks() {
    for (status, is_unauthorized) in [(401, true), (403, true), (500, false)] {
        let tokens = Server::start(move |_, _| Answer::error(status, "DENIED"));
        let server = guarded(format!("http://{}/token", tokens.host()), Arc::default());
        let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
        let error = repository(&client, &server.host(), "a/b").has_blob(&digest()).unwrap_err();
        assert_eq!(matches!(error.reason(), Some(Reason::Unauthorized { .. })), is_unauthorized, "{error}");
        assert!(error.to_string().contains("DENIED"), "{error}");
    }
    for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, "[]"] {
        let tokens = Server::start(move |_, _| Answer::bytes(body));
        let server = guarded(format!("http://{}/token", tokens.host()), Arc::default());
        let client = client(plain(&server.host()));
        let error = repository(&client, &server.host(), "a/b").has_blob(&digest()).unwrap_err();
        assert!(matches!(error.reason(), Some(Reason::Protocol(_))), "{body}: {error}");
    }
}

#[test]
fn a_password_is_not_told_to_a_token_server_in_plain_text_elsewhere() {
    for realm in ["http://token.example/token", "http://10.0.0.1/token", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/"] {
        let server = guarded(realm.to_owned(), Arc::default());
        let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
        let error = repository(&client, &server.host(), "a/b").has_blob(&digest()).unwrap_err();
        assert!(matches!(error.reason(), Some(Reason::Unsafe { .. } | Reason::Protocol(_))), "{realm}: {error}");
    }
    // Nor does it follow where the token server sends it.
    let thief = Server::start(|_, _| Answer::bytes(r#"{"token":"x"}"#));
    let to = format!("http://{}/", thief.host());
    let tokens = Server::start(move |_, _| Answer::new(307).with("location", &to));
    let server = guarded(format!("http://{}/token", tokens.host()), Arc::default());
    let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
    let error = repository(&client, &server.host(), "a/b").has_blob(&digest()).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Unsafe { .. })), "{error}");
    assert!(thief.log().is_empty());
}

#[test]
fn a_redirect_to_another_host_does_not_carry_credentials() {
    // The storage sends on to the registry again: who was away does not get them back, either.
    let storage = Server::start(|request, _| Answer::blob(request, BLOB));
    let to = format!("http://localhost:{}/elsewhere", storage.port);
    let server = Server::start(move |request, _| match authorization(request) {
        "" => Answer::error(401, "UNAUTHORIZED").with("www-authenticate", "Basic realm=\"x\""),
        _ => Answer::new(307).with("location", &to),
    });
    let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
    let there = repository(&client, &server.host(), "a/b");
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("blob");
    there.pull_blobs(vec![BlobPull { digest: digest(), size: BLOB.len() as u64, target: target.clone() }]).unwrap();
    assert_eq!(std::fs::read(target).unwrap(), BLOB);
    let seen = storage.log();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].headers.iter().all(|(name, value)| name != "authorization" && !value.contains("geheim")));
    // The negative control: the registry itself did see them.
    assert_eq!(authorization(&server.log()[1]), secret_of("me", "geheim"));
}

#[test]
fn a_storage_that_sends_back_does_not_get_the_credentials_used() {
    let home = Arc::new(AtomicUsize::new(0));
    let port = home.clone();
    let storage = Server::start(move |_, _| {
        Answer::new(307).with("location", &format!("http://127.0.0.1:{}/v2/delete-all", port.load(Ordering::SeqCst)))
    });
    let to = format!("http://{}/", storage.host());
    let server = Server::start(move |request, _| match (request.path.as_str(), authorization(request)) {
        ("/v2/delete-all", _) => Answer::blob(request, BLOB),
        (_, "") => Answer::error(401, "UNAUTHORIZED").with("www-authenticate", "Basic"),
        _ => Answer::new(307).with("location", &to),
    });
    home.store(usize::from(server.port), Ordering::SeqCst);
    let client = client_as(plain(&server.host()), "me", "geheim", &server.host());
    repository(&client, &server.host(), "a/b").has_blob(&digest()).unwrap();
    let last = server.log().pop().unwrap();
    assert_eq!((last.path.as_str(), authorization(&last)), ("/v2/delete-all", ""));
}

#[test]
fn redirects_do_not_leave_this_machine_in_plain_text_or_go_on_for_ever() {
    for to in ["http://storage.example/x", "file:///etc/passwd", "ftp://127.0.0.1/x"] {
        let server = Server::start(move |_, _| Answer::new(302).with("location", to));
        let client = client(plain(&server.host()));
        let error = repository(&client, &server.host(), "a").has_blob(&digest()).unwrap_err();
        assert!(matches!(error.reason(), Some(Reason::Unsafe { .. })), "{to}: {error}");
        assert_eq!(server.log().len(), 1);
    }
    let server = Server::start(|request, _| Answer::new(302).with("location", &format!("{}x", request.path)));
    let error = repository(&client(plain(&server.host())), &server.host(), "a").has_blob(&digest()).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Protocol(_))), "{error}");
    assert!(server.log().len() < 10);
}

#[test]
fn registries_elsewhere_are_never_spoken_to_in_plain_text_unasked() {
    // A proxy sees what is said in plain text, and only where the rest is to go.
    let proxy = Server::start(|_, _| Answer::error(403, "DENIED"));
    let url = Some(format!("http://{}", proxy.host()));
    let proxies = Proxies { http: url.clone(), https: url, except: None };
    let options = Options { proxies, retries: 0, ..plain("insecure.example:5000") };
    let there = client(options);
    repository(&there, "registry.example", "a").has_blob(&digest()).unwrap_err();
    assert_eq!(proxy.log().len(), 1);
    assert_eq!((proxy.log()[0].method.as_str(), proxy.log()[0].path.as_str()), ("CONNECT", "registry.example:443"));
    // The negative control: one that is configured as insecure.
    repository(&there, "insecure.example:5000", "a").has_blob(&digest()).unwrap_err();
    assert!(proxy.log()[1].path.starts_with("http://insecure.example:5000/v2/a/blobs/"), "{:?}", proxy.log()[1]);
}
