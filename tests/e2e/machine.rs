//! A virtual machine that boots an image, by software emulation.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a machine may take until it asks for a login: emulation on a busy machine is slow.
const BOOT_LIMIT: Duration = Duration::from_secs(900);

/// Words for the kernel of an image that a test boots: with systemd's own 90 seconds, an emulated
/// machine beside a compiler gives up on its disks.
pub const PATIENT: &str = "systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900";

/// What a live image was written to.
#[derive(Clone, Copy, Debug)]
pub enum Medium {
    Disc,
    UsbStick,
}

/// What starts the machine.
#[derive(Clone, Copy, Debug)]
pub enum Firmware {
    Uefi,
    Bios,
}

pub struct Machine {
    child: Child,
    console: Arc<Mutex<Vec<u8>>>,
    pub ssh_port: u16,
}

impl Machine {
    /// Boots a disk under UEFI. What it writes goes into the disk.
    pub fn boot(disk: &Path, format: &str, work: &Path) -> Self {
        Self::start(Self::under_uefi(work), disk, format, work)
    }

    fn under_uefi(work: &Path) -> Command {
        let variables = work.join("vars.fd");
        std::fs::copy(firmware("OVMF_VARS"), &variables).unwrap();
        let mut qemu = Self::qemu();
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", firmware("OVMF_CODE").display()));
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={}", variables.display()));
        qemu
    }

    /// Boots a disk under UEFI with Secure Boot and the usual keys enrolled: what Microsoft has not
    /// signed, and what that does not vouch for, is refused.
    pub fn boot_secured(disk: &Path, format: &str, work: &Path) -> Self {
        let variables = work.join("vars.fd");
        std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", &variables).unwrap();
        let mut qemu = Self::qemu();
        // Variables are written in System Management Mode alone.
        qemu.args(["-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
        qemu.args(["-global", "ICH9-LPC.disable_s3=1", "-drive"]);
        qemu.arg("if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd");
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={}", variables.display()));
        Self::start(qemu, disk, format, work)
    }

    /// Boots a disk under a BIOS, QEMU's own.
    pub fn boot_by_bios(disk: &Path, format: &str, work: &Path) -> Self {
        Self::start(Self::qemu(), disk, format, work)
    }

    /// Boots a live medium, from a disc or a USB stick.
    pub fn boot_medium(file: &Path, how: Medium, by: Firmware, work: &Path) -> Self {
        let mut qemu = match by {
            Firmware::Uefi => Self::under_uefi(work),
            Firmware::Bios => Self::qemu(),
        };
        qemu.args(["-m", "2048"]);
        let drive = format!("if=none,id=medium,format=raw,readonly=on,file={}", file.display());
        match how {
            Medium::Disc => qemu.arg("-cdrom").arg(file),
            Medium::UsbStick => {
                qemu.args(["-drive", &drive, "-device", "qemu-xhci", "-device", "usb-storage,drive=medium,bootindex=0"])
            }
        };
        Self::run(qemu, work)
    }

    /// Starts a kernel with its initial RAM disk, without any disk.
    pub fn boot_kernel(kernel: &Path, initrd: &Path, cmdline: &str, work: &Path) -> Self {
        let mut qemu = Self::qemu();
        // The system and what it was unpacked from lie in memory side by side.
        qemu.args(["-m", "3072", "-append", cmdline, "-kernel"]).arg(kernel).arg("-initrd").arg(initrd);
        Self::run(qemu, work)
    }

    fn qemu() -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024", "-nographic", "-no-reboot"]);
        qemu
    }

    fn start(mut qemu: Command, disk: &Path, format: &str, work: &Path) -> Self {
        qemu.arg("-drive").arg(format!("file={},format={format},if=virtio", disk.display()));
        Self::run(qemu, work)
    }

    fn run(mut qemu: Command, work: &Path) -> Self {
        let ssh_port = free_port();
        let mut child = qemu
            .arg("-nic")
            .arg(format!("user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"))
            .args(["-serial", "mon:stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let console = Arc::new(Mutex::new(Vec::new()));
        let mut output = child.stdout.take().unwrap();
        let sink = console.clone();
        let mut log = std::fs::File::create(work.join("console.log")).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
                let _ = log.write_all(&buffer[..count]);
            }
        });
        Self { child, console, ssh_port }
    }

    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.console.lock().unwrap()).into_owned()
    }

    /// Waits until the console has shown a text.
    pub fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + BOOT_LIMIT;
        while !self.console().contains(text) {
            assert!(Instant::now() < end, "no {text:?} on the console:\n{}", self.console());
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the machine ended with {status} before {text:?}:\n{}", self.console());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs a command over ssh with a key and gives what it printed; tries until sshd answers.
    pub fn ssh(&mut self, key: &Path, user: &str, command: &str) -> String {
        self.talk(key, user, command, Path::new("/dev/null"))
    }

    /// Puts a file of this machine at a path in that one.
    pub fn send(&mut self, key: &Path, user: &str, file: &Path, to: &str) {
        self.talk(key, user, &format!("cat > {to}"), file);
    }

    fn talk(&mut self, key: &Path, user: &str, command: &str, input: &Path) -> String {
        let end = Instant::now() + BOOT_LIMIT;
        loop {
            let output = Command::new("ssh")
                .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"])
                .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"])
                .args(["-i"])
                .arg(key)
                .args(["-p", &self.ssh_port.to_string(), &format!("{user}@127.0.0.1"), command])
                .stdin(std::fs::File::open(input).unwrap())
                .output()
                .unwrap();
            // 255: ssh itself failed, so sshd may not be there yet.
            if output.status.code() != Some(255) {
                assert!(
                    output.status.success(),
                    "`{command}` ended with {}:\n{}\n{}",
                    output.status,
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the machine ended:\n{}", self.console());
            assert!(
                Instant::now() < end,
                "no answer on ssh: {}\n{}",
                String::from_utf8_lossy(&output.stderr),
                self.console()
            );
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// Waits until the machine has switched itself off.
    pub fn wait_for_end(mut self) {
        let end = Instant::now() + BOOT_LIMIT;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the machine does not end:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    port
}

fn firmware(part: &str) -> PathBuf {
    for name in [format!("{part}_4M.fd"), format!("{part}.fd")] {
        let path = Path::new("/usr/share/OVMF").join(name);
        if path.is_file() {
            return path;
        }
    }
    panic!("no {part} in /usr/share/OVMF: install ovmf");
}
