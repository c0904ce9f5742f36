//! Clients that do not take what they have asked for, and backends that do not take what they are sent.

use crate::support::frames::{DATA, END_STREAM, End, Http2, RST_STREAM, WINDOW_UPDATE, frame, get};
use crate::support::{Behaviour, SOON, TestBackend, TestProxy, wait_until};

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
