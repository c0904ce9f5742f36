//! Clients that do not take what they have asked for, and backends that do not take what they are sent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::spawn;
use std::time::Duration;

use crate::support::flood::{Field, head, narrow, open_files_max};
use crate::support::frames::{
    DATA, END_STREAM, End, Http2, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, get,
};
use crate::support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

/// Limits of time that tests can wait for.
const SHORT: &str = "timeouts: { idle: 1s }";

/// What is cut by the time.
const STALLED: &str = "the stream, after the idle time";

/// How many requests a backend still answers.
fn under_way(field: &Field) -> u64 {
    field
        .proxy
        .metrics()
        .count("serin_upstream_connections", &[("backend", "flooded")])
}

#[test]
fn answers_over_http2_that_nobody_takes() {
    open_files_max();
    // No window, one of a byte, and windows as wide as can be on a socket that is not read.
    for (variant, window) in [("no window", 0), ("a byte", 1), ("never read", 1 << 30)] {
        let field = Field::start("", Behaviour::HeldBytes(1 << 20), SHORT);
        let watch = field.watch();
        let clients = (0..4).map(|_| {
            let mut client = Http2::on(narrow(field.proxy.address()), &[(4, window)]);
            client.send(&frame(WINDOW_UPDATE, 0, 0, [0x10, 0, 0, 0]));
            let heads: Vec<_> = (0..100)
                .flat_map(|it| head("GET", "/x", 2 * it + 1))
                .collect();
            client.send(&heads);
            client
        });
        let clients: Vec<_> = clients.collect();
        wait_until("all are asked for", SOON, || {
            field.backend.requests() >= 400
        });
        wait_until("all are let go", SOON, || under_way(&field) == 0);
        drop(clients);
        watch.end(
            "zero windows and readers that never read",
            format!("4 x 100 streams, {variant}"),
            STALLED,
        );
    }
}
#[test]
fn a_stream_that_is_not_taken_is_ended_and_the_others_go_on() {
    let backend = TestBackend::with("v1", Behaviour::Bytes(1024 * 1024));
    let proxy = TestProxy::start(&format!(
        "workers: 1\n\
         backends: {{ v1: {{ endpoints: [\"{}\"], timeouts: {{ idle: 1s }} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        backend.url()
    ));
    // One window never opens, one opens a little and then no more, and one is wide open, as the
    // connection's is.
    let mut client = Http2::with(proxy.address(), &[(4, 0)]);
    client.send(&[get(1), get(3), get(5)].concat());
    for (stream, window) in [
        (0, [0, 0x20, 0, 0]),
        (3, [0, 0, 0, 9]),
        (5, [0, 0x20, 0, 0]),
    ] {
        client.send(&frame(WINDOW_UPDATE, 0, stream, window));
    }
    let (mut reset, mut taken, mut is_whole) = (Vec::new(), 0, false);
    while reset.len() < 2 || !is_whole {
        let got = client.read().unwrap();
        match got.kind {
            RST_STREAM => reset.push(got.stream),
            DATA if got.stream == 5 => {
                taken += got.payload.len();
                is_whole = got.flags & END_STREAM != 0;
            }
            _ => {}
        }
    }
    reset.sort_unstable();
    assert_eq!((reset, taken), (vec![1, 3], 1024 * 1024));
    // What they held up is let go; the third's may be kept.
    let connections = || proxy.metrics().count("serin_upstream_connections", &[]);
    wait_until("connections are let go", SOON, || connections() <= 1);
    // Nobody's fault but the client's.
    assert_eq!(
        proxy.metrics().count("serin_backend_failures_total", &[]),
        0
    );
    client.send(&get(7));
    assert_eq!(client.answer(7), End::Answered(200));
}

/// So much is asked for that no socket holds all answers, and nothing of it is lost.
#[test]
fn whoever_asks_on_and_on_before_it_reads_gets_every_answer() {
    const REQUESTS: usize = 5_000;
    let backend = TestBackend::with("v1", Behaviour::Echo);
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends: {{ v1: \"{}\" }}\nroutes: [{{ backend: v1 }}]\n",
        backend.url()
    ));
    let padding = "y".repeat(3_000);
    let request = |number| {
        let last = ["", "connection: close\r\n"][usize::from(number + 1 == REQUESTS)];
        format!("GET / HTTP/1.1\r\nhost: a\r\nx-n: {number}.\r\nx-y: {padding}\r\n{last}\r\n")
    };
    let requests = (0..REQUESTS).map(request).collect::<String>();
    let mut client = narrow(proxy.address());
    let answers = client.try_clone().unwrap();
    client.set_write_timeout(Some(SOON / 20)).unwrap();
    answers.set_read_timeout(Some(SOON)).unwrap();
    let (mut rest, mut reading) = (requests.as_bytes(), None);
    while !rest.is_empty() {
        match client.write(rest) {
            Ok(written) => rest = &rest[written..],
            // Nothing is taken any more, for no answer is.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                reading.get_or_insert_with(|| {
                    let mut answers = answers.try_clone().unwrap();
                    spawn(move || {
                        let mut text = String::new();
                        answers.read_to_string(&mut text).map(|_| text)
                    })
                });
            }
        }
    }
    let text = match reading {
        Some(reading) => reading.join().unwrap().unwrap(),
        None => panic!("all was taken though nothing was read"),
    };
    let numbers = text.split("x-n: ").skip(1);
    let numbers = numbers.map(|rest| rest.split('.').next().unwrap().parse::<usize>().unwrap());
    assert!(numbers.eq(0..REQUESTS), "each once, in their order");
}

#[test]
fn answers_over_http1_that_nobody_takes() {
    open_files_max();
    let field = Field::start("", Behaviour::HeldBytes(1 << 20), SHORT);
    let watch = field.watch();
    let ask = |mut client: TcpStream| {
        client
            .write_all(Request::get("/x").head().as_bytes())
            .unwrap();
        client
    };
    let clients: Vec<_> = (0..200)
        .map(|_| ask(narrow(field.proxy.address())))
        .collect();
    wait_until("all are cut", SOON, || field.cuts("not_taking") == 200);
    drop(clients);
    watch.end(
        "readers that never read, HTTP/1",
        "200 connections",
        "the connection, after the idle time",
    );
}

/// Sends a body to its flow-control windows, and then until the connection takes no more.
fn upload(mut client: Http2, streams: u32) {
    let part = vec![0; 16_000];
    for place in 0..streams {
        client.send(&head("POST", "/x", 2 * place + 1));
    }
    let mut windows = vec![65_535_usize; streams as usize];
    let mut of_all = 65_535_usize;
    client
        .stream()
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut next = 0..;
    loop {
        let ready = next
            .by_ref()
            .take(windows.len())
            .map(|at| at % windows.len());
        let ready = ready
            .collect::<Vec<_>>()
            .into_iter()
            .find(|at| windows[*at] >= part.len());
        if let Some(place) = ready.filter(|_| of_all >= part.len()) {
            let stream = 2 * u32::try_from(place).unwrap() + 1;
            if client.try_send(&frame(DATA, 0, stream, &part)).is_err() {
                return;
            }
            windows[place] -= part.len();
            of_all -= part.len();
            continue;
        }
        let Ok(got) = client.read() else { return };
        let number =
            |at: usize| u32::from_be_bytes(got.payload[at..at + 4].try_into().unwrap()) as usize;
        match (got.kind, got.stream) {
            (WINDOW_UPDATE, 0) => of_all += number(0),
            (WINDOW_UPDATE, it) => windows[it as usize / 2] += number(0),
            (SETTINGS, _) => {
                for at in (0..got.payload.len()).step_by(6) {
                    if got.payload[at..at + 2] == [0, 4] {
                        windows
                            .iter_mut()
                            .for_each(|window| *window = *window + number(at + 2) - 65_535);
                    }
                }
            }
            (RST_STREAM, it) => windows[it as usize / 2] = 0,
            _ => {}
        }
    }
}

#[test]
fn uploads_that_no_backend_takes() {
    open_files_max();
    let field = Field::start("", Behaviour::Stall, "timeouts: { response: 3s }");
    let watch = field.watch();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let client = Http2::open(field.proxy.address());
            spawn(move || upload(client, 10))
        })
        .collect();
    wait_until("all are asked", SOON, || field.backend.requests() == 200);
    wait_until("all are let go", 2 * SOON, || under_way(&field) == 0);
    for client in clients {
        client.join().unwrap();
    }
    watch.end(
        "uploads that are not taken, HTTP/2",
        "20 x 10 streams",
        "504",
    );
}
