//! The machine's own apt as a referee, with nothing of the machine's packages in sight.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether a tool is there. Without it a test is skipped with a line, or fails where CI is set.
pub fn tool(name: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|path| path.join(name).exists());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed for this test");
        println!("skipped: {name} is not installed");
    }
    found
}

pub fn run(command: &mut Command) -> Output {
    let output = command.env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The only one who fetches, until dropped.
fn turn(root: &Path) -> std::fs::File {
    let turn = std::fs::File::create(root.join("turn")).unwrap();
    turn.lock().unwrap();
    turn
}

/// An apt with an empty system and its own lists.
pub struct Apt {
    root: PathBuf,
    lists: PathBuf,
    sources: PathBuf,
}

impl Apt {
    /// The mirror that the machine's apt uses for its own distribution, and the keyring.
    pub fn mirror() -> Option<String> {
        let output = Command::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let plain = text.lines().find(|line| line.trim_end_matches('/').ends_with("/debian"));
        plain.map(|line| line.trim_end_matches('/').to_owned())
    }

    /// An apt for one Debian release, its indexes fetched once per target directory.
    pub fn of(suite: &str) -> Option<Self> {
        if !tool("apt-get") {
            return None;
        }
        let Some(mirror) = Self::mirror() else {
            assert!(std::env::var_os("CI").is_none(), "apt knows no Debian mirror");
            println!("skipped: apt knows no Debian mirror");
            return None;
        };
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("apt-{suite}"));
        let (lists, sources) = (root.join("lists"), root.join("sources.list"));
        std::fs::create_dir_all(lists.join("partial")).unwrap();
        std::fs::create_dir_all(root.join("cache/archives/partial")).unwrap();
        std::fs::create_dir_all(root.join("empty")).unwrap();
        // Tests run at once; only one of them fetches.
        let _turn = turn(&root);
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let line = format!("deb [signed-by={keyring} arch=amd64] {mirror} {suite} main\n");
        std::fs::write(&sources, line).unwrap();
        std::fs::write(root.join("status"), "").unwrap();
        let apt = Self { root, lists, sources };
        if apt.indexes().is_empty() {
            let updated = apt.command("apt-get").arg("update").env("LC_ALL", "C").output().unwrap();
            if !updated.status.success() || apt.indexes().is_empty() {
                let complaint = String::from_utf8_lossy(&updated.stderr).into_owned();
                assert!(std::env::var_os("CI").is_none(), "apt-get update: {complaint}");
                println!("skipped: apt-get update: {complaint}");
                return None;
            }
        }
        run(apt.command("apt-cache").arg("gencaches"));
        Some(apt)
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let set = |name: &str, path: &Path| format!("-o{name}={}", path.display());
        command
            .current_dir(&self.root)
            .arg(set("Dir::State", &self.root))
            .arg(set("Dir::State::lists", &self.lists))
            .arg(set("Dir::State::status", &self.root.join("status")))
            .arg(set("Dir::Cache", &self.root.join("cache")))
            .arg(set("Dir::Etc::sourcelist", &self.sources))
            .arg(set("Dir::Etc::sourceparts", &self.root.join("empty")))
            .arg(set("Dir::Etc::preferencesparts", &self.root.join("empty")))
            .args(["-oAPT::Architecture=amd64", "-oAPT::Architectures=amd64", "-oDebug::NoLocking=1"])
            // Configurations made for containers switch these caches off; they are most of the time.
            .args(["-oDir::Cache::pkgcache=pkgcache.bin", "-oDir::Cache::srcpkgcache=srcpkgcache.bin"])
            .args(["-oAPT::Sandbox::User=root", "-oAcquire::Languages=none"]);
        command
    }

    /// The decompressed Packages files, in apt's order.
    pub fn indexes(&self) -> Vec<Vec<u8>> {
        let listed =
            run(self.command("apt-get").args(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"]));
        let mut indexes = Vec::new();
        for path in text(&listed).lines() {
            if Path::new(path).exists() {
                indexes.push(run(Command::new("/usr/lib/apt/apt-helper").args(["cat-file", path])).stdout);
            }
        }
        indexes
    }

    /// What apt would install, as sorted `name=version`; its complaint if it would not.
    pub fn choose(&self, recommends: bool, packages: &[String]) -> Result<Vec<String>, String> {
        let policy = if recommends { "--install-recommends" } else { "--no-install-recommends" };
        let mut command = self.command("apt-get");
        command.args(["-qq", "--print-uris", "install", policy]).args(packages).env("LC_ALL", "C");
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(text(&output) + &String::from_utf8_lossy(&output.stderr));
        }
        // 'URI' NAME_VERSION_ARCHITECTURE.deb SIZE DIGEST
        let mut chosen: Vec<String> = text(&output)
            .lines()
            .filter_map(|line| {
                let mut parts = line.split(' ').nth(1)?.split('_');
                Some(format!("{}={}", parts.next()?, parts.next()?.replace("%3a", ":")))
            })
            .collect();
        chosen.sort();
        Ok(chosen)
    }

    /// Downloads packages into a directory.
    pub fn download(&self, packages: &[&str], directory: &Path) -> Vec<PathBuf> {
        std::fs::create_dir_all(directory).unwrap();
        let _turn = turn(&self.root);
        run(self.command("apt-get").arg("download").args(packages).current_dir(directory));
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|suffix| suffix == "deb"));
        found.sort();
        found
    }
}
