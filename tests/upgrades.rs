//! Switches to other protocols: WebSocket by a library on both sides, and raw bytes where a library
//! would not do such a thing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use socket2::SockRef;
use support::proxy::SERIN;
use support::recorder::Edge;
use support::{Authority, Connection, SOON, TestProxy, wait_for, wait_until};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame, coding};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, accept, client};

const MEBIBYTE: usize = 1024 * 1024;

/// A server that echoes what it is told by WebSocket, and does some things when it is told to.
struct EchoServer {
    listener: TcpListener,
}

impl EchoServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.try_clone().unwrap();
        spawn(move || {
            while let Ok((stream, _)) = own.accept() {
                // It ends with its connection.
                spawn(move || echo(stream));
            }
        });
        Self { listener }
    }

    fn proxy(&self) -> TestProxy {
        let address = self.listener.local_addr().unwrap();
        TestProxy::start(&config(&address.to_string()))
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

fn config(backend: &str) -> String {
    format!(
        "workers: 1\nbackends: {{ v1: \"http://{backend}\", v2: \"http://[::1]\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n"
    )
}

fn echo(stream: TcpStream) {
    let Ok(mut socket) = accept(stream) else {
        return;
    };
    while let Ok(message) = socket.read() {
        let sent = match &message {
            Message::Text(text) if text.as_str() == "close" => socket.close(None),
            Message::Text(text) if text.as_str() == "reset" => {
                SockRef::from(socket.get_ref())
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                return;
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message),
            // The library answers pings and the word to close.
            _ => socket.flush(),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A client's end.
fn connect(proxy: &TestProxy) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    client("ws://shop.test/chat", stream).unwrap().0
}

/// Sends a message and reads the same again.
#[track_caller]
fn assert_echoed<S: Read + Write>(socket: &mut WebSocket<S>, message: &Message) {
    socket.send(message.clone()).unwrap();
    assert!(socket.read().unwrap() == *message);
}

fn fault(proxy: &TestProxy, fault: &str, count: u64) {
    proxy.wait_for_count("serin_outcomes_total", &[("fault", fault)], count);
}

#[test]
fn messages_of_every_kind_go_both_ways() {
    let server = EchoServer::start();
    let proxy = server.proxy();
    let mut socket = connect(&proxy);
    assert_echoed(&mut socket, &Message::text("grüße"));
    assert_echoed(&mut socket, &Message::text(""));
    assert_echoed(&mut socket, &Message::binary(vec![0, 255, 13, 10]));
    for size in [1, 125, 126, 65_535, 65_536, MEBIBYTE] {
        assert_echoed(&mut socket, &Message::binary(vec![7; size]));
    }
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert!(socket.read().unwrap() == Message::Pong("are you there".into()));
    // In three pieces, with a ping between them.
    let piece = |text: &'static str, code, is_last| {
        Message::Frame(Frame::message(text, coding::OpCode::Data(code), is_last))
    };
    socket
        .send(piece("one ", coding::Data::Text, false))
        .unwrap();
    socket
        .send(piece("two ", coding::Data::Continue, false))
        .unwrap();
    socket.send(Message::Ping("".into())).unwrap();
    socket
        .send(piece("three", coding::Data::Continue, true))
        .unwrap();
    assert!(socket.read().unwrap() == Message::Pong("".into()));
    assert!(socket.read().unwrap() == Message::text("one two three"));
    // The request was counted at its head already.
    proxy.wait_for_count("serin_requests_total", &[("code", "101")], 1);
    let reason = CloseFrame {
        code: coding::CloseCode::Normal,
        reason: "done".into(),
    };
    socket.close(Some(reason.clone())).unwrap();
    assert!(socket.read().unwrap() == Message::Close(Some(reason)));
    assert!(matches!(
        socket.read(),
        Err(tungstenite::Error::ConnectionClosed)
    ));
    let metrics = proxy.metrics();
    assert_eq!(metrics.count("serin_requests_total", &[]), 1);
    assert_eq!(metrics.count("serin_backend_failures_total", &[]), 0);
}

#[test]
fn fifty_at_once_do_not_mix() {
    let server = EchoServer::start();
    let proxy = server.proxy();
    let mut sockets: Vec<_> = (0..50).map(|_| connect(&proxy)).collect();
    for round in 0..3 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket
                .send(Message::text(format!("{number} in {round}")))
                .unwrap();
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert!(socket.read().unwrap() == Message::text(format!("{number} in {round}")));
        }
    }
    proxy.wait_for_count("serin_requests_total", &[("code", "101")], 50);
}

#[test]
fn who_ends_it_is_who_is_blamed() {
    let server = EchoServer::start();
    let proxy = server.proxy();
    // The backend takes its leave.
    let mut socket = connect(&proxy);
    socket.send(Message::text("close")).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    fault(&proxy, "none", 1);
    // The client is gone without a word.
    let socket = connect(&proxy);
    SockRef::from(socket.get_ref())
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
    fault(&proxy, "none", 2);
    let failures = || proxy.metrics().count("serin_backend_failures_total", &[]);
    assert_eq!(failures(), 0);
    // The backend breaks off.
    let mut socket = connect(&proxy);
    socket.send(Message::text("reset")).unwrap();
    assert!(socket.read().is_err());
    wait_until("it is a failure", SOON, || failures() == 1);
    fault(&proxy, "none", 3);
    proxy.wait_for_count("serin_requests_total", &[("code", "101")], 3);
}

#[test]
fn over_tls_it_is_the_same() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority
        .issue("shop", &["shop.test"])
        .write(folder.path(), "shop");
    let server = EchoServer::start();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: shop.pem, key: shop.key }}] }} }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{}",
        config(&server.listener.local_addr().unwrap().to_string())
    );
    fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let name = ServerName::try_from("shop.test").unwrap();
    let session = ClientConnection::new(authority.trusting_client(), name).unwrap();
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let stream = StreamOwned::new(session, stream);
    let mut socket = client("wss://shop.test/chat", stream).unwrap().0;
    assert_echoed(&mut socket, &Message::text("hello"));
    assert_echoed(&mut socket, &Message::binary(vec![9; MEBIBYTE]));
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
}

#[test]
fn it_outlives_a_reload_and_ends_by_the_deadline_of_the_process() {
    let server = EchoServer::start();
    let address = server.listener.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    let more = format!(
        "shutdown: {{ deadline: 2s }}\naccess_log: \"{}\"\n",
        path.display()
    );
    let mut proxy = TestProxy::start(&(config(&address) + &more));
    let mut socket = connect(&proxy);
    assert_echoed(&mut socket, &Message::text("before"));
    proxy.reload();
    proxy.wait_for_log("configuration", SOON);
    assert_echoed(&mut socket, &Message::text("after"));
    proxy.terminate();
    proxy.wait_for_log("stopping", SOON);
    assert_echoed(&mut socket, &Message::text("still"));
    assert!(proxy.wait().success());
    assert!(socket.read().is_err());
    let line: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    // Three messages of five or six bytes, each with a head of two, on the way up with a mask of four.
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&json!(16 + 3 * 6), &json!(16 + 3 * 2))
    );
}

#[test]
fn what_went_through_is_in_the_access_log() {
    let server = EchoServer::start();
    let address = server.listener.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    let log = format!("access_log: \"{}\"\n", path.display());
    let proxy = TestProxy::start(&(config(&address) + &log));
    let mut socket = connect(&proxy);
    assert_echoed(&mut socket, &Message::text("hello"));
    drop(socket);
    let line = wait_for("a line", SOON, || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.ends_with('\n').then_some(text)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], 101);
    // A head of two bytes, on the way up with a mask of four.
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&json!(11), &json!(7))
    );
}

#[test]
fn many_that_are_silent_take_little_and_hold_nobody_up() {
    let server = EchoServer::start();
    let proxy = server.proxy();
    // What the first ones take is taken once.
    let mut sockets: Vec<_> = (0..20).map(|_| connect(&proxy)).collect();
    let before = proxy.resident_bytes();
    sockets.extend((0..500).map(|_| connect(&proxy)));
    let each = (proxy.resident_bytes() - before) / 500;
    println!("{each} bytes for each WebSocket");
    assert!(each < 64 * 1024, "{each}");
    for socket in &mut sockets {
        assert_echoed(socket, &Message::text("hello"));
    }
}

/// A backend of one connection that answers the first head with these bytes, and tells all that
/// comes after it.
fn answering(bytes: &'static [u8]) -> (TestProxy, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = channel();
    spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        while !all.windows(4).any(|part| part == b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            all.extend(byte);
        }
        told.send(all).unwrap();
        stream.write_all(bytes).unwrap();
        let mut piece = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            if told.send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    (TestProxy::start(&config(&address.to_string())), heard)
}

const ASKED: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo/1\r\n\r\n";

const GRANTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\nX-A: b\r\n\r\n";

fn next(heard: &Receiver<Vec<u8>>) -> Vec<u8> {
    heard.recv_timeout(SOON).unwrap()
}

#[test]
fn what_is_sent_early_arrives_after_the_switch_unread() {
    let (proxy, heard) = answering(GRANTED);
    let mut connection = Connection::open(proxy.address());
    let early = b"GET /smuggled HTTP/1.1\nHost: a\r\n\r\n\0\xff";
    connection.send(&[ASKED, early].concat());
    let answer = connection.answer_head();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("connection"), Some("upgrade"));
    assert_eq!(answer.field("upgrade"), Some("echo/1"));
    assert_eq!(answer.field("x-a"), Some("b"));
    let head = String::from_utf8(next(&heard)).unwrap();
    assert!(
        head.contains("upgrade: echo/1\r\n") && head.contains("connection: upgrade\r\n"),
        "{head}"
    );
    let mut all = next(&heard);
    while all.len() < early.len() {
        all.extend(next(&heard));
    }
    assert_eq!(all, early);
    // One side ends, the other goes on.
    connection.send(b"more");
    assert_eq!(next(&heard), b"more");
    connection.end_sending();
    assert!(connection.is_closed());
}

#[test]
fn a_switch_that_nobody_asked_for_is_an_error() {
    for asked in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n",
    ] {
        let (proxy, heard) = answering(GRANTED);
        let mut connection = Connection::open(proxy.address());
        connection.send(asked.as_bytes());
        let answer = connection.answer();
        answer.problem(502);
        let head = String::from_utf8(next(&heard))
            .unwrap()
            .to_ascii_lowercase();
        for field in ["upgrade:", "connection:", "http2-settings:"] {
            assert!(!head.contains(field), "{asked:?}: {head}");
        }
        // Nothing goes on to a backend that believes to be something else; it is left.
        fault(&proxy, "backend", 1);
        assert_eq!(
            heard.recv_timeout(SOON),
            Err(RecvTimeoutError::Disconnected),
            "{asked:?}"
        );
    }
}

#[test]
fn a_refusal_is_passed_on_and_http_goes_on() {
    let edge = Edge::start();
    for answer in [
        &b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: echo/2\r\nConnection: upgrade\r\ncontent-length: 2\r\n\r\nno"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        edge.backend.answer_with(answer);
        let mut connection = edge.proxy.connect();
        connection.send(ASKED);
        let refused = connection.answer();
        assert!(matches!(refused.status, 426 | 200 | 403) && refused.text() == "no");
        for target in ["/one", "/two"] {
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            assert_eq!(connection.answer().text(), "ok");
        }
        let seen = edge.seen();
        let whats: Vec<_> = seen.iter().map(|seen| seen.what()).collect();
        assert_eq!(whats, ["GET /chat", "GET /one", "GET /two"]);
    }
}

#[test]
fn a_post_may_switch_with_a_body_before_it() {
    let (proxy, heard) = answering(GRANTED);
    let mut connection = Connection::open(proxy.address());
    connection.send(
        b"POST /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\
          Content-Length: 5\r\n\r\nhellotunnel",
    );
    assert_eq!(connection.answer_head().status, 101);
    next(&heard);
    let mut all = next(&heard);
    while all.len() < 11 {
        all.extend(next(&heard));
    }
    assert_eq!(all, b"hellotunnel");
}
