//! Our order of scripts against what real rpm runs, with packages whose scripts keep a log.

mod rpm_referee;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use providers::rpm::database::Database;
use providers::rpm::scripts::Phase;
use providers::rpm::transaction::{Action, Kind, Package, Rules, Run, coalesce_ldconfig, order};
use rpm_referee::{Workshop, headers, run, tool};

const SPEC: &str = include_str!("data/rpm-transaction.spec");

/// A package of which several versions are installed at once, as of kernels.
fn twin(version: &str) -> String {
    let mut spec = format!(
        "Name: twin\nVersion: {version}\nRelease: 1\nSummary: twin\nLicense: MIT\nBuildArch: noarch\n\
         %description\ntwin\n%install\nmkdir -p %{{buildroot}}/files\ntouch %{{buildroot}}/files/twin{version}\n\
         %files\n/files/twin{version}\n"
    );
    for (section, condition) in [
        ("pretrans", ""),
        ("pre", ""),
        ("post", ""),
        ("posttrans", ""),
        ("triggerprein", "-- alpha"),
        ("triggerin", "-- alpha, twin"),
        ("filetriggerin", "-- /files"),
        ("transfiletriggerin", "-- /files/"),
    ] {
        spec += &format!(
            "%{section} {condition}\n\
             input=; while read -r line; do input=\"$input$line \"; done; cd /files\n\
             echo \"twin{version}-{section} | $* | $(echo *) | $input\" >> /log\n"
        );
    }
    spec
}

/// A root in which scripts can run: a shell, and an ldconfig that keeps the same log.
fn root(workshop: &Workshop, name: &str) -> PathBuf {
    let root = workshop.path(name);
    for directory in ["bin", "sbin", "files", "var/tmp", "var/lib/rpm"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    let ldconfig = root.join("sbin/ldconfig");
    let script = "#!/bin/sh\ninput=; while read -r line; do input=\"$input$line \"; done\n\
                  echo \"ldconfig with $# arguments | $input\" >> /log\n";
    std::fs::write(&ldconfig, script).unwrap();
    std::fs::set_permissions(&ldconfig, PermissionsExt::from_mode(0o755)).unwrap();
    root
}

/// Whether the host's busybox runs in a root without libraries.
fn ready() -> bool {
    let tools = ["rpm", "rpmbuild", "busybox"].into_iter().all(tool);
    let is_static = || {
        let bytes = std::fs::read("/usr/bin/busybox").unwrap_or_default();
        // The name of the loader is in every program that needs one.
        !bytes.windows(7).any(|part| part == b"/ld-lin")
    };
    if tools && !is_static() {
        assert!(std::env::var_os("CI").is_none(), "a static busybox is needed for this test");
        println!("skipped: busybox is not static");
        return false;
    }
    tools
}

/// What the scripts of the spec would log, were they run as our actions say.
fn told(actions: &[Action], packages: &[&str], there: &[&str]) -> Vec<String> {
    let mut there: Vec<&str> = there.to_vec();
    there.sort();
    let mut log = Vec::new();
    for action in actions {
        let run = match action {
            Action::Lay { package } => {
                there.push(packages[*package]);
                there.sort();
                continue;
            }
            Action::Script(run) => run,
            Action::MakeUsers { .. } => panic!("rpm 4.18 makes no users"),
        };
        let input = String::from_utf8(run.input.clone()).unwrap().replace('\n', " ");
        let command = run.command("script");
        if command[0] == "/sbin/ldconfig" {
            log.push(format!("ldconfig with {} arguments | {input}", command.len() - 1));
            continue;
        }
        let body = String::from_utf8(run.body.clone().unwrap().into_vec()).unwrap();
        if body.contains("prefixes") {
            let prefix = String::from_utf8(run.prefixes[0].to_vec()).unwrap();
            log.push(format!("{} prefixes {prefix} {prefix}", run.package.split('-').next().unwrap()));
        }
        // The name is the word before the first bar.
        let mark = body.split(" | ").next().unwrap().rsplit(['"', ' ']).next().unwrap();
        let arguments: Vec<String> = run.arguments.iter().map(u32::to_string).collect();
        // The shell leaves a pattern that meets nothing as it is.
        let files = if there.is_empty() { "*".to_owned() } else { there.join(" ") };
        log.push(format!("{mark} | {} | {files} | {input}", arguments.join(" ")));
    }
    log
}

/// The log that rpm's scripts wrote, which begins anew.
fn logged(root: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(root.join("log")).unwrap();
    std::fs::remove_file(root.join("log")).unwrap();
    log.lines().map(str::to_owned).collect()
}

struct Referee {
    workshop: Workshop,
    built: BTreeMap<String, PathBuf>,
}

impl Referee {
    fn new() -> Option<Self> {
        ready().then(|| {
            let workshop = Workshop::new();
            let mut built: BTreeMap<String, PathBuf> = workshop.build("order", SPEC).into_iter().collect();
            for version in ["1", "2"] {
                let twin = workshop.build(&format!("twin{version}"), &twin(version)).remove(0).1;
                built.insert(format!("twin{version}"), twin);
            }
            Self { workshop, built }
        })
    }

    fn install(&self, root: &Path, names: &[&str]) -> Vec<String> {
        let packages = names.iter().map(|name| &self.built[*name]);
        let mut command = self.workshop.rpm(root);
        run(command.args(["-i", "--nodeps", "--noorder", "--nosignature"]).args(packages));
        logged(root)
    }

    fn packages(&self, names: &[&str]) -> Vec<Package> {
        names.iter().map(|name| Package::read(&headers(&self.built[*name]).1).unwrap()).collect()
    }

    /// Installs groups of packages one after the other, and compares each.
    fn compare(&self, name: &str, groups: &[&[&str]]) {
        let root = root(&self.workshop, name);
        let mut there: Vec<&str> = Vec::new();
        for group in groups {
            // What is there is read from rpm's own database.
            let installed: Vec<Package> = match there.is_empty() {
                true => Vec::new(),
                false => {
                    let database = Database::read(&root.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
                    database.packages().map(|(_, header)| Package::read(header).unwrap()).collect()
                }
            };
            let actions = order(&installed, &self.packages(group), Rules::default());
            let ours = told(&actions, group, &there);
            let theirs = self.install(&root, group);
            assert_eq!(ours.join("\n"), theirs.join("\n"), "{name}: {group:?} after {there:?}");
            there.extend(*group);
        }
    }
}

#[test]
fn scripts_run_in_the_order_of_rpm() {
    let Some(referee) = Referee::new() else { return };
    referee.compare("at-once", &[&["alpha", "watch", "zeta", "late", "other"]]);
    referee.compare("backwards", &[&["other", "late", "zeta", "watch", "alpha"]]);
    referee.compare("one-by-one", &[&["late"], &["watch"], &["alpha"], &["other"], &["zeta"]]);
    referee.compare("in-parts", &[&["alpha", "zeta"], &["late", "watch", "other"]]);
    referee.compare("twins", &[&["twin1", "alpha", "twin2"]]);
    referee.compare("twins-apart", &[&["alpha", "twin1"], &["twin2"]]);
    referee.compare("in-other-parts", &[&["watch", "late"], &["other", "zeta", "alpha"]]);
}

#[test]
fn another_order_is_noticed() {
    let Some(referee) = Referee::new() else { return };
    let names = ["alpha", "watch", "zeta"];
    let root = root(&referee.workshop, "root");
    let theirs = referee.install(&root, &names);
    let mut actions = order(&[], &referee.packages(&names), Rules::default());
    assert_eq!(told(&actions, &names, &[]), theirs);
    assert_eq!(coalesce_ldconfig(actions.clone()), actions, "no ldconfig is here");
    let scripts: Vec<usize> = (0..actions.len()).filter(|at| matches!(actions[*at], Action::Script(_))).collect();
    for pair in scripts.windows(2) {
        actions.swap(pair[0], pair[1]);
        assert_ne!(told(&actions, &names, &[]), theirs);
        actions.swap(pair[0], pair[1]);
    }
}

#[test]
fn lua_finds_outside_of_rpm_what_it_finds_within() {
    let (Some(referee), true) = (Referee::new(), tool("rpmlua")) else { return };
    let names = ["watch", "alpha", "zeta"];
    let root = root(&referee.workshop, "root");
    let theirs = referee.install(&root, &names);
    let mut scripts = 0;
    for action in order(&[], &referee.packages(&names), Rules::default()) {
        let Action::Script(run) = action else { continue };
        let Some(lua) = run.lua() else { continue };
        // The log is beside the script, and lists the host's files, which are not compared.
        let source = String::from_utf8(lua).unwrap().replace("\"/log\"", "\"lua.log\"");
        let (script, log) = (referee.workshop.path("script.lua"), referee.workshop.path("lua.log"));
        std::fs::write(&script, source).unwrap();
        let _ = std::fs::remove_file(&log);
        rpm_referee::run(std::process::Command::new("rpmlua").arg(&script).current_dir(script.parent().unwrap()));
        let ours = std::fs::read_to_string(&log).unwrap();
        let parts = |line: &str| {
            let parts: Vec<String> = line.split('|').map(|part| part.trim().to_owned()).collect();
            [parts[0].clone(), parts[1].clone(), parts[3].clone()]
        };
        let ours = parts(ours.trim_end());
        assert!(theirs.iter().any(|line| line.contains('|') && parts(line) == ours), "{ours:?} is not in {theirs:#?}");
        scripts += 1;
    }
    assert_eq!(scripts, 7);
}

/// A distribution of one's own: `RPM_PACKAGES=directory cargo test … -- --ignored`. Needs root, and
/// runs what the packages bring along, without a network.
#[test]
#[ignore = "needs packages"]
fn a_whole_distribution() {
    let directory = std::env::var_os("RPM_PACKAGES").expect("RPM_PACKAGES names a directory of packages");
    let mut packages: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    packages.retain(|path| path.extension().is_some_and(|suffix| suffix == "rpm"));
    packages.sort();
    let workshop = Workshop::new();
    let root = workshop.path("root");
    std::fs::create_dir_all(root.join("dev")).unwrap();
    std::fs::write(root.join("dev/null"), "").unwrap();
    let rpm = workshop.rpm(&root);
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--mount"]).arg(rpm.get_program()).args(rpm.get_args());
    command.envs(rpm.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["-ivv", "--nodeps", "--force", "--nosignature"]).args(packages).stdin(std::process::Stdio::null());
    let told = command.output().unwrap().stderr;
    let told = String::from_utf8_lossy(&told);

    // A package whose %pre failed is not there.
    let database = Database::read(&root.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    let there: Vec<Package> = database.packages().map(|(_, header)| Package::read(header).unwrap()).collect();
    let theirs: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("D: %")?.split_once(": "))
        .filter(|(_, what)| *what == "scriptlet start" || *what == "running <lua> scriptlet.")
        .map(|(script, _)| script)
        .filter(|script| there.iter().any(|package| script.ends_with(&format!("({})", package.label()))))
        .collect();
    let actions = order(&[], &there, Rules::default());
    let name = |run: &Run| match run.kind {
        Kind::Scriptlet(Phase::Pre) => format!("prein({})", run.package),
        kind => format!("{}({})", &kind.to_string()[1..], run.package),
    };
    let ours: Vec<String> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Script(run) => Some(name(run)),
            _ => None,
        })
        .collect();
    let kept = coalesce_ldconfig(actions.clone()).len();
    println!("{} packages, {} scripts, {} of them needless", there.len(), ours.len(), actions.len() - kept);
    assert_eq!(ours, theirs);
}

/// Capabilities as sysusers.prov of rpm 4.19 writes them (users_and_groups.md); its rpm is not here.
#[test]
fn users_are_made_before_files() {
    if !tool("rpmbuild") {
        return;
    }
    let workshop = Workshop::new();
    let spec = "Name: dnsmasq\nVersion: 1\nRelease: 1\nSummary: users\nLicense: MIT\nBuildArch: noarch\n\
        Provides: user(dnsmasq) = \
        dSBkbnNtYXNxIC0gIkRuc21hc3EgREhDUCBhbmQgRE5TIHNlcnZlciIgL3Zhci9saWIvZG5zbWFzcQAA\n\
        Provides: group(dnsmasq), user(plain), group(other) = ZyBvdGhlciA1\n\
        %description\nusers\n%files\n%pre\ntrue\n";
    let built = workshop.build("users", spec).remove(0).1;
    let package = Package::read(&headers(&built).1).unwrap();
    let actions = order(&[], std::slice::from_ref(&package), Rules { users: true });
    let [Action::MakeUsers { package: 0, users }, Action::Script(_), Action::Lay { package: 0 }] = &actions[..] else {
        panic!("{actions:?}");
    };
    let lines = "g other 5\nu dnsmasq - \"Dnsmasq DHCP and DNS server\" /var/lib/dnsmasq\n";
    assert_eq!((users.file.as_deref(), String::from_utf8_lossy(&users.lines).as_ref()), (None, lines));
    assert_eq!(order(&[], &[package], Rules::default()).len(), 2);
}
