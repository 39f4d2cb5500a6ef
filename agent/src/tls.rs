//! TLS of the S3 service: one configuration for the whole run, whose certificate can be exchanged
//! while it serves.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use agent_api::status::{CertificateOrigin, TlsStatus};
use provisioning_config::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::certificate::{self, Certificate, LoadError, Made};
use crate::state::NodeState;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// No certificate could be made.
    #[error(transparent)]
    Make(#[from] certificate::MakeError),
    /// The certificate just made cannot be used.
    #[error("cannot use the certificate just made: {0}")]
    Load(#[from] LoadError),
    /// rustls refuses the configuration.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// The certificate in use. Of a given, a kept and a temporary one, the first there is counts.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    given: Option<Given>,
}

/// How the certificate of the configuration did.
#[derive(Debug)]
enum Given {
    Used,
    /// Why it is not used, in words.
    Refused(String),
}

#[derive(Debug)]
struct Shown(RwLock<(Certificate, CertificateOrigin)>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0.key))
    }
}

impl Tls {
    /// Sets TLS up with the certificate that `files` name below `seed`, else with one for this run
    /// only. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn start(
        seed: &Path,
        files: Option<&TlsFiles>,
        name: &str,
        now: i64,
    ) -> Result<Self, TlsError> {
        let (first, given) = match files.map(|files| certificate::load(seed, files, now)) {
            Some(Ok(loaded)) => ((loaded, CertificateOrigin::Seed), Some(Given::Used)),
            refused => {
                let made = certificate::make(name, "")?.ready()?;
                let given = refused.and_then(Result::err).map(|error| {
                    let why = format!("{error}; a self-signed certificate is used instead");
                    warn!(error = why, "cannot use the certificate of the configuration");
                    Given::Refused(why)
                });
                ((made, CertificateOrigin::Temporary), given)
            }
        };
        let shown = Arc::new(Shown(RwLock::new(first)));
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), shown, given })
    }

    /// The configuration for a server.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Shows the certificate that the node keeps from now on, unless one was given.
    pub(crate) fn use_kept(&self, state: &NodeState) {
        if matches!(self.given, Some(Given::Used)) {
            return;
        }
        let made = Made {
            certificate_pem: state.certificate_pem.clone(),
            key_pem: Zeroizing::new(state.key_pem.to_string()),
        };
        match made.ready() {
            Ok(kept) => {
                let mut shown = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
                if shown.0.fingerprint != kept.fingerprint {
                    info!(sha256 = kept.fingerprint, "TLS with the node's own certificate");
                }
                *shown = (kept, CertificateOrigin::SelfSigned);
            }
            Err(error) => warn!(%error, "cannot use the certificate that the node keeps"),
        }
    }

    /// The certificate in use.
    pub(crate) fn status(&self) -> TlsStatus {
        let shown = self.shown.0.read().unwrap_or_else(PoisonError::into_inner);
        TlsStatus {
            fingerprint: shown.0.fingerprint.clone(),
            origin: shown.1,
            expires: certificate::day(shown.0.expires),
        }
    }

    /// SHA-256 of the certificate in use.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let shown = self.shown.0.read().unwrap_or_else(PoisonError::into_inner);
        let certificate = shown.0.key.cert.first().map_or(&[][..], |der| der.as_ref());
        Sha256::digest(certificate).into()
    }

    /// What is wrong with the certificate, in words. `now` is in seconds since 1970.
    pub(crate) fn problem(&self, now: i64) -> Option<String> {
        if let Some(Given::Refused(why)) = &self.given {
            return Some(why.clone());
        }
        let expires = self.shown.0.read().unwrap_or_else(PoisonError::into_inner).0.expires;
        let day = certificate::day(expires);
        match expires.saturating_sub(now) {
            ..0 => Some(format!("the certificate expired on {day}; give a new one on the stick")),
            0..EXPIRES_SOON => {
                Some(format!("the certificate expires on {day}; give a new one on the stick"))
            }
            _ => None,
        }
    }
}

/// Two weeks in seconds: time for somebody to bring a new stick.
const EXPIRES_SOON: i64 = 14 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::first_user;

    fn kept() -> NodeState {
        let made = certificate::make("node-1", "n1").expect("a certificate");
        NodeState {
            node_id: "n1".to_owned(),
            certificate_pem: made.certificate_pem,
            key_pem: made.key_pem,
            pool_key: crate::state::SecretKey::default(),
            daemon_key: None,
            gas_key: None,
            network: None,
            pin: None,
            set_up: false,
            reset: None,
            resets: 0,
            partings: Vec::new(),
            first_user: first_user::make().expect("a user"),
        }
    }

    fn given(dir: &Path) -> TlsFiles {
        let made = certificate::make("given", "").expect("a certificate");
        std::fs::write(dir.join("c.pem"), made.certificate_pem).expect("written");
        std::fs::write(dir.join("k.pem"), made.key_pem.as_bytes()).expect("written");
        TlsFiles { certificate: "c.pem".to_owned(), key: "k.pem".to_owned() }
    }

    #[test]
    fn a_temporary_certificate_serves_until_the_kept_one_is_there() {
        let tls = Tls::start(Path::new("/"), None, "node-1", 0).expect("TLS");
        let temporary = tls.status();
        assert_eq!(temporary.origin, CertificateOrigin::Temporary);
        tls.use_kept(&kept());
        assert_eq!(tls.status().origin, CertificateOrigin::SelfSigned);
        assert_ne!(tls.status().fingerprint, temporary.fingerprint);
        let digits = tls.status().fingerprint.replace(':', "").to_lowercase();
        assert_eq!(hex::encode(tls.sha256()), digits);
        assert_eq!(tls.problem(0), None);
    }

    #[test]
    fn a_given_certificate_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tls = Tls::start(dir.path(), Some(&given(dir.path())), "node-1", 0).expect("TLS");
        let before = tls.status();
        assert_eq!(before.origin, CertificateOrigin::Seed);
        tls.use_kept(&kept());
        assert_eq!(tls.status(), before);
    }

    #[test]
    fn a_given_certificate_that_cannot_be_used_is_told_and_replaced() {
        let files = TlsFiles { certificate: "no.pem".to_owned(), key: "no.pem".to_owned() };
        let tls = Tls::start(Path::new("/nonexistent"), Some(&files), "node-1", 0).expect("TLS");
        tls.use_kept(&kept());
        assert_eq!(tls.status().origin, CertificateOrigin::SelfSigned);
        let problem = tls.problem(0).expect("a problem");
        assert!(problem.contains("/nonexistent/no.pem"), "{problem}");
    }
}
