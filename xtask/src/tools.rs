//! Programs of ours that run beside a node, not on it: the reference oracle and the HP's tool. Built as tests are, so that
//! what they share with these is compiled once.

use std::path::PathBuf;

use anyhow::Result;
use test_network::ChainPrograms;

use crate::contracts;
use crate::layout::{self, Layout};
use crate::process;

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// Their folder.
    pub folder: PathBuf,
}

impl Tools {
    /// Builds them.
    ///
    /// # Errors
    ///
    /// When the build fails.
    pub(crate) fn build(layout: &Layout) -> Result<Self> {
        let mut command = process::command(&layout::cargo().to_string_lossy());
        command
            .args(["build", "--locked", "-p", "reference-oracle", "-p", "agent-settle", "--bins"])
            .current_dir(&layout.root);
        process::run(&mut command)?;
        Ok(Self { folder: layout.target.join("debug") })
    }

    /// The reference oracle.
    pub(crate) fn oracle(&self) -> PathBuf {
        self.folder.join("reference-oracle")
    }

    /// What a local chain is made with.
    ///
    /// # Errors
    ///
    /// When something cannot be fetched.
    pub(crate) fn chain(&self, layout: &Layout) -> Result<ChainPrograms> {
        Ok(ChainPrograms {
            anvil: contracts::anvil(layout)?,
            forge: contracts::forge(layout)?,
            contracts: layout.root.join(contracts::FOLDER),
            settle: self.folder.join("icn-settle"),
        })
    }
}
