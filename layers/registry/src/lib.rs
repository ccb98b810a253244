//! The OCI distribution protocol, version 1.1: what it takes to bring blobs and manifests to a
//! registry and back, from any registry that people have.
//!
//! [`Client`] knows how to connect, [`Repository`] is one repository at one registry, and every
//! call blocks until it is done (a small runtime runs inside: do not call from asynchronous code).
//! Nothing is printed, no environment is read, no program is run: proxies, certificates and
//! credentials are what the caller hands in. What comes is verified against its digest before
//! anybody sees it, never more than was asked for is taken, and credentials go to the registry
//! they belong to (and the token server it names) and nowhere else.
//!
//! [`cache`] is the mapping by which a registry is a cache of layers.

pub mod cache;
mod challenge;
mod client;
mod connection;
mod credentials;
mod descriptor;
mod docker;
mod error;
mod manifest;
mod options;
mod outgoing;
mod partial;
mod pull;
mod push;
mod reference;
mod referrers;
mod request;
mod retry;
mod tags;
mod token;

pub use client::{Client, Repository};
pub use credentials::{Anonymous, Credential, CredentialError, Credentials};
pub use descriptor::{Descriptor, EMPTY_JSON, ImageIndex, ImageManifest, media_type};
pub use docker::{DockerConfig, Helper, HelperAnswer, NoHelpers};
pub use error::{Error, FileError, Reason, Refusal, Refusals};
pub use manifest::{MANIFEST_LIMIT, Manifest};
pub use options::{Cancel, Options, Progress, Proxies, Silent};
pub use pull::BlobPull;
pub use push::{BlobPush, Content, Pushed};
pub use reference::{Host, Name, Reference, ReferenceError, Selector, Tag};
