//! The digests of a resolved spec, by the written rule of [`layers::KeyBuilder`]: every field with
//! its label and lengths, never serialised JSON.
//!
//! A field that reaches an artifact is here. Paths of the builder's machine, the caches, and
//! where the artifacts go are not.

use layers::KeyBuilder;

use super::resolved::{
    BaseImage, CopiedFile, DebconfAnswer, Disk, Interface, Owner, Partition, Repository, RepositoryKey, ResolvedSpec,
    Script, SourceKind, Stage, Sudo, User,
};
use super::scalar::Principal;

/// Grows whenever a field or its writing changes.
const ENCODING_VERSION: u32 = 1;

/// Writes fields one after the other.
pub(super) struct Encoder(KeyBuilder);

impl Encoder {
    fn new(what: &str) -> Self {
        Self(KeyBuilder::new(what, ENCODING_VERSION))
    }

    fn put(self, label: &str, value: impl AsRef<[u8]>) -> Self {
        Self(self.0.field(label, value))
    }

    fn number(self, label: &str, value: u64) -> Self {
        self.put(label, value.to_le_bytes())
    }

    /// Nothing and an empty text differ: a count stands before the value.
    fn option(self, label: &str, value: Option<impl AsRef<[u8]>>) -> Self {
        Self(self.0.list(label, value))
    }

    fn texts<T: AsRef<[u8]>>(self, label: &str, values: impl IntoIterator<Item = T>) -> Self {
        Self(self.0.list(label, values))
    }

    fn each<T>(self, label: &str, values: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        let start = self.number(label, values.len() as u64);
        values.iter().fold(start, write)
    }

    /// A disk of an ESP and a root is written in the form that it had before there were others, so
    /// that the manifest of such an image stays the same.
    pub(super) fn disk(self, disk: &Disk) -> Self {
        if let (Some(size), Some((esp, root, label))) = (disk.size, disk.as_esp_and_root()) {
            return self
                .number("disk size", size)
                .number("esp size", esp)
                .option("root size", root.map(u64::to_le_bytes))
                .put("root label", label);
        }
        self.option("size of the disk", disk.size.map(u64::to_le_bytes)).each("partitions", &disk.partitions, partition)
    }

    /// Which image it is, the lock says; without one nothing is written, so that the manifest of an
    /// image that starts from nothing stays the same.
    fn base(self, base: Option<&BaseImage>) -> Self {
        match base {
            Some(base) => self.put("base image", &base.written),
            None => self,
        }
    }

    fn finish(self) -> [u8; 32] {
        self.0.finish().0
    }
}

impl ResolvedSpec {
    /// Digest of all that goes into the artifacts, their formats and compression included: the key
    /// of the image cache, together with the lock's digest and the program's version.
    pub fn digest(&self) -> [u8; 32] {
        // Validation changes nothing; a skipped stage does.
        let stages = self.stages.iter().filter(|stage| **stage != Stage::Validate);
        Encoder::new("resolved spec")
            .put("content", self.content_digest())
            .texts("formats", self.formats.iter().map(|format| format.as_str()))
            .put("compression", self.compression.as_str())
            .number("oci layers", self.container.layers as u64)
            .texts("oci entrypoint", &self.container.entrypoint)
            .texts("oci command", &self.container.command)
            .texts("stages", stages.map(|stage| stage.as_str()))
            .finish()
    }

    /// Digest of all that goes into the tree and the disk, whatever the disk is then wrapped in:
    /// the seed of identifiers, so that a raw and a qcow2 image of one spec hold the same disk.
    pub fn content_digest(&self) -> [u8; 32] {
        let names = |units: &[super::names::UnitName]| -> Vec<String> {
            units.iter().map(|unit| unit.as_str().to_owned()).collect()
        };
        Encoder::new("resolved spec content")
            .put("name", self.name.as_str())
            .option("image version", self.image_version.as_ref().map(|v| v.as_str()))
            .option("description", self.description.as_deref())
            .put("os", self.os.as_str())
            .put("os version", self.os_version.as_str())
            .put("variant", self.variant.as_str())
            .put("architecture", self.architecture.as_str())
            .base(self.base.as_ref())
            .put("hostname", self.hostname.as_str())
            .put("locale", self.locale.as_str())
            .put("timezone", self.timezone.as_str())
            .each("users", &self.users, user)
            .each("interfaces", &self.network.interfaces, interface)
            .option("kernel package", self.kernel.package.as_ref().map(|v| v.as_str()))
            .option("kernel version", self.kernel.version.as_ref().map(|v| v.as_str()))
            .texts("cmdline", &self.kernel.cmdline)
            .put("bootloader", self.bootloader.as_str())
            .disk(&self.disk)
            .each("repositories", &self.repositories, repository)
            .texts("install", self.packages.install.iter().map(|v| v.as_str()))
            .texts("remove", self.packages.remove.iter().map(|v| v.as_str()))
            .number("recommends", u64::from(self.packages.recommends))
            .texts("enabled", names(&self.services.enabled))
            .texts("disabled", names(&self.services.disabled))
            .texts("masked", names(&self.services.masked))
            .each("files", &self.files, copied_file)
            .each("scripts", &self.scripts, script)
            .each("debconf", &self.debconf, debconf)
            .number("build network", u64::from(self.build_network))
            .finish()
    }
}

/// Digest of a part of a spec, to tell two of them apart.
pub(super) fn digest_of<T>(part: &T, write: impl Fn(Encoder, &T) -> Encoder) -> [u8; 32] {
    write(Encoder::new("part of a spec"), part).finish()
}

fn partition(encoder: Encoder, partition: &Partition) -> Encoder {
    encoder
        .put("partition", &partition.id)
        .option("type", partition.type_guid.map(uuid::Uuid::into_bytes))
        .put("role", partition.role.word())
        .put("name", &partition.name)
        .put("size", partition.size.to_string())
        .put("file system", partition.filesystem.as_str())
        .put("label", &partition.label)
        .option("mount point", partition.mount.as_ref().map(layers::TreePath::as_bytes))
        .put("options", &partition.options)
        .number("grow", u64::from(partition.grow))
}

impl CopiedFile {
    /// Digest of what is copied and how: for the key of its step.
    pub fn digest(&self) -> [u8; 32] {
        copied_file(Encoder::new("copied file"), self).finish()
    }
}

impl Script {
    /// Digest of the script, its arguments and its environment: for the key of its step.
    pub fn digest(&self) -> [u8; 32] {
        script(Encoder::new("script"), self).finish()
    }
}

fn user(encoder: Encoder, user: &User) -> Encoder {
    let sudo = match user.sudo {
        Sudo::No => "no",
        Sudo::Password => "password",
        Sudo::NoPassword => "nopasswd",
    };
    encoder
        .put("user", user.name.as_str())
        .option("password hash", user.password_hash.as_ref().map(|v| v.as_str()))
        .texts("ssh keys", &user.ssh_keys)
        .texts("groups", user.groups.iter().map(|v| v.as_str()))
        .option("shell", user.shell.as_ref().map(|v| v.as_bytes()))
        .option("home", user.home.as_ref().map(|v| v.as_bytes()))
        .option("uid", user.uid.map(u32::to_le_bytes))
        .option("gecos", user.gecos.as_deref())
        .put("sudo", sudo)
}

pub(super) fn interface(encoder: Encoder, interface: &Interface) -> Encoder {
    encoder
        .put("interface", interface.name.as_str())
        .option("match", interface.match_name.as_deref())
        .option("mac", interface.match_mac.map(|mac| mac.0))
        .put("dhcp", interface.dhcp.as_str())
        .texts("addresses", interface.addresses.iter().map(ToString::to_string))
        .texts("gateways", interface.gateways.iter().map(ToString::to_string))
        .texts("dns", interface.dns.iter().map(ToString::to_string))
        .texts("domains", interface.domains.iter().map(|v| v.as_str()))
        .option("mtu", interface.mtu.map(u32::to_le_bytes))
}

pub(super) fn repository(encoder: Encoder, repository: &Repository) -> Encoder {
    let encoder = encoder
        .put("repository", repository.name.as_str())
        .put("url", &repository.url)
        .texts("suites", &repository.suites)
        .texts("components", &repository.components)
        .number("check_valid_until", u64::from(repository.check_valid_until))
        .number("repo_gpgcheck", u64::from(repository.repo_gpgcheck))
        .number("gpgcheck", u64::from(repository.gpgcheck))
        .texts("exclude", &repository.exclude)
        .option("priority", repository.priority.map(i32::to_le_bytes));
    match &repository.key {
        RepositoryKey::Keyring(bytes) => encoder.put("keyring", bytes),
        RepositoryKey::TrustedUnsigned => encoder.put("trusted", ""),
    }
}

fn principal<N: AsRef<str>>(encoder: Encoder, label: &str, principal: &Principal<N>) -> Encoder {
    match principal {
        Principal::Name(name) => encoder.put(label, name.as_ref()),
        Principal::Id(id) => encoder.number(&format!("{label} id"), u64::from(*id)),
    }
}

fn owner(encoder: Encoder, owner: &Owner) -> Encoder {
    let encoder = principal(encoder, "owner", &owner.user);
    match &owner.group {
        Some(group) => principal(encoder, "group", group),
        None => encoder.put("own group", ""),
    }
}

pub(super) fn copied_file(encoder: Encoder, file: &CopiedFile) -> Encoder {
    let encoder = encoder
        .put("destination", file.destination.as_bytes())
        .option("permissions", file.permissions.map(|mode| mode.0.to_le_bytes()));
    owner(encoder, &file.owner).each("entries", &file.entries, |encoder, entry| {
        let encoder = encoder.put("path", entry.path.as_bytes());
        match &entry.kind {
            SourceKind::File { content, executable, .. } => {
                encoder.put("file", content.digest).number("executable", u64::from(*executable))
            }
            SourceKind::Text(text) => encoder.put("text", text),
            SourceKind::Directory => encoder.put("directory", ""),
            SourceKind::Symlink(target) => encoder.put("symlink", target),
        }
    })
}

fn script(encoder: Encoder, script: &Script) -> Encoder {
    encoder
        .put("script", script.content.digest)
        // A script sees the name it is called by.
        .put("path", &script.path)
        .texts("args", &script.args)
        .number("in the image", u64::from(script.run_in_chroot))
        .texts("variables", script.environment.keys().map(|name| name.as_str()))
        .texts("values", script.environment.values())
}

pub(super) fn debconf(encoder: Encoder, answer: &DebconfAnswer) -> Encoder {
    encoder
        .put("package", answer.package.as_str())
        .put("question", &answer.question)
        .put("type", answer.kind.as_str())
        .put("value", &answer.value)
}
