//! A small HTTP server for metrics and the web interface: few connections, each bounded in time.
//!
//! It has no runtime in common with handlers.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

/// Connections at a time; more wait until one of these ends.
pub const CONNECTIONS: usize = 64;
/// How long a client may take for a request's header, the pause before it included.
pub const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// How long a client may leave an answer unread.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);
/// Pause after a connection could not be accepted: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Answers requests to `listener` by `router`, which finds a [`Peer`] among their extensions. Once
/// `end` comes the port is closed; what is under way then can be waited for, and ends when dropped.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    end: impl Future<Output = ()>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = end => {}
        () = accept(listener, tls, router, &mut connections) => {}
    }
    connections
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    connections: &mut JoinSet<()>,
) {
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                connections.spawn(receive(stream, tls.clone(), router));
            }
            Err(error) => {
                warn!(
                    "can't accept an HTTP connection, raise LimitNOFILE if files are short: {error}"
                );
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Opens the port.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn receive(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    // The kernel closes a connection whose client does not read: no timer of ours is needed.
    if SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_LIMIT)).is_err() {
        return;
    }
    let Some(tls) = tls else { return answer(stream, router).await };
    // Who can't agree on a cipher, or does not trust a self-made certificate, goes away.
    if let Ok(Ok(stream)) = timeout(HEADER_LIMIT, tls.accept(stream)).await {
        answer(stream, router).await;
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks the connection, or does not speak HTTP, is no fault of ours.
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_not_waited_for_for_ever() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, None, Router::new(), pending()));
        let start = Instant::now();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(start.elapsed() >= HEADER_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_closed() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, None, Router::new(), pending()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let (mut answer, start) = (Vec::new(), Instant::now());
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 404"));
        assert!(start.elapsed() >= HEADER_LIMIT);
    }
}
