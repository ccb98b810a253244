//! A registry that misbehaves: the build runs the step here, says why, and makes the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::misbehaving::{Answer, Request, Server};

type Fault = Arc<dyn Fn(&Request, Answer) -> Answer + Send + Sync>;

/// A registry that is a real one until it is told what to do wrong.
struct Proxy {
    server: Server,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Proxy {
    fn before(port: u16) -> Self {
        let fault: Arc<Mutex<Option<Fault>>> = Arc::default();
        let shared = fault.clone();
        let server = Server::start(move |request, _| {
            let fault = shared.lock().unwrap().clone();
            let answer = request.pass_on(port);
            fault.map_or(answer.clone(), |fault| fault(request, answer))
        });
        Self { server, fault }
    }

    fn set(&self, fault: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) {
        *self.fault.lock().unwrap() = Some(Arc::new(fault));
    }

    fn url(&self) -> String {
        format!("oci://{}/cache", self.server.host())
    }
}

fn is_blob(request: &Request) -> bool {
    request.method == "GET" && request.path.contains("/blobs/")
}

fn is_manifest(request: &Request) -> bool {
    request.method == "GET" && request.path.contains("/manifests/k-")
}

/// A machine of which the last step is made again and again.
struct Bench {
    case: Case,
    proxy: Proxy,
    lineage: String,
}

impl Bench {
    /// Builds after the last step was forgotten; gives what was said, and whether the step ran.
    #[track_caller]
    fn round(&self) -> (Ended, bool) {
        self.case.forget_last();
        let ended = self.case.compose();
        let ran = ended.text.contains(&format!("{LAST}: rebuilt"));
        assert!(ran != ended.text.contains(&format!("{LAST}: fetched")), "{}", ended.text);
        assert_eq!(self.case.lineage(), self.lineage);
        self.case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
        self.case.nothing_is_left();
        (ended, ran)
    }

    /// With this fault the step runs here, and all of these are said.
    #[track_caller]
    fn refuses(&self, words: &[&str], fault: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Ended {
        self.proxy.set(fault);
        let (ended, ran) = self.round();
        assert!(ran, "{}", ended.text);
        let said = format!("warning: the layer cache {}/cache gives nothing: ", self.proxy.server.host());
        ended.with(0, words).with(0, &[&said]);
        ended
    }

    /// With this fault the step is fetched all the same.
    #[track_caller]
    fn fetches(&self, fault: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Ended {
        self.proxy.set(fault);
        let (ended, ran) = self.round();
        assert!(!ran && !ended.text.contains("gives nothing"), "{}", ended.text);
        ended
    }
}

#[test]
fn whatever_a_registry_does_wrong_the_layers_are_the_same() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let port = registry.port();
    let proxy = Proxy::before(port);
    let Some(case) = machine(User::WithoutRange, "remote-faults", "{url: \"oci://unset.example/x\"}") else { return };
    let (private, public) = key_pair(&case, "cache.key");
    let remote = |more: &str| configure(&case, &format!("{{url: \"{}\", insecure: true{more}}}", proxy.url()));
    remote(&format!(", push: true, signing_key: {private}"));
    case.compose();
    let lineage = case.lineage();
    remote("");
    let bench = Bench { lineage, proxy, case };
    let (own, others) = (bench.case.layer_of(LAST).1, bench.case.layer_of("configure other packages").1);
    let others = format!("/v2/cache/manifests/k-{}", others[0]);

    // Nothing is wrong, or not for long.
    bench.fetches(|_, answer| answer);
    let once = |fault: fn(Answer) -> Answer, is_meant: fn(&Request) -> bool| {
        let left = AtomicUsize::new(1);
        move |request: &Request, answer: Answer| {
            let now = is_meant(request)
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            if now { fault(answer) } else { answer }
        }
    };
    let half = |answer: Answer| {
        let length = answer.length();
        answer.cut(length / 2)
    };
    bench.fetches(once(half, is_blob)).with(0, &["trying again"]);
    let busy = |_: Answer| Answer::error(429, "TOOMANYREQUESTS").with("retry-after", "1");
    let ended = bench.fetches(once(busy, is_manifest));
    assert!(ended.took >= Duration::from_secs(1) && ended.text.contains("asks to wait 1 s"), "{}", ended.text);

    // What does not pass.
    let on = |is_meant: fn(&Request) -> bool, fault: fn(Answer) -> Answer| {
        move |request: &Request, answer: Answer| if is_meant(request) { fault(answer) } else { answer }
    };
    bench.refuses(&["pull sha256:"], on(is_blob, half));
    let busy = |_: Answer| Answer::error(429, "TOOMANYREQUESTS").with("retry-after", "3600");
    let ended =
        bench.refuses(&["had too many requests, and asks to wait 3600 s", "not asked again"], on(is_manifest, busy));
    assert!(ended.took < Duration::from_secs(30), "{:?}", ended.took);
    bench.refuses(&["answered 500", "not asked again"], on(is_manifest, |_| Answer::error(500, "UNKNOWN")));
    bench.refuses(&["wants credentials"], on(|_| true, |_| Answer::error(401, "UNAUTHORIZED")));
    let other = |answer: Answer| {
        answer.edit(|bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        })
    };
    bench.refuses(&["its digest is sha256:"], on(is_blob, other));
    bench.refuses(&["bytes"], on(is_blob, |answer| answer.edit(|bytes| bytes.truncate(bytes.len() / 2))));
    bench.refuses(
        &["it is of type"],
        on(is_manifest, |_| {
            let index = "application/vnd.oci.image.index.v1+json";
            let body = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[]}}"#);
            Answer::bytes(body).with("content-type", index)
        }),
    );
    bench.refuses(
        &["is not an answer of a layer cache"],
        on(is_manifest, |answer| {
            answer.edit(|bytes| {
                let text = String::from_utf8_lossy(bytes).replace("vnd.image-composer.layer.v1", "x-other");
                *bytes = text.into_bytes();
            })
        }),
    );

    // The layer of another key, as it is; in this key's name; and so where somebody has to have signed.
    let as_it_is = {
        let path = others.clone();
        move |request: &Request, answer: Answer| match is_manifest(request) {
            true => Request { path: path.clone(), ..request.clone() }.pass_on(port),
            false => answer,
        }
    };
    bench.refuses(&["is one to the key", "not to "], as_it_is);
    let in_its_name = || {
        let (path, own) = (others.clone(), own[0].clone());
        let other = path.rsplit("k-").next().unwrap().to_owned();
        move |request: &Request, answer: Answer| {
            if !is_manifest(request) {
                return answer;
            }
            Request { path: path.clone(), ..request.clone() }.pass_on(port).edit(|bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace(&other, &own).into_bytes();
            })
        }
    };
    bench.refuses(&["the answer has no note of the step"], in_its_name());
    configure(&bench.case, &format!("{{url: \"{}\", insecure: true, keys: [\"{public}\"]}}", bench.proxy.url()));
    bench.refuses(&["the signature of ", "is wrong"], in_its_name());
    bench.fetches(|_, answer| answer);
}
