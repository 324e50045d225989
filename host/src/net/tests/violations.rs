//! A member that breaks the protocol is dropped, with one line that names it, and nobody else feels
//! it.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing::subscriber::DefaultGuard;

use super::*;
use crate::protocol::CallRequest;

/// The warnings and errors that are logged on this thread, on which all of a test runs.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> Self {
        let lines = Arc::default();
        let sink = Sink(Arc::clone(&lines));
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::WARN)
            .with_writer(move || sink.clone());
        Self { lines, _guard: tracing::subscriber::set_default(log.finish()) }
    }

    /// Returns what was logged since this was asked last.
    fn take(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
    }
}

fn frame(message: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, message, FRAME_BYTES_MAX).unwrap();
    bytes
}

/// What a member may say that it must not, and a word of the line that it costs.
fn violations() -> Vec<(&'static str, Vec<u8>)> {
    let lane = frame(&Opening::Lane(Lane::Keeper));
    let on_lane = |rest: &[u8]| [&lane, rest].concat();
    let alone = |rest: &[u8]| [&frame(&Opening::Alone), rest].concat();
    let too_long = |len: usize| u32::try_from(len + 1).unwrap().to_le_bytes();
    let append = frame(&(0u64, append(1)));
    let mut trailing = append.clone();
    trailing.push(0);
    trailing[0] += 1;
    // It says how many keepers there are, not which.
    let cut_message = frame(&(0u64, 2u8, 0u8));
    vec![
        ("is longer than", on_lane(&too_long(FRAME_BYTES_MAX))),
        ("is longer than", alone(&too_long(MESSAGE_BYTES_MAX))),
        ("is longer than", u32::MAX.to_le_bytes().to_vec()),
        ("is not a message", on_lane(&frame(&(0u64, 200u8)))),
        ("is not a message", on_lane(&cut_message)),
        ("is not a message", on_lane(&trailing)),
        ("is not a message", alone(&frame(&[0xffu8; 32]))),
        ("is not a message", frame(&9u8)),
        ("wrong lane", on_lane(&frame(&(0u64, ping())))),
        // The stream ends here.
        ("ended inside a frame", on_lane(&append[..append.len() - 1])),
        ("ended inside a frame", alone(&[7, 0])),
        ("ended inside a frame", alone(&[])),
    ]
}

/// Opens a connection that sends what it likes.
async fn raw(dialer: &Endpoint, to: &Node) -> quinn::Connection {
    let (config, _) = dialer.client_config();
    let connecting = dialer.quic().connect_with(config, to.record.addr, NODE_DNS_NAME);
    connecting.unwrap().await.unwrap()
}

#[tokio::test]
async fn a_member_that_breaks_the_protocol_costs_one_line_that_names_it_and_nobody_else_anything() {
    let log = Log::begin();
    let (secret, server, hostile) = pair();
    let honest = Endpoint::bind(any_addr(), node_identity(&secret, "app_node3")).unwrap();
    let honest = honest.dial(server.record.addr, None).await.unwrap();
    for (word, bytes) in violations() {
        let connection = raw(&hostile, &server).await;
        // Others of its streams are broken, too: that is not worth another line.
        let mut streams = Vec::new();
        for _ in 0..3 {
            let (mut stream, replies) = connection.open_bi().await.unwrap();
            // May be too late: it may have been dropped for the first one.
            if stream.write_all(&bytes).await.is_ok() {
                stream.finish().ok();
            }
            streams.push((stream, replies));
        }
        let end = soon(connection.closed()).await;
        assert!(is_violation(&end), "{word}: {end}");
        assert_eq!(soon(honest.ask(append(1))).await, Ok(acknowledged(1)), "{word}");
        let lines = log.take();
        let [line] = &lines[..] else { panic!("{word}: {lines:#?}") };
        for word in [word, "WARN", "app_node2", "broke the protocol"] {
            assert!(line.contains(word), "{word} is missing: {line}");
        }
    }
}

#[tokio::test]
async fn a_member_that_opens_all_streams_it_may_holds_up_nobody_else() {
    let log = Log::begin();
    let (secret, server, hostile) = pair();
    let honest = Endpoint::bind(any_addr(), node_identity(&secret, "app_node3")).unwrap();
    let honest = honest.dial(server.record.addr, None).await.unwrap();
    let connection = raw(&hostile, &server).await;
    let mut streams = Vec::new();
    // Each begins to say what it is, and nothing else; more than so many are not let in.
    let opened = async {
        loop {
            let (mut stream, replies) = connection.open_bi().await.unwrap();
            stream.write_all(&frame(&Opening::Lane(Lane::Call))[..1]).await.unwrap();
            streams.push((stream, replies));
        }
    };
    let patience = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(patience, opened).await.is_err(), "there is a bound");
    assert!(streams.len() < 1000, "{} streams", streams.len());
    assert_eq!(soon(honest.ask(append(1))).await, Ok(acknowledged(1)));
    assert!(soon(honest.ask(nodes())).await.is_ok());
    assert_eq!(log.take(), Vec::<String>::new(), "it broke nothing");
}

/// Takes one connection and answers each of its streams with these bytes.
async fn answer_all(server: Endpoint, bytes: Vec<u8>) {
    let connection = server.quic().accept().await.unwrap().await.unwrap();
    let mut streams = Vec::new();
    while let Ok((mut stream, requests)) = connection.accept_bi().await {
        if stream.write_all(&bytes).await.is_ok() {
            stream.finish().ok();
        }
        streams.push((stream, requests));
    }
}

#[tokio::test]
async fn a_member_that_answers_what_it_must_not_costs_one_line_that_names_it() {
    let log = Log::begin();
    let not_asked = frame(&(77u64, Reply::Busy));
    let too_long = (u32::MAX).to_le_bytes().to_vec();
    let malformed = frame(&(0u64, 200u8));
    let cut = frame(&(0u64, Reply::Busy))[..5].to_vec();
    for bytes in [not_asked, too_long, malformed, cut] {
        let (secret, _server, dialer) = pair();
        let hostile = Endpoint::bind(any_addr(), node_identity(&secret, "app_node3")).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(answer_all(hostile.clone(), bytes));
        let connection = dialer.dial(hostile.local_addr(), None).await.unwrap();
        // On several streams at once.
        let code = Request::Call(CallRequest::Nodes);
        let asked = [ping(), append(1), code.clone(), code].map(|request| connection.ask(request));
        for pending in asked {
            assert!(soon(pending).await.is_err());
        }
        soon(serving.join_next()).await.unwrap().unwrap();
        let lines = log.take();
        let [line] = &lines[..] else { panic!("{lines:#?}") };
        for word in ["WARN", "app_node3", "broke the protocol"] {
            assert!(line.contains(word), "{word} is missing: {line}");
        }
    }
}
