//! A virtual machine that boots the image as a server would.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::artefacts::Artefacts;
use crate::disks::{Bus, Disk};
use crate::qmp::Qmp;
use crate::s3::S3;
use crate::screen::Screen;
use crate::write_log;

/// The longest any boot may take: about ten times an idle machine's, as these tests share theirs.
pub const BOOT: Duration = Duration::from_secs(240);

/// How long a clean power-off may take: the node's own bound is about 30 s when idle.
const POWER_OFF: Duration = Duration::from_secs(90);

/// How the machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// UEFI firmware, boot loader and UKI from the stick, as a real server.
    Firmware,
    /// Kernel and initial file system of the UKI handed to QEMU: where the boot loader is not the
    /// point.
    Direct,
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How it starts.
    pub boot: Boot,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// USB sticks, the first one bootable.
    pub sticks: Vec<PathBuf>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// The clock at power-on, as QEMU's `-rtc base=` takes it.
    pub clock: &'static str,
    /// The node's address, where the stick sets one; else the one that DHCP gives.
    pub guest_address: Option<&'static str>,
    /// More words on the kernel's command line; only of a machine that is booted directly.
    pub kernel_more: &'static str,
    /// Whether each disk's writes are logged beside its file, see [`crate::write_log`].
    pub logs_writes: bool,
    /// Whether the machine has a port on QEMU's own network, whose DHCP gives it an address; without it, only
    /// those of [`Setup::more`] are there.
    pub has_network: bool,
    /// The host's port that leads to the node's S3; any free one where none is given.
    pub s3_port: Option<u16>,
    /// Ports of the node that are reached from outside, beside that of S3.
    pub forwards: Vec<u16>,
    /// Whether the terminal on the first serial line says its size; without it the console shows no screens there, and
    /// takes commands.
    pub terminal_answers: bool,
    /// More arguments for QEMU.
    pub more: Vec<String>,
}

impl Setup {
    /// A machine with one stick and these disks, booted directly.
    #[must_use]
    pub fn new(stick: &Path, disks: &[Disk]) -> Self {
        Self {
            boot: Boot::Direct,
            memory_mib: 1024,
            sticks: vec![stick.to_path_buf()],
            disks: disks.to_vec(),
            clock: "utc",
            guest_address: None,
            kernel_more: "",
            logs_writes: false,
            has_network: true,
            s3_port: None,
            forwards: Vec::new(),
            terminal_answers: true,
            more: Vec::new(),
        }
    }
}

/// A running machine; it is ended when dropped.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    run: TempDir,
    s3_port: u16,
    /// Ports of the node, and the host's that lead to them.
    forwarded: Vec<(u16, u16)>,
    /// QEMU's control socket.
    pub qmp: Qmp,
    /// The console on the first serial line.
    pub screen: Screen,
    /// When QEMU was started.
    pub started: Instant,
}

impl Machine {
    /// Powers a machine on.
    ///
    /// # Errors
    /// When QEMU cannot be started, with what it said.
    pub fn start(artefacts: &Artefacts, setup: &Setup) -> Result<Self> {
        let run = tempfile::Builder::new().prefix("icn-e2e-").tempdir()?;
        let s3_port = match setup.s3_port {
            Some(port) => port,
            None => free_port()?,
        };
        let forward = |node: &u16| Ok((*node, free_port()?));
        let forwarded = setup.forwards.iter().map(forward).collect::<Result<Vec<_>>>()?;
        let mut command = Command::new("qemu-system-x86_64");
        command.args(arguments(artefacts, setup, run.path(), s3_port, &forwarded)?);
        let errors = std::fs::File::create(run.path().join("qemu.log"))?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(errors.try_clone()?)
            .stderr(errors)
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let attach = || {
            let qmp = Qmp::connect(&run.path().join("qmp"), Duration::from_secs(20))?;
            let line = run.path().join("console");
            anyhow::Ok((qmp, Screen::attach(&line, setup.terminal_answers)?))
        };
        match attach() {
            Ok((qmp, screen)) => Ok(Self { child, run, s3_port, forwarded, qmp, screen, started }),
            Err(error) => {
                let said = std::fs::read_to_string(run.path().join("qemu.log")).unwrap_or_default();
                end(child);
                Err(error.context(format!("QEMU said: {said}")))
            }
        }
    }

    /// The S3 endpoint as seen from the host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.s3_port)
    }

    /// The host's port that leads to the node's S3 service.
    #[must_use]
    pub fn s3_port(&self) -> u16 {
        self.s3_port
    }

    /// The host's port that leads to one of the node's that the set-up forwards.
    ///
    /// # Errors
    /// When it forwards no such port.
    pub fn forwarded(&self, port: u16) -> Result<u16> {
        let found = self.forwarded.iter().find(|(node, _)| *node == port);
        found.map(|(_, host)| *host).with_context(|| format!("port {port} is not forwarded"))
    }

    /// A client of the node.
    #[must_use]
    pub fn s3(&self) -> S3 {
        S3::new(&self.endpoint(), Duration::from_secs(60))
    }

    /// Waits until the node takes a bucket and so has a volume, and returns a client and the time
    /// since power-on.
    ///
    /// # Errors
    /// With the log and the console when it does not in time.
    pub fn wait_for_s3(&mut self, bucket: &str) -> Result<(S3, Duration)> {
        let quick = S3::new(&self.endpoint(), Duration::from_secs(10));
        let mut last = String::from("no answer");
        while self.started.elapsed() < BOOT {
            match quick.create_bucket(bucket) {
                Ok(answer) if answer.status == 200 || answer.status == 409 => {
                    return Ok((self.s3(), self.started.elapsed()));
                }
                Ok(answer) => {
                    last = format!(
                        "status {}: {}",
                        answer.status,
                        String::from_utf8_lossy(&answer.body)
                    );
                }
                Err(error) => last = format!("{error:#}"),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended ({status}) before S3 answered\n{}", self.diagnosis());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("no S3 within {BOOT:?}; last: {last}\n{}", self.diagnosis())
    }

    /// Waits until the service answers anything at all over TLS, be it a refusal.
    ///
    /// # Errors
    /// With the log and the console when it does not in time.
    pub fn wait_for_https(&mut self) -> Result<()> {
        let quick = S3::new(&self.endpoint(), Duration::from_secs(10));
        while self.started.elapsed() < BOOT {
            if quick.get("none", "none").is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended ({status}) before S3 answered\n{}", self.diagnosis());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("nothing answered within {BOOT:?}\n{}", self.diagnosis())
    }

    /// The log of the node's services so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.run.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The kernel's name of the disk with this serial number, as the log told last.
    #[must_use]
    pub fn device_of(&self, serial: &str) -> Option<String> {
        let named = format!("serial=\"{serial}\"");
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains(&named))?;
        let (_, rest) = line.split_once("disk=")?;
        rest.split_whitespace().next().map(str::to_owned)
    }

    /// Waits until the log satisfies `wanted`, and returns it.
    ///
    /// # Errors
    /// With the log when it does not come in time.
    pub fn wait_for_log(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let until = Instant::now() + within;
        loop {
            let log = self.log();
            if wanted(&log) {
                return Ok(log);
            }
            if Instant::now() > until {
                bail!("the log did not show {what} within {within:?}\n{}", self.diagnosis());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// That no program of the node has panicked so far.
    ///
    /// # Errors
    /// With the lines around each panic.
    pub fn has_no_panic(&self) -> Result<()> {
        const AROUND: usize = 3;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let mut found: Vec<&str> = Vec::new();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.contains("panicked")) {
            found
                .extend(lines.iter().skip(at.saturating_sub(AROUND)).take(2 * AROUND + 1).copied());
            found.push("--");
        }
        ensure!(found.is_empty(), "a program panicked:\n{}", found.join("\n"));
        Ok(())
    }

    /// Console and end of the log, for a failing test's message.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains("request failed")).collect();
        let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
        format!("--- console\n{}\n--- log\n{tail}\n---", self.screen.text())
    }

    /// Presses the power button and waits until the machine is off.
    ///
    /// # Errors
    /// With the log when it does not go off in time.
    pub fn power_off(mut self) -> Result<String> {
        self.qmp.execute("system_powerdown", &json!({}))?;
        self.wait_for_end(POWER_OFF)
    }

    /// Waits until QEMU has ended: the machine is off, or was reset, upon which QEMU ends here.
    ///
    /// # Errors
    /// With the log when it does not end in time.
    pub fn wait_for_end(mut self, within: Duration) -> Result<String> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("still on after {within:?}\n{}", self.diagnosis())
    }

    /// Presses keys of the machine's keyboard, all at once, by QEMU's names of them.
    ///
    /// # Errors
    /// QEMU's error.
    pub fn press(&mut self, keys: &[&str]) -> Result<()> {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.qmp.execute("send-key", &json!({ "keys": keys }))?;
        Ok(())
    }

    /// Holds the whole machine, its disks included, or lets it go on.
    ///
    /// # Errors
    /// When QEMU has ended.
    pub fn hold(&self, is_held: bool) -> Result<()> {
        let signal = if is_held { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "QEMU cannot be sent {signal}: {status}");
        Ok(())
    }

    /// Cuts the power.
    pub fn cut_power(mut self) {
        // Already ended is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Plugs a disk in.
    ///
    /// # Errors
    /// QEMU's error.
    pub fn plug(&mut self, disk: &Disk) -> Result<()> {
        // What is left of a disk that was pulled; most have never been there.
        let node = format!("node-{}", disk.serial);
        let _ = self.qmp.execute("blockdev-del", &json!({ "node-name": node }));
        self.qmp.execute(
            "blockdev-add",
            &json!({
                "driver": "raw", "node-name": node,
                "file": { "driver": "file", "filename": disk.file },
            }),
        )?;
        let mut device = json!({
            "driver": driver(disk.bus), "id": disk.serial, "serial": disk.serial,
            "drive": node,
        });
        if disk.bus == Bus::Scsi
            && let Some(fields) = device.as_object_mut()
        {
            fields.insert("bus".to_owned(), json!("scsi0.0"));
            fields.insert("wwn".to_owned(), json!(wwn(&disk.serial)));
        }
        self.qmp.execute("device_add", &device)?;
        Ok(())
    }

    /// Makes a disk that was there at power-on hang: it takes requests and answers none.
    ///
    /// # Errors
    /// QEMU's error.
    pub fn hang_disk(&mut self, disk: &Disk) -> Result<()> {
        // One byte per second: after a first request none is done while a test lasts.
        self.qmp.execute(
            "block_set_io_throttle",
            &json!({
                "device": format!("node-{}", disk.serial), "bps": 1, "bps_rd": 0, "bps_wr": 0,
                "iops": 0, "iops_rd": 0, "iops_wr": 0,
            }),
        )?;
        Ok(())
    }

    /// Pulls a disk out.
    ///
    /// # Errors
    /// QEMU's error.
    pub fn pull(&mut self, disk: &Disk) -> Result<()> {
        self.qmp.execute("device_del", &json!({ "id": disk.serial }))?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Already ended is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end(mut child: Child) {
    // Already ended is just as well.
    let _ = child.kill();
    let _ = child.wait();
}

/// A port of loopback that was free a moment ago.
///
/// # Errors
/// When none is.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The part of a `-drive` for a disk.
fn plain(disk: &Disk) -> String {
    format!("if=none,id=node-{},format=raw,file={}", disk.serial, disk.file.display())
}

/// As [`plain`], with every write logged.
fn logged(disk: &Disk) -> Result<String> {
    let log = write_log::path(disk);
    std::fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    Ok(format!(
        "if=none,id=node-{},driver=blklogwrites,file.driver=raw,file.file.driver=file,\
         file.file.filename={},log.driver=raw,log.file.driver=file,log.file.filename={}",
        disk.serial,
        disk.file.display(),
        log.display()
    ))
}

fn driver(bus: Bus) -> &'static str {
    match bus {
        Bus::Virtio => "virtio-blk-pci",
        Bus::Nvme => "nvme",
        Bus::Scsi => "scsi-hd",
        Bus::Ata => "ide-hd",
    }
}

/// A world-wide name made of the serial number, in the locally assigned range (NAA 3).
#[must_use]
pub fn wwn(serial: &str) -> u64 {
    serial.bytes().fold(0x3000_0000_0000_0000, |name, byte| {
        (name & 0xf000_0000_0000_0000)
            | ((name.wrapping_mul(31).wrapping_add(u64::from(byte))) & 0x0fff_ffff_ffff_ffff)
    })
}

fn arguments(
    artefacts: &Artefacts,
    setup: &Setup,
    run: &Path,
    s3_port: u16,
    forwarded: &[(u16, u16)],
) -> Result<Vec<String>> {
    let guest = setup.guest_address.unwrap_or_default();
    let more_ports: String = forwarded
        .iter()
        .map(|(node, host)| format!(",hostfwd=tcp:127.0.0.1:{host}-{guest}:{node}"))
        .collect();
    let network = if setup.has_network {
        format!(
            "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:{s3_port}-{guest}:443{more_ports} \
             -device virtio-net-pci,netdev=net0,romfile= "
        )
    } else {
        String::new()
    };
    // Without the flags erms and fsrm programs do not clear memory by `rep stosb`, which QEMU
    // emulates byte by byte.
    let mut args: Vec<String> = format!(
        "-M q35 -cpu max,-erms,-fsrm -accel tcg,thread=multi,tb-size=512 -smp 1 -m {} -nodefaults \
         -display none -vga std -no-reboot -rtc base={} \
         -serial unix:{run}/console,server=on,wait=off -serial file:{run}/log \
         -qmp unix:{run}/qmp,server=on,wait=off \
         {network}-device virtio-scsi-pci,id=scsi0 -device qemu-xhci,id=xhci \
         -device i6300esb -action watchdog=reset",
        setup.memory_mib,
        setup.clock,
        run = run.display(),
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    match setup.boot {
        Boot::Direct => args.extend([
            "-kernel".to_owned(),
            artefacts.kernel().display().to_string(),
            "-initrd".to_owned(),
            artefacts.initrd().display().to_string(),
            "-append".to_owned(),
            format!("{} {}", artefacts.command_line()?, setup.kernel_more),
        ]),
        Boot::Firmware => {
            let vars = run.join("vars.fd");
            std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &vars)
                .context("cannot copy OVMF's variables; the package ovmf has them")?;
            args.extend([
                "-drive".to_owned(),
                "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd".to_owned(),
                "-drive".to_owned(),
                format!("if=pflash,format=raw,file={}", vars.display()),
            ]);
        }
    }
    for (number, stick) in setup.sticks.iter().enumerate() {
        args.extend([
            "-drive".to_owned(),
            format!("if=none,id=stick{number},format=raw,snapshot=on,file={}", stick.display()),
            "-device".to_owned(),
            format!(
                "usb-storage,bus=xhci.0,drive=stick{number},removable=on,serial=STICK{number},\
                 bootindex={}",
                number + 1
            ),
        ]);
    }
    for (number, disk) in setup.disks.iter().enumerate() {
        let Disk { serial, bus, .. } = disk;
        let place = match bus {
            Bus::Scsi => format!(",bus=scsi0.0,wwn={:#x}", wwn(serial)),
            Bus::Ata => format!(",bus=ide.{}", number % 6),
            Bus::Virtio | Bus::Nvme => String::new(),
        };
        args.extend([
            "-drive".to_owned(),
            if setup.logs_writes { logged(disk)? } else { plain(disk) },
            "-device".to_owned(),
            format!("{},id={serial},drive=node-{serial},serial={serial}{place}", driver(*bus)),
        ]);
    }
    args.extend(setup.more.iter().cloned());
    Ok(args)
}
