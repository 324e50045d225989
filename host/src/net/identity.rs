//! Who a process is: a certificate of its own, issued by an authority that the secret derives.
//!
//! Every holder of the secret derives the same authority (an Ed25519 key) and issues itself a
//! certificate with a fresh key, so no certificate is ever stored or sent around. Both sides of a
//! connection must show one: TLS 1.3 only, no early data and no resumption, so that each connection
//! proves possession of the secret anew.
//!
//! What a process is stands in its certificate as a URI: `player-host:node:app_node1` or
//! `player-host:client`. A member holds the secret and could issue itself another name; names keep
//! honest processes apart, the secret keeps strangers out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use thiserror::Error;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::Secret;
use crate::protocol::{NodeName, Version};

/// Purpose of the derived key; its own version, since a change makes another authority.
const AUTHORITY_PURPOSE: &str = "player-host 2025 certificate authority 1";
/// How far another machine's clock may be behind this one's.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a certificate is good, from the start of its process. It guards against a leaked key
/// of one process only: who has the secret can always issue another. Open connections outlive it;
/// a process that runs longer is to be restarted before.
const VALID_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The DNS name in every node's certificate. TLS wants one, and clients have none: no client can
/// pass for a node. Nodes' own names are not in here, since DNS forbids their underscores.
pub(super) const NODE_DNS_NAME: &str = "node.player-host";
const NODE_URI: &str = "player-host:node:";
const CLIENT_URI: &str = "player-host:client";
/// What stands before the 32 secret bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7).
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why there is no identity. Nothing was changed.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The system's random source or the certificate library failed.
    #[error("cannot issue a certificate")]
    Issue(#[from] rcgen::Error),
    /// TLS does not take the certificate.
    #[error("cannot use the certificate")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the other side of a connection has proved to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerIdentity {
    /// A node of this name.
    Node(NodeName),
    /// A client: it may ask for calls and listings.
    Client,
}

impl PeerIdentity {
    /// Reads the identity out of a certificate that TLS has verified. `None` if it does not say.
    pub(super) fn of(connection: &quinn::Connection) -> Option<Self> {
        let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let certificate = EndEntityCert::try_from(chain.first()?).ok()?;
        let mut uris = certificate.valid_uri_names();
        let (uri, more) = (uris.next()?, uris.next());
        match (uri.strip_prefix(NODE_URI), more) {
            (_, Some(_)) => None,
            (Some(name), None) => name.parse().ok().map(Self::Node),
            (None, None) => (uri == CLIENT_URI).then_some(Self::Client),
        }
    }

    fn uri(&self) -> String {
        match self {
            Self::Node(name) => format!("{NODE_URI}{name}"),
            Self::Client => CLIENT_URI.to_owned(),
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => name.fmt(f),
            Self::Client => f.write_str("a client"),
        }
    }
}

/// What a process shows to others and demands of them.
#[derive(Clone)]
pub struct Identity {
    own: PeerIdentity,
    pub(super) server: Arc<QuicServerConfig>,
    pub(super) client: Arc<QuicClientConfig>,
}

impl Identity {
    /// Issues a node's identity.
    ///
    /// # Errors
    ///
    /// `IdentityError` when the system has no randomness.
    pub fn node(secret: &Secret, name: &NodeName) -> Result<Self, IdentityError> {
        Self::issue(secret, PeerIdentity::Node(name.clone()), Version::CURRENT.alpn())
    }

    /// Issues a client's identity.
    ///
    /// # Errors
    ///
    /// `IdentityError` when the system has no randomness.
    pub fn client(secret: &Secret) -> Result<Self, IdentityError> {
        Self::issue(secret, PeerIdentity::Client, Version::CURRENT.alpn())
    }

    pub(super) fn issue(
        secret: &Secret,
        own: PeerIdentity,
        alpn: &[u8],
    ) -> Result<Self, IdentityError> {
        let authority = Authority::of(secret)?;
        let (certificate, key) = authority.certify(&own)?;
        let roots = Arc::new(authority.roots()?);
        let chain = vec![certificate];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = server_config(&provider, &roots, chain.clone(), &key, alpn)?;
        let client = client_config(&provider, &roots, chain, &key, alpn)?;
        Ok(Self { own, server: Arc::new(server), client: Arc::new(client) })
    }

    /// Returns what others will read.
    pub fn own(&self) -> &PeerIdentity {
        &self.own
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The cluster's certificate authority.
struct Authority(Issuer<'static, KeyPair>, CertificateParams);

impl Authority {
    fn of(secret: &Secret) -> Result<Self, rcgen::Error> {
        let seed = secret.derive(AUTHORITY_PURPOSE);
        let mut pkcs8 = Zeroizing::new([0; PKCS8_ED25519.len() + 32]);
        pkcs8[..PKCS8_ED25519.len()].copy_from_slice(&PKCS8_ED25519);
        pkcs8[PKCS8_ED25519.len()..].copy_from_slice(&*seed);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(&pkcs8[..]),
            &rcgen::PKCS_ED25519,
        )?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // The public key's hash in the name makes another cluster an unknown issuer rather than a
        // broken signature.
        let mark = blake3::hash(key.public_key_raw()).to_hex();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("player-host cluster {}", &mark[..16]));
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self(Issuer::new(params.clone(), key), params))
    }

    /// What peers' certificates must chain to.
    fn roots(&self) -> Result<RootCertStore, IdentityError> {
        let certificate = self.1.self_signed(self.0.key())?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).map_err(tls)?;
        Ok(roots)
    }

    fn certify(
        &self,
        own: &PeerIdentity,
    ) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let now = wall_clock();
        let mut params = CertificateParams::default();
        params.not_before = (now - VALID_BEFORE).into();
        params.not_after = (now + VALID_FOR).into();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, own.to_string());
        params.subject_alt_names = vec![SanType::URI(own.uri().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        match own {
            PeerIdentity::Node(_) => {
                params.subject_alt_names.push(SanType::DnsName(NODE_DNS_NAME.try_into()?));
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            }
            PeerIdentity::Client => {}
        }
        let certificate = params.signed_by(&key, &self.0)?;
        Ok((certificate.der().clone(), key.serialize_der().into()))
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivatePkcs8KeyDer<'static>,
    alpn: &[u8],
) -> Result<QuicServerConfig, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(tls)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key.clone_key().into())
        .map_err(tls)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(tls)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivatePkcs8KeyDer<'static>,
    alpn: &[u8],
) -> Result<QuicClientConfig, IdentityError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(tls)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key.clone_key().into())
        .map_err(tls)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(tls)
}

fn tls(error: impl std::error::Error + Send + Sync + 'static) -> IdentityError {
    IdentityError::Tls(Box::new(error))
}

#[expect(clippy::disallowed_methods, reason = "certificates speak of wall-clock time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
