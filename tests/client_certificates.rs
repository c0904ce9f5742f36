//! Clients that are known by their certificates, and those that are not let in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::process::{Command, Output, Stdio};

use support::authority::Issued;
use support::proxy::{SERIN, backends, replace_file};
use support::{Authority, SOON, TestBackend, TestProxy, wait_for};
use tempfile::TempDir;

/// Whom canary is for, by each name of her certificate.
const ANN: &str = "spiffe://shop/ann";

/// A proxy that asks clients for certificates, before a canary that only Ann gets.
struct Edge {
    proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
    partners: Authority,
    folder: TempDir,
}

impl Edge {
    /// With more keys of `tls`, and the source of callers' keys.
    fn start(tls: &str, source: &str) -> Self {
        let (own, partners) = (Authority::new(), Authority::new());
        let folder = TempDir::new().unwrap();
        own.issue("shop", &["shop.test"])
            .write(folder.path(), "shop");
        fs::write(folder.path().join("own.crt"), &own.pem).unwrap();
        fs::write(folder.path().join("partners.crt"), &partners.pem).unwrap();
        let (stable, canary) = (TestBackend::start("v1"), TestBackend::start("v2"));
        let config = format!(
            "workers: 2\nlisteners:\n  - address: \"127.0.0.1:0\"\n    tls: {{ certificates: \
             [{{ cert: shop.pem, key: shop.key }}], client_ca: partners.crt, {tls} }}\n\
             admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n\
             {}identity: [{source}]\n\
             groups: {{ ann: {{ callers: [\"{ANN}\", ann, client.test] }},\n\
             \x20 staff: {{ certificate: {{ san_uri: {{ prefix: \"spiffe://shop/\" }} }} }} }}\n\
             flags:\n  shop: {{ stable: v1, canary: v2, groups: {{ ann: 100% }} }}\n\
             \x20 inner: {{ stable: v1, canary: v2, groups: {{ staff: 100% }} }}\n\
             routes: [{{ path: /inner, flag: inner }}, {{ flag: shop }}]\n",
            backends(&[("v1", &stable), ("v2", &canary)])
        );
        fs::write(folder.path().join("serin.yaml"), config).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), Command::new(SERIN)),
            stable,
            canary,
            partners,
            folder,
        }
    }

    /// What a client with a certificate, or without, is answered.
    fn ask(&self, client: Option<&Issued>) -> Result<String, String> {
        self.ask_at("", client)
    }

    fn ask_at(&self, path: &str, client: Option<&Issued>) -> Result<String, String> {
        let port = self.proxy.address().port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "30", "--http1.1"])
            .args(["--resolve", &format!("shop.test:{port}:127.0.0.1")])
            .arg("--cacert")
            .arg(self.folder.path().join("own.crt"))
            .args(self.shown(client, ["--cert", "--key"]))
            .arg(format!("https://shop.test:{port}/{path}"));
        let output = curl.output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(said(&output))
        }
    }

    /// Options by which a client shows a certificate.
    fn shown(&self, client: Option<&Issued>, options: [&str; 2]) -> Vec<String> {
        let Some(client) = client else {
            return Vec::new();
        };
        client.write(self.folder.path(), "client");
        let file = |ending: &str| self.folder.path().join(format!("client.{ending}"));
        let files = [file("pem"), file("key")];
        let pairs = options.iter().zip(files);
        pairs
            .flat_map(|(option, file)| [(*option).to_owned(), file.display().to_string()])
            .collect()
    }

    fn refused(&self, client: Option<&Issued>) {
        let answer = self.ask(client);
        assert!(
            answer.as_ref().is_err_and(|said| said.contains("alert")),
            "{answer:?}"
        );
    }

    fn wait_for_failed(&self, count: u64) {
        let labels = [("result", "failed")];
        self.proxy
            .wait_for_count("serin_tls_handshakes_total", &labels, count);
    }
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

#[test]
fn a_certificate_says_who_a_client_is() {
    for (source, uri, subject) in [
        ("certificate: san_uri", ANN, "x"),
        ("certificate: san_dns", "b:x", "x"),
        ("certificate: subject_cn", "b:x", "ann"),
    ] {
        let edge = Edge::start("", source);
        let ann = edge.partners.issue_to_client(subject, uri);
        assert_eq!(edge.ask(Some(&ann)).as_deref(), Ok("v2"), "{source}");
        let bob = edge.partners.issue("bob", &["bob.test"]);
        assert_eq!(edge.ask(Some(&bob)).as_deref(), Ok("v1"), "{source}");
    }
}

#[test]
fn a_group_may_be_those_whose_certificates_have_a_name() {
    let edge = Edge::start("client_certificate: optional", "client_ip");
    for (uri, expected) in [
        (ANN, "v2"),
        ("spiffe://shop/bob", "v2"),
        ("spiffe://shop.test/eve", "v1"),
        ("spiffe://other/ann", "v1"),
    ] {
        let client = edge.partners.issue_to_client("ann", uri);
        let answer = edge.ask_at("inner", Some(&client));
        assert_eq!(answer.as_deref(), Ok(expected), "{uri}");
    }
    assert_eq!(edge.ask_at("inner", None).as_deref(), Ok("v1"));
}

#[test]
fn who_shows_no_good_certificate_is_not_let_in() {
    let edge = Edge::start("", "certificate: subject_cn");
    edge.refused(None);
    edge.refused(Some(&Authority::new().issue_to_client("ann", ANN)));
    edge.refused(Some(&edge.partners.issue_expired("ann", &["client.test"])));
    edge.wait_for_failed(3);
    assert_eq!((edge.stable.requests(), edge.canary.requests()), (0, 0));
    assert_eq!(edge.proxy.metrics().count("serin_requests_total", &[]), 0);
}

#[test]
fn where_it_is_optional_a_bad_certificate_is_still_refused() {
    let edge = Edge::start("client_certificate: optional", "certificate: subject_cn");
    assert_eq!(edge.ask(None).as_deref(), Ok("v1"));
    let ann = edge.partners.issue_to_client("ann", ANN);
    assert_eq!(edge.ask(Some(&ann)).as_deref(), Ok("v2"));
    edge.refused(Some(&Authority::new().issue_to_client("ann", ANN)));
    edge.refused(Some(&edge.partners.issue_expired("ann", &["client.test"])));
    edge.wait_for_failed(2);
}

#[test]
fn nobody_is_known_again_by_a_ticket() {
    let edge = Edge::start("", "certificate: subject_cn");
    let ann = edge.partners.issue_to_client("ann", ANN);
    for version in ["-tls1_2", "-tls1_3"] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &edge.proxy.address().to_string()])
            .args([version, "-reconnect"])
            .args(edge.shown(Some(&ann), ["-cert", "-key"]))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = said(&output);
        assert!(said.contains("New, TLSv1"), "{said}");
        assert!(!said.contains("Reused"), "{said}");
        assert!(!said.contains("New Session Ticket arrived"), "{said}");
    }
}

#[test]
fn an_authority_that_is_replaced_lets_nobody_in_any_more() {
    let edge = Edge::start("", "certificate: subject_cn");
    let ann = edge.partners.issue_to_client("ann", ANN);
    assert_eq!(edge.ask(Some(&ann)).as_deref(), Ok("v2"));
    let others = Authority::new();
    replace_file(&edge.folder.path().join("partners.crt"), &others.pem);
    wait_for("the old authority is not trusted", SOON, || {
        edge.ask(Some(&ann)).is_err().then_some(())
    });
    let ann = others.issue_to_client("ann", ANN);
    assert_eq!(edge.ask(Some(&ann)).as_deref(), Ok("v2"));
}

#[test]
fn a_source_that_nobody_can_have_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("serin.yaml");
    let config = "listeners: [{ address: \"127.0.0.1:0\" }]\nidentity:\n  - certificate: san_uri\n\
                  backends: { v1: http://v1 }\nroutes: [{ backend: v1 }]\n";
    fs::write(&path, config).unwrap();
    let check = Command::new(SERIN)
        .args(["check", "--config"])
        .arg(path)
        .output();
    let said = said(&check.unwrap());
    let expected = "3:5: identity[0]: no listener asks clients for a certificate; \
                    add `client_ca:` to `tls` of a listener";
    assert!(said.contains(expected), "{said}");
}
