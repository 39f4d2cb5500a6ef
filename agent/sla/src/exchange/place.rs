//! Where a peer is.

use http::Uri;
use rustls::pki_types::ServerName;

use crate::config::ConfigError;

/// The port of HTTPS (RFC 9110, 4.2.2).
const PORT: u16 = 443;

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As people wrote it.
    pub url: String,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The header `Host`.
    pub authority: String,
    /// What is asked for by TLS.
    pub server: ServerName<'static>,
}

impl Place {
    /// Where `name` is, by its URL.
    ///
    /// # Errors
    /// The URL is not `https://host` with or without a port.
    pub(crate) fn of(name: &str, url: &str) -> Result<Self, ConfigError> {
        let no = |why| ConfigError::Url { name: name.to_owned(), url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| no("it is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(no("it does not begin with https://"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(no("there is something behind the host"));
        }
        let authority = uri.authority().ok_or_else(|| no("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(no("it has a user"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server = ServerName::try_from(host.clone()).map_err(|_| no("it has no host"))?;
        Ok(Self {
            url: url.to_owned(),
            host,
            port: authority.port_u16().unwrap_or(PORT),
            authority: authority.to_string(),
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        let place = |url: &str| Place::of("a", url).map(|place| (place.host, place.port));
        let is = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(place("https://oracle.example"), is("oracle.example", 443));
        assert_eq!(place("https://oracle.example:8443/"), is("oracle.example", 8443));
        assert_eq!(place("https://192.0.2.1:1"), is("192.0.2.1", 1));
        assert_eq!(place("https://[2001:db8::1]:8443"), is("2001:db8::1", 8443));
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        let reasons = [
            ("http://oracle.example", "it does not begin with https://"),
            ("oracle.example", "it does not begin with https://"),
            ("https://oracle.example/v1", "there is something behind the host"),
            ("https://u:p@oracle.example", "it has a user"),
            ("https://", "it is no URL"),
        ];
        for (url, expected) in reasons {
            let found = Place::of("a", url);
            assert!(matches!(found, Err(ConfigError::Url { why, .. }) if why == expected), "{url}");
        }
    }
}
