//! Where requests may go. What a server answers may name an address (a redirect, a next link), and
//! whoever controls a name controls what it resolves to; neither may lead us to what only this
//! machine can reach.

use crate::failure::Failure;
use azud_plan::component::Cause;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Names under which clouds serve credentials to their machines.
const METADATA_NAMES: &[&str] =
    &["instance-data", "instance-data.ec2.internal", "metadata", "metadata.google.internal"];

/// Addresses under which they do, beside the link-local ones: Alibaba, AWS, Oracle.
const METADATA_ADDRESSES: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Says where requests may go.
///
/// - Never: link-local addresses and metadata services, multicast, addresses that are nobody's.
/// - Private addresses (this machine, RFC 1918, RFC 4193 and their like): by default only for hosts
///   that the document writes, since its author may have an API in the house; what an answer names
///   may not be private. `allow_private` says otherwise for both.
#[derive(Clone, Debug)]
pub struct Guard {
    allow_private: Option<bool>,
    hosts: Arc<BTreeSet<String>>,
    origins: Arc<BTreeSet<String>>,
}

/// Why an address is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} {why}")]
pub(crate) struct Refusal {
    host: String,
    why: &'static str,
}

/// What an address is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Never,
}

impl Guard {
    /// Makes the guard of a client whose document writes these addresses.
    pub fn new<'a>(
        allow_private: Option<bool>,
        written: impl IntoIterator<Item = &'a Url>,
    ) -> Self {
        let written: Vec<&Url> = written.into_iter().collect();
        let hosts = written.iter().filter_map(|url| url.host_str()).map(plain).collect();
        let origins = written.iter().map(|url| url.origin().ascii_serialization()).collect();
        Guard { allow_private, hosts: Arc::new(hosts), origins: Arc::new(origins) }
    }

    /// Whether the document itself sends credentials to this origin.
    pub fn is_written(&self, url: &Url) -> bool {
        self.origins.contains(&url.origin().ascii_serialization())
    }

    /// Looks at an address before a request goes there: its scheme, its name, and the address
    /// itself where it is literal. Names are looked at again when they are resolved.
    ///
    /// # Errors
    /// A failure whose message says why.
    pub fn admit(&self, url: &Url) -> Result<(), Failure> {
        let refuse = |refusal: Refusal| Failure::new(Cause::Configuration, refusal.to_string());
        if !matches!(url.scheme(), "http" | "https") {
            let message = format!("an address with `{}:` is not followed", url.scheme());
            return Err(Failure::new(Cause::Configuration, message));
        }
        let host = plain(url.host_str().unwrap_or_default());
        if host.is_empty() {
            return Err(Failure::new(Cause::Configuration, "an address without a host"));
        }
        if METADATA_NAMES.contains(&host.as_str()) {
            return Err(refuse(Refusal { host, why: METADATA }));
        }
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => self.check(&host, address).map_err(refuse),
            Err(_) => Ok(()),
        }
    }

    fn check(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal { host: host.to_owned(), why });
        match reach(address) {
            Reach::Public => Ok(()),
            Reach::Never => refuse(METADATA),
            Reach::Private if self.allow_private.unwrap_or(self.hosts.contains(host)) => Ok(()),
            Reach::Private => refuse(PRIVATE),
        }
    }
}

const METADATA: &str = "is link-local, a metadata service or nobody's, and is never connected to";
const PRIVATE: &str = "is in a private network, and the document does not name this host \
                       (`allow_private = true` lets it)";

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Says what an address is to us, the addresses of IPv4 that stand in ones of IPv6 included.
fn reach(address: IpAddr) -> Reach {
    if METADATA_ADDRESSES.contains(&address) {
        return Reach::Never;
    }
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    if METADATA_ADDRESSES.contains(&IpAddr::V4(address)) {
        return Reach::Never;
    }
    match address.octets() {
        [169, 254, ..] | [0, ..] | [224..=255, ..] => Reach::Never,
        [10, ..] | [127, ..] | [192, 168, ..] => Reach::Private,
        [172, 16..=31, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => Reach::Private,
        [192, 0, 0, _] => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let [first, second, third, ..] = address.segments();
    let last = |from: usize| {
        let bytes = address.octets();
        Ipv4Addr::new(bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3])
    };
    match (first, second, third) {
        _ if address.is_loopback() => Reach::Private,
        _ if address.is_unspecified() => Reach::Never,
        // Mapped, compatible, translated (RFC 4291, 2765).
        (0, 0, 0) => reach_v4(last(12)),
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        (0x64, 0xff9b, _) => reach_v4(last(12)),
        (0x2002, ..) => reach_v4(last(2)),
        (0xfe80..=0xfebf, ..) | (0xff00..=0xffff, ..) => Reach::Never,
        (0xfec0..=0xfeff, ..) | (0xfc00..=0xfdff, ..) => Reach::Private,
        _ => Reach::Public,
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = plain(name.as_str());
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut refused = None;
            let mut allowed: Vec<SocketAddr> = Vec::new();
            for address in found {
                match guard.check(&host, address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            match refused {
                // Of a name that leads to both, the one it should not lead to says what it is for.
                Some(refusal) => Err(refusal.into()),
                None => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow_private: Option<bool>) -> Guard {
        let written = ["https://api.example/v1", "http://127.0.0.1:8080", "http://Nas.local./x"];
        let written: Vec<Url> = written.iter().map(|url| Url::parse(url).unwrap()).collect();
        Guard::new(allow_private, &written)
    }

    fn admits(guard: &Guard, url: &str) -> bool {
        guard.admit(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn metadata_services_are_never_reached_whatever_they_are_written_as() {
        let written = Url::parse("http://169.254.169.254/latest").unwrap();
        let lenient = Guard::new(Some(true), [&written]);
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://metadata.google.internal./computeMetadata",
            "http://METADATA/",
            "http://100.100.100.200/",
            "http://0.0.0.0:80/",
            "http://[::]/",
            "http://239.1.1.1/",
            "http://255.255.255.255/",
        ] {
            assert!(!admits(&lenient, url), "{url}");
        }
    }

    #[test]
    fn private_addresses_are_for_hosts_that_the_document_names() {
        let private =
            ["http://10.1.2.3/", "http://[::1]/", "http://[fd12::1]/", "http://127.0.0.2/"];
        for url in private {
            assert!(!admits(&guard(None), url), "{url}");
            assert!(admits(&guard(Some(true)), url), "{url}");
        }
        assert!(admits(&guard(None), "http://127.0.0.1:9/other"));
        assert!(!admits(&guard(Some(false)), "http://127.0.0.1:8080/"));
        assert!(admits(&guard(Some(false)), "https://8.8.8.8/"));
        assert!(admits(&guard(None), "https://[2606:4700::1111]/"));
        for url in ["file:///etc/passwd", "ftp://api.example/", "data:text/plain,x"] {
            assert!(!admits(&guard(Some(true)), url), "{url}");
        }
    }

    #[test]
    fn names_are_looked_at_when_they_are_resolved() {
        let guard = guard(None);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(guard.check("nas.local", loopback).is_ok(), "written, with a dot at its end");
        assert!(guard.check("rebound.example", loopback).is_err());
        assert!(guard.check("api.example", "169.254.169.254".parse().unwrap()).is_err());
    }

    #[test]
    fn credentials_belong_to_an_origin() {
        let guard = guard(None);
        let written = |url: &str| guard.is_written(&Url::parse(url).unwrap());
        assert!(written("https://api.example/v2?x"));
        assert!(!written("http://api.example/v1") && !written("https://api.example:8443/v1"));
        assert!(!written("https://api.example.evil/") && written("http://127.0.0.1:8080/x"));
    }
}
