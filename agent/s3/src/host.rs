//! Which bucket a host name stands for.

use std::net::IpAddr;

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

use crate::config::ConfigError;

/// The host names below which the first labels are a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domains(Vec<String>);

impl Domains {
    pub(crate) fn new(domains: &[String]) -> Result<Self, ConfigError> {
        let mut checked = Vec::with_capacity(domains.len());
        for domain in domains {
            if !is_host_name(domain) {
                return Err(ConfigError::Domain { domain: domain.clone() });
            }
            checked.push(domain.to_ascii_lowercase());
        }
        // Of two domains that both fit, the longer one is meant.
        checked.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Ok(Self(checked))
    }

    /// The bucket that a `Host` header names; none where the path does.
    fn bucket(&self, host: &str) -> Option<String> {
        let host = without_port(host).to_ascii_lowercase();
        for domain in &self.0 {
            if host == *domain {
                return None;
            }
            let bucket = host.strip_suffix(domain.as_str()).and_then(|h| h.strip_suffix('.'));
            if let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) {
                return Some(bucket.to_owned());
            }
        }
        None
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(names: &[&str]) -> Domains {
        Domains::new(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_labels_before_a_domain_are_the_bucket() {
        let domains = domains(&["s3.example.org", "example.org"]);
        let bucket = |host: &str| domains.bucket(host);
        assert_eq!(bucket("photos.s3.example.org").as_deref(), Some("photos"));
        assert_eq!(bucket("a.b.s3.example.org:9000").as_deref(), Some("a.b"));
        assert_eq!(bucket("Photos.S3.Example.Org").as_deref(), Some("photos"));
        assert_eq!(bucket("photos.example.org").as_deref(), Some("photos"));
    }

    #[test]
    fn other_names_leave_the_bucket_to_the_path() {
        let domains = domains(&["s3.example.org"]);
        for host in
            ["s3.example.org", "localhost:9000", "notes3.example.org", "10.0.0.1", "[::1]:9"]
        {
            assert_eq!(domains.bucket(host), None, "{host}");
        }
    }

    #[test]
    fn a_domain_is_a_host_name() {
        for bad in ["", "s3.example.org:9000", "a..b", "10.0.0.1", "a b", "http://s3"] {
            assert!(Domains::new(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
