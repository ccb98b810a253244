//! A package that is going to be made: its spec file, its build root, and rpmbuild.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::must;

/// No file of a package is younger, and every package is built at this time (2024-01-01).
pub const EPOCH: &str = "1704067200";

/// What each release ends with, as Azure Linux's do.
pub const SUFFIX: &str = ".azl3";

/// One binary package.
pub struct Spec {
    pub name: String,
    pub epoch: Option<u32>,
    pub version: String,
    /// With [`SUFFIX`].
    pub release: String,
    pub noarch: bool,
    pub summary: String,
    /// Lines of the preamble: dependencies.
    pub tags: Vec<String>,
    /// Scriptlets and triggers, each with its `%` line.
    pub scripts: Vec<String>,
    /// Macros of this package alone, as `name value`.
    pub macros: Vec<String>,
    /// What stands before each path in the list of files.
    files: BTreeMap<String, String>,
    directory: PathBuf,
}

impl Spec {
    /// A package without anything, below a directory of all packages' work.
    pub fn new(work: &Path, name: &str, version: &str, release: &str) -> Self {
        // Several versions of a package are made side by side.
        let directory = work.join(format!("{name}-{version}-{release}"));
        fs::create_dir_all(directory.join("root")).unwrap();
        Self {
            name: name.to_owned(),
            epoch: None,
            version: version.to_owned(),
            release: format!("{release}{SUFFIX}"),
            noarch: false,
            summary: format!("{name} of a test"),
            tags: Vec::new(),
            scripts: Vec::new(),
            macros: Vec::new(),
            files: BTreeMap::new(),
            directory,
        }
    }

    /// Where the files lie before they are packed.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    /// Adds lines to the preamble.
    pub fn tagged(mut self, lines: &str) -> Self {
        self.tags.extend(lines.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
        self
    }

    /// Adds a scriptlet or a trigger.
    pub fn script(mut self, section: &str) -> Self {
        self.scripts.push(section.trim().to_owned());
        self
    }

    pub fn with_macro(mut self, definition: &str) -> Self {
        self.macros.push(definition.to_owned());
        self
    }

    pub fn for_all_machines(mut self) -> Self {
        self.noarch = true;
        self
    }

    /// A file of root's.
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.file_of(path, &attributes(mode, "root", "root"), content)
    }

    /// A file with attributes and directives as they stand in a spec.
    pub fn file_of(mut self, path: &str, directives: &str, content: impl AsRef<[u8]>) -> Self {
        let place = self.place(path);
        fs::write(&place, content).unwrap();
        // Interpreters' dependencies are found for what can be executed.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        self.list(path, directives);
        self
    }

    pub fn directory(mut self, path: &str, mode: u32, owner: &str, group: &str) -> Self {
        fs::create_dir_all(self.place(path)).unwrap();
        self.list(path, &format!("%dir {}", attributes(mode, owner, group)));
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        let place = self.place(path);
        let _ = fs::remove_file(&place);
        symlink(target, place).unwrap();
        self.list(path, "");
        self
    }

    /// A further name of a file.
    pub fn hard_link(mut self, path: &str, of: &str) -> Self {
        fs::hard_link(self.place(of), self.place(path)).unwrap();
        let directives = self.files[of].clone();
        self.list(path, &directives);
        self
    }

    /// Lists something that lies in the build root already, or a ghost that need not.
    pub fn list(&mut self, path: &str, directives: &str) {
        self.files.insert(path.to_owned(), directives.to_owned());
    }

    pub fn unlist(&mut self, path: &str) {
        self.files.remove(path);
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn text(&self) -> String {
        let mut lines = vec![];
        lines.extend(self.macros.iter().map(|definition| format!("%global {definition}")));
        lines.push(format!("Name: {}", self.name));
        lines.extend(self.epoch.map(|epoch| format!("Epoch: {epoch}")));
        lines.push(format!("Version: {}\nRelease: {}", self.version, self.release));
        lines.push(format!("Summary: {}\nLicense: Various\nGroup: Test", self.summary.replace('%', "%%")));
        lines.push("Vendor: A test\nPackager: A <a@b.c>".to_owned());
        lines.extend(self.noarch.then(|| "BuildArch: noarch".to_owned()));
        lines.extend(self.tags.iter().cloned());
        lines.push(format!("\n%description\n{}\n\n%install\n", self.summary.replace('%', "%%")));
        lines.extend(self.scripts.iter().map(|script| format!("{script}\n")));
        lines.push("%files\n%defattr(-, root, root, -)".to_owned());
        lines.extend(self.files.iter().map(|(path, directives)| format!("{directives} \"{}\"", pattern(path))));
        lines.join("\n") + "\n"
    }

    /// Builds the package into a directory.
    pub fn build(self, home: &Path, into: &Path) {
        let spec = self.directory.join("package.spec");
        fs::write(&spec, self.text()).unwrap();
        let mut rpmbuild = tool("rpmbuild", home);
        rpmbuild.args(["-bb", "--quiet", "--target", if self.noarch { "noarch" } else { "x86_64" }]);
        rpmbuild.arg("--define").arg(format!("_topdir {}", self.directory.display()));
        rpmbuild.arg("--define").arg(format!("_rpmdir {}", into.display()));
        must(rpmbuild.arg("--buildroot").arg(self.root()).arg(spec));
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// `%attr` of a file.
pub fn attributes(mode: u32, owner: &str, group: &str) -> String {
    format!("%attr({mode:04o}, {owner}, {group})")
}

/// A pattern that matches a path: names in a spec are patterns, and macros.
fn pattern(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars() {
        match character {
            '[' => text.push_str("[[]"),
            '%' => text.push_str("%%"),
            '*' | '?' | '{' | '}' | '\\' | '"' => text.push('?'),
            other => text.push(other),
        }
    }
    text
}

/// One of rpm's tools in an environment of the suite's own.
pub fn tool(name: &str, home: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10", name]).env("HOME", home).env("SOURCE_DATE_EPOCH", EPOCH);
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir(home);
    command
}

/// Writes the macros that rpm's tools read in a home directory.
pub fn configure(home: &Path) {
    let attributes = home.join("fileattrs");
    fs::create_dir_all(&attributes).unwrap();
    // Sonames and interpreters, as far as distributions agree on them. Kernel modules are ELF too,
    // but have none.
    fs::write(
        attributes.join("elf.attr"),
        "%__elf_provides %{_rpmconfigdir}/elfdeps --provides\n\
         %__elf_requires %{_rpmconfigdir}/elfdeps --requires\n\
         %__elf_magic ^(setuid,? )?(setgid,? )?(sticky )?ELF (32|64)-bit.*(executable|shared object).*$\n\
         %__elf_exclude_path ^(/usr)?/lib/modules/\n",
    )
    .unwrap();
    fs::write(
        attributes.join("script.attr"),
        "%__script_requires %{_rpmconfigdir}/script.req\n\
         %__script_magic ^.* script[, ].*$\n\
         %__script_flags exeonly\n\
         %__script_exclude_path ^(/usr/share|/usr/lib/python3|/usr/lib/dracut/modules.d)/\n",
    )
    .unwrap();
    let macros = format!(
        "%_dbpath /var/lib/rpm\n\
         %_fileattrsdir {}\n\
         %_buildshell /bin/bash\n\
         %_buildhost a-test\n\
         %_binary_payload w7.zstdio\n\
         %__requires_exclude ^(/bin/dash|/usr/local/bin/python|libatm[.]so[.]1.*)$\n\
         %_build_id_links none\n\
         %_build_name_fmt %%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.%%{{ARCH}}.rpm\n\
         %debug_package %{{nil}}\n\
         %__os_install_post %{{nil}}\n\
         %__spec_install_pre %{{___build_pre}}\n\
         %_unpackaged_files_terminate_build 0\n\
         %use_source_date_epoch_as_buildtime 1\n\
         %clamp_mtime_to_source_date_epoch 1\n\
         %source_date_epoch_from_changelog 0\n\
         %__gpg {}\n\
         %_gpg_name packages\n\
         %_gpg_path {}\n",
        attributes.display(),
        found("gpg").display(),
        home.join("gnupg").display()
    );
    fs::write(home.join(".rpmmacros"), macros).unwrap();
}

fn found(tool: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = path.split(':').map(|directory| Path::new(directory).join(tool));
    places.find(|place| place.is_file()).unwrap_or_else(|| panic!("{tool} is missing"))
}
