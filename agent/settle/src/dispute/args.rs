//! What is asked for of disputes on the command line.

use std::path::PathBuf;

use alloy::primitives::{Address, B256};
use clap::{Args, Subcommand};

use crate::args::Acting;

#[derive(Debug, Subcommand)]
pub(crate) enum DisputeCommand {
    /// Shows that an oracle voted twice on a node and era: it loses its stake.
    Equivocation {
        /// Both votes, as `reference-oracle evidence` writes them.
        file: PathBuf,
        #[command(flatten)]
        acting: Acting,
    },
    /// Shows a receipt that an oracle's vote hides. May take a bond.
    Receipt {
        /// The receipt, or several, as the node keeps them.
        #[arg(long, value_name = "FILE")]
        receipt: PathBuf,
        /// The vote, or several; else the oracle is asked for it.
        #[arg(long, value_name = "FILE")]
        vote: Option<PathBuf>,
        /// The oracle, where the file has receipts of several.
        #[arg(long, value_name = "ADDRESS")]
        oracle: Option<Address>,
        #[command(flatten)]
        acting: Acting,
    },
    /// Shows what receipts a vote was made from, for an oracle that was asked.
    Answer {
        #[command(flatten)]
        question: Question,
        /// A list of them in the order of their times: digests, or the receipts themselves.
        #[arg(long, value_name = "FILE")]
        receipts: PathBuf,
        #[command(flatten)]
        acting: Acting,
    },
    /// Closes a question that was not answered in time: the bond goes back, the vote is void. Where nobody may be
    /// slashed now, the bond alone goes back.
    Close {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        acting: Acting,
    },
    /// Cancels a root with leaves that cannot be true.
    Refute {
        /// A leaf of another era than its root; two of one node in one root; or two of one node in two roots, where what
        /// was earned shrank, or grew by more than the roots gave. Each as an oracle answers it.
        #[arg(required = true, num_args = 1..=2, value_name = "LEAF")]
        leaves: Vec<PathBuf>,
        #[command(flatten)]
        acting: Acting,
    },
}

/// A question to an oracle, by the digests that `dispute receipt` says.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Question {
    /// The vote's digest.
    #[arg(long, value_name = "DIGEST")]
    pub vote: B256,
    /// The receipt's digest.
    #[arg(long, value_name = "DIGEST")]
    pub receipt: B256,
}

impl DisputeCommand {
    /// What becomes of the transaction.
    pub(crate) fn acting(&self) -> &Acting {
        match self {
            Self::Equivocation { acting, .. }
            | Self::Receipt { acting, .. }
            | Self::Answer { acting, .. }
            | Self::Close { acting, .. }
            | Self::Refute { acting, .. } => acting,
        }
    }
}
