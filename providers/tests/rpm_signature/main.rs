//! Signatures and digests of package files: real ones by rpmsign and gpg, old and new forms, and what
//! attackers make of them. Real rpm says the same of those that it knows how to judge.

#[path = "../package_files/mod.rs"]
mod package_files;

mod altered;
mod forms;
mod keys;
mod supply;
