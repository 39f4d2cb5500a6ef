//! The virtual machine: its hardware, its life, and what to show when it fails.
//!
//! All its files are in one directory, which is the current one while it runs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::accel::Accel;
use super::oracles;
use super::qmp;
use crate::image::Fat;
use crate::process;

/// Socket of the first serial line: the node's console.
pub(crate) const CONSOLE: &str = "console.sock";

/// What the second serial line printed: the node's log.
pub(crate) const LOG: &str = "node.log";

const QMP: &str = "qmp.sock";
const QEMU_MESSAGES: &str = "qemu.log";
const PROCESS_ID: &str = "qemu.pid";
const STICK: &str = "stick.img";
const FIRMWARE_VARIABLES: &str = "firmware-variables.fd";

/// From the package ovmf.
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES_BLANK: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Large enough to be claimed by default (32 GB); the files are sparse.
const DISK_SIZE: u64 = 40 << 30;

/// The disks: file, and the device with its lasting name. Two virtual ones, one NVMe, one SATA.
const DISKS: [(&str, &str); 4] = [
    ("disk1.raw", "virtio-blk-pci,serial=ICNRUNVIRTIO1"),
    ("disk2.raw", "virtio-blk-pci,serial=ICNRUNVIRTIO2"),
    ("disk3.raw", "nvme,serial=ICNRUNNVME0003"),
    ("disk4.raw", "ide-hd,bus=ide.0,serial=ICNRUNSATA0004,wwn=0x5000c500a1b2c3d4"),
];

/// Lines of a log that are shown when something fails.
const TAIL: usize = 30;

/// What may be chosen about a machine.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// The directory with the built image.
    pub image: &'a Path,
    /// The port of 127.0.0.1 that leads to the node's port 443.
    pub port: u16,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What it runs on.
    pub accel: Accel,
}

/// A running machine; it is switched off at the latest when this is dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    qemu: Child,
    accel: Accel,
}

impl Machine {
    /// Prepares stick, disks and firmware in the current directory and switches the machine on.
    ///
    /// # Errors
    ///
    /// When a file cannot be made or QEMU does not start.
    pub(crate) fn start(setup: &Setup<'_>, node_toml: &str) -> Result<Self> {
        make_stick(setup.image, node_toml)?;
        for (file, _) in DISKS {
            make_disk(Path::new(file))?;
        }
        fs::copy(FIRMWARE_VARIABLES_BLANK, FIRMWARE_VARIABLES)
            .with_context(|| format!("cannot copy {FIRMWARE_VARIABLES_BLANK}"))?;
        for file in [CONSOLE, QMP, LOG, PROCESS_ID] {
            remove(Path::new(file))?;
        }
        let messages = File::create(QEMU_MESSAGES).context("cannot make qemu.log")?;
        let again = messages.try_clone().context("cannot open qemu.log twice")?;
        let qemu = arguments(setup)
            .stdin(Stdio::null())
            .stdout(messages)
            .stderr(again)
            // A group of its own: Ctrl-C is for this program, which shuts the machine down.
            .process_group(0)
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        Ok(Self { qemu, accel: setup.accel })
    }

    /// What the machine runs on.
    pub(crate) fn accel(&self) -> Accel {
        self.accel
    }

    /// How the machine ended, if it did.
    ///
    /// # Errors
    ///
    /// When the process cannot be looked at.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.qemu.try_wait().context("cannot look at QEMU")
    }

    /// Presses the power button and waits; switches the machine off when it does not go off by
    /// itself within `limit` or a further signal comes.
    ///
    /// # Errors
    ///
    /// When the machine had to be switched off.
    pub(crate) fn power_off(&mut self, limit: Duration, stop: &AtomicBool) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        eprintln!("shutting the machine down; Ctrl-C again switches it off");
        stop.store(false, Ordering::Relaxed);
        qmp::press_power_button(Path::new(QMP))?;
        let started = Instant::now();
        while self.ended()?.is_none() {
            ensure!(!stop.load(Ordering::Relaxed), "switched off without a shutdown");
            ensure!(
                started.elapsed() < limit,
                "the machine did not shut down within {} s and was switched off\n{}",
                limit.as_secs(),
                self.diagnosis()
            );
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("the machine is off after {:.1} s", started.elapsed().as_secs_f32());
        Ok(())
    }

    /// The last that QEMU and the node said.
    pub(crate) fn diagnosis(&self) -> String {
        let mut text = String::new();
        for (what, file) in [("QEMU says", QEMU_MESSAGES), ("the node's log ends so", LOG)] {
            let content = fs::read(file).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            let lines: Vec<&str> = content.lines().collect();
            let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
            if last.is_empty() {
                let _ = writeln!(text, "{file} is empty");
            } else {
                let _ = writeln!(text, "{what} ({file}):\n  {}", last.join("\n  "));
            }
        }
        text
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended in all but bad cases; then these do nothing.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Fails where the machine of an earlier run, whose xtask was killed, is still on.
///
/// # Errors
///
/// Names the process.
pub(crate) fn refuse_leftover(dir: &Path) -> Result<()> {
    let Ok(text) = fs::read_to_string(dir.join(PROCESS_ID)) else { return Ok(()) };
    let process = PathBuf::from("/proc").join(text.trim());
    let program = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let there = fs::read_link(process.join("cwd"));
    if program.starts_with("qemu-system") && there.is_ok_and(|there| there == dir) {
        bail!("the machine of an earlier run is still on: end it with `kill {}`", text.trim());
    }
    Ok(())
}

/// Removes disks, user and all else that a machine keeps between runs.
///
/// # Errors
///
/// When a file cannot be removed.
pub(crate) fn remove_state(dir: &Path) -> Result<()> {
    for file in DISKS.iter().map(|(file, _)| *file).chain(["user.json"]) {
        remove(&dir.join(file))?;
    }
    let oracles = dir.join(oracles::FOLDER);
    match fs::remove_dir_all(&oracles) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", oracles.display()))
        }
        _ => Ok(()),
    }
}

fn arguments(setup: &Setup<'_>) -> Command {
    let mut command = process::command("qemu-system-x86_64");
    command
        .args(["-name", "icn-node", "-M", "q35", "-nodefaults", "-display", "none", "-vga", "std"])
        .args(setup.accel.arguments())
        .args(["-m", &setup.memory_mib.to_string(), "-pidfile", PROCESS_ID])
        .args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={FIRMWARE}")])
        .args(["-drive", &format!("if=pflash,format=raw,file={FIRMWARE_VARIABLES}")])
        .args(["-serial", &format!("unix:{CONSOLE},server=on,wait=off")])
        .args(["-serial", &format!("file:{LOG}")])
        .args(["-qmp", &format!("unix:{QMP},server=on,wait=off")])
        .args(["-device", "qemu-xhci,id=xhci"])
        .args(["-drive", &format!("if=none,id=stick,format=raw,file={STICK}")])
        .args(["-device", "usb-storage,bus=xhci.0,drive=stick,removable=on,bootindex=1"])
        .args(["-netdev", &format!("user,id=net0,hostfwd=tcp:127.0.0.1:{}-:443", setup.port)])
        // Without its ROM the port is no boot device.
        .args(["-device", "virtio-net-pci,netdev=net0,romfile="])
        .args(["-device", "i6300esb", "-action", "watchdog=reset"]);
    for (number, (file, device)) in DISKS.iter().enumerate() {
        command
            .args([
                "-drive",
                &format!("if=none,id=disk{number},format=raw,discard=unmap,file={file}"),
            ])
            .args(["-device", &format!("{device},drive=disk{number}")]);
    }
    command
}

/// A copy of the stick's image with this machine's configuration.
fn make_stick(image: &Path, node_toml: &str) -> Result<()> {
    let from = image.join("icn-node.img");
    process::output(
        process::command("cp").args(["--sparse=always", "--force"]).arg(&from).arg(STICK),
    )?;
    let config = Path::new("node.toml");
    fs::write(config, node_toml).context("cannot write node.toml")?;
    Fat::seed(Path::new(STICK)).copy(config, "node.toml")?;
    remove(config)
}

/// A blank disk, unless it is there.
fn make_disk(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    File::create(path)
        .and_then(|file| file.set_len(DISK_SIZE))
        .with_context(|| format!("cannot make {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_an_earlier_run_is_found_only_if_it_is_one() {
        let dir = std::env::temp_dir().join(format!("xtask-leftover-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        refuse_leftover(&dir).unwrap();
        // A process of that number exists, but it is not QEMU in this directory.
        fs::write(dir.join(PROCESS_ID), format!("{}\n", std::process::id())).unwrap();
        refuse_leftover(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
