//! Two real servers behind the real proxy, and more callers than a release starts with: the
//! share is what was asked for, and everybody is where the documentation says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::scope;

use serin::domain::bucket::Bucket;
use serin::domain::weight::Weight;
use support::{Connection, Request, SOON, TestProxy, wait_until};
use tempfile::TempDir;

/// Distinct callers; a hundred thousand are asked by hand.
const CALLERS: u32 = 20_000;

/// Connections that share them.
const CONNECTIONS: u32 = 4;

/// How far the share may be from the weight, as a share of all callers.
const TOLERANCE: f64 = 0.005;

/// A real nginx that answers everything with its name.
struct Nginx {
    address: SocketAddr,
    master: Child,
    _folder: TempDir,
}

impl Nginx {
    fn start(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, Self::config(name, address, folder.path())).unwrap();
        let master = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .arg("-p")
            .arg(folder.path())
            .args(["-e", "error.log"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is there: Debian's package `nginx` has it");
        let nginx = Self {
            address,
            master,
            _folder: folder,
        };
        wait_until("nginx listens", SOON, || {
            TcpStream::connect(address).is_ok()
        });
        nginx
    }

    /// One process only, so that ending it by its id leaves nothing behind.
    fn config(name: &str, address: SocketAddr, folder: &Path) -> String {
        let folder = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {folder}/{kind}; "))
            .collect();
        format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log off; {temporary}\n  keepalive_requests 1000000;\n\
             \x20 server {{ listen {address}; location / {{ return 200 '{name}'; }} }}\n}}\n"
        )
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

/// A proxy that gives a share of all callers to the second server.
fn proxy(stable: &Nginx, canary: &Nginx, percent: u16) -> TestProxy {
    let (stable, canary) = (stable.address, canary.address);
    TestProxy::start(&format!(
        "trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
         backends: {{ v1: \"http://{stable}\", v2: \"http://{canary}\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: {percent}% }} }}\n\
         routes: [{{ flag: orders }}]\n"
    ))
}

/// Asks once for every caller; tells for each whether the canary answered.
fn ask_for_all(proxy: &TestProxy) -> Vec<bool> {
    let share = |first: u32| {
        let mut connection = proxy.connect();
        let callers = first..first + CALLERS / CONNECTIONS;
        callers
            .map(|caller| is_canary(&mut connection, caller))
            .collect::<Vec<_>>()
    };
    scope(|threads| {
        let asking: Vec<_> = (0..CONNECTIONS)
            .map(|part| threads.spawn(move || share(part * (CALLERS / CONNECTIONS))))
            .collect();
        let parts = asking.into_iter().map(|part| part.join().unwrap());
        parts.collect::<Vec<_>>().concat()
    })
}

fn is_canary(connection: &mut Connection, caller: u32) -> bool {
    let answer = connection.ask(&Request::get("/").field("x-user-id", &key(caller)));
    match (answer.status, answer.text()) {
        (200, "canary") => true,
        (200, "stable") => false,
        (status, text) => panic!("{status} {text}"),
    }
}

fn key(caller: u32) -> String {
    format!("caller-{caller}")
}

/// Asserts that each caller is where its bucket says, and that the share is what was asked for.
fn assert_split(is_canary: &[bool], percent: u16) {
    let weight = Weight::from_basis_points(percent * 100).unwrap();
    for (caller, is_canary) in (0..).zip(is_canary) {
        let bucket = Bucket::of("orders", &key(caller));
        assert_eq!(*is_canary, bucket.is_within(weight), "{}", key(caller));
    }
    let canary = is_canary.iter().filter(|is_canary| **is_canary).count();
    let share = canary as f64 / f64::from(CALLERS);
    let distance = (share - f64::from(percent) / 100.0).abs();
    assert!(distance < TOLERANCE, "{share} at {percent} %");
}

#[test]
fn real_servers_get_their_shares_and_a_higher_weight_moves_nobody_back() {
    let (stable, canary) = (Nginx::start("stable"), Nginx::start("canary"));
    let tenth = proxy(&stable, &canary, 10);
    let first = ask_for_all(&tenth);
    assert_eq!(first.len(), CALLERS as usize);
    assert_split(&first, 10);
    assert!(
        ask_for_all(&tenth) == first,
        "nobody moves between two runs"
    );
    let labels = [("flag", "orders"), ("code", "200")];
    let all = u64::from(2 * CALLERS);
    tenth.wait_for_count("serin_requests_total", &labels, all);
    assert_eq!(tenth.stop().code(), Some(0));

    let quarter = proxy(&stable, &canary, 25);
    let second = ask_for_all(&quarter);
    assert_split(&second, 25);
    let moved_back = first.iter().zip(&second).filter(|(was, is)| **was && !**is);
    assert_eq!(moved_back.count(), 0);
}
