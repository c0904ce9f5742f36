//! Takes connections in, to the last that was let knock.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::proxy::shortage::Shortage;
use crate::runtime::shutdown::Shutdown;

/// How long handshakes that have begun get to end: a trip to the client and back.
const LAST_HANDSHAKES: Duration = Duration::from_millis(200);

/// Takes connections in until it is time to stop, and then those that are there already or about to be: a
/// client that was told that it is connected is served.
pub(crate) async fn serve(
    socket: TcpListener,
    mut shutdown: Shutdown,
    mut welcome: impl FnMut(TcpStream, SocketAddr),
) {
    tokio::select! {
        biased;
        () = shutdown.requested() => {}
        () = welcome_all(&socket, &mut welcome) => {}
    }
    // Who knocks from now on hears nothing, and would knock again in a second.
    if let Err(error) = begin_no_more(&socket) {
        tracing::debug!(%error, "connections may be lost that are just being made");
    }
    tokio::select! {
        biased;
        () = sleep(LAST_HANDSHAKES) => {}
        () = welcome_all(&socket, &mut welcome) => {}
    }
    if let Ok(socket) = socket.into_std() {
        welcome_last(&socket, welcome);
    }
}

/// Has no end.
async fn welcome_all(socket: &TcpListener, welcome: &mut impl FnMut(TcpStream, SocketAddr)) {
    let mut shortage = Shortage::default();
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => welcome(stream, peer),
            Err(error) if is_of_one(&error) => {}
            Err(error) => shortage.wait(&error).await,
        }
    }
}

/// Those that wait.
fn welcome_last(socket: &std::net::TcpListener, mut welcome: impl FnMut(TcpStream, SocketAddr)) {
    loop {
        let accepted = socket.accept().and_then(|(stream, peer)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, peer))
        });
        match accepted {
            Ok((stream, peer)) => welcome(stream, peer),
            Err(error) if is_of_one(&error) => {}
            Err(_) => return,
        }
    }
}

/// Has the kernel begin no more handshakes, while those that have begun may end. Without it a
/// connection that is made between the last one taken in and the end of the socket would be reset.
#[cfg(target_os = "linux")]
fn begin_no_more(socket: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    // A program of the classic packet filter; it sees segments of TCP from their header on.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 2;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere nothing is known of the like.
#[cfg(not(target_os = "linux"))]
fn begin_no_more(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Whether an error concerns one waiting connection, so that the next may be had.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}
