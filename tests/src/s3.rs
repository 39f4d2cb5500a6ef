//! A small S3 client: rusty-s3 signs, ureq carries.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle, actions};
use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::stick::USER;

/// How long a signature is valid.
const SIGNED_FOR: Duration = Duration::from_secs(600);

/// A client of one endpoint, as one user.
#[derive(Debug, Clone)]
pub struct S3 {
    agent: Agent,
    endpoint: String,
    credentials: Credentials,
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `ETag` header, with its quotes; empty where absent.
    pub etag: String,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer, if its status is the one wanted.
    ///
    /// # Errors
    /// With the body's text when it is another.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "status {} where {status} was wanted: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(self)
    }
}

impl S3 {
    /// A client of `endpoint` (with scheme) as the tests' own user. The certificate is not
    /// checked: a node's first one is self-signed, and the tests compare its fingerprint.
    #[must_use]
    pub fn new(endpoint: &str, answer_within: Duration) -> Self {
        Self::with_credentials(endpoint, answer_within, USER.0, USER.1)
    }

    /// [`S3::new`] as another user.
    #[must_use]
    pub fn with_credentials(
        endpoint: &str,
        answer_within: Duration,
        access: &str,
        secret: &str,
    ) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(answer_within))
            .tls_config(TlsConfig::builder().disable_verification(true).build())
            .build()
            .new_agent();
        Self { agent, endpoint: endpoint.to_owned(), credentials: Credentials::new(access, secret) }
    }

    fn bucket(&self, name: &str) -> Result<Bucket> {
        let endpoint = self.endpoint.parse().context("the endpoint is no URL")?;
        Ok(Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), "us-east-1")?)
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn create_bucket(&self, name: &str) -> Result<Answer> {
        let bucket = self.bucket(name)?;
        let url = actions::CreateBucket::new(&bucket, &self.credentials).sign(SIGNED_FOR);
        read(self.agent.put(url.as_str()).send_empty()?)
    }

    /// Stores an object.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Result<Answer> {
        let bucket = self.bucket(bucket)?;
        let url = actions::PutObject::new(&bucket, Some(&self.credentials), key).sign(SIGNED_FOR);
        read(self.agent.put(url.as_str()).send(body)?)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Answer> {
        let bucket = self.bucket(bucket)?;
        let url = actions::GetObject::new(&bucket, Some(&self.credentials), key).sign(SIGNED_FOR);
        read(self.agent.get(url.as_str()).call()?)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<Answer> {
        let bucket = self.bucket(bucket)?;
        let url =
            actions::DeleteObject::new(&bucket, Some(&self.credentials), key).sign(SIGNED_FOR);
        read(self.agent.delete(url.as_str()).call()?)
    }

    /// Stores an object in parts; the answer is that to the last request that was needed.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn put_parts(&self, bucket: &str, key: &str, parts: &[&[u8]]) -> Result<Answer> {
        let (bucket, user) = (self.bucket(bucket)?, &self.credentials);
        let url = actions::CreateMultipartUpload::new(&bucket, Some(user), key).sign(SIGNED_FOR);
        let begun = read(self.agent.post(url.as_str()).send_empty()?)?;
        if begun.status != 200 {
            return Ok(begun);
        }
        let text = String::from_utf8(begun.body)?;
        let begun = actions::CreateMultipartUpload::parse_response(&text)?;
        let upload = begun.upload_id();
        let mut tags = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let put = actions::UploadPart::new(&bucket, Some(user), key, number, upload);
            let put = read(self.agent.put(put.sign(SIGNED_FOR).as_str()).send(*part)?)?;
            if put.status != 200 {
                return Ok(put);
            }
            tags.push(put.etag);
        }
        let tags = tags.iter().map(String::as_str);
        let end = actions::CompleteMultipartUpload::new(&bucket, Some(user), key, upload, tags);
        let url = end.sign(SIGNED_FOR);
        read(self.agent.post(url.as_str()).send(end.body().as_bytes())?)
    }

    /// All keys of a bucket, in the order of the service, over as many pages as it takes.
    ///
    /// # Errors
    /// When no answer comes, or it is not a listing.
    pub fn keys(&self, bucket: &str) -> Result<Vec<String>> {
        let bucket = self.bucket(bucket)?;
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = actions::ListObjectsV2::new(&bucket, Some(&self.credentials));
            if let Some(token) = &token {
                action.with_continuation_token(token.clone());
            }
            let url = action.sign(SIGNED_FOR);
            let answer = read(self.agent.get(url.as_str()).call()?)?.expect(200)?;
            let text = String::from_utf8(answer.body)?;
            let page = actions::ListObjectsV2::parse_response(&text)?;
            keys.extend(page.contents.into_iter().map(|object| object.key));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(keys);
            }
        }
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let status = response.status().as_u16();
    let etag = response
        .headers()
        .get("etag")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .to_owned();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answer { status, etag, body })
}
