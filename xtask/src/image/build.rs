//! The steps from sources and packages to the image, in order; each is skipped where its inputs
//! are the same as last time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::binaries::{self, Binaries};
use super::modules::{self, Modules};
use super::sizes::{self, RootSizes, Sizes};
use super::version::Version;
use super::{disk, initrd, root, uki};
use crate::layout::Layout;
use crate::packages::{self, List, Lock, Part, Unpacked, Wanted};
use crate::step::{self, Inputs, Stamps};

/// How hard the root file system is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// For release: zstd 19.
    Release,
    /// For development: zstd 6, ten times as fast and 10 % larger.
    Fast,
}

impl Compression {
    fn level(self) -> u8 {
        match self {
            Self::Release => 19,
            Self::Fast => 6,
        }
    }

    /// The directory of the results; one each, so that neither undoes the other's work.
    fn directory(self) -> &'static str {
        match self {
            Self::Release => "image",
            Self::Fast => "image-fast",
        }
    }
}

/// A finished image.
#[derive(Debug)]
pub(crate) struct Built {
    /// The directory with all results, among them `vmlinuz` and `initrd.cpio`.
    pub image_dir: PathBuf,
    /// The directory with our services as built for the image; they run on this machine as well.
    pub bin_dir: PathBuf,
    /// `icn-node.efi`: the whole operating system.
    pub uki: PathBuf,
    /// `icn-node.img`: the stick.
    pub stick: PathBuf,
    /// How large the parts are.
    pub sizes: Sizes,
}

/// Builds the image of a workspace into `out`, by default a directory below the target directory.
///
/// # Errors
///
/// When a step fails.
pub(crate) fn build(
    layout: &Layout,
    version: &Version,
    compression: Compression,
    out: Option<&Path>,
) -> Result<Built> {
    let out = match out {
        Some(dir) => dir.to_owned(),
        None => layout.target.join(compression.directory()),
    };
    let work = layout.target.join(format!("{}-work", compression.directory()));
    for dir in [&out, &work] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    eprintln!("building the image, version {} ({})", version.number, version.commit);
    let build = Build {
        layout,
        version,
        compression,
        stamps: Stamps::open(&work.join("stamps"))?,
        work,
        out,
    };
    build.all()
}

struct Build<'a> {
    layout: &'a Layout,
    version: &'a Version,
    compression: Compression,
    stamps: Stamps,
    work: PathBuf,
    out: PathBuf,
}

/// The packages of the list, unpacked.
struct Packages<'a> {
    kernel: (&'a Wanted, Unpacked),
    boot: Unpacked,
    root: Vec<(&'a Wanted, Unpacked)>,
    /// Stands for all of them: the text of list and lock.
    inputs: String,
}

impl Build<'_> {
    fn all(&self) -> Result<Built> {
        let list = List::read(self.layout)?;
        let packages = self.packages(&list)?;
        let modules = self.modules(&packages)?;
        eprintln!("  our programs:");
        let binaries = binaries::build(self.layout)?;
        let (root, root_sizes) = self.root(packages.root, &packages.inputs, &modules, &binaries)?;
        let initrd = self.initrd(&binaries, &modules, &root)?;
        let kernel = self.kernel(&packages.kernel.1, &modules)?;
        let uki = self.uki(&packages.boot, &modules, &initrd, &kernel)?;
        let stick = self.stick(&packages.boot, &uki)?;
        let sizes = Sizes {
            root: root_sizes,
            squashfs: sizes::of(&root)?,
            kernel: sizes::of(&kernel)?,
            initramfs: sizes::of(&initrd)?,
            uki: sizes::of(&uki)?,
            stick: sizes::of(&stick)?,
        };
        sizes.write(&self.out.join("sizes.json"))?;
        Ok(Built { image_dir: self.out.clone(), bin_dir: binaries.dir, uki, stick, sizes })
    }

    fn packages<'a>(&self, list: &'a List) -> Result<Packages<'a>> {
        let lock = Lock::read(self.layout)?;
        packages::fetch(self.layout, &lock)?;
        let into = self.layout.target.join("image-packages");
        let (mut kernel, mut boot, mut root) = (None, None, Vec::new());
        let mut inputs = String::new();
        for (wanted, pinned) in lock.pins(list)? {
            let unpacked = packages::unpack(self.layout, pinned, &into)?;
            inputs.push_str(&format!("{wanted:?} {}\n", pinned.sha256));
            match wanted.part {
                Part::Kernel => kernel = Some((wanted, unpacked)),
                Part::Boot => boot = Some(unpacked),
                Part::Root | Part::Firmware => root.push((wanted, unpacked)),
            }
        }
        let missing = |what: &str| format!("{} names no package for {what}", List::FILE);
        Ok(Packages {
            kernel: kernel.with_context(|| missing("the kernel"))?,
            boot: boot.with_context(|| missing("the boot loader"))?,
            root,
            inputs,
        })
    }

    fn modules(&self, packages: &Packages<'_>) -> Result<Modules> {
        let path = self.layout.image_sources().join("modules.txt");
        let wanted =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let kernel = &packages.kernel.1.dir;
        let dir = self.work.join("modules");
        let inputs = Inputs::new().text(&wanted).text(&kernel.to_string_lossy());
        self.stamps
            .step("kernel modules", &inputs, &dir, || modules::choose(&wanted, kernel, &dir))?;
        Modules::below(&dir)
    }

    fn root(
        &self,
        packages: Vec<(&Wanted, Unpacked)>,
        packages_inputs: &str,
        modules: &Modules,
        binaries: &Binaries,
    ) -> Result<(PathBuf, RootSizes)> {
        let overlay = self.layout.image_sources().join("root");
        let squashfs = self.work.join("rootfs.squashfs");
        let sizes_file = self.work.join("root-sizes.json");
        let mut inputs = Inputs::new()
            .text(packages_inputs)
            .tree(&modules.dir)?
            .tree(&overlay)?
            .file(&binaries.init)?
            .text(&self.version.os_release());
        for program in &binaries.services {
            inputs = inputs.file(program)?;
        }
        let version = self.version;
        let sources = root::Sources { packages, modules, binaries, overlay, version };
        self.stamps.step("root file system", &inputs, &squashfs, || {
            let tree = self.work.join("root");
            let sizes = root::assemble(&sources, &tree)?;
            step::replace_file(&sizes_file, serde_json::to_string(&sizes)?.as_bytes())?;
            root::squash(&tree, self.compression.level(), &squashfs)
        })?;
        let text = fs::read_to_string(&sizes_file)
            .with_context(|| format!("cannot read {}", sizes_file.display()))?;
        let sizes =
            serde_json::from_str(&text).with_context(|| format!("in {}", sizes_file.display()))?;
        Ok((squashfs, sizes))
    }

    fn initrd(&self, binaries: &Binaries, modules: &Modules, root: &Path) -> Result<PathBuf> {
        let initrd = self.out.join("initrd.cpio");
        let inputs = Inputs::new().file(&binaries.init)?.tree(&modules.dir)?.file(root)?;
        let content = initrd::Content { init: &binaries.init, modules: modules.initramfs()?, root };
        self.stamps.step("initramfs", &inputs, &initrd, || initrd::write(&content, &initrd))?;
        Ok(initrd)
    }

    fn kernel(&self, package: &Unpacked, modules: &Modules) -> Result<PathBuf> {
        let from = package.dir.join(format!("boot/vmlinuz-{}", modules.release));
        let kernel = self.out.join("vmlinuz");
        fs::copy(&from, &kernel)
            .with_context(|| format!("cannot copy {} to {}", from.display(), kernel.display()))?;
        Ok(kernel)
    }

    fn uki(
        &self,
        boot: &Unpacked,
        modules: &Modules,
        initrd: &Path,
        kernel: &Path,
    ) -> Result<PathBuf> {
        let path = self.layout.image_sources().join("boot/cmdline");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let command_line = uki::command_line(&text);
        let os_release = self.version.os_release();
        let stub = boot.dir.join("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
        let content = uki::Content {
            stub: &stub,
            os_release: &os_release,
            command_line: &command_line,
            release: &modules.release,
            initrd,
            kernel,
        };
        let uki = self.out.join("icn-node.efi");
        let inputs = Inputs::new()
            .text(&command_line)
            .text(&os_release)
            .text(&modules.release)
            .file(&stub)?
            .file(initrd)?
            .file(kernel)?;
        self.stamps
            .step("icn-node.efi", &inputs, &uki, || uki::write(&content, &self.work, &uki))?;
        Ok(uki)
    }

    fn stick(&self, boot: &Unpacked, uki: &Path) -> Result<PathBuf> {
        let sources = self.layout.image_sources();
        let boot_loader = boot.dir.join("usr/lib/systemd/boot/efi/systemd-bootx64.efi");
        let loader_conf = sources.join("boot/loader.conf");
        let seed = sources.join("seed");
        let content = disk::Content {
            boot_loader: &boot_loader,
            loader_conf: &loader_conf,
            uki,
            seed: &seed,
        };
        let stick = self.out.join("icn-node.img");
        let inputs =
            Inputs::new().file(&boot_loader)?.file(&loader_conf)?.tree(&seed)?.file(uki)?;
        self.stamps.step("icn-node.img", &inputs, &stick, || disk::write(&content, &stick))?;
        Ok(stick)
    }
}
