//! Lists of mirrors: plain ones, and metalinks, which also state the digest that repomd.xml has.

use std::io::BufRead;

use layers::Sha256;

use super::{Error, MirrorList, Repository};
use crate::fetch::{BaseUrl, Fetcher};
use crate::rpm::metadata::xml::Xml;
use crate::rpm::metadata::{self, Checksum};

/// The largest list, in bytes: Fedora's metalinks have a hundred thousand.
const MAX_LIST: u64 = 4 * 1024 * 1024;

/// The largest number of mirrors that are taken from a list.
const MAX_MIRRORS: usize = 64;

/// What a URL of a repomd.xml ends in.
const REPOMD: &str = "/repodata/repomd.xml";

/// What a list says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mirrors {
    /// Repositories, the best first.
    pub(super) urls: Vec<BaseUrl>,
    /// The digests of which repomd.xml has to have one; any when `None`.
    pub(super) digests: Option<Vec<Checksum>>,
}

impl Mirrors {
    /// Whether a repomd.xml is one that the list states.
    pub(super) fn knows(&self, repomd: &[u8]) -> bool {
        let matches = |digest: &Checksum| digest.of_same_kind(repomd).as_ref() == Some(digest);
        self.digests.as_ref().is_none_or(|digests| digests.iter().any(matches))
    }
}

/// Where the files of a repository are to be fetched from.
pub(super) fn find(repository: &Repository, fetcher: &Fetcher) -> Result<Mirrors, Error> {
    let own = || vec![repository.url.clone()];
    if !repository.mirrors.is_empty() {
        return Ok(Mirrors { urls: repository.mirrors.clone(), digests: None });
    }
    let (url, is_metalink) = match &repository.list {
        None => return Ok(Mirrors { urls: own(), digests: None }),
        Some(MirrorList::Metalink(url)) => (url, true),
        Some(MirrorList::Plain(url)) => (url, false),
    };
    // Offline, what is remembered is used.
    if fetcher.is_offline() && !url.is_local() {
        return Ok(Mirrors { urls: own(), digests: None });
    }
    let wrong = |sentence: String| Error::Mirrors { repository: repository.id.clone(), url: url.to_string(), sentence };
    let bytes = fetcher
        .document_at(&format!("{} list of mirrors", repository.id), url, MAX_LIST)
        .map_err(|source| Error::Fetch { repository: repository.id.clone(), source })?
        .ok_or_else(|| wrong("it does not exist".into()))?;
    let mut mirrors = if is_metalink {
        read_metalink(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?
    } else {
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not text".into()))?;
        read_plain(&text).map_err(wrong)?
    };
    mirrors.urls.truncate(MAX_MIRRORS);
    if mirrors.urls.is_empty() {
        return Err(wrong("it names no mirror with a URL of http or https".into()));
    }
    if !mirrors.urls.contains(&repository.url) {
        mirrors.urls.extend(own());
    }
    Ok(mirrors)
}

/// A URL of a mirror. A list from the network must not lead to files of this machine.
fn mirror(text: &str) -> Option<BaseUrl> {
    BaseUrl::parse(text).ok().filter(|url| !url.is_local())
}

/// A plain list: a URL a line.
fn read_plain(text: &str) -> Result<Mirrors, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut urls = Vec::new();
    for line in lines {
        // A page of a proxy or a login is not a list.
        if line.starts_with('<') {
            return Err("it is not a list of URLs".into());
        }
        urls.extend(mirror(line).filter(|url| !urls.contains(url)));
    }
    Ok(Mirrors { urls, digests: None })
}

/// A metalink of version 3.0, as MirrorManager writes it.
fn read_metalink(input: impl BufRead) -> Result<Mirrors, metadata::Error> {
    let mut xml = Xml::open(input, "the metalink", "metalink")?;
    let mut found = None;
    let level = xml.level();
    while xml.child(level)? {
        if xml.name() != "files" {
            continue;
        }
        let level = xml.level();
        while xml.child(level)? {
            if xml.name() == "file" && xml.attribute("name")?.is_some_and(|name| name == "repomd.xml") {
                if found.is_some() {
                    return Err(xml.wrong("it describes repomd.xml twice"));
                }
                found = Some(read_file(&mut xml)?);
            }
        }
    }
    xml.finish()?;
    found.ok_or_else(|| xml.wrong("it says nothing of repomd.xml"))
}

fn read_file<R: BufRead>(xml: &mut Xml<R>) -> Result<Mirrors, metadata::Error> {
    let level = xml.level();
    let mut digests = Vec::new();
    let mut urls: Vec<(u32, BaseUrl)> = Vec::new();
    while xml.child(level)? {
        match xml.name() {
            "verification" => digests.extend(read_hashes(xml)?),
            // Earlier states that mirrors may still have.
            "alternates" => {
                let level = xml.level();
                while xml.child(level)? {
                    let level = xml.level();
                    while xml.child(level)? {
                        if xml.name() == "verification" {
                            digests.extend(read_hashes(xml)?);
                        }
                    }
                }
            }
            "resources" => {
                let level = xml.level();
                while xml.child(level)? {
                    if xml.name() != "url" {
                        continue;
                    }
                    let preference = xml.attribute("preference")?.and_then(|text| text.parse().ok()).unwrap_or(0);
                    let text = xml.word("a URL", 4096)?;
                    let base = text.strip_suffix(REPOMD).and_then(mirror);
                    urls.extend(base.map(|base| (preference, base)));
                }
            }
            _ => {}
        }
    }
    if digests.is_empty() {
        return Err(xml.wrong("it states no SHA-256 or SHA-512 of repomd.xml"));
    }
    urls.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
    let mut unique: Vec<BaseUrl> = Vec::new();
    for (_, url) in urls {
        if !unique.contains(&url) {
            unique.push(url);
        }
    }
    Ok(Mirrors { urls: unique, digests: Some(digests) })
}

fn read_hashes<R: BufRead>(xml: &mut Xml<R>) -> Result<Vec<Checksum>, metadata::Error> {
    let level = xml.level();
    let mut digests = Vec::new();
    while xml.child(level)? {
        if xml.name() != "hash" {
            continue;
        }
        let kind = xml.attribute("type")?.unwrap_or_default();
        let digits = xml.word("a hash", 256)?;
        match Checksum::parse(&kind, &digits) {
            // MD5 and SHA-1 stand beside the ones that count.
            Some(Checksum::Weak(_)) => {}
            Some(digest) => digests.push(digest),
            None => return Err(xml.wrong(format!("a hash is no {kind}: {digits:?}"))),
        }
    }
    Ok(digests)
}

/// The digest of a repomd.xml, for messages.
pub(super) fn digest(repomd: &[u8]) -> Sha256 {
    Sha256::of(repomd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METALINK: &str = r#"<?xml version="1.0"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files><file name="repomd.xml"><mm0:timestamp>1</mm0:timestamp><size>3</size>
  <verification><hash type="md5">00</hash><hash type="sha256">aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</hash></verification>
  <mm0:alternates><mm0:alternate><verification><hash type="sha256">ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad</hash></verification></mm0:alternate></mm0:alternates>
  <resources maxconnections="1">
   <url protocol="http" preference="50">http://slow.example.org/x/repodata/repomd.xml</url>
   <url protocol="https" preference="100">https://fast.example.org/x/repodata/repomd.xml</url>
   <url protocol="rsync" preference="99">rsync://fast.example.org/x/repodata/repomd.xml</url>
   <url protocol="file" preference="98">file:///etc/repodata/repomd.xml</url>
   <url protocol="https" preference="97">https://fast.example.org/x/other.xml</url>
  </resources></file></files>
</metalink>"#;

    #[test]
    fn a_metalink_gives_mirrors_and_digests() {
        let mirrors = read_metalink(METALINK.as_bytes()).unwrap();
        let urls: Vec<String> = mirrors.urls.iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["https://fast.example.org/x", "http://slow.example.org/x"]);
        assert!(mirrors.knows(b"abc") && !mirrors.knows(b"abd"));
        for (from, to) in [
            ("name=\"repomd.xml\"", "name=\"other.xml\""),
            ("type=\"sha256\"", "type=\"sha1\""),
            ("aaaaaaaa", ""),
            ("</files>", "<file name=\"repomd.xml\"/></files>"),
            ("</metalink>", ""),
            ("<metalink ", "<!DOCTYPE a><metalink "),
        ] {
            let text = if to.contains("sha1") { METALINK.replace(from, to) } else { METALINK.replacen(from, to, 1) };
            assert!(read_metalink(text.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn plain_lists() {
        let text = "# mirrors\nhttps://a.example.org/x/\n\nftp://b.example.org\nfile:///etc\nhttps://a.example.org/x\n";
        assert_eq!(read_plain(text).unwrap().urls, [BaseUrl::parse("https://a.example.org/x").unwrap()]);
        assert!(read_plain("<html>log in</html>").is_err());
    }
}
