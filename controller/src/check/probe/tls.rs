//! Sessions and certificates.
//!
//! Each probe opens a session of its own: one that is resumed would not show the certificate.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guideway_api::CheckCode;
use guideway_config::CheckTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{self, Decode, Reader, SliceReader};
use x509_cert::time::Validity;

use super::error::Error;
use super::outcome::Steps;
use super::socket::words;
use super::trace::{Stage, Trace, Verdict};

/// How the sessions of a check are opened.
pub(super) struct Opening {
    connector: TlsConnector,
    /// None for the address that the probe goes to, which is not sent to the server.
    name: Option<ServerName<'static>>,
}

impl Opening {
    /// Reads the authorities' certificates. `protocol` is that of RFC 7301.
    pub(super) fn new(check: &CheckTls, protocol: Option<&[u8]>) -> Result<Opening, Error> {
        let name = match &check.sni {
            Some(sni) => Some(
                ServerName::try_from(sni.clone()).map_err(|_| Error::Name { sni: sni.clone() })?,
            ),
            None => None,
        };
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if check.verify {
            let roots = Arc::new(match &check.ca_file {
                Some(file) => roots_of(file)?,
                None => system_roots()?,
            });
            WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| Error::Tls { problem: error.to_string() })?
        } else {
            Arc::new(AnyCertificate { provider: provider.clone() })
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls { problem: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols.extend(protocol.map(<[u8]>::to_vec));
        Ok(Opening { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

fn roots_of(file: &Path) -> Result<RootCertStore, Error> {
    let problem = |problem: String| Error::Authorities { file: file.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(file).map_err(|error| problem(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        roots.add(certificate).map_err(|error| problem(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(problem("it has no certificate".to_owned()));
    }
    Ok(roots)
}

/// The system's authorities. Those that cannot be read are left out, as everybody does.
fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem = found.errors.first().map_or("there are none".to_owned(), ToString::to_string);
        return Err(Error::SystemAuthorities { problem });
    }
    Ok(roots)
}

/// Opens a session over a connection.
pub(super) async fn open<'a, S: Steps>(
    opening: &Opening,
    to: IpAddr,
    stream: &'a mut TcpStream,
    trace: &mut Trace<'_, S>,
) -> Result<TlsStream<&'a mut TcpStream>, Verdict> {
    trace.enter(Stage::Tls);
    let name = opening.name.clone().unwrap_or_else(|| ServerName::IpAddress(to.into()));
    match opening.connector.connect(name, stream).await {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let leaf = session.peer_certificates().and_then(<[_]>::first);
            trace.certificate_ends = leaf.and_then(end_of);
            let ends = trace.certificate_ends;
            trace.done(|| {
                let version = session.protocol_version().and_then(|version| version.as_str());
                let ends = ends.map_or(String::new(), |end| {
                    format!(", the certificate ends at {}", humantime::format_rfc3339_seconds(end))
                });
                format!("{}{ends}", version.unwrap_or("TLS"))
            });
            Ok(stream)
        }
        Err(error) => {
            let problem = problem(&error);
            if let Problem::Tls(rustls::Error::InvalidCertificate(
                CertificateError::ExpiredContext { not_after, .. },
            )) = problem
            {
                trace.certificate_ends = Some(moment(*not_after));
            }
            Err(Verdict::failure(CheckCode::L6Rsp, problem.words()))
        }
    }
}

/// What an error of a connection with TLS is.
enum Problem<'a> {
    Tls(&'a rustls::Error),
    Closed,
    Other(&'a io::Error),
}

fn problem(error: &io::Error) -> Problem<'_> {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Problem::Tls(inner)
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        Problem::Closed
    } else {
        Problem::Other(error)
    }
}

impl Problem<'_> {
    fn words(&self) -> String {
        let error = match self {
            Problem::Closed => {
                return "the server closed before the TLS session was open".to_owned();
            }
            Problem::Other(error) => return words(error),
            Problem::Tls(error) => error,
        };
        match error {
            rustls::Error::InvalidMessage(_) => format!("the answer is no TLS: {error}"),
            rustls::Error::AlertReceived(alert) => {
                format!("the server refused the TLS session: {alert:?}")
            }
            rustls::Error::InvalidCertificate(certificate) => rejected(certificate),
            _ => error.to_string(),
        }
    }
}

/// Why a certificate is not accepted.
fn rejected(error: &CertificateError) -> String {
    let date = |time: &UnixTime| humantime::format_rfc3339_seconds(moment(*time)).to_string();
    match error {
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate has expired: it ended at {}", date(not_after))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid yet: it begins at {}", date(not_before))
        }
        CertificateError::NotValidForName => "the certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "none".to_owned() } else { presented.join(", ") };
            format!("the certificate is for another name than {}: {names}", expected.to_str())
        }
        CertificateError::UnknownIssuer => {
            "the certificate is of an authority that is not known".to_owned()
        }
        other => format!("the certificate is not accepted: {other}"),
    }
}

fn moment(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// The end of a certificate's validity; none if it cannot be read.
fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let validity = validity(certificate).ok()?;
    Some(validity.not_after.to_system_time())
}

/// RFC 5280 section 4.1. What stands around the validity may be as strange as it likes.
fn validity(certificate: &[u8]) -> der::Result<Validity> {
    let certificate = AnyRef::from_der(certificate)?;
    let content = AnyRef::decode(&mut SliceReader::new(certificate.value())?)?;
    let mut fields = SliceReader::new(content.value())?;
    if fields.peek_tag()?.is_context_specific() {
        // The version, which is not there in those of version 1.
        AnyRef::decode(&mut fields)?;
    }
    for _ in ["serial number", "signature", "issuer"] {
        AnyRef::decode(&mut fields)?;
    }
    Validity::decode(&mut fields)
}

/// Accepts any certificate.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["www.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2077, 1, 2);
        let key = KeyPair::generate().unwrap();
        CertificateDer::from(params.self_signed(&key).unwrap().der().to_vec())
    }

    #[test]
    fn the_end_is_read() {
        assert_eq!(end_of(&certificate()), Some(date_time_ymd(2077, 1, 2).into()));
    }

    proptest! {
        /// A server may send anything.
        #[test]
        fn any_bytes_have_an_end_or_none(
            changes in vec(any::<(u16, u8)>(), 1..4),
            cut in any::<u16>(),
        ) {
            let mut bytes = certificate().to_vec();
            for (at, value) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            }
            bytes.truncate(usize::from(cut) % (bytes.len() * 2) + 1);
            let _ = end_of(&CertificateDer::from(bytes));
        }
    }
}
