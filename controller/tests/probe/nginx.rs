//! Real servers: nginx that works, that is sorry, that says nothing, that resets, that is slow.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use guideway_config::{CheckHttp, CheckKind, CheckTls, DrainSign};
use tempfile::TempDir;

use crate::checks::{LONG, Run, SHORT, check, https, request, run};
use crate::script::{Act, server};
use crate::tls::{Identity, until_open, verified};

struct Nginx {
    child: Child,
    _directory: TempDir,
    plain: SocketAddr,
    /// With a certificate that is good, that is expired, and that is for another name.
    good: SocketAddr,
    expired: SocketAddr,
    wrong: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    fn start(silent: SocketAddr) -> Nginx {
        let directory = TempDir::new().unwrap();
        Identity::new(&["www.example"], 2090).write(&directory, "good");
        Identity::new(&["www.example"], 2020).write(&directory, "expired");
        Identity::new(&["other.example"], 2090).write(&directory, "wrong");
        fs::write(directory.path().join("page"), "x".repeat(100)).unwrap();
        let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [plain, good, expired, wrong] = listeners.map(|one| one.local_addr().unwrap());
        let with_tls = |at: SocketAddr, name: &str| {
            format!(
                "server {{ listen {at} ssl; ssl_certificate {name}.crt; \
                 ssl_certificate_key {name}.key; return 200 'well'; }}\n"
            )
        };
        let root = directory.path().display();
        let settings = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; reset_timedout_connection on; default_type text/plain;\n\
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
             server {{ listen {plain}; root {root};\n\
               location = / {{ return 200 'all is well'; }}\n\
               location = /sorry {{ return 503 'sorry'; }}\n\
               location = /drain {{ return 404; }}\n\
               location = /reset {{ return 444; }}\n\
               location = /silent {{ proxy_pass http://{silent}; }}\n\
               location = /page {{ limit_rate 1; }}\n\
             }}\n{}{}{} }}\n",
            with_tls(good, "good"),
            with_tls(expired, "expired"),
            with_tls(wrong, "wrong"),
        );
        fs::write(directory.path().join("nginx.conf"), settings).unwrap();
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap())
            .expect("nginx");
        let child = Command::new(nginx)
            .args(["-e", "stderr", "-p", directory.path().to_str().unwrap(), "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Nginx { child, _directory: directory, plain, good, expired, wrong };
        until_open(plain);
        nginx
    }
}

fn get(at: SocketAddr, path: &str, timeout: std::time::Duration) -> Run {
    let http = CheckHttp {
        path: path.to_owned(),
        drain_signs: vec![DrainSign::Status(404..=404)],
        ..request()
    };
    run(check(CheckKind::Http(http), timeout), at)
}

#[test]
fn nginx_in_every_mood() {
    let nginx = Nginx::start(server(vec![Act::Hold]));
    let run_of = |path, timeout| get(nginx.plain, path, timeout);
    assert_eq!(run_of("/", LONG).said(), ("L7OK", ""));
    assert_eq!(
        run_of("/sorry", LONG).said(),
        ("L7STS", "the response's status 503 is not expected")
    );
    assert_eq!(run_of("/drain", LONG).said(), ("L7OKC", ""));
    assert_eq!(run_of("/reset", LONG).said(), ("L7RSP", "the connection was reset"));
    assert_eq!(run_of("/silent", SHORT).said(), ("L7TOUT", "no response within 150ms"));
    // A byte a second, beginning with the head's.
    assert_eq!(run_of("/page", SHORT).code(), "L7TOUT");
    // A request as long as the longest packets are is no trouble.
    let mut long = check(CheckKind::Http(request()), LONG);
    long.size = Some(9000);
    assert_eq!(run(long, nginx.plain).said(), ("L7OK", ""));

    let tls = |at, tls: CheckTls| {
        let http = CheckHttp { tls: Some(tls), ..https() };
        run(check(CheckKind::Http(http), LONG), at)
    };
    let www = || verified(Some("www.example"));
    assert_eq!(tls(nginx.good, www()).said(), ("L7OK", ""));
    for (at, words) in [(nginx.expired, "has expired"), (nginx.wrong, "is for another name")] {
        let strict = tls(at, www());
        let (code, detail) = strict.said();
        assert!(code == "L6RSP" && detail.contains(words), "{strict:?}");
        let lenient = tls(at, CheckTls { verify: false, ..www() });
        assert_eq!(lenient.said(), ("L7OK", ""));
        assert!(lenient.outcome.certificate_ends.is_some());
    }
}
