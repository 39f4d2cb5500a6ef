//! Certificates: the one a node makes for itself, and the one a person gives it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use provisioning_config::TlsFiles;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// A chain of 100 certificates is far below; a larger file is something else.
const FILE_MAX: u64 = 1 << 20;

/// A certificate and its key in PEM.
#[derive(Clone)]
pub(crate) struct Made {
    /// The certificate.
    pub(crate) certificate_pem: String,
    /// Its key (PKCS #8).
    pub(crate) key_pem: Zeroizing<String>,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub(crate) struct MakeError(#[from] rcgen::Error);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file name leads out of the seed.
    #[error("{name} does not lie beside node.toml")]
    Outside {
        /// The name.
        name: String,
    },
    /// No certificate, no key, or not what they should be.
    #[error("{what}: {reason}")]
    Malformed {
        /// Which of the two, and where it came from.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// Key and certificate are not a pair.
    #[error("the key does not belong to the certificate")]
    Mismatch,
    /// Past its end.
    #[error("the certificate expired on {day}")]
    Expired {
        /// Its last day.
        day: String,
    },
}

/// A certificate ready for use.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// Chain and key.
    pub(crate) key: Arc<CertifiedKey>,
    /// SHA-256 of the first certificate, upper-case hex pairs between colons.
    pub(crate) fingerprint: String,
    /// The second it expires, since 1970.
    pub(crate) expires: i64,
}

/// Makes a self-signed certificate (ECDSA P-256).
///
/// It names `localhost`, the host name and the node's id, but no address of the node: which ones
/// it will have is not known, and may change. Clients trust its fingerprint. It therefore never
/// expires either (RFC 5280, 4.1.2.5: 99991231235959Z), and is valid before now, since at first
/// start the clock may be wrong.
///
/// # Errors
/// When the kernel gives no random numbers.
pub(crate) fn make(name: &str, node_id: &str) -> Result<Made, MakeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    let short_id: String = node_id.chars().take(32).collect();
    let names = ["localhost", name, &short_id].into_iter().filter(|name| !name.is_empty());
    for dns in names {
        // A name that no certificate can hold is left out: clients check the fingerprint.
        if let Ok(dns) = dns.try_into() {
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
    }
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name.push(DnType::CommonName, format!("ICN node {short_id}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
    let certificate = params.self_signed(&key)?;
    Ok(Made { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
}

/// Reads the certificate that the configuration names, below `seed`. `now` is in seconds since
/// 1970. One that is not valid yet is taken: at start the clock may not be set.
///
/// # Errors
/// [`LoadError`].
pub(crate) fn load(seed: &Path, files: &TlsFiles, now: i64) -> Result<Certificate, LoadError> {
    let certificate = read(seed, &files.certificate)?;
    let key = read(seed, &files.key)?;
    let loaded = parse(&certificate, &files.certificate, &key, &files.key)?;
    if loaded.expires < now {
        return Err(LoadError::Expired { day: day(loaded.expires) });
    }
    Ok(loaded)
}

impl Made {
    /// The certificate ready for use.
    ///
    /// # Errors
    /// When it is not what [`make`] made.
    pub(crate) fn ready(&self) -> Result<Certificate, LoadError> {
        let what = "the node's own certificate";
        parse(self.certificate_pem.as_bytes(), what, self.key_pem.as_bytes(), what)
    }
}

/// The day of seconds since 1970, such as `2036-03-01`; `never` for the end of the year 9999.
pub(crate) fn day(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        // The calendar of the library ends a day before.
        Err(_) => "never".to_owned(),
    }
}

fn read(seed: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let relative = Path::new(name);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(LoadError::Outside { name: name.to_owned() });
    }
    let path = seed.join(relative);
    let bytes = fs::metadata(&path).and_then(|meta| {
        if meta.len() > FILE_MAX {
            return Err(std::io::Error::other(format!("larger than {FILE_MAX} bytes")));
        }
        fs::read(&path)
    });
    bytes.map(Zeroizing::new).map_err(|source| LoadError::Read { path, source })
}

fn parse(
    chain: &[u8],
    chain_name: &str,
    key: &[u8],
    key_name: &str,
) -> Result<Certificate, LoadError> {
    let malformed =
        |what: &str, reason: String| LoadError::Malformed { what: what.to_owned(), reason };
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(chain_name, format!("no PEM certificate: {error}")))?;
    let Some(own) = chain.first().cloned() else {
        return Err(malformed(chain_name, "no PEM certificate in it".to_owned()));
    };
    let mut expires = i64::MAX;
    for certificate in &chain {
        let (_, x509) = X509Certificate::from_der(certificate)
            .map_err(|error| malformed(chain_name, format!("no X.509 certificate: {error}")))?;
        expires = expires.min(x509.validity().not_after.timestamp());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| malformed(key_name, format!("no PEM private key: {error}")))?;
    let key = ring::sign::any_supported_type(&key)
        .map_err(|error| malformed(key_name, format!("a kind of key not supported: {error}")))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            return Err(LoadError::Mismatch);
        }
        Err(error) => return Err(malformed(chain_name, error.to_string())),
    }
    Ok(Certificate { key: Arc::new(certified), fingerprint: fingerprint(&own), expires })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_366_400; // 2026-03-01

    fn seed(certificate: &str, key: &str) -> (tempfile::TempDir, TlsFiles) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("cert.pem"), certificate).expect("a certificate");
        fs::write(dir.path().join("key.pem"), key).expect("a key");
        let files = TlsFiles { certificate: "cert.pem".to_owned(), key: "key.pem".to_owned() };
        (dir, files)
    }

    fn made() -> Made {
        make("node-1", "7f83b1657ff1fc53b92dc18148a1d65d").expect("a certificate")
    }

    fn names(certificate: &Certificate) -> String {
        let (_, x509) = X509Certificate::from_der(&certificate.key.cert[0]).expect("X.509");
        let names = x509.subject_alternative_name().expect("readable").expect("present");
        format!("{:?}", names.value.general_names)
    }

    #[test]
    fn a_made_certificate_has_names_and_no_end() {
        let ready = made().ready().expect("it can be used");
        assert_eq!(ready.fingerprint.len(), 95);
        assert_eq!(day(ready.expires), "never");
        let names = names(&ready);
        for name in ["localhost", "node-1", "7f83b1657ff1fc53b92dc18148a1d65d"] {
            assert!(names.contains(name), "{name} in {names}");
        }
    }

    #[test]
    fn a_host_name_that_no_certificate_can_hold_is_left_out() {
        for (name, node_id) in [("ü", "n1"), ("", "n1"), ("", "")] {
            let ready = make(name, node_id).expect("a certificate").ready().expect("usable");
            assert!(names(&ready).contains("localhost"), "{}", names(&ready));
        }
    }

    #[test]
    fn a_given_certificate_is_used() {
        let made = made();
        let (dir, files) = seed(&made.certificate_pem, &made.key_pem);
        let loaded = load(dir.path(), &files, NOW).expect("it can be used");
        assert_eq!(loaded.fingerprint, made.ready().expect("ready").fingerprint);
    }

    #[test]
    fn a_key_of_another_certificate_is_told() {
        let (dir, files) = seed(&made().certificate_pem, &made().key_pem);
        assert!(matches!(load(dir.path(), &files, NOW), Err(LoadError::Mismatch)));
    }

    #[test]
    fn an_expired_certificate_is_told_with_its_day() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(2024, 2, 29);
        let certificate = params.self_signed(&key).expect("a certificate");
        let (dir, files) = seed(&certificate.pem(), &key.serialize_pem());
        let error = load(dir.path(), &files, NOW).expect_err("expired");
        assert_eq!(error.to_string(), "the certificate expired on 2024-02-29");
    }

    #[test]
    fn files_that_are_something_else_are_told_by_name() {
        let made = made();
        let (dir, files) = seed("hello", &made.key_pem);
        let error = load(dir.path(), &files, NOW).expect_err("no certificate").to_string();
        assert!(error.starts_with("cert.pem: no PEM certificate"), "{error}");
        let (dir, files) = seed(&made.certificate_pem, "hello");
        let error = load(dir.path(), &files, NOW).expect_err("no key").to_string();
        assert!(error.starts_with("key.pem: no PEM private key"), "{error}");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (dir, files) = seed(garbage, &made.key_pem);
        let error = load(dir.path(), &files, NOW).expect_err("no X.509").to_string();
        assert!(error.starts_with("cert.pem: no X.509 certificate"), "{error}");
    }

    #[test]
    fn a_missing_file_and_one_outside_the_seed_are_told() {
        let (dir, mut files) = seed("", "");
        files.certificate = "other.pem".to_owned();
        assert!(matches!(load(dir.path(), &files, NOW), Err(LoadError::Read { .. })));
        files.certificate = "../cert.pem".to_owned();
        assert!(matches!(load(dir.path(), &files, NOW), Err(LoadError::Outside { .. })));
    }
}
