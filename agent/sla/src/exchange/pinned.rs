//! TLS between a node and a peer: 1.3 alone, the peer's certificate pinned by its SHA-256, no
//! certificate authority, and a certificate of this process that a session binds to the daemon key.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError, PeerIncompatible,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

use crate::protocol::B256;

/// The certificate of this process, and its key.
pub(crate) struct OwnCertificate {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for sessions: {0}")]
pub struct OwnCertificateError(#[from] rcgen::Error);

impl OwnCertificate {
    /// Makes one. It says nothing of the node: the session does.
    pub(crate) fn make() -> Result<Self, OwnCertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ICN node");
        let certificate = params.self_signed(&key)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { certificate: certificate.der().clone(), key })
    }

    /// SHA-256 of it in DER.
    pub(crate) fn fingerprint(&self) -> B256 {
        fingerprint(&self.certificate)
    }

    /// How to speak with who has the certificate with the SHA-256 `pinned`.
    pub(crate) fn client(&self, pinned: B256) -> Result<ClientConfig, rustls::Error> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let config = builder(pinned)?.with_client_auth_cert(vec![self.certificate.clone()], key)?;
        Ok(finished(config))
    }
}

/// How to speak with who has the certificate with the SHA-256 `pinned`, as nobody.
pub(crate) fn anonymous(pinned: B256) -> Result<ClientConfig, rustls::Error> {
    Ok(finished(builder(pinned)?.with_no_client_auth()))
}

fn builder(pinned: B256) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Pinned::new(pinned, &provider));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed shows no certificate, and there is one connection in hours.
    config.resumption = rustls::client::Resumption::disabled();
    config
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCertificate({})", self.fingerprint())
    }
}

/// Another certificate than the pinned one was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate {found} is not {expected}")]
pub(crate) struct NotPinned {
    pub(crate) expected: B256,
    pub(crate) found: B256,
}

/// Takes one certificate, whoever signed it and whatever it says.
#[derive(Debug)]
struct Pinned {
    expected: B256,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(expected: B256, provider: &CryptoProvider) -> Self {
        Self { expected, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (expected, found) = (self.expected, fingerprint(shown));
        if found == expected {
            Ok(ServerCertVerified::assertion())
        } else {
            let error = OtherError(Arc::new(NotPinned { expected, found }));
            Err(rustls::Error::Other(error))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> B256 {
    B256::from(<[u8; 32]>::from(Sha256::digest(certificate)))
}
