//! Where a gateway listens.

use http::Uri;
use thiserror::Error;

/// A checked URL: TLS, or plain where that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host's name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The `Host` header.
    pub authority: String,
    /// Path and query, starting with `/`.
    pub target: String,
}

impl Endpoint {
    /// Reads a URL. `http:` is for loopback only, unless `allow_plain`: card numbers cross no network in the
    /// clear (PCI DSS 4.2.1).
    ///
    /// # Errors
    /// What is wrong with the URL, never the URL itself: it may hold a secret.
    pub fn parse(url: &str, allow_plain: bool) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::Malformed)?;
        let authority = uri.authority().ok_or(EndpointError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EndpointError::Scheme),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(EndpointError::Malformed);
        }
        if !tls && !allow_plain && !is_loopback(&host) {
            return Err(EndpointError::Plain);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { tls, host, port, authority: authority.as_str().to_owned(), target })
    }

    /// A path below this one. `path` starts with `/` and holds only what needs no escaping.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let base = self.target.split('?').next().unwrap_or_default().trim_end_matches('/');
        Self { target: format!("{base}{path}"), ..self.clone() }
    }
}

/// Why a URL is not taken. The operator's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not an absolute URL.
    #[error("is not a URL such as \"https://gateway.example/charges\"")]
    Malformed,
    /// Not `https:` (or `http:`).
    #[error("must start with https://")]
    Scheme,
    /// User and password belong in their own settings.
    #[error("must not hold a user or password")]
    Credentials,
    /// Plain HTTP to another host.
    #[error("must start with https://: http:// is for this host only")]
    Plain,
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let endpoint = Endpoint::parse("https://pay.example/v1/charges?k=1", false).unwrap();
        assert_eq!((endpoint.tls, endpoint.host.as_str(), endpoint.port), (true, "pay.example", 443));
        assert_eq!(endpoint.target, "/v1/charges?k=1");
        let endpoint = Endpoint::parse("http://[::1]:8080", false).unwrap();
        assert_eq!((endpoint.tls, endpoint.host.as_str(), endpoint.port), (false, "::1", 8080));
        assert_eq!((endpoint.target.as_str(), endpoint.authority.as_str()), ("/", "[::1]:8080"));
    }

    #[test]
    fn plain_http_stays_on_this_host() {
        for url in ["http://localhost/x", "http://127.0.0.1:9/x", "http://127.9.9.9/", "http://[::1]/"] {
            assert!(Endpoint::parse(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://pay.example/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
        ] {
            assert_eq!(Endpoint::parse(url, false), Err(EndpointError::Plain), "{url}");
            assert!(Endpoint::parse(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(Endpoint::parse("ftp://pay.example/", true), Err(EndpointError::Scheme));
        assert_eq!(Endpoint::parse("https://user:word@pay.example/", true), Err(EndpointError::Credentials));
        for url in ["", "/charges", "https://", "pay example"] {
            assert_eq!(Endpoint::parse(url, true), Err(EndpointError::Malformed), "{url}");
        }
    }
}
