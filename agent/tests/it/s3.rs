//! A small S3 client.

use std::time::Duration;

use rusty_s3::actions::{CreateBucket, GetObject, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

pub(crate) struct Client {
    bucket: Bucket,
    credentials: Credentials,
    http: ureq::Agent,
}

/// Presigned requests of a test need no longer.
const VALID: Duration = Duration::from_secs(300);

impl Client {
    /// A client of one bucket. `certificate` in PEM is trusted.
    pub(crate) fn new(endpoint: &str, keys: (&str, &str), certificate: Option<&str>) -> Self {
        let url = endpoint.parse().expect("a URL");
        let bucket = Bucket::new(url, UrlStyle::Path, "photos", "us-east-1").expect("a bucket");
        let tls = certificate.map(|pem| {
            let certificate = Certificate::from_pem(pem.as_bytes()).expect("a certificate");
            TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[certificate])).build()
        });
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .tls_config(tls.unwrap_or_default())
            .build()
            .into();
        Self { bucket, credentials: Credentials::new(keys.0, keys.1), http }
    }

    pub(crate) fn create_bucket(&self) -> Result<u16, ureq::Error> {
        let url = CreateBucket::new(&self.bucket, &self.credentials).sign(VALID);
        Ok(self.http.put(url.as_str()).send_empty()?.status().as_u16())
    }

    pub(crate) fn put(&self, key: &str, body: &[u8]) -> Result<u16, ureq::Error> {
        let url = PutObject::new(&self.bucket, Some(&self.credentials), key).sign(VALID);
        Ok(self.http.put(url.as_str()).send(body)?.status().as_u16())
    }

    pub(crate) fn get(&self, key: &str) -> Result<(u16, Vec<u8>), ureq::Error> {
        let url = GetObject::new(&self.bucket, Some(&self.credentials), key).sign(VALID);
        let mut answer = self.http.get(url.as_str()).call()?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_vec()?))
    }
}
