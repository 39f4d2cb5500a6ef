//! What needs no network: keystores, and signing.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::{Key, KeyCommand};
use crate::deed::Deed;
use crate::files;
use crate::form::{self, SignedFile, UnsignedFile};
use crate::keystore::{self, Drawn, SecretKey};
use crate::network::Network;
use crate::now_s;
use crate::say::{Report, confirm, note};
use crate::units::{eth, moment};

/// The longest file with a key in hexadecimal, in bytes: 0x, 64 digits, a line's end.
const KEY_FILE_MAX: u64 = 70;

/// Signs a file for a network. What is shown is read from the very bytes that are signed.
pub(crate) fn sign(
    network: &Network,
    file: &Path,
    out: &Path,
    key: &Key,
    yes: bool,
) -> Result<Report> {
    let text = files::text(file, form::FILE_MAX)?;
    let file = UnsignedFile::parse(&text, network.chain())?;
    let now_s = now_s()?;
    let (mut lines, mut most_wei, mut for_good) = (Vec::new(), 0_u128, false);
    for one in &file.transactions {
        let deed = Deed::read(network, one.to, &one.data)?;
        if let Some(deadline) = deed.deadline().filter(|deadline| *deadline <= now_s) {
            bail!("the binding expired at {}: have the node make another one", moment(deadline));
        }
        for_good |= deed.for_good();
        most_wei = most_wei.saturating_add(one.most_wei());
        lines.extend(deed.words());
        lines.push(format!("  of {}, nonce {}", one.from, one.nonce));
    }
    lines.push(format!("costs at most {}", eth(most_wei)));
    lines.iter().for_each(|line| note(line));
    confirm(if for_good { "exit" } else { "yes" }, yes)?;
    let key = open(key)?;
    let signed =
        file.transactions.iter().map(|one| one.sign(&key)).collect::<Result<Vec<_>, _>>()?;
    let hashes: Vec<_> = signed.iter().map(|one| one.hash).collect();
    let text =
        serde_json::to_string_pretty(&SignedFile::new(signed)).context("cannot write the file")?;
    files::write_new(out, &text)?;
    let lines = vec![format!("signed; to be sent: {}", out.display())];
    Ok(Report { lines, json: json!({ "hashes": hashes, "costAtMostWei": most_wei.to_string() }) })
}

fn open(key: &Key) -> Result<SecretKey> {
    let text = files::keystore(&key.keystore)?;
    // What is malformed is told before a password is asked for.
    keystore::account(&text)?;
    let password = files::password(key.password_file.as_deref(), false)?;
    Ok(keystore::open(&text, &password)?)
}

/// Keystores.
pub(crate) fn key(command: &KeyCommand) -> Result<Report> {
    match command {
        KeyCommand::New { key } => {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(bytes.as_mut_slice()).context("the system gives no random bytes")?;
            made(&SecretKey::new(bytes)?, key)
        }
        KeyCommand::Import { from, key } => {
            let bytes = files::read(from, KEY_FILE_MAX)?;
            made(&SecretKey::parse(&bytes)?, key)
        }
        KeyCommand::Show { key, open: opened } => {
            let text = files::keystore(&key.keystore)?;
            let said = keystore::account(&text)?;
            let account = match (opened, said) {
                (false, Some(said)) => said,
                (false, None) => {
                    bail!("the keystore does not say whose it is: open it with --open")
                }
                (true, _) => open(key)?.address()?,
            };
            Ok(Report { lines: vec![account.to_string()], json: json!({ "address": account }) })
        }
    }
}

/// Writes a keystore, and opens it again before anything is paid to its account.
fn made(secret: &SecretKey, key: &Key) -> Result<Report> {
    let password = files::password(key.password_file.as_deref(), true)?;
    let mut drawn = Drawn { salt: [0; 32], iv: [0; 16], id: [0; 16] };
    for part in [&mut drawn.salt[..], &mut drawn.iv[..], &mut drawn.id[..]] {
        getrandom::fill(part).context("the system gives no random bytes")?;
    }
    files::write_new(&key.keystore, &keystore::seal(secret, &password, &drawn)?)?;
    let account = open_again(&key.keystore, &password)?;
    let lines = vec![
        format!("account {account}"),
        format!(
            "keystore {}: without it and its password the account is lost",
            key.keystore.display()
        ),
    ];
    Ok(Report { lines, json: json!({ "address": account }) })
}

fn open_again(path: &Path, password: &[u8]) -> Result<alloy::primitives::Address> {
    Ok(keystore::open(&files::keystore(path)?, password)?.address()?)
}
