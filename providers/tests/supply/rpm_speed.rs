//! How fast the metadata of a large repository is read. Run with `--ignored --nocapture`, in a
//! release build for figures that count.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use providers::fetch::{Fetcher, Silent};
use providers::rpm::metadata::WantedFiles;
use providers::rpm::repository::update_all;

use crate::downloads::options;
use crate::rpm_archive::{Document, MADE, RpmArchive, compress, tools};

const PACKAGES: usize = 10_000;

/// Peak memory of this process in kibibytes (proc(5), VmHWM).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time of this process in seconds (proc(5), utime and stime, in hundredths).
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

/// A primary.xml and a filelists.xml with about as much in each package as a distribution has.
fn documents() -> (String, String) {
    let mut primary = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{PACKAGES}\">\n"
    );
    let mut lists = format!("<filelists packages=\"{PACKAGES}\">\n");
    for number in 0..PACKAGES {
        let digest = layers::Sha256::of(&number.to_le_bytes());
        write!(primary, "<package type=\"rpm\"><name>package{number}</name><arch>x86_64</arch><version epoch=\"0\" ver=\"1.{number}\" rel=\"1.azl3\"/><checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><summary>A package of many</summary><description>{}</description><packager/><url>https://example.org/</url><time file=\"1795000000\" build=\"1794000000\"/><size package=\"100000\" installed=\"200000\" archive=\"210000\"/><location href=\"Packages/p/package{number}-1.{number}-1.azl3.x86_64.rpm\"/><format><rpm:license>MIT</rpm:license><rpm:sourcerpm>package{number}.src.rpm</rpm:sourcerpm><rpm:header-range start=\"4504\" end=\"9000\"/><rpm:provides>", "Words that say what it does. ".repeat(10)).unwrap();
        for provided in 0..8 {
            write!(primary, "<rpm:entry name=\"lib{number}.so.{provided}()(64bit)\"/><rpm:entry name=\"package{number}-part{provided}\" flags=\"EQ\" epoch=\"0\" ver=\"1.{number}\" rel=\"1.azl3\"/>").unwrap();
        }
        primary.push_str("</rpm:provides><rpm:requires>");
        for required in 0..16 {
            let other = (number * 7 + required * 13) % PACKAGES;
            write!(primary, "<rpm:entry name=\"lib{other}.so.1()(64bit)\"/>").unwrap();
        }
        primary.push_str("</rpm:requires>");
        write!(lists, "<package pkgid=\"{digest}\" name=\"package{number}\" arch=\"x86_64\"><version epoch=\"0\" ver=\"1.{number}\" rel=\"1.azl3\"/>").unwrap();
        for file in 0..40 {
            write!(lists, "<file>/usr/share/package{number}/directory/file{file}.txt</file>").unwrap();
        }
        write!(primary, "<file>/usr/bin/package{number}</file></format></package>\n").unwrap();
        lists.push_str("</package>\n");
    }
    primary.push_str("</metadata>\n");
    lists.push_str("</filelists>\n");
    (primary, lists)
}

#[test]
#[ignore = "a measurement"]
fn ten_thousand_packages() {
    if !tools() {
        return;
    }
    let archive = RpmArchive::new();
    let (primary, lists) = documents();
    let sizes = (primary.len(), lists.len());
    let document = |kind, text: String| {
        let bytes = compress(".zst", text.as_bytes());
        Document { kind, path: format!("repodata/{kind}.xml.zst"), bytes, open: Some(text.into_bytes()) }
    };
    archive.hand(MADE, &[document("primary", primary), document("filelists", lists)]);
    let fetcher = Fetcher::new(options(), Arc::new(Silent)).unwrap();
    let repository = archive.repository(&archive.file_url());
    let now = providers::trust::UnixTime(MADE + 3600);
    for round in ["cold", "warm"] {
        // What writing the documents took does not count.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = peak();
        let (start, worked) = (Instant::now(), processor());
        let mut update = update_all(std::slice::from_ref(&repository), &fetcher, &archive.cache, now).unwrap();
        let (read, worked) = (start.elapsed(), processor() - worked);
        let metadata = &mut update.repositories[0];
        assert_eq!(metadata.packages.len(), PACKAGES);
        let start = Instant::now();
        let wanted = WantedFiles::Paths(["/usr/share/package77/directory/file7.txt".into()].into());
        assert_eq!(metadata.complete_files(&wanted, &fetcher, &archive.cache).unwrap(), 1);
        eprintln!(
            "{round}: {sizes:?} bytes; primary {read:.2?} ({worked:.2} s of processor), filelists {:.2?}; memory {} MiB, of which new {} MiB",
            start.elapsed(),
            peak() / 1024,
            (peak() - before) / 1024
        );
    }
}
