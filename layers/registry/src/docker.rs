//! Credentials as the ecosystem keeps them: docker's `config.json`, which podman's, skopeo's and
//! buildah's `auth.json` (containers-auth.json(5)) extends by repositories.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::credentials::{Credential, CredentialError, Credentials};
use crate::reference::{Host, Name};

/// Bytes of a configuration or a helper's answer; real ones have a few hundred.
const FILE_MAX: u64 = 1 << 20;
/// The name under which docker keeps the credentials of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// What a helper says as the user when the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper says when it has no credentials (docker-credential-helpers, `credentials.go`).
const HELPER_NOTHING: &str = "credentials not found";

/// Runs credential helpers, which are programs: this library runs none itself.
pub trait Helper: Send + Sync {
    /// Runs `docker-credential-NAME get` with the server's name on its standard input.
    ///
    /// # Errors
    /// A sentence, when it cannot be run.
    fn get(&self, name: &str, server: &str) -> Result<HelperAnswer, String>;
}

/// What a credential helper said.
#[derive(Clone)]
pub struct HelperAnswer {
    /// Whether its exit status was 0.
    pub success: bool,
    /// Its standard output.
    pub output: Vec<u8>,
}

/// Runs no helpers: credentials that are kept by one cannot be had.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHelpers;

impl Helper for NoHelpers {
    fn get(&self, _: &str, _: &str) -> Result<HelperAnswer, String> {
        Err("credential helpers are not run here".into())
    }
}

/// A `config.json`.
pub struct DockerConfig {
    /// By host, or host and path, without scheme.
    entries: BTreeMap<String, Entry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
    helper: Box<dyn Helper>,
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig")
            .field("hosts", &self.entries.keys())
            .field("helpers", &self.helpers)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// Reads a configuration; a file that is not there says nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is not one.
    pub fn read(path: &Path, helper: Box<dyn Helper>) -> Result<Self, CredentialError> {
        let fail = |error: std::io::Error| CredentialError::new(path.display(), error.to_string());
        let mut text = Vec::new();
        match std::fs::File::open(path) {
            Ok(file) => file.take(FILE_MAX.saturating_add(1)).read_to_end(&mut text).map_err(fail)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::parse(b"{}", "", helper),
            Err(error) => return Err(fail(error)),
        };
        Self::parse(&text, &path.display().to_string(), helper)
    }

    /// Reads the text of a configuration; `name` is what errors call it.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &[u8], name: &str, helper: Box<dyn Helper>) -> Result<Self, CredentialError> {
        if text.len() as u64 > FILE_MAX {
            return Err(CredentialError::new(name, format!("it is larger than {FILE_MAX} bytes")));
        }
        // serde's sentence may quote what it stumbled over, and that may be a password.
        let file: File = serde_json::from_slice(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            CredentialError::new(name, format!("it is not docker's configuration ({place})"))
        })?;
        let bare = |(key, value): (String, Entry)| (bare_key(&key), value);
        Ok(Self {
            entries: file.auths.into_iter().map(bare).collect(),
            helpers: file.helpers.into_iter().map(|(key, value)| (bare_key(&key), value)).collect(),
            store: file.store.filter(|store| !store.is_empty()),
            helper,
        })
    }

    fn ask(&self, helper: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
        let fail = |why: String| {
            CredentialError::new(server, why)
                .with_hint(format!("check that docker-credential-{helper} is installed and works"))
        };
        // The name becomes part of a program's.
        if !helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Err(CredentialError::new(server, "the name of the credential helper is not one"));
        }
        let answer = self.helper.get(helper, server).map_err(&fail)?;
        if !answer.success {
            if String::from_utf8_lossy(&answer.output).contains(HELPER_NOTHING) {
                return Ok(None);
            }
            return Err(fail(format!("docker-credential-{helper} failed")));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Said {
            username: String,
            secret: String,
        }
        let said: Said = serde_json::from_slice(&answer.output)
            .map_err(|_| fail(format!("docker-credential-{helper} said something that is not a credential")))?;
        Ok(match (said.username.as_str(), said.secret) {
            ("", secret) if secret.is_empty() => None,
            (TOKEN_USER, secret) => Some(Credential::Identity(secret)),
            (user, password) => Some(Credential::Basic { user: user.to_owned(), password }),
        })
    }
}

impl Credentials for DockerConfig {
    fn credential(&self, host: &Host, name: Option<&Name>) -> Result<Option<Credential>, CredentialError> {
        let keys = keys_of(host, name);
        let server = if host.is_hub() { HUB_KEY.to_owned() } else { host.to_string() };
        if let Some(helper) = keys.iter().find_map(|key| self.helpers.get(key)) {
            return self.ask(helper, &server);
        }
        if let Some(store) = &self.store
            && let Some(found) = self.ask(store, &server)?
        {
            return Ok(Some(found));
        }
        match keys.iter().find_map(|key| self.entries.get(key)) {
            Some(entry) => entry.credential(host),
            None => Ok(None),
        }
    }
}

impl Entry {
    fn credential(&self, host: &Host) -> Result<Option<Credential>, CredentialError> {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = set(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Some(Credential::Bearer(token)));
        }
        if let Some(auth) = set(&self.auth) {
            let wrong = || {
                CredentialError::new(host, "the entry \"auth\" is not the base64 of user:password")
                    .with_hint(format!("log in again: docker login {host}"))
            };
            let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
            let bytes = engine.decode(auth.trim()).map_err(|_| wrong())?;
            let text = String::from_utf8(bytes).map_err(|_| wrong())?;
            let (user, password) = text.split_once(':').ok_or_else(wrong)?;
            // Some writers end the password with zero bytes.
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Credential::Basic { user: user.to_owned(), password }));
        }
        Ok(match (set(&self.username), set(&self.password)) {
            (Some(user), Some(password)) => Some(Credential::Basic { user, password }),
            _ => None,
        })
    }
}

/// A key without scheme, slashes at the end, and the version of the protocol that docker adds.
fn bare_key(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare.split_once('/') {
        Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
        None => bare.to_ascii_lowercase(),
    }
}

/// The keys to look under, the most specific first.
fn keys_of(host: &Host, name: Option<&Name>) -> Vec<String> {
    let hosts: Vec<String> = if host.is_hub() {
        ["docker.io", "index.docker.io", "registry-1.docker.io"].map(str::to_owned).to_vec()
    } else {
        vec![host.to_string()]
    };
    let mut keys = Vec::new();
    let mut path = name.map(Name::as_str);
    while let Some(current) = path {
        keys.extend(hosts.iter().map(|host| format!("{host}/{current}")));
        path = current.rsplit_once('/').map(|(parent, _)| parent);
    }
    keys.extend(hosts);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn find(config: &DockerConfig, host: &str, name: &str) -> Option<Credential> {
        config.credential(&host.parse().unwrap(), Some(&name.parse().unwrap())).unwrap()
    }

    fn basic(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic { user: user.into(), password: password.into() })
    }

    #[test]
    fn entries_are_found_as_docker_and_podman_find_them() {
        // Base64 of one:1, two:2:2, hub:h.
        let text = br#"{"auths": {"r.example:5000": {"auth": "b25lOjE="}, "https://R.example/v2/": {"auth": "dHdvOjI6Mg"},
            "r.example/team": {"username": "team", "password": "t"}, "https://index.docker.io/v1/": {"auth": "aHViOmg="},
            "id.example": {"identitytoken": "I"}, "empty.example": {}, "bad.example": {"auth": "%%"}}, "other": 3}"#;
        let config = DockerConfig::parse(text, "config.json", Box::new(NoHelpers)).unwrap();
        assert_eq!(find(&config, "r.example:5000", "a"), basic("one", "1"));
        assert_eq!(find(&config, "r.example", "a"), basic("two", "2:2"));
        assert_eq!(find(&config, "r.example", "team/a"), basic("team", "t"));
        assert_eq!(find(&config, "r.example", "teams"), basic("two", "2:2"));
        assert_eq!(find(&config, "docker.io", "library/a"), basic("hub", "h"));
        assert_eq!(find(&config, "id.example", "a"), Some(Credential::Identity("I".into())));
        assert_eq!(find(&config, "empty.example", "a"), None);
        assert_eq!(find(&config, "evil-r.example", "a"), None);
        assert!(config.credential(&"bad.example".parse().unwrap(), None).is_err());
        assert!(!format!("{config:?} {:?}", find(&config, "r.example", "a")).contains("2:2"));
    }

    #[test]
    fn a_broken_configuration_is_told_without_what_is_in_it() {
        for text in [&b"{"[..], b"{\"auths\": \"hunter2\"}", b"{\"auths\": {\"h\": \"hunter2\"}}"] {
            let error = DockerConfig::parse(text, "config.json", Box::new(NoHelpers)).unwrap_err().to_string();
            assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
        }
        let nowhere = DockerConfig::read(Path::new("/nonexistent/config.json"), Box::new(NoHelpers)).unwrap();
        assert_eq!(find(&nowhere, "h.example", "a"), None);
    }

    struct Recorder(Mutex<Vec<String>>, HelperAnswer);

    impl Helper for std::sync::Arc<Recorder> {
        fn get(&self, name: &str, server: &str) -> Result<HelperAnswer, String> {
            self.0.lock().unwrap().push(format!("{name} {server}"));
            Ok(self.1.clone())
        }
    }

    #[test]
    fn helpers_are_asked_and_their_answers_understood() {
        let text =
            br#"{"credHelpers": {"gcr.example": "gcloud", "bad.example": "../../bin/sh"}, "credsStore": "secret",
            "auths": {"plain.example": {"auth": "b25lOjE="}}}"#;
        let run = |success, output: &str| {
            let recorder =
                std::sync::Arc::new(Recorder(Mutex::default(), HelperAnswer { success, output: output.into() }));
            (DockerConfig::parse(text, "c", Box::new(recorder.clone())).unwrap(), recorder)
        };
        let (config, recorder) = run(true, r#"{"ServerURL":"x","Username":"u","Secret":"s"}"#);
        assert_eq!(find(&config, "gcr.example", "a"), basic("u", "s"));
        assert_eq!(find(&config, "docker.io", "library/a"), basic("u", "s"));
        assert_eq!(*recorder.0.lock().unwrap(), ["gcloud gcr.example", "secret https://index.docker.io/v1/"]);
        assert!(config.credential(&"bad.example".parse().unwrap(), None).is_err());
        let (config, _) = run(true, r#"{"Username":"<token>","Secret":"s"}"#);
        assert_eq!(find(&config, "gcr.example", "a"), Some(Credential::Identity("s".into())));
        let (config, _) = run(false, "credentials not found in native keychain");
        assert_eq!(find(&config, "gcr.example", "a"), None);
        assert_eq!(find(&config, "plain.example", "a"), basic("one", "1"));
        let (config, _) = run(false, "locked");
        assert!(
            config.credential(&"gcr.example".parse().unwrap(), None).unwrap_err().hint().unwrap().contains("gcloud")
        );
    }
}
