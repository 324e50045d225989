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
//!
//! While the secret is rotated there are two authorities. A process shows a certificate of the one
//! that its secret issues with, and accepts those of both.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use thiserror::Error;
use webpki::EndEntityCert;
use zeroize::{Zeroize, Zeroizing};

use super::Secret;
use super::token::TokenKeys;
use crate::clock;
use crate::protocol::{NodeName, Version};

/// Purpose of the derived key; its own version, since a change makes another authority.
const AUTHORITY_PURPOSE: &str = "player-host 2025 certificate authority 1";
/// How far another machine's clock may be behind this one's.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a certificate is good. It guards against a leaked key of one process only: who has the
/// secret can always issue another.
const VALID_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Age of a certificate at which a process that goes on issues itself another one: early enough that
/// clocks which disagree by days do no harm, seldom enough that it is nothing.
const ISSUED_AGAIN_AFTER: Duration = Duration::from_secs(10 * 24 * 60 * 60);
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
        let chain = chain(connection)?;
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

/// The certificates that the other side has shown, its own first.
fn chain(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity()?.downcast().ok().map(|chain| *chain)
}

/// What a process shows to others and demands of them.
#[derive(Clone)]
pub struct Identity {
    own: PeerIdentity,
    pub(super) server: Arc<QuicServerConfig>,
    pub(super) client: Arc<QuicClientConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    token_keys: TokenKeys,
    /// When it was issued, in milliseconds since 1970.
    issued: u64,
    /// For tests that change it.
    #[cfg(test)]
    pub(super) tls_client: rustls::ClientConfig,
}

/// When a certificate is good, as milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Validity {
    fn starting(now: u64) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { from: now.saturating_sub(millis(VALID_BEFORE)), until: now + millis(VALID_FOR) }
    }
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
        let now = clock::unix_millis();
        Self::issue_for(secret, own, alpn, now, Validity::starting(now))
    }

    /// As [`Identity::issue`], at `now` and for another time.
    pub(super) fn issue_for(
        secret: &Secret,
        own: PeerIdentity,
        alpn: &[u8],
        now: u64,
        validity: Validity,
    ) -> Result<Self, IdentityError> {
        let authority = Authority::of(&secret.derive(AUTHORITY_PURPOSE))?;
        let (certificate, mut key) = authority.certify(&own, validity)?;
        let mut roots = RootCertStore::empty();
        for seed in secret.derive_each(AUTHORITY_PURPOSE) {
            roots.add(Authority::of(&seed)?.certificate()?).map_err(tls)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(tls)?;
        let chain = vec![certificate];
        let server = server_config(&provider, verifier.clone(), chain.clone(), &key, alpn)?;
        let client = client_config(&provider, &roots, chain, &key, alpn)?;
        key.zeroize();
        #[cfg(test)]
        let tls_client = client.clone();
        let client = QuicClientConfig::try_from(client).map_err(tls)?;
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self {
            own,
            server,
            client,
            verifier,
            token_keys: TokenKeys::of(secret),
            issued: now,
            #[cfg(test)]
            tls_client,
        })
    }

    /// Whether it is time to issue another one. Also if the clock has been put back behind the time
    /// at which this one was issued: nobody knows then how old it is.
    pub(super) fn is_old(&self, now: u64) -> bool {
        let age = now.checked_sub(self.issued).map(Duration::from_millis);
        age.is_none_or(|age| age >= ISSUED_AGAIN_AFTER)
    }

    /// Whether a connection could be opened today, for all that the other side has shown: its
    /// certificate is from an authority that is accepted now.
    pub(super) fn accepts(&self, connection: &quinn::Connection) -> bool {
        // All members' certificates are good for a client; those of nodes are for more.
        let now = UnixTime::since_unix_epoch(Duration::from_millis(clock::unix_millis()));
        chain(connection).is_some_and(|chain| {
            let Some((own, above)) = chain.split_first() else { return false };
            self.verifier.verify_client_cert(own, above, now).is_ok()
        })
    }

    /// Returns what tokens of the same secret are judged by.
    pub(super) fn token_keys(&self) -> TokenKeys {
        self.token_keys.clone()
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

/// A certificate authority of the cluster. Its key is erased when dropped.
struct Authority {
    key: KeyPair,
    params: CertificateParams,
}

impl Authority {
    fn of(seed: &[u8; 32]) -> Result<Self, rcgen::Error> {
        let mut pkcs8 = Zeroizing::new([0; PKCS8_ED25519.len() + 32]);
        pkcs8[..PKCS8_ED25519.len()].copy_from_slice(&PKCS8_ED25519);
        pkcs8[PKCS8_ED25519.len()..].copy_from_slice(seed);
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
        Ok(Self { key, params })
    }

    /// What peers' certificates must chain to.
    fn certificate(&self) -> Result<CertificateDer<'static>, rcgen::Error> {
        Ok(self.params.self_signed(&self.key)?.der().clone())
    }

    fn certify(
        &self,
        own: &PeerIdentity,
        validity: Validity,
    ) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
        let mut key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let mut params = CertificateParams::default();
        params.not_before = at(validity.from).into();
        params.not_after = at(validity.until).into();
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
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        let private = key.serialize_der().into();
        key.zeroize();
        Ok((certificate.der().clone(), private))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivatePkcs8KeyDer<'static>,
    alpn: &[u8],
) -> Result<QuicServerConfig, IdentityError> {
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
) -> Result<rustls::ClientConfig, IdentityError> {
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
    Ok(config)
}

fn tls(error: impl std::error::Error + Send + Sync + 'static) -> IdentityError {
    IdentityError::Tls(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PeerIdentity {
        PeerIdentity::Node(text.parse().unwrap())
    }

    #[test]
    fn a_members_certificate_issues_no_other() {
        let secret = Secret::generate();
        let now = clock::unix_millis();
        let authority = Authority::of(&secret.derive(AUTHORITY_PURPOSE)).unwrap();
        let valid = Validity::starting(now);
        let (own, key) = authority.certify(&name("app_node1"), valid).unwrap();
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "app_node1");
        // What the member's key signs chains to the authority through the member's certificate, and
        // that is no authority.
        let forger = Authority { key, params };
        let (forged, _) = forger.certify(&name("app_node2"), valid).unwrap();
        let identity = Identity::node(&secret, &"app_node3".parse().unwrap()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now));
        let check = |end: &CertificateDer<'_>, above: &[CertificateDer<'_>]| {
            identity.verifier.verify_client_cert(end, above, at)
        };
        assert!(check(&own, &[]).is_ok());
        let error = check(&forged, std::slice::from_ref(&own)).unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    }

    #[test]
    fn a_certificate_is_issued_again_long_before_its_end() {
        let identity = Identity::client(&Secret::generate()).unwrap();
        let after = |time: Duration| identity.issued + u64::try_from(time.as_millis()).unwrap();
        assert!(!identity.is_old(identity.issued));
        assert!(!identity.is_old(after(ISSUED_AGAIN_AFTER) - 1));
        assert!(identity.is_old(after(ISSUED_AGAIN_AFTER)));
        assert!(2 * ISSUED_AGAIN_AFTER < VALID_FOR, "there is time to notice that it failed");
        assert!(identity.is_old(identity.issued - 1), "the clock was put back");
    }
}
