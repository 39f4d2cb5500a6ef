//! One decoder, named by `ICN_FUZZ_TARGET`, under libFuzzer. What to begin with is written to the
//! folder in `ICN_FUZZ_SEEDS` first. With `ICN_FUZZ_LIST` it only names the targets.

#![no_main]

use std::sync::LazyLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("ICN_FUZZ_TARGET").unwrap_or_default();
    fuzz::find(&name)
});

fuzz_target!(
    init: {
        if std::env::var_os("ICN_FUZZ_LIST").is_some() {
            fuzz::targets().iter().for_each(|target| eprintln!("target {}", target.name));
            std::process::exit(0);
        }
        if let Some(folder) = std::env::var_os("ICN_FUZZ_SEEDS") {
            TARGET.write_seeds(std::path::Path::new(&folder));
        }
    },
    |bytes: &[u8]| TARGET.check(bytes)
);
