//! The SBOM: a rendering of the lock as SPDX 2.3 JSON, never a scan.

use std::collections::BTreeSet;

use layers::KeyBuilder;
use providers::distro::Family;
use providers::lock::{BasePackage, Lock, LockedPackage};
use serde::Serialize;

use crate::error::{Error, ResultExt};

/// Why a package is there that the image to start from has.
pub const OF_BASE: &str = "the base image has it";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'a str,
    data_license: &'a str,
    #[serde(rename = "SPDXID")]
    id: &'a str,
    name: &'a str,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    #[serde(rename = "SPDXID")]
    id: String,
    version_info: String,
    download_location: String,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// Renders a lock as an SPDX 2.3 document (SPDX 2.3, clauses 6, 7 and 11), for an image of this
/// name and version.
///
/// # Errors
/// A time outside the years that RFC 3339 can say.
pub fn spdx(lock: &Lock, family: Family, name: &str, version: &str) -> Result<String, Error> {
    let namespace = KeyBuilder::new("spdx namespace", 1)
        .field("name", name)
        .field("version", version)
        .list("packages", lock.packages.iter().map(|package| package.sha256));
    // Nothing is written of a base where there is none.
    let namespace = match &lock.base {
        Some(base) => namespace.field("base", base.manifest).finish(),
        None => namespace.finish(),
    };
    let created = jiff::Timestamp::from_second(lock.epoch).to("write the time of the lock")?;
    let image = Package {
        name: name.to_owned(),
        id: "SPDXRef-Image".into(),
        version_info: version.to_owned(),
        download_location: "NOASSERTION".into(),
        files_analyzed: false,
        checksums: Vec::new(),
        license_concluded: "NOASSERTION",
        license_declared: "NOASSERTION",
        copyright_text: "NOASSERTION",
        primary_package_purpose: "OPERATING-SYSTEM",
        external_refs: Vec::new(),
        comment: None,
    };
    let mut packages = vec![image];
    let mut relationships = vec![Relationship {
        spdx_element_id: "SPDXRef-DOCUMENT".into(),
        relationship_type: "DESCRIBES",
        related_spdx_element: "SPDXRef-Image".into(),
    }];
    let of_base = lock.base.iter().flat_map(|base| &base.packages);
    let of_base = of_base.map(|package| render_of_base(package, lock, family));
    let rendered = lock.packages.iter().map(|package| render(package, lock, family));
    let mut known = BTreeSet::new();
    for mut rendered in of_base.chain(rendered) {
        // A base may have several versions of one package: kernels, say.
        while !known.insert(rendered.id.clone()) {
            rendered.id = format!("{}-{}", rendered.id, element_id(&rendered.version_info));
        }
        relationships.push(Relationship {
            spdx_element_id: "SPDXRef-Image".into(),
            relationship_type: "CONTAINS",
            related_spdx_element: rendered.id.clone(),
        });
        packages.push(rendered);
    }
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: "SPDXRef-DOCUMENT",
        name,
        document_namespace: format!("urn:image-composer:spdx:{namespace}"),
        creation_info: CreationInfo {
            created: created.to_string(),
            creators: vec![format!("Tool: image-composer-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        relationships,
    };
    let mut text = serde_json::to_string_pretty(&document).to("write the SBOM")?;
    text.push('\n');
    Ok(text)
}

fn render(package: &LockedPackage, lock: &Lock, family: Family) -> Package {
    let LockedPackage { name, version, architecture, .. } = package;
    let base = lock.repositories.iter().find(|repository| repository.id == package.repository);
    let location = base.map_or("NOASSERTION".into(), |repository| format!("{}/{}", repository.url, package.path));
    Package {
        download_location: location,
        checksums: vec![Checksum { algorithm: "SHA256", checksum_value: package.sha256.to_hex() }],
        comment: Some(package.why.to_string()),
        ..named(name, version, architecture, lock, family)
    }
}

/// A package of the image to start from: who it is is all that is known of it.
fn render_of_base(package: &BasePackage, lock: &Lock, family: Family) -> Package {
    let BasePackage { name, version, architecture } = package;
    Package { comment: Some(OF_BASE.to_owned()), ..named(name, version, architecture, lock, family) }
}

/// What a package's name says of it.
fn named(name: &str, version: &str, architecture: &str, lock: &Lock, family: Family) -> Package {
    Package {
        name: name.to_owned(),
        id: format!("SPDXRef-Package-{}", element_id(&format!("{name}-{architecture}"))),
        version_info: version.to_owned(),
        download_location: "NOASSERTION".into(),
        files_analyzed: false,
        checksums: Vec::new(),
        license_concluded: "NOASSERTION",
        license_declared: "NOASSERTION",
        copyright_text: "NOASSERTION",
        primary_package_purpose: "INSTALL",
        external_refs: vec![ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: package_url(name, version, architecture, lock, family),
        }],
        comment: None,
    }
}

/// The package URL (purl-spec, types deb and rpm). In the latter the epoch is a qualifier.
fn package_url(name: &str, version: &str, architecture: &str, lock: &Lock, family: Family) -> String {
    let (epoch, version) = match (family, version.split_once(':')) {
        (Family::Rpm, Some((epoch, rest))) => (format!("&epoch={epoch}"), rest),
        _ => (String::new(), version),
    };
    let (kind, os, release) = (family.as_str(), &lock.os, &lock.os_version);
    let (name, version) = (escape(name), escape(version));
    format!("pkg:{kind}/{os}/{name}@{version}?arch={architecture}&distro={os}-{release}{epoch}")
}

/// Letters, digits, `.` and `-` are all that an SPDX id may have (SPDX 2.3, clause 3.2).
fn element_id(text: &str) -> String {
    let mut id = String::new();
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => id.push(c),
            other => id.push_str(&format!(".{:x}.", u32::from(other))),
        }
    }
    id
}

/// Percent-encodes for a package URL (purl-spec, "Character encoding").
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => escaped.push(byte as char),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_urls_are_escaped() {
        assert_eq!(element_id("libstdc++6-amd64"), "libstdc.2b..2b.6-amd64");
        assert_eq!(escape("1:2.0+dfsg~1"), "1:2.0%2Bdfsg~1");
    }
}
