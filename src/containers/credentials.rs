//! Credentials as the ecosystem keeps them: files of docker and podman, and helpers, which are
//! programs.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use registry::{Credential, CredentialError, Credentials, DockerConfig, Helper, HelperAnswer, Host, Name};

/// How long a helper may take: some ask a person.
const HELPER_TIME: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Files of credentials, the first that knows a registry counts.
#[derive(Debug)]
pub struct Chain(Vec<DockerConfig>);

impl Chain {
    /// Reads the files; those that are not there say nothing.
    ///
    /// # Errors
    /// A file that is there and is none of credentials.
    pub fn read(files: &[PathBuf]) -> Result<Self, CredentialError> {
        files.iter().map(|file| DockerConfig::read(file, Box::new(Programs))).collect::<Result<_, _>>().map(Self)
    }
}

impl Credentials for Chain {
    fn credential(&self, host: &Host, name: Option<&Name>) -> Result<Option<Credential>, CredentialError> {
        for file in &self.0 {
            if let Some(found) = file.credential(host, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Runs `docker-credential-NAME` from `$PATH` (docker-credential-helpers, README).
#[derive(Clone, Copy, Debug)]
pub struct Programs;

impl Helper for Programs {
    fn get(&self, name: &str, server: &str) -> Result<HelperAnswer, String> {
        let program = format!("docker-credential-{name}");
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it says there is for people, and may be a secret.
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program} cannot be run: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            // One that reads nothing is asked all the same.
            let _ = input.write_all(server.as_bytes());
        }
        let (sender, receiver) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let read = output.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes);
                // Nobody listens any more when it took too long.
                let _ = sender.send(read);
            });
        }
        let answer = receiver.recv_timeout(HELPER_TIME);
        if answer.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| format!("{program} cannot be waited for: {error}"))?;
        match answer {
            Ok(Ok(output)) => Ok(HelperAnswer { success: status.success(), output }),
            Ok(Err(error)) => Err(format!("{program} cannot be read: {error}")),
            Err(_) => Err(format!("{program} did not answer within {} seconds", HELPER_TIME.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_knows_a_registry_counts() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let one = file("one", r#"{"auths": {"a.example": {"username": "one", "password": "1"}}}"#);
        let two = file(
            "two",
            r#"{"auths": {"a.example": {"username": "two", "password": "2"},
            "b.example": {"username": "two", "password": "2"}}}"#,
        );
        let chain = Chain::read(&[home.path().join("missing"), one, two]).unwrap();
        let user = |host: &str| match chain.credential(&host.parse().unwrap(), None).unwrap() {
            Some(Credential::Basic { user, .. }) => user,
            _ => String::new(),
        };
        assert_eq!([user("a.example"), user("b.example"), user("c.example")], ["one", "two", ""]);
        assert!(Chain::read(&[file("bad", "[")]).is_err());
        let missing = Programs.get("of-nobody-at-all", "a.example").err().unwrap();
        assert!(missing.starts_with("docker-credential-of-nobody-at-all cannot be run"), "{missing}");
    }
}
