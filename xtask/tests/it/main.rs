//! Rules of the tree, checked on the tree.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with a message where its own assumption fails"
)]

mod dependencies;
mod files;

/// The workspace's root folder.
fn workspace() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}
