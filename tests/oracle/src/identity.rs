//! The oracle's key and certificate: made once, kept in its folder, readable by its user alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_sla::protocol::B256;
use agent_sla::protocol::key::{KEY_BYTES, SigningKey};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The file in the folder of the oracle.
const FILE: &str = "oracle-key.json";

/// Rights of the file: its user may read and write it, nobody else anything.
const MODE: u32 = 0o600;

/// What the file has, in hexadecimal.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// 1.
    version: u32,
    /// The key that signs receipts and votes.
    key: Zeroizing<String>,
    /// The key of the certificate, PKCS #8.
    tls_key: Zeroizing<String>,
    /// The certificate in DER.
    certificate: String,
    /// What canaries are drawn from; nobody else may know what they contain.
    canary_seed: Zeroizing<String>,
}

/// Who the oracle is.
#[derive(Debug)]
pub struct Identity {
    /// Signs receipts and votes.
    pub key: SigningKey,
    /// What TLS shows.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub tls_key: PrivateKeyDer<'static>,
    /// What canaries are drawn from.
    pub canary_seed: Zeroizing<[u8; KEY_BYTES]>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read, made or written.
    #[error("cannot {operation} {path}: {source}")]
    File {
        /// What was to be done.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("{path}: others may read it (mode {mode:o}); chmod 600 it, or make a new key")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// The file is something else.
    #[error("{path}: not a key file of an oracle: {reason}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The system has no random bytes.
    #[error("cannot make a key: no random bytes: {0}")]
    Random(getrandom::Error),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// SHA-256 of a certificate in DER.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> B256 {
    let digest: [u8; 32] = Sha256::digest(certificate.as_ref()).into();
    B256::from(digest)
}

/// A self-signed certificate and its key (ECDSA P-256). Whoever trusts it trusts its fingerprint, so it
/// never expires (RFC 5280, 4.1.2.5).
///
/// # Errors
/// The system has no random bytes.
pub fn self_signed(name: &str) -> Result<(CertificateDer<'static>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), key.serialize_der()))
}

/// Random bytes of the system.
///
/// # Errors
/// It has none.
pub fn random() -> Result<Zeroizing<[u8; KEY_BYTES]>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

impl Identity {
    /// The identity kept in a folder; a new one if there is none. The folder is made.
    ///
    /// # Errors
    /// It cannot be read or made. A file that is damaged is never replaced.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(FILE);
        let failed =
            |operation, source| IdentityError::File { operation, path: path.clone(), source };
        match fs::metadata(&path) {
            Ok(found) => {
                let mode = found.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(IdentityError::Readable { path, mode });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)
                    .map_err(|source| failed("make the folder of", source))?;
                let text = make()?;
                write(folder, &path, text.as_bytes()).map_err(|source| failed("write", source))?;
            }
            Err(source) => return Err(failed("read", source)),
        }
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(|e| failed("read", e))?);
        parse(&text).map_err(|reason| IdentityError::Form { path, reason })
    }

    /// The fingerprint that nodes pin.
    #[must_use]
    pub fn fingerprint(&self) -> B256 {
        fingerprint(&self.certificate)
    }
}

fn make() -> Result<Zeroizing<String>, IdentityError> {
    let (certificate, tls_key) = self_signed("ICN reference oracle")?;
    let drawn = || random().map_err(IdentityError::Random);
    let hexed = |bytes: &[u8]| Zeroizing::new(hex::encode(bytes));
    let kept = Kept {
        version: 1,
        key: hexed(drawn()?.as_slice()),
        tls_key: hexed(&Zeroizing::new(tls_key)),
        certificate: hex::encode(&certificate),
        canary_seed: hexed(drawn()?.as_slice()),
    };
    // A form of plain texts is always JSON.
    Ok(Zeroizing::new(serde_json::to_string_pretty(&kept).unwrap_or_default()))
}

fn parse(text: &str) -> Result<Identity, String> {
    let kept: Kept = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if kept.version != 1 {
        return Err(format!("version {}, not 1", kept.version));
    }
    let bytes = |name: &str, text: &str| {
        hex::decode(text).map(Zeroizing::new).map_err(|_| format!("{name} is not hexadecimal"))
    };
    let array = |name: &str, text: &str| -> Result<Zeroizing<[u8; KEY_BYTES]>, String> {
        let found = bytes(name, text)?;
        let array = found.as_slice().try_into().map_err(|_| format!("{name} is not 32 bytes"))?;
        Ok(Zeroizing::new(array))
    };
    let key = SigningKey::from_bytes(&array("key", &kept.key)?).map_err(|e| e.to_string())?;
    let tls_key = PrivatePkcs8KeyDer::from(bytes("tls_key", &kept.tls_key)?.to_vec());
    Ok(Identity {
        key,
        certificate: CertificateDer::from(bytes("certificate", &kept.certificate)?.to_vec()),
        tls_key: PrivateKeyDer::from(tls_key),
        canary_seed: array("canary_seed", &kept.canary_seed)?,
    })
}

/// Write aside, sync, rename, sync the folder.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    // What a start before this one left has other rights, perhaps.
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("oracle");
        let made = Identity::open(&folder).expect("made");
        let again = Identity::open(&folder).expect("kept");
        assert_eq!(made.key.address(), again.key.address());
        assert_eq!(made.fingerprint(), again.fingerprint());
        assert_eq!(made.canary_seed, again.canary_seed);
        let path = folder.join(FILE);
        let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let refused = Identity::open(&folder);
        assert!(matches!(refused, Err(IdentityError::Readable { mode: 0o644, .. })));
    }

    #[test]
    fn a_damaged_key_file_is_never_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(FILE);
        write(dir.path(), &path, b"{\"version\": 1}").expect("written");
        assert!(matches!(Identity::open(dir.path()), Err(IdentityError::Form { .. })));
        assert_eq!(fs::read(&path).expect("a file"), b"{\"version\": 1}");
    }
}
