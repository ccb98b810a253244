//! One test's own place: configuration, spec, caches and output of an unprivileged user.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::archive::{SUITE, archive};
use crate::support::{User, as_user, is_root, must, must_as, program, strict, workplace};

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
    pub took: Duration,
}

impl Ended {
    /// The run failed so, and said all of these.
    #[track_caller]
    pub fn with(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in:\n{}", self.text);
        }
        assert!(!self.text.contains("panicked"), "{}", self.text);
        self
    }
}

pub struct Case {
    pub user: User,
    pub directory: PathBuf,
    url: String,
    /// Words of the command line, beside the spec.
    pub words: Vec<String>,
    /// Variables of its environment, beside the usual ones.
    pub variables: Vec<(String, String)>,
}

/// The provider of the tests: Debian's facts, with nothing wanted by default.
fn provider() -> String {
    let text = include_str!("../../../providers/data/debian-13.yaml");
    let lines = text.lines().map(|line| match line.trim_start() {
        "os: debian" => "os: tiny",
        "version: \"13\"" => "version: \"1\"",
        "aliases: [trixie]" => "aliases: []",
        packages if packages.starts_with("packages: [apt,") => "    packages: []",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

impl Case {
    /// A place for a test that needs no archive, or one below this URL.
    pub fn at(user: User, name: &str, url: &str) -> Option<Self> {
        if !is_root() {
            assert!(!strict(), "with CI set the suite must run as root");
            println!("skipped: the suite must run as root to be other users");
            return None;
        }
        let archive = archive()?;
        let directory = workplace(user, &format!("wrong-{name}"));
        let case = Self { user, directory, url: url.to_owned(), words: Vec::new(), variables: Vec::new() };
        case.write("config/image-composer/providers/tiny.yaml", &provider());
        case.write("key.asc", &archive.key());
        case.configure(url);
        case.spec(&[], "");
        Some(case)
    }

    /// A place for a test with the archive as a directory of this machine.
    pub fn new(name: &str) -> Option<Self> {
        Self::of(User::WithoutRange, name)
    }

    /// The same as this user.
    pub fn of(user: User, name: &str) -> Option<Self> {
        if !is_root() {
            return Self::at(user, name, "");
        }
        let root = &archive()?.root;
        Self::at(user, name, &format!("file:{}", root.display()))
    }

    /// Another repository from now on.
    pub fn configure(&self, url: &str) {
        let text = format!(
            "core: {{cache_dir: {0}/cache, work_dir: {0}/work}}\nproviders:\n  tiny:\n    repositories:\n      \
             - {{name: tiny, url: \"{url}\", suites: {SUITE}, components: main, key: {0}/key.asc}}\n",
            self.directory.display()
        );
        self.write("config/image-composer/config.yaml", &text);
    }

    pub fn reconfigure(&self) {
        self.configure(&self.url);
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        must_as(self.user, Command::new("mkdir").arg("-p").arg(path.parent().unwrap()));
        fs::write(&path, text).unwrap();
        must(Command::new("chown").arg(self.user.name()).arg(&path));
    }

    /// Writes the spec with these packages, and more lines below `customizations`.
    pub fn spec(&self, packages: &[&str], more: &str) {
        let text = format!(
            "image:\n  name: small\n  base: {{os: tiny, version: 1}}\nbootloader: none\ndisk: {{size: 128MiB, partitions: [{{type: esp, size: 34MiB}}, {{type: root, size: rest}}]}}\n\
             output: {{format: raw}}\ncustomizations:\n  packages: {{install: [{}]}}\n{more}",
            packages.join(", ")
        );
        self.write("small.yml", &text);
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).args(&self.words).current_dir(&self.directory);
        command.env("XDG_CONFIG_HOME", self.directory.join("config"));
        command.env("XDG_CACHE_HOME", self.directory.join("default-cache"));
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        command.envs(self.variables.iter().cloned());
        as_user(self.user, &command)
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        let started = Instant::now();
        let output = self.command(words).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        let ended = Ended { code: output.status.code(), text, took: started.elapsed() };
        println!("$ image-composer {}\n{}-> {:?} after {:.1?}\n", words.join(" "), ended.text, ended.code, ended.took);
        ended
    }

    pub fn build(&self, words: &[&str]) -> Ended {
        self.run(&[&["build", "small.yml", "--progress", "plain", "--rung", self.user.rung()], words].concat())
    }

    /// Only as far as the packages: nothing runs in a sandbox.
    pub fn fetch(&self) -> Ended {
        self.build(&["--stage", "packages"])
    }

    pub fn start(&self, words: &[&str]) -> Child {
        let words = [&["build", "small.yml", "--progress", "plain", "--rung", self.user.rung()], words].concat();
        self.command(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn output(&self) -> Vec<String> {
        names(&self.directory.join("output"))
    }

    #[track_caller]
    pub fn nothing_is_there(&self) -> &Self {
        assert_eq!(self.output(), Vec::<String>::new());
        self
    }

    /// The checksums of what was built.
    #[track_caller]
    pub fn sums(&self) -> String {
        fs::read_to_string(self.directory.join("output/small.SHA256SUMS")).unwrap()
    }

    #[track_caller]
    pub fn all_is_there(&self) {
        let expected = ["SHA256SUMS", "lock", "manifest.json", "raw", "spdx.json"];
        // An image from the cache has no report: nothing was built.
        let output: Vec<String> = self.output().into_iter().filter(|name| !name.ends_with(".report.json")).collect();
        assert_eq!(output, expected.map(|end| format!("small.{end}")));
        self.has_a_root();
        must(
            Command::new("sha256sum")
                .args(["--quiet", "-c", "small.SHA256SUMS"])
                .current_dir(self.directory.join("output")),
        );
    }

    /// The one partition of the image holds an ext4 file system: its magic (ext4(5), superblock)
    /// lies 0x438 bytes behind its beginning at 1 MiB.
    #[track_caller]
    fn has_a_root(&self) {
        let mut magic = [0; 2];
        let image = fs::File::open(self.directory.join("output/small.raw")).unwrap();
        image.read_exact_at(&mut magic, (1 << 20) + 0x438).unwrap();
        assert_eq!(u16::from_le_bytes(magic), 0xEF53, "no root file system in the image");
    }

    /// No process of this test is alive, and no work lies about: asked after a run that succeeded,
    /// which sweeps what earlier ones left.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        assert_eq!(names(&self.directory.join("cache/store/tmp")), Vec::<String>::new());
        assert_eq!(names(&self.directory.join("work")), Vec::<String>::new());
        let unfinished = names(&self.directory.join("cache/images"));
        assert!(unfinished.iter().all(|name| !name.starts_with('.')), "{unfinished:?}");
        self.nobody_is_alive();
    }

    /// Every process that has this place open, mounted, in its words or around it ends soon.
    #[track_caller]
    pub fn nobody_is_alive(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let alive = processes_at(&self.directory);
            if alive.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "still alive: {alive:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What a directory holds, sorted; nothing where there is none.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn processes_at(directory: &Path) -> Vec<String> {
    let place = directory.to_string_lossy().into_owned();
    let own = std::process::id().to_string();
    let is_process = |name: &String| name.bytes().all(|b| b.is_ascii_digit()) && *name != own;
    let here = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let mut found = Vec::new();
    for process in names(Path::new("/proc")).into_iter().filter(is_process) {
        let base = Path::new("/proc").join(&process);
        let text = |name: &str| {
            fs::read(base.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
        };
        let link = |path: PathBuf| fs::read_link(path).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        let opened = names(&base.join("fd")).into_iter().any(|fd| link(base.join("fd").join(fd)).starts_with(&place));
        let words = text("cmdline");
        // The suite's own tools are root's; a sandbox on any rung is somebody else's.
        if text("status").contains("\nUid:\t0\t") {
            continue;
        }
        let mine = opened
            || words.contains(&place)
            || link(base.join("cwd")).starts_with(&place)
            // In a mount namespace of its own: the test's may have a mount there, too.
            || (link(base.join("ns/mnt")) != here.to_string_lossy() && text("mountinfo").contains(&format!("{place}/")));
        if mine {
            found.push(format!("{process}: {}", words.replace('\0', " ")));
        }
    }
    found
}
