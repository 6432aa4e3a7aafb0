//! `hushpad page-watch`: whether a running payer page sends what this release sends. PCI DSS 11.6.1 asks for a look at
//! the page as the payer's browser receives it, at least once a week, and a word when its headers or scripts differ.
//!
//! It looks from outside, through whatever stands in front of Hushpad: a proxy that adds a script or takes a header away
//! is what it is there to find.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hushpad_gateways::Endpoint;
use hushpad_payer::{Release, release};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ring::digest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::cli::PageWatchArgs;
use crate::webhooks::client::tls as client_tls;

/// For one answer; the page is a few KB.
const TIME_OUT: Duration = Duration::from_secs(15);
/// The largest file of ours is a tenth of it.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Headers that no page of ours has, and that can bring in what is foreign.
const FOREIGN_HEADERS: [&str; 5] =
    ["set-cookie", "refresh", "link", "access-control-allow-origin", "content-security-policy-report-only"];
/// What a page with a form must not hold besides our two elements. Small letters.
const FOREIGN_MARKUP: [&str; 9] =
    ["<iframe", "<object", "<embed", "<base", "<style", "<frame", "http-equiv", "javascript:", "srcdoc"];

/// Looks, and says what differs. Ends with 0 when nothing does, with 1 when something does.
///
/// # Errors
/// The page could not be looked at; the program ends with 2 then.
pub async fn run(arguments: &PageWatchArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let base_url = arguments.url.trim_end_matches('/');
    let authorities = arguments.authorities.as_ref().map(std::fs::read).transpose();
    let authorities = authorities.context("--authorities")?;
    let tls = client_tls(authorities.as_deref()).map_err(anyhow::Error::msg).context("--authorities")?;
    let differences = match look(base_url, &arguments.link, &tls).await {
        Ok(differences) => differences,
        Err(error) => {
            writeln!(out, "could not look at {base_url}: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    if differences.is_empty() {
        writeln!(out, "{base_url}: the payer page is the one of hushpad {}", env!("CARGO_PKG_VERSION"))?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{base_url}: the payer page DIFFERS from hushpad {}:", env!("CARGO_PKG_VERSION"))?;
    for difference in &differences {
        writeln!(out, "  {difference}")?;
    }
    writeln!(out, "Until you know why, take the page off the network: cards are typed there.")?;
    Ok(ExitCode::FAILURE)
}

async fn look(base_url: &str, links: &[String], tls: &TlsConnector) -> anyhow::Result<Vec<String>> {
    let expected = release(base_url);
    let mut differences = Vec::new();
    let specimen = get(&format!("{base_url}/specimen"), tls).await?;
    differences.extend(headers_differ("/specimen", &specimen.headers, &expected));
    if specimen.status != StatusCode::OK || specimen.body != expected.specimen.as_bytes() {
        differences.push(format!("/specimen: the form is another one (status {})", specimen.status.as_u16()));
    }
    let inventory = get(&format!("{base_url}/inventory.json"), tls).await?;
    if inventory.body != expected.inventory.as_bytes() {
        differences.push("/inventory.json: the inventory of scripts is another one".to_owned());
    }
    for file in &expected.files {
        let found = get(&format!("{base_url}{}", file.path), tls).await?;
        if integrity(&found.body) != file.integrity {
            let status = found.status.as_u16();
            differences.push(format!("{}: the file is another one (status {status})", file.path));
        }
    }
    // Only the number of a link is told: who has the link may pay.
    for (number, link) in (1..).zip(links) {
        let page = get(link, tls).await?;
        let place = format!("link {number}");
        differences.extend(headers_differ(&place, &page.headers, &expected));
        differences.extend(markup_differs(&place, &page.body, &expected));
    }
    Ok(differences)
}

fn headers_differ(place: &str, headers: &HeaderMap, expected: &Release) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, value) in &expected.headers {
        let found: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        match found.as_slice() {
            [one] if *one == value.as_bytes() => {}
            [] => differences.push(format!("{place}: the header {name} is missing")),
            [_] => differences.push(format!("{place}: the header {name} has another value")),
            [_, _, ..] => differences.push(format!("{place}: the header {name} is there more than once")),
        }
    }
    let foreign = FOREIGN_HEADERS.iter().filter(|name| headers.contains_key(**name));
    differences.extend(foreign.map(|name| format!("{place}: the header {name} is none of ours")));
    differences
}

/// A page of a real bill: our two elements, each once, and nothing else that loads or runs anything.
fn markup_differs(place: &str, body: &[u8], expected: &Release) -> Vec<String> {
    let page = String::from_utf8_lossy(body);
    let mut differences = Vec::new();
    for element in &expected.elements {
        if page.matches(element.as_str()).count() != 1 {
            let name = element.split(' ').next().unwrap_or_default().trim_start_matches('<');
            differences.push(format!("{place}: our own {name} element is not there once"));
        }
    }
    let rest = expected.elements.iter().fold(page.into_owned(), |page, element| page.replace(element, ""));
    let rest = rest.to_lowercase();
    let foreign = ["<script", "<link"].iter().chain(&FOREIGN_MARKUP).filter(|mark| rest.contains(**mark));
    differences.extend(foreign.map(|mark| format!("{place}: foreign markup: {mark}")));
    if has_handler(&rest) {
        differences.push(format!("{place}: foreign markup: a handler in an attribute"));
    }
    differences
}

/// Whether there is an attribute such as `onclick=` in a tag.
fn has_handler(page: &str) -> bool {
    page.split('<').skip(1).filter_map(|tag| tag.split_once('>').map(|(tag, _)| tag)).any(|tag| {
        tag.split_ascii_whitespace().skip(1).any(|attribute| {
            let name = attribute.split_once('=').map(|(name, _)| name);
            name.and_then(|name| name.strip_prefix("on"))
                .is_some_and(|event| !event.is_empty() && event.bytes().all(|byte| byte.is_ascii_lowercase()))
        })
    })
}

fn integrity(body: &[u8]) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, body)))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn get(url: &str, tls: &TlsConnector) -> anyhow::Result<Answer> {
    let endpoint = Endpoint::parse(url, true).map_err(|_| anyhow::anyhow!("the URL cannot be read"))?;
    tokio::time::timeout(TIME_OUT, get_patiently(&endpoint, tls)).await.context("no answer in time")?
}

async fn get_patiently(endpoint: &Endpoint, tls: &TlsConnector) -> anyhow::Result<Answer> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.context("no connection")?;
    if !endpoint.tls {
        return exchange(endpoint, tcp).await;
    }
    let name = ServerName::try_from(endpoint.host.clone()).context("the host's name")?;
    exchange(endpoint, tls.connect(name, tcp).await.context("TLS")?).await
}

async fn exchange<T>(endpoint: &Endpoint, stream: T) -> anyhow::Result<Answer>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with its sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let request = Request::get(endpoint.target.as_str())
        .header(header::HOST, endpoint.authority.as_str())
        .header(header::ACCEPT, "text/html")
        .header(header::USER_AGENT, concat!("hushpad-page-watch/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        bail!("an answer is larger than any of ours, or broke off");
    };
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(expected: &Release, more: &str) -> Vec<u8> {
        format!("<html><head>{}</head><body>{more}</body></html>", expected.elements.concat()).into_bytes()
    }

    #[test]
    fn our_own_page_has_nothing_foreign() {
        let expected = release("https://pay.example");
        assert_eq!(markup_differs("it", expected.specimen.as_bytes(), &expected), Vec::<String>::new());
    }

    #[test]
    fn whatever_loads_or_runs_is_found() {
        let expected = release("https://pay.example");
        for more in [
            "<script>1</script>",
            "<SCRIPT src=x></SCRIPT>",
            "<link rel=stylesheet href=//evil.example/x.css>",
            "<iframe src=x></iframe>",
            "<img src=x onerror=alert(1)>",
            "<a href=\"JavaScript:x\">",
            "<meta http-equiv=refresh content=0>",
        ] {
            assert_ne!(
                markup_differs("it", &page(&expected, more), &expected),
                Vec::<String>::new(),
                "{more}"
            );
        }
        assert_eq!(markup_differs("it", &page(&expected, "<p>on=1</p>"), &expected), Vec::<String>::new());
        assert_eq!(markup_differs("it", b"<html></html>", &expected).len(), 2);
    }

    #[test]
    fn a_header_that_is_missing_changed_doubled_or_foreign_is_told() {
        let expected = release("https://pay.example");
        let mut headers = HeaderMap::new();
        for (name, value) in &expected.headers {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(headers_differ("it", &headers, &expected), Vec::<String>::new());
        headers.remove(header::CONTENT_SECURITY_POLICY);
        headers.insert(header::X_FRAME_OPTIONS, "ALLOWALL".parse().unwrap());
        headers.append(header::CACHE_CONTROL, "no-store".parse().unwrap());
        headers.insert(header::SET_COOKIE, "a=b".parse().unwrap());
        let mut told = headers_differ("it", &headers, &expected);
        told.sort();
        assert_eq!(
            told,
            [
                "it: the header cache-control is there more than once",
                "it: the header content-security-policy is missing",
                "it: the header set-cookie is none of ours",
                "it: the header x-frame-options has another value",
            ]
        );
    }
}
