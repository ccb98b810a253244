//! Engines of containers, each with a storage of its own below one directory: podman, buildah and
//! containerd. Only root has them mount what they have.

#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long containerd may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine; its daemon and its mounts end with it.
pub struct Engine {
    name: &'static str,
    /// The storage driver, or containerd's snapshotter.
    driver: &'static str,
    home: PathBuf,
    daemon: Option<Child>,
    /// Where images are mounted at paths of ours.
    mounted: Vec<PathBuf>,
}

/// Runs a command; what it printed, or its line and all that it said.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{command:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or_default().to_owned()
}

impl Engine {
    /// Makes the storage of `podman`, `buildah` or `containerd` below a directory that is there, with one
    /// of its drivers.
    ///
    /// # Errors
    ///
    /// The engine does not run on this machine, or not with this driver; what it said.
    pub fn start(name: &'static str, driver: &'static str, home: &Path) -> Result<Self, String> {
        let mut engine = Self { name, driver, home: home.to_owned(), daemon: None, mounted: Vec::new() };
        if name == "containerd" {
            engine.serve()?;
        } else {
            output(&mut engine.command(&["info"]))?;
        }
        Ok(engine)
    }

    /// Starts containerd and waits until it answers. The plugin for Kubernetes would write elsewhere.
    fn serve(&mut self) -> Result<(), String> {
        let at = |name: &str| self.home.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{}\"\n",
            at("root"),
            at("state"),
            at("socket"),
            at("opt")
        );
        let said = |error: std::io::Error| error.to_string();
        fs::write(self.home.join("config.toml"), config).map_err(said)?;
        let log = fs::File::create(self.home.join("log")).map_err(said)?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.home.join("config.toml")).stdin(Stdio::null()).stdout(Stdio::null());
        self.daemon = Some(command.stderr(log).spawn().map_err(said)?);
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = output(&mut self.command(&["plugins", "ls"]));
            let ended = self.daemon.as_mut().is_some_and(|daemon| !matches!(daemon.try_wait(), Ok(None)));
            match answer {
                Ok(plugins) => {
                    let ours = |line: &&str| line.contains(".snapshotter.") && line.contains(self.driver);
                    let works = plugins.lines().find(ours).is_some_and(|line| line.trim_end().ends_with(" ok"));
                    return if works { Ok(()) } else { Err(format!("no snapshotter {}:\n{plugins}", self.driver)) };
                }
                Err(error) if ended || Instant::now() > until => {
                    return Err(error + &fs::read_to_string(self.home.join("log")).unwrap_or_default());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The engine's command with the place of its storage; `ctr` is containerd's.
    fn command(&self, arguments: &[&str]) -> Command {
        let at = |name: &str| self.home.join(name);
        let mut command = Command::new(if self.name == "containerd" { "ctr" } else { self.name });
        if self.name == "containerd" {
            command.arg("--address").arg(at("socket")).args(["--namespace", "test"]);
        } else {
            command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run"));
            command.args(["--storage-driver", self.driver]);
        }
        command.args(arguments);
        command
    }

    /// Runs the engine's command and gives what it printed.
    ///
    /// # Errors
    ///
    /// It failed; what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        output(&mut self.command(arguments))
    }

    /// Takes in the only image of an archive, for an architecture as Go names it; gives what the engine
    /// calls it (buildah: the container that starts from it).
    ///
    /// # Errors
    ///
    /// The engine refuses the image; what it said.
    pub fn load(&self, archive: &Path, architecture: &str) -> Result<String, String> {
        let archive = archive.display().to_string();
        let from = format!("oci-archive:{archive}");
        match self.name {
            "podman" => self.run(&["pull", "--quiet", "--arch", architecture, &from]).map(|id| last_line(&id)),
            "buildah" => self.run(&["from", "--quiet", "--arch", architecture, &from]).map(|id| last_line(&id)),
            _ => {
                let platform = format!("linux/{architecture}");
                self.run(&["images", "import", "--no-unpack", "--platform", &platform, &archive])?;
                self.run(&["images", "ls", "--quiet"]).map(|names| last_line(&names))
            }
        }
    }

    /// Mounts what was [loaded](Self::load) and gives its root.
    ///
    /// # Errors
    ///
    /// The engine cannot unpack or mount it; what it said.
    pub fn mount(&mut self, image: &str, architecture: &str) -> Result<PathBuf, String> {
        match self.name {
            "podman" => self.run(&["image", "mount", image]).map(|path| last_line(&path).into()),
            "buildah" => self.run(&["mount", image]).map(|path| last_line(&path).into()),
            _ => {
                let root = self.home.join(format!("mounted-{}", self.mounted.len()));
                fs::create_dir(&root).map_err(|error| error.to_string())?;
                let platform = format!("linux/{architecture}");
                let words = ["images", "mount", "--snapshotter", self.driver, "--platform", &platform, image];
                self.run(&[&words[..], &[&root.display().to_string()]].concat())?;
                self.mounted.push(root.clone());
                Ok(root)
            }
        }
    }

    /// Has podman run a command in a container of an image; what it printed.
    ///
    /// # Errors
    ///
    /// podman runs no containers on this machine, or the command failed; what they said.
    pub fn run_container(&self, image: &str, inside: &[&str]) -> Result<String, String> {
        // A machine may have control groups of both versions, which crun does not take, and limits that
        // a container may not go beyond.
        let apart = "if [ -d /sys/fs/cgroup/unified ]; then umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup; fi; exec \"$@\"";
        let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
        let options = ["run", "--rm", "--network=none", "--cgroups=disabled", "--log-driver=none"];
        let podman = self.command(&[&options[..], &limits, &[image], inside].concat());
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", apart, "sh"]).arg(podman.get_program()).args(podman.get_args());
        output(&mut command)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What is mounted below cannot be removed with the directory.
        let umount = |path: &Path| drop(Command::new("umount").arg("--lazy").arg(path).output());
        self.mounted.iter().for_each(|path| umount(path));
        match self.name {
            "podman" => drop(self.run(&["image", "umount", "--all", "--force"])),
            "buildah" => drop(self.run(&["rm", "--all"])),
            _ => {}
        }
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        } else {
            umount(&self.home.join("root").join("overlay"));
        }
    }
}
