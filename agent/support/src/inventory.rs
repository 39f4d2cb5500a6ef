//! What a node is made of: from the files of its kernel to lines for a person. Reading never fails as a whole:
//! what is not there is left out, what is there and cannot be read is a problem in words.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use agent_api::init::PortStatus;
use agent_api::support::{Fact, Inventory};
use disk_manager_plan::report::{DiskReport, DiskStatus};

/// Most bytes of one file: /proc/cpuinfo has some 1.5 KiB for each of at most 1024 threads.
const FILE_MAX: u64 = 2 << 20;

/// Most entries of a folder: a machine has some hundred PCI devices, and fewer memory modules.
const ENTRIES_MAX: usize = 512;

/// Longest text of a fact, in characters.
const TEXT_MAX: usize = 200;

/// What makers write where they write nothing (as seen in the field; compared in small letters).
const EMPTY_WORDS: [&str; 12] = [
    "to be filled by o.e.m.",
    "default string",
    "not specified",
    "not applicable",
    "none",
    "unknown",
    "system serial number",
    "chassis serial number",
    "base board serial number",
    "serial number",
    "system product name",
    "system manufacturer",
];

/// Where the machine is read from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `/sys` but for tests.
    pub sys: PathBuf,
    /// `/proc` but for tests.
    pub proc: PathBuf,
    /// The ports that init tells of.
    pub ports: Vec<PortStatus>,
    /// The disks that icn-disks tells of.
    pub disks: Option<DiskReport>,
    /// What icn-disks read of the machine that only root may
    /// ([`MACHINE_FILES`](disk_manager_plan::hardware::MACHINE_FILES)), by the names of the files; none where it did not tell.
    pub machine: Option<BTreeMap<String, String>>,
}

/// Reads it all; blocks.
#[must_use]
pub fn inventory(sources: &Sources) -> Inventory {
    let mut reader = Reader { problems: Vec::new() };
    let mut inventory = Inventory {
        machine: machine(&mut reader, sources),
        processors: reader
            .text(&sources.proc.join("cpuinfo"))
            .map(|text| processors(&text))
            .unwrap_or_default(),
        memory: memory(&mut reader, sources),
        ports: sources.ports.iter().map(|one| port(&mut reader, &sources.sys, one)).collect(),
        disks: Vec::new(),
        devices: devices(&mut reader, &sources.sys),
        problems: Vec::new(),
    };
    match &sources.disks {
        Some(report) => {
            let disks = report.disks.iter().map(|one| disk(&mut reader, &sources.sys, one));
            inventory.disks = disks.collect();
        }
        None => reader.problems.push("the disks are not known yet: icn-disks has not told".into()),
    }
    inventory.problems = reader.problems;
    inventory
}

/// Maker, product, serial numbers, board and firmware, as the firmware's tables have them (SMBIOS 3, types 0 to 3).
fn machine(reader: &mut Reader, sources: &Sources) -> Vec<Fact> {
    let folder = sources.sys.join("class/dmi/id");
    let facts: [(&str, &[&str]); 8] = [
        ("maker", &["sys_vendor"]),
        ("product", &["product_name", "product_version"]),
        ("serial", &["product_serial"]),
        ("uuid", &["product_uuid"]),
        ("chassis serial", &["chassis_serial"]),
        ("board", &["board_vendor", "board_name", "board_version"]),
        ("board serial", &["board_serial"]),
        ("firmware", &["bios_vendor", "bios_version", "bios_date"]),
    ];
    let told = |file: &str| sources.machine.as_ref()?.get(file);
    let mut found = Vec::new();
    for (name, files) in facts {
        let words = files.iter().filter_map(|file| match told(file) {
            Some(text) => word(text),
            None => reader.word(&folder.join(file)),
        });
        let words: Vec<String> = words.collect();
        found.extend(fact(name, &words.join(" ")));
    }
    found
}

/// One fact for each socket, from the text of /proc/cpuinfo.
fn processors(cpuinfo: &str) -> Vec<Fact> {
    struct Socket<'t> {
        model: &'t str,
        cores: Option<u32>,
        threads: u32,
    }
    let mut sockets: BTreeMap<u32, Socket<'_>> = BTreeMap::new();
    for thread in cpuinfo.split("\n\n") {
        let value = |wanted: &str| {
            thread.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == wanted).then_some(value.trim())
            })
        };
        if value("processor").is_none() {
            continue;
        }
        let number = value("physical id").and_then(|id| id.parse().ok()).unwrap_or(0);
        let cores = value("cpu cores").and_then(|cores| cores.parse().ok());
        let model = value("model name").unwrap_or_default();
        let socket = sockets.entry(number).or_insert(Socket { model, cores, threads: 0 });
        socket.threads += 1;
    }
    let told = sockets.into_iter().filter_map(|(number, socket)| {
        let cores = socket.cores.map(|cores| format!("cores: {cores}, ")).unwrap_or_default();
        let model = if socket.model.is_empty() { "model not told" } else { socket.model };
        fact(&format!("cpu{number}"), &format!("{model}; {cores}threads: {}", socket.threads))
    });
    told.collect()
}

/// All of main memory, and its modules where the kernel watches them (EDAC).
fn memory(reader: &mut Reader, sources: &Sources) -> Vec<Fact> {
    let text = reader.text(&sources.proc.join("meminfo")).unwrap_or_default();
    let mut found: Vec<Fact> = total(&text).into_iter().collect();
    let controllers = sources.sys.join("devices/system/edac/mc");
    for controller in names(&controllers).iter().filter(|name| name.starts_with("mc")) {
        let folder = controllers.join(controller);
        for module in names(&folder) {
            let is_module = ["dimm", "rank"].iter().any(|word| module.starts_with(word));
            let size = reader.word(&folder.join(&module).join("size"));
            let size = size.and_then(|size| size.parse::<u64>().ok()).filter(|size| *size > 0);
            let (true, Some(mib)) = (is_module, size) else { continue };
            let label = reader.word(&folder.join(&module).join("dimm_label"));
            let kind = reader.word(&folder.join(&module).join("dimm_mem_type"));
            let kind = kind.map(|kind| format!(", {kind}")).unwrap_or_default();
            let name = label.unwrap_or_else(|| format!("{controller}/{module}"));
            found.extend(fact(&name, &format!("{mib} MiB{kind}")));
        }
    }
    found
}

/// What /proc/meminfo says of all memory.
fn total(meminfo: &str) -> Option<Fact> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    fact("total", &format!("{} MiB usable", kib / 1024))
}

fn port(reader: &mut Reader, sys: &Path, port: &PortStatus) -> Fact {
    let device = sys.join("class/net").join(&port.name).join("device");
    let mut parts = Vec::new();
    if !port.mac.is_empty() {
        parts.push(port.mac.clone());
    }
    parts.push(if port.link { "link up" } else { "no link" }.to_owned());
    parts.extend(port.speed_mbps.map(|speed| format!("{speed} Mbit/s")));
    parts.extend(link_name(&device.join("driver")).map(|driver| format!("driver {driver}")));
    parts.extend(pci_numbers(reader, &device));
    Fact { name: clean(&port.name), text: clean(&parts.join(", ")) }
}

fn disk(reader: &mut Reader, sys: &Path, disk: &DiskStatus) -> Fact {
    let name = disk.device.file_name().unwrap_or_default().to_string_lossy();
    let device = sys.join("class/block").join(name.as_ref()).join("device");
    // NVMe tells it with the controller, SCSI and ATA with the disk.
    let firmware = ["firmware_rev", "rev"].iter().find_map(|file| reader.word(&device.join(file)));
    let mut parts = Vec::new();
    let told = [
        ("", disk.model.as_str()),
        ("serial ", disk.serial.as_str()),
        ("firmware ", firmware.as_deref().unwrap_or_default()),
        ("id ", disk.id.as_ref().map(|id| id.0.as_str()).unwrap_or_default()),
    ];
    for (word, value) in told {
        if !value.is_empty() {
            parts.push(format!("{word}{value}"));
        }
    }
    parts.push(format!("{} bytes", disk.size.0));
    parts.push(format!("{:?}", disk.class).to_lowercase());
    parts.push(format!("{:?}", disk.ownership).to_lowercase());
    Fact { name: clean(&disk.device.to_string_lossy()), text: clean(&parts.join(", ")) }
}

/// PCI devices but those that are told of as ports and NVMe disks.
fn devices(reader: &mut Reader, sys: &Path) -> Vec<Fact> {
    /// NVMe controllers (PCI Code and ID Assignment, class 01, subclass 08).
    const NVME: &str = "0x0108";
    let folder = sys.join("bus/pci/devices");
    let mut found = Vec::new();
    for name in names(&folder) {
        let device = folder.join(&name);
        let Some(class) = reader.word(&device.join("class")) else { continue };
        if class.starts_with(NVME) || device.join("net").exists() {
            continue;
        }
        let mut parts = vec![class_words(&class)];
        parts.extend(pci_numbers(reader, &device));
        parts.extend(link_name(&device.join("driver")).map(|driver| format!("driver {driver}")));
        found.extend(fact(&name, &parts.join(", ")));
    }
    found
}

/// Vendor and device as numbers, as they stand in the lists of the PCI-SIG.
fn pci_numbers(reader: &mut Reader, device: &Path) -> Option<String> {
    let number = |text: String| text.strip_prefix("0x").map(str::to_owned);
    let vendor = reader.word(&device.join("vendor")).and_then(number)?;
    let device = reader.word(&device.join("device")).and_then(number)?;
    Some(format!("PCI {vendor}:{device}"))
}

/// What a PCI device is for, by the first of its class's three bytes (PCI Code and ID Assignment, 1).
fn class_words(class: &str) -> String {
    let digits = class.strip_prefix("0x").unwrap_or(class);
    let words = match digits.get(..2) {
        Some("01") => "storage controller",
        Some("02") => "network controller",
        Some("03") => "display controller",
        Some("04") => "multimedia",
        Some("05") => "memory controller",
        Some("06") => "bridge",
        Some("07") => "communication controller",
        Some("08") => "system device",
        Some("09") => "input device",
        Some("0b") => "processor",
        Some("0c") => "serial bus",
        Some("0d") => "wireless controller",
        Some("10") => "encryption",
        Some("11") => "signal processing",
        Some("12") => "accelerator",
        _ => "other device",
    };
    format!("{words} (class {digits})")
}

/// A fact, unless there is nothing to tell.
fn fact(name: &str, text: &str) -> Option<Fact> {
    let text = clean(text);
    (!text.is_empty()).then(|| Fact { name: clean(name), text })
}

/// One line of at most [`TEXT_MAX`] printable characters, runs of blanks as one.
fn clean(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(printable).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(TEXT_MAX).collect()
}

/// Reads files, and notes what cannot be read.
struct Reader {
    problems: Vec<String>,
}

impl Reader {
    /// The text of a file; none where there is no such file.
    fn text(&mut self, path: &Path) -> Option<String> {
        let read = || -> io::Result<String> {
            let mut bytes = Vec::new();
            File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match read() {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.problems.push(format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// The first line of a file; none where it is empty or says that it is.
    fn word(&mut self, path: &Path) -> Option<String> {
        word(self.text(path)?.lines().next().unwrap_or_default())
    }
}

/// A word of a maker; none where it is empty or says that it is.
fn word(text: &str) -> Option<String> {
    let text = clean(text);
    let says_nothing = text.is_empty() || EMPTY_WORDS.contains(&text.to_lowercase().as_str());
    (!says_nothing).then_some(text)
}

/// The names in a folder, sorted; none where it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES_MAX);
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_key(|name| {
        (name.trim_end_matches(|c: char| c.is_ascii_digit()).len(), name.len(), name.clone())
    });
    names
}

/// The last part of what a link leads to.
fn link_name(link: &Path) -> Option<String> {
    fs::read_link(link).ok()?.file_name()?.to_str().map(clean)
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
