//! TLS: sessions and certificates.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use guideway_config::{CheckHttp, CheckKind, CheckTls};
use guideway_controller::check::probe::Prepared;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd as date};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::{NamedTempFile, TempDir};

use crate::checks::{AWHILE, LONG, Run, SHORT, check, https, run, runtime};
use crate::script::{Act, send, server, tls_server};

/// An authority of the tests, and certificates that it has signed.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: NamedTempFile,
}

/// A certificate with its key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Authority of the tests");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(certificate.pem().as_bytes()).unwrap();
    Authority { issuer: Issuer::new(params, key), file }
});

impl Identity {
    /// For these names, until the end of this year.
    pub(crate) fn new(names: &[&str], until: i32) -> Identity {
        let (params, key) = Identity::params(names, until);
        Identity { certificate: params.signed_by(&key, &AUTHORITY.issuer).unwrap(), key }
    }

    fn self_signed(names: &[&str]) -> Identity {
        let (params, key) = Identity::params(names, 2090);
        Identity { certificate: params.self_signed(&key).unwrap(), key }
    }

    fn params(names: &[&str], until: i32) -> (CertificateParams, KeyPair) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date(2000, 1, 1);
        params.not_after = date(until, 12, 31);
        (params, KeyPair::generate().unwrap())
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from(self.certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    /// Certificate and key as files.
    pub(crate) fn write(&self, directory: &TempDir, name: &str) {
        let path = directory.path();
        fs::write(path.join(format!("{name}.crt")), self.certificate.pem()).unwrap();
        fs::write(path.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }
}

fn good() -> Identity {
    Identity::new(&["www.example", "127.0.0.1"], 2090)
}

/// The beginning of the last day of the year.
fn end_of(year: i32) -> SystemTime {
    date(year, 12, 31).into()
}

/// Checked against the authority of the tests.
pub(crate) fn verified(sni: Option<&str>) -> CheckTls {
    CheckTls {
        sni: sni.map(str::to_owned),
        verify: true,
        ca_file: Some(AUTHORITY.file.path().to_owned()),
    }
}

fn hello(tls: CheckTls, identity: &Identity) -> Run {
    let at = tls_server(identity.server(), vec![Act::Hold]);
    run(check(CheckKind::Tls(tls), LONG), at)
}

#[test]
fn a_session_is_opened() {
    for tls in [
        CheckTls::default(),
        CheckTls { sni: Some("other.example".to_owned()), ..CheckTls::default() },
        verified(None),
        verified(Some("www.example")),
        verified(Some("127.0.0.1")),
    ] {
        let run = hello(tls, &good());
        assert_eq!(run.said(), ("L6OK", ""));
        assert_eq!(run.outcome.certificate_ends, Some(end_of(2090)));
        assert_eq!(run.step_names(), ["connect", "tls"]);
        assert_eq!(run.steps[1].detail, "TLSv1_3, the certificate ends at 2090-12-31T00:00:00Z");
    }
}

#[test]
fn certificates_that_are_not_accepted() {
    let expired = Identity::new(&["www.example"], 2020);
    let www = || verified(Some("www.example"));
    let other = Identity::new(&["other.example"], 2090);
    for (identity, tls, words) in [
        (&expired, www(), "the certificate has expired: it ended at 2020-12-31T00:00:00Z"),
        (&other, www(), "the certificate is for another name than www.example: "),
        (&other, verified(None), "the certificate is for another name than 127.0.0.1: "),
        (
            &Identity::self_signed(&["www.example"]),
            www(),
            "the certificate is of an authority that is not known",
        ),
        (
            &good(),
            CheckTls { ca_file: None, ..www() },
            "the certificate is of an authority that is not known",
        ),
    ] {
        let run = hello(tls.clone(), identity);
        let (code, detail) = run.said();
        assert!(code == "L6RSP" && detail.starts_with(words), "{run:?}");
        assert_eq!(run.step_names(), ["connect", "tls"]);
        // Where nobody verifies, all of them are good enough, and their end is known all the same.
        let run = hello(CheckTls { verify: false, ..tls }, identity);
        assert_eq!(run.said(), ("L6OK", ""));
        assert!(run.outcome.certificate_ends.is_some());
    }
    let run = hello(www(), &expired);
    assert_eq!(run.outcome.certificate_ends, Some(end_of(2020)));
}

#[test]
fn servers_without_tls() {
    let tls = || CheckKind::Tls(CheckTls::default());
    let closed = "the server closed before the TLS session was open";
    let alert = Act::Send(vec![21, 3, 3, 0, 2, 2, 40]);
    for (acts, words) in [
        (vec![send("HTTP/1.1 400 Bad Request\r\n\r\n"), Act::Hold], "the answer is no TLS: "),
        (vec![Act::Read], closed),
        // A server that closes before it has read resets.
        (vec![], ""),
        (vec![Act::Reset], ""),
        (vec![alert, Act::Hold], "the server refused the TLS session: HandshakeFailure"),
        // The begin of a record that does not go on.
        (vec![Act::Read, Act::Send(vec![22, 3, 3, 0, 100, 2])], closed),
    ] {
        let said = format!("{acts:?}");
        let run = run(check(tls(), LONG), server(acts));
        let (code, detail) = run.said();
        assert!(code == "L6RSP" && detail.starts_with(words), "{said}: {run:?}");
    }
    for acts in [vec![Act::Hold], vec![Act::Drip(vec![22, 3, 3, 0, 100, 2], SHORT / 2)]] {
        let run = run(check(tls(), SHORT), server(acts));
        assert_eq!(run.said(), ("L6TOUT", "no TLS session within 150ms"));
    }
}

/// A client that speaks TLS to a port that does, and one that does not.
#[test]
fn plain_to_a_port_with_tls() {
    let plain = CheckKind::Http(crate::checks::request());
    let run = run(check(plain, LONG), tls_server(good().server(), vec![Act::Hold]));
    assert_eq!(run.code(), "L7RSP");
}

#[test]
fn requests_over_tls() {
    let ask = |http: CheckHttp, acts: Vec<Act>, timeout| {
        let acts = [vec![Act::ReadRequest], acts].concat();
        run(check(CheckKind::Http(http), timeout), tls_server(good().server(), acts))
    };
    let ok = || send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
    for tls in [CheckTls::default(), verified(None)] {
        let http = CheckHttp { tls: Some(tls), expect: Some(b"well".to_vec()), ..https() };
        let run = ask(http, vec![ok()], LONG);
        assert_eq!(run.said(), ("L7OK", ""));
        assert_eq!(run.outcome.certificate_ends, Some(end_of(2090)));
        assert_eq!(run.step_names(), ["connect", "tls", "response", "body"]);
    }
    assert_eq!(ask(https(), vec![], LONG).code(), "L7RSP");
    assert_eq!(ask(https(), vec![Act::Reset], LONG).code(), "L7RSP");
    assert_eq!(ask(https(), vec![Act::Hold], AWHILE).code(), "L7TOUT");
    assert_eq!(ask(https(), vec![send("garbage\r\n")], LONG).code(), "L7RSP");
    let run = ask(https(), vec![send("HTTP/1.1 503 No\r\n\r\n")], LONG);
    assert_eq!((run.code(), run.outcome.status), ("L7STS", Some(503)));
    assert!(run.outcome.certificate_ends.is_some());
    // Whoever cuts the connection cuts a body whose end is the session's.
    let run = ask(https(), vec![send("HTTP/1.1 200 OK\r\n\r\nhalf of"), Act::Reset], LONG);
    assert_eq!(run.code(), "L7RSP");
    let run = ask(https(), vec![send("HTTP/1.1 200 OK\r\n\r\nwhole")], LONG);
    assert_eq!(run.said(), ("L7OK", ""));
}

#[test]
fn what_the_operator_is_told() {
    let problem = |tls: CheckTls| {
        let check = check(CheckKind::Tls(tls), LONG);
        Prepared::new(check.into()).err().map(|error| error.to_string())
    };
    assert_eq!(problem(verified(None)), None);
    let with =
        |file: &NamedTempFile| CheckTls { ca_file: Some(file.path().to_owned()), ..verified(None) };
    let mut file = NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let none = format!("no certificates from {path}: it has no certificate");
    assert_eq!(problem(with(&file)), Some(none.clone()));
    file.write_all(b"no PEM\n").unwrap();
    assert_eq!(problem(with(&file)), Some(none));
    file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(problem(with(&file)).unwrap().starts_with("no certificates from "));
    let missing = CheckTls { ca_file: Some("/nowhere".into()), ..verified(None) };
    assert!(problem(missing).unwrap().starts_with("no certificates from /nowhere: "));
    let named = CheckTls { sni: Some("no name".to_owned()), ..CheckTls::default() };
    assert_eq!(problem(named).unwrap(), "sni \"no name\" is neither a name nor an address");
}

/// A second opinion on TLS, in the versions that rustls has.
struct OpenSsl(Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn openssl_agrees() {
    let directory = TempDir::new().unwrap();
    good().write(&directory, "good");
    for (version, words) in [("-tls1_2", "TLSv1_2"), ("-tls1_3", "TLSv1_3"), ("-tls1_1", "")] {
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-cipher", "DEFAULT@SECLEVEL=0", version]);
        command.args(["-accept", &at.to_string(), "-cert", "good.crt", "-key", "good.key"]);
        command.current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _server = OpenSsl(command.spawn().unwrap());
        until_open(at);
        let http = CheckHttp {
            tls: Some(verified(Some("www.example"))),
            expect: Some(b"s_server".to_vec()),
            ..https()
        };
        let run = run(check(CheckKind::Http(http), LONG), at);
        if words.is_empty() {
            assert_eq!(run.code(), "L6RSP", "{run:?}");
        } else {
            assert_eq!(run.said(), ("L7OK", ""), "{run:?}");
            assert!(run.steps[1].detail.starts_with(words), "{run:?}");
        }
    }
}

/// Waits until a server listens.
pub(crate) fn until_open(at: std::net::SocketAddr) {
    runtime().block_on(async {
        for _ in 0..500 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            if socket.connect(at).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing listens on {at}");
    });
}
