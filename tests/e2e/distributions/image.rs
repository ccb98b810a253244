//! A finished image through other people's eyes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{must, run};

/// A raw disk with an ESP and a root.
pub struct Image {
    raw: PathBuf,
    /// In bytes.
    esp: u64,
    root: u64,
}

impl Image {
    /// Opens an image, in whatever format, and has the tools judge it.
    pub fn judged(image: &Path, format: &str) -> Self {
        let raw = match format {
            "raw" => image.to_owned(),
            _ => {
                must(Command::new("qemu-img").args(["check", "-q"]).arg(image));
                let raw = image.with_extension("converted");
                must(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(image).arg(&raw));
                raw
            }
        };
        let text = must(Command::new("sgdisk").arg("-v").arg(&raw));
        assert!(text.contains("No problems found"), "{text}");
        let table: serde_json::Value = serde_json::from_str(&must(Command::new("sfdisk").arg("-J").arg(&raw))).unwrap();
        let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 2);
        let start = |number: usize| partitions[number]["start"].as_u64().unwrap() * 512;
        let image = Self { esp: start(0), root: start(1), raw };
        must(Command::new("e2fsck").arg("-fn").arg(image.root()));
        image
    }

    fn root(&self) -> String {
        format!("{}?offset={}", self.raw.display(), self.root)
    }

    /// What a file of the root holds; `None` where there is none.
    pub fn text(&self, path: &str) -> Option<String> {
        let output = run(Command::new("debugfs").arg("-R").arg(format!("cat {path}")).arg(self.root())).unwrap();
        // debugfs ends well whatever it finds.
        let found = !String::from_utf8_lossy(&output.stderr).contains("File not found");
        found.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The entries of the boot menu.
    pub fn entries(&self) -> Vec<String> {
        let disk = format!("{}@@{}", self.raw.display(), self.esp);
        let list = must(Command::new("mdir").args(["-b", "-i", &disk, "::/loader/entries"]));
        list.lines().map(|path| must(Command::new("mtype").args(["-i", &disk, path]))).collect()
    }

    /// Versions of the packages that dpkg knows, all of them installed.
    pub fn packages(&self) -> BTreeMap<String, String> {
        let status = self.text("/var/lib/dpkg/status").expect("dpkg's status");
        let paragraphs = status.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
        let packages = paragraphs.map(|paragraph| {
            let field = |name: &str| {
                let found = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                found.unwrap_or_else(|| panic!("no {name} in:\n{paragraph}")).to_owned()
            };
            assert_eq!(field("Status"), "install ok installed", "{paragraph}");
            (field("Package"), field("Version"))
        });
        packages.collect()
    }
}
