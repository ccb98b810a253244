//! Looking into images: ours, and those that other tools made, divided as clouds and old machines
//! divide them.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{User, composer, have, is_root, must, must_as, workplace};

const USER: User = User::WithoutRange;

const TOOLS: &[&str] = &["mke2fs", "mkfs.vfat", "mcopy", "mmd", "sfdisk", "qemu-img", "debugfs", "setpriv"];

/// Where the tools are that make file systems.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where other tools put what they make, as an ordinary user.
struct Foreign {
    home: PathBuf,
}

/// A system of four files that has /home on a partition of its own.
fn trees(home: &Path) -> (PathBuf, PathBuf) {
    let (root, data) = (home.join("root"), home.join("data"));
    for directory in ["etc", "usr/lib", "var/lib/dpkg", "home", "boot", "mnt/a b"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::write(root.join("usr/lib/os-release"), "ID=other\nVERSION_ID=\"7\"\nPRETTY_NAME=\"Other Linux 7\"\n")
        .unwrap();
    symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    let fstab = "# a comment\nLABEL=top / ext4 defaults 0 1\nLABEL=data /home ext4 defaults 0 2\n\
                 UUID=1234-ABCD /boot vfat umask=0077 0 2\n/dev/sda15 /mnt/a\\040b vfat ro 0 0\n";
    std::fs::write(root.join("etc/fstab"), fstab).unwrap();
    let status = "Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0-1\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 2\n";
    std::fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    std::fs::create_dir_all(data.join("deep/er")).unwrap();
    // Across every way to map blocks, with a hole.
    let mut big = vec![7; 3 << 20];
    big[1 << 20..2 << 20].fill(0);
    std::fs::write(data.join("deep/er/big"), &big).unwrap();
    std::fs::hard_link(data.join("deep/er/big"), data.join("deep/same")).unwrap();
    symlink("/etc/os-release", data.join("link")).unwrap();
    std::fs::write(data.join("run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(data.join("run"), std::fs::Permissions::from_mode(0o751)).unwrap();
    must(Command::new("find").args([&root, &data]).args("-exec touch -h -d @1700000000 {} +".split(' ')));
    must(Command::new("chown").arg("-R").arg(USER.name()).args([&root, &data]));
    (root, data)
}

impl Foreign {
    fn open(name: &str) -> Option<Self> {
        if !is_root() || !have(TOOLS) {
            println!("skipped: the suite must run as root to be other users");
            assert!(!crate::support::strict() || is_root(), "with CI set the suite must run as root");
            return None;
        }
        Some(Self { home: workplace(USER, name) })
    }

    fn tool(&self, words: &str) -> String {
        let mut words = words.split(' ').filter(|word| !word.is_empty());
        let program = words.next().unwrap();
        must_as(USER, Command::new(program).args(words).current_dir(&self.home).env("PATH", PATH))
    }

    /// Changes the root's file system behind everybody's back.
    fn debug(&self, request: &str) {
        let mut debugfs = Command::new("debugfs");
        debugfs.args(["-w", "-R", request, "root.ext4"]).current_dir(&self.home).env("PATH", PATH);
        must_as(USER, &mut debugfs);
    }

    /// Runs image-composer; gives its exit code, output and errors.
    fn run(&self, words: &str) -> (i32, String, String) {
        let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
        let Output { status, stdout, stderr } = composer(USER, &self.home, &words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        println!("$ image-composer {}\n{}{}", words.join(" "), text(&stdout), text(&stderr));
        assert!(!text(&stderr).contains("panicked"), "it panicked");
        (status.code().unwrap_or(-1), text(&stdout), text(&stderr))
    }

    fn good(&self, words: &str) -> String {
        let (code, out, _) = self.run(words);
        assert_eq!(code, 0, "{words}");
        out
    }

    /// A disk with the file systems at places that sfdisk was told.
    fn disk(&self, script: &str, parts: &[(&str, u64)]) {
        self.tool("truncate -s 96M disk.raw");
        std::fs::write(self.home.join("table"), script).unwrap();
        let table = std::fs::File::open(self.home.join("table")).unwrap();
        let mut sfdisk = Command::new("sfdisk");
        let divided = sfdisk.args(["-q", "--no-reread"]).arg(self.home.join("disk.raw")).stdin(table).status().unwrap();
        assert!(divided.success());
        for (file, start) in parts {
            self.tool(&format!("dd if={file} of=disk.raw bs=1M seek={start} conv=notrunc status=none"));
        }
    }

    fn file_systems(&self) -> (PathBuf, PathBuf) {
        let (root, data) = trees(&self.home);
        self.tool("mke2fs -q -t ext4 -L top -d root root.ext4 24M");
        self.tool("mke2fs -q -t ext3 -O ^extent,^metadata_csum,^64bit -b 1024 -L data -d data data.ext3 24M");
        self.tool("mkfs.vfat -i 1234abcd -n ESP -C esp.fat 8192");
        std::fs::write(self.home.join("loader.efi"), vec![3; 100_000]).unwrap();
        self.tool("mmd -i esp.fat ::EFI ::EFI/BOOT");
        self.tool("mcopy -i esp.fat loader.efi ::EFI/BOOT/BOOTX64.EFI");
        (root, data)
    }
}

/// What a cloud's image looks like: the root first, with numbers 14 and 15 before it on the disk.
const CLOUD: &str = "label: gpt
label-id: 11111111-2222-4333-8444-555555555555
14: start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649
15: start=2MiB, size=8MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
1: start=16MiB, size=24MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=\"the root\"
2: start=48MiB, size=24MiB, type=933AC7E1-2EB4-4F13-B844-0E14E2AEF915
";

/// What an old machine's disk looks like, with a logical partition.
const OLD: &str = "label: dos
label-id: 0xcafe0001
1: start=2MiB, size=8MiB, type=c, bootable
2: start=16MiB, size=24MiB, type=83
3: start=47MiB, size=40MiB, type=5
5: start=48MiB, size=24MiB, type=83
";

const PLACES: &[(&str, u64)] = &[("esp.fat", 2), ("root.ext4", 16), ("data.ext3", 48)];

/// The tree in these images is the one that was put in.
fn holds_the_trees(foreign: &Foreign, image: &str, root: &Path, data: &Path) {
    assert_eq!(foreign.good(&format!("cat {image} /etc/os-release")), read(&root.join("usr/lib/os-release")));
    // Through a link of another partition that leads back to the root.
    assert_eq!(foreign.good(&format!("cat {image} /home/link")), read(&root.join("usr/lib/os-release")));
    assert_eq!(foreign.good(&format!("ls {image} /home")), "deep\nlink\nlost+found\nrun\n");
    let long = foreign.good(&format!("ls -l {image} /home"));
    assert!(long.lines().any(|line| line.starts_with("-rwxr-x--x   1 ") && line.ends_with(" run")), "{long}");
    assert!(foreign.good(&format!("ls -R {image} /boot")).contains("/boot/EFI/BOOT/BOOTX64.EFI"));
    let _ = std::fs::remove_dir_all(foreign.home.join("out"));
    foreign.good(&format!("extract {image} /home -o out"));
    foreign.tool("rmdir out/home/lost+found");
    must(Command::new("diff").args(["-r", "--no-dereference"]).arg(data).arg(foreign.home.join("out/home")));
    let times =
        |path: &Path| must(Command::new("find").arg(path).args(["-mindepth", "1", "-printf", "%P %m %n %T@ %l\n"]));
    let sorted = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(times(data)), sorted(times(&foreign.home.join("out/home"))));
    // Holes stay holes: 2 MiB of 3 are there.
    let blocks = must(Command::new("stat").args(["-c", "%b"]).arg(foreign.home.join("out/home/deep/er/big")));
    assert!(blocks.trim().parse::<u64>().unwrap() * 512 < 5 << 19, "{blocks}");
    let (code, _, error) = foreign.run(&format!("extract {image} /home -o out"));
    assert!(code == 1 && error.contains("it is not empty"), "{error}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn inspected(foreign: &Foreign, image: &str) -> serde_json::Value {
    foreign.good(&format!("inspect {image}"));
    serde_json::from_str(&foreign.good(&format!("inspect --json {image}"))).unwrap()
}

#[test]
fn a_clouds_image_is_looked_into() {
    let Some(foreign) = Foreign::open("cloud-image") else { return };
    let (root, data) = foreign.file_systems();
    foreign.disk(CLOUD, PLACES);
    for (image, convert) in [
        ("disk.raw", ""),
        ("disk.qcow2", "-O qcow2 -c"),
        ("disk-zstd.qcow2", "-O qcow2 -c -o compression_type=zstd,cluster_size=128k"),
        ("disk.vhd", "-O vpc"),
        ("disk.vhdx", "-O vhdx"),
        ("disk.vmdk", "-O vmdk -o subformat=streamOptimized"),
        ("disk.vdi", "-O vdi"),
    ] {
        if !convert.is_empty() {
            foreign.tool(&format!("qemu-img convert -f raw {convert} disk.raw {image}"));
        }
        holds_the_trees(&foreign, image, &root, &data);
        let found = inspected(&foreign, image);
        assert_eq!(found["partition_table"]["id"], "11111111-2222-4333-8444-555555555555");
        let partitions = found["partitions"].as_array().unwrap();
        let row = |index: usize, key: &str| partitions[index][key].clone();
        let numbers: Vec<_> = (0..4).map(|index| row(index, "number").as_u64().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 14, 15]);
        assert_eq!(
            (row(0, "type"), row(0, "mount"), row(0, "name")),
            ("root-x86-64".into(), "/".into(), "the root".into())
        );
        assert_eq!((row(1, "mount"), row(2, "type")), ("/home".into(), "bios-boot".into()));
        assert_eq!(row(3, "filesystem")["uuid"], "1234-ABCD");
        assert_eq!(found["operating_system"]["name"], "Other Linux 7");
        assert_eq!(found["boot"]["efi"][0], "EFI/BOOT/BOOTX64.EFI");
        assert_eq!(
            found["packages"],
            serde_json::json!([{ "name": "tool", "version": "1.0-1", "architecture": "all" }])
        );
    }
}

#[test]
fn an_image_is_mounted_by_an_ordinary_user() {
    let Some(foreign) = Foreign::open("mounted-image") else { return };
    if !have(&["fusermount3"]) || !Path::new("/dev/fuse").exists() {
        assert!(!crate::support::strict(), "there is no /dev/fuse");
        println!("skipped: there is no /dev/fuse");
        return;
    }
    // Every machine for people has it so; this one may be for root alone.
    std::fs::set_permissions("/dev/fuse", std::fs::Permissions::from_mode(0o666)).unwrap();
    let (root, data) = foreign.file_systems();
    foreign.disk(CLOUD, PLACES);
    foreign.tool("qemu-img convert -f raw -O qcow2 -c disk.raw disk.qcow2");
    foreign.tool("mkdir tree");
    let tree = foreign.home.join("tree");
    for (how, signal) in [("", "-INT"), ("--partition 2 ", ""), ("", "-TERM")] {
        let words = format!("mount disk.qcow2 {how}tree");
        let mut composer = composer(USER, &foreign.home, &words.split(' ').collect::<Vec<_>>());
        let mut child = composer.spawn().unwrap();
        let mounted = || foreign.tool("cat /proc/mounts").contains(tree.to_str().unwrap());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !mounted() && std::time::Instant::now() < end {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        if how.is_empty() {
            foreign.tool("diff -r --no-dereference --exclude lost+found data tree/home");
            assert_eq!(foreign.tool("cat tree/home/link tree/etc/os-release").matches("Other Linux 7").count(), 1);
            assert_eq!(foreign.tool("stat -c %U:%a:%h tree/home/deep/same"), format!("{}:644:2\n", USER.name()));
            foreign.tool("cmp loader.efi tree/boot/EFI/BOOT/BOOTX64.EFI");
            // A blank in the name of a mount point, and a second place for the same part.
            let twice = foreign.home.join("tree/mnt/a b/EFI/BOOT/BOOTX64.EFI");
            must_as(USER, Command::new("cmp").arg(twice).arg("loader.efi").current_dir(&foreign.home));
        } else {
            foreign.tool("cmp data/run tree/run");
        }
        let refused = Command::new("sh").arg("-c").arg(format!("echo > {}/new", tree.display())).output().unwrap();
        assert!(!refused.status.success(), "it can be written to");
        match signal {
            "" => foreign.tool("fusermount3 -u tree"),
            signal => must(Command::new("kill").args([signal, &child.id().to_string()])),
        };
        assert!(child.wait().unwrap().success());
        assert!(!mounted());
    }
    drop((root, data));
    let (code, _, error) = foreign.run("mount disk.qcow2 nowhere");
    assert!(code == 1 && error.contains("nowhere"), "{error}");
}

#[test]
fn an_old_machines_disk_is_looked_into() {
    let Some(foreign) = Foreign::open("old-image") else { return };
    let (root, data) = foreign.file_systems();
    foreign.disk(OLD, PLACES);
    holds_the_trees(&foreign, "disk.raw", &root, &data);
    let found = inspected(&foreign, "disk.raw");
    assert_eq!(found["partition_table"]["kind"], "mbr");
    let partitions = found["partitions"].as_array().unwrap();
    let names: Vec<_> =
        partitions.iter().map(|part| (part["number"].as_u64().unwrap(), part["partuuid"].clone())).collect();
    assert_eq!(names, [(1, "cafe0001-01".into()), (2, "cafe0001-02".into()), (5, "cafe0001-05".into())]);
    // One file system, without a table; and one part of a disk by its number.
    assert_eq!(foreign.good("cat root.ext4 etc/os-release"), read(&root.join("usr/lib/os-release")));
    assert_eq!(inspected(&foreign, "esp.fat")["partitions"][0]["filesystem"]["type"], "vfat");
    assert!(foreign.good("ls disk.raw --partition 5").contains("deep\n"));
    let (code, _, error) = foreign.run("ls disk.raw --partition 7");
    assert!(code == 1 && error.contains("there are: 1, 2, 5"), "{error}");
    let (code, _, error) = foreign.run("cat disk.raw /etc/nothing");
    assert!(code == 1 && error.contains("/etc/nothing"), "{error}");
    // Links that lead in a circle.
    foreign.debug("symlink /loop /loop");
    let (code, _, error) = foreign.run("cat root.ext4 /loop");
    assert!(code == 1 && error.contains("too many levels of symbolic links"), "{error}");
}

#[test]
fn every_difference_between_images_is_found() {
    let Some(foreign) = Foreign::open("compared-images") else { return };
    foreign.file_systems();
    foreign.disk(CLOUD, PLACES);
    foreign.tool("qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2");
    assert!(foreign.good("compare disk.raw disk.qcow2").starts_with("no differences"));
    let root = foreign.home.join("root");
    std::fs::write(root.join("etc/new"), "new").unwrap();
    std::fs::write(root.join("usr/lib/os-release"), read(&root.join("usr/lib/os-release")).replace('7', "8")).unwrap();
    let status = read(&root.join("var/lib/dpkg/status")).replace("1.0-1", "1.1-1");
    std::fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    std::fs::remove_dir(root.join("mnt/a b")).unwrap();
    foreign.tool("mke2fs -q -t ext4 -L other -d root root.ext4 24M");
    foreign.tool("cp disk.raw other.raw");
    foreign.tool("dd if=root.ext4 of=other.raw bs=1M seek=16 conv=notrunc status=none");
    let (code, text, _) = foreign.run("compare disk.raw other.raw");
    assert_eq!(code, 1);
    for line in [
        "~ partition 1: label: top -> other",
        "~ package tool:all 1.0-1 -> 1.1-1",
        "+ /etc/new -rw",
        " other content",
        "- /mnt/a b d",
    ] {
        assert!(text.contains(line), "{line}");
    }
    assert!(text.lines().any(|line| line.starts_with("~ /usr/lib/os-release ")));
    let (code, json, _) = foreign.run("compare --json disk.raw other.raw");
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(code == 1 && found["packages"][0]["b"] == "1.1-1");
    let (code, _, error) = foreign.run("compare disk.raw nothing.raw");
    assert!(code == 2 && error.contains("nothing.raw"), "{error}");
}

#[test]
fn broken_images_give_clear_errors() {
    let Some(foreign) = Foreign::open("broken-images") else { return };
    foreign.file_systems();
    foreign.disk(CLOUD, PLACES);
    foreign.tool("qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2");
    // One copy of the table is enough, and it is said that the other is damaged.
    foreign.tool("dd if=/dev/zero of=disk.raw bs=512 seek=1 count=1 conv=notrunc status=none");
    assert!(foreign.good("inspect disk.raw").contains("the primary copy of the partition table is not good"));
    foreign.good("cat disk.raw /etc/fstab");
    foreign.tool("truncate -s 90M disk.raw");
    let (code, _, error) = foreign.run("inspect disk.raw");
    assert!(code == 1 && error.contains("GPT"), "{error}");
    foreign.tool("truncate -s 100000 disk.qcow2");
    let (code, _, error) = foreign.run("ls disk.qcow2");
    assert!(code == 1 && error.contains("disk.qcow2"), "{error}");
    // A file system that is damaged is a problem of its own: the rest can be seen.
    foreign.debug("sif <2> mode 0");
    let (code, _, error) = foreign.run("ls root.ext4");
    assert!(code == 1 && error.contains("failed to read /"), "{error}");
    // Nobody writes into this one, so whoever opens it waits for ever.
    foreign.tool("mkfifo pipe");
    let (code, _, error) = foreign.run("inspect pipe");
    assert!(code == 1 && error.contains("no regular file or disk"), "{error}");
    foreign.tool("truncate -s 3M text");
    let (code, _, error) = foreign.run("ls text");
    assert!(code == 1 && error.contains("failed to find the root file system"), "{error}");
}
