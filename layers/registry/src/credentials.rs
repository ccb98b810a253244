//! Who we are to a registry.

use std::fmt;

use crate::reference::{Host, Name};

/// What proves to a registry who asks.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the token server exchanges for others (docker's `identitytoken`).
    Identity(String),
    /// A token for the registry itself (docker's `registrytoken`).
    Bearer(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug output ends up in logs, where no secret belongs.
        f.write_str(match self {
            Self::Basic { .. } => "Credential::Basic(..)",
            Self::Identity(_) => "Credential::Identity(..)",
            Self::Bearer(_) => "Credential::Bearer(..)",
        })
    }
}

/// Where credentials come from.
pub trait Credentials: Send + Sync {
    /// The credential for a repository, or for the registry as such; `None` to ask anonymously.
    /// Asked once for each repository, and only when the registry wants to know.
    ///
    /// # Errors
    /// Credentials are configured but cannot be had.
    fn credential(&self, host: &Host, name: Option<&Name>) -> Result<Option<Credential>, CredentialError>;
}

/// No credentials at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn credential(&self, _: &Host, _: Option<&Name>) -> Result<Option<Credential>, CredentialError> {
        Ok(None)
    }
}

/// Credentials that are configured but cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("find the credentials for {about}: {why}")]
pub struct CredentialError {
    about: String,
    why: String,
    hint: Option<String>,
}

impl CredentialError {
    /// About a host or a file; neither text may hold a secret.
    pub fn new(about: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { about: about.to_string(), why: why.into(), hint: None }
    }

    /// With what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}
