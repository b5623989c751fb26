use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::Exposition;
use super::settings::{Bounds, PrometheusSettings};
use super::{PrometheusServer, parsed};
use crate::export::resource::Resource;
use crate::export::testing::{LIMITS, everything};
use crate::export::totals::Totals;

const LONG: Duration = Duration::from_secs(60);

struct Server {
    server: PrometheusServer,
    totals: Arc<Totals>,
}

fn server(bounds: Bounds) -> Server {
    let totals = Arc::new(Totals::new(LIMITS));
    let settings = PrometheusSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        window: Some(Duration::from_secs(1)),
        bounds,
    };
    let server =
        PrometheusServer::spawn(settings, Resource::default(), Arc::clone(&totals)).unwrap();
    Server { server, totals }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// What comes until the other side closes; a reset counts as that.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn raw(server: &Server, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(server.server.address());
    // The server may have closed already.
    let _ = stream.write_all(request);
    rest(&mut stream)
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Self {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.trim())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: kctx\r\n{headers}\r\n");
    Answer::of(&raw(server, request.as_bytes()))
}

#[test]
fn each_format_for_whom_asks_for_it() {
    let server = server(Bounds::default());
    server.totals.offer(Arc::new(everything()));
    let text = ask(&server, "GET", "/metrics", "");
    assert_eq!((text.status, text.header("content-encoding")), (200, None));
    assert_eq!(
        text.header("content-type"),
        Some(Exposition::Text.content_type())
    );
    let expected = parsed::text(text.text(), false);
    assert!(expected.len() > 100);
    let open = ask(
        &server,
        "GET",
        "/metrics?a=b",
        "accept: application/openmetrics-text; version=1.0.0\r\n",
    );
    assert_eq!(
        open.header("content-type"),
        Some(Exposition::OpenMetrics.content_type())
    );
    assert_eq!(parsed::text(open.text(), true), expected);
    let accept = "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n\
                  Accept: text/plain;q=0.1\r\nAccept-Encoding: gzip\r\n";
    let native = ask(&server, "GET", "/metrics", accept);
    assert_eq!(
        native.header("content-type"),
        Some(Exposition::Protobuf.content_type())
    );
    assert_eq!(native.header("content-encoding"), Some("gzip"));
    assert_eq!(native.header("vary"), Some("accept, accept-encoding"));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(native.body.as_slice())
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(parsed::samples(&parsed::protobuf(&plain)), expected);
}

#[test]
fn head_has_no_body_and_other_methods_are_refused() {
    let server = server(Bounds::default());
    server.totals.offer(Arc::new(everything()));
    let size = ask(&server, "GET", "/metrics", "").body.len().to_string();
    let head = ask(&server, "HEAD", "/metrics", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(size.as_str()));
    for method in ["POST", "DELETE", "OPTIONS"] {
        let refused = ask(&server, method, "/metrics", "content-length: 0\r\n");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, HEAD"))
        );
    }
    let unknown = ask(&server, "GET", "/metric", "");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/metrics"));
    assert_eq!(ask(&server, "GET", "/", "").status, 200);
}

#[test]
fn ready_once_there_is_a_window() {
    let server = server(Bounds::default());
    let early = ask(&server, "GET", "/readyz", "");
    assert_eq!(
        (early.status, early.text()),
        (503, "no window was closed yet\n")
    );
    let alive = ask(&server, "GET", "/healthz", "");
    assert_eq!((alive.status, alive.text()), (200, "ok\n"));
    server.totals.offer(Arc::new(everything()));
    assert_eq!(ask(&server, "GET", "/readyz", "").status, 200);
    assert_eq!(ask(&server, "GET", "/healthz", "").status, 200);
}

#[test]
fn windows_are_folded_though_nobody_scrapes() {
    let server = server(Bounds::default());
    let start = Instant::now();
    server.totals.offer(Arc::new(everything()));
    server.server.announce();
    // Without anybody asking the totals for anything that would fold them.
    while server.totals.clock_steps() == 0 {
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
        // The same window again is a clock that stood still.
        server.totals.offer(Arc::new(everything()));
        server.server.announce();
    }
}

#[test]
fn garbage_is_answered_or_dropped_and_the_next_is_served() {
    let server = server(Bounds::default());
    let long = format!(
        "GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    for garbage in [
        b"\0\xff\xfe garbage\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        many.as_bytes(),
        b"",
    ] {
        let mut stream = connect(server.server.address());
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = rest(&mut stream);
        let fine = answer.is_empty() || answer.starts_with(b"HTTP/1.");
        assert!(
            fine,
            "{:?} to {:?}",
            String::from_utf8_lossy(&answer),
            &garbage[..garbage.len().min(40)]
        );
    }
    assert_eq!(ask(&server, "GET", "/healthz", "").status, 200);
}

#[test]
fn whoever_takes_too_long_is_dropped() {
    let server = server(Bounds {
        head_time: Duration::from_millis(300),
        time: Duration::from_millis(900),
        ..Bounds::default()
    });
    // A head that never ends, byte by byte.
    let mut slow = connect(server.server.address());
    let start = Instant::now();
    for byte in b"GET /metrics HTTP/1.1\r\nx: "
        .iter()
        .chain(std::iter::repeat(&b'y'))
    {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(start.elapsed() < LONG, "still connected");
        std::thread::sleep(Duration::from_millis(10));
    }
    // One that says nothing at all.
    let mut silent = connect(server.server.address());
    assert_eq!(rest(&mut silent), b"");
    assert_eq!(ask(&server, "GET", "/healthz", "").status, 200);
}

/// Asks until there is a place again.
fn wait_for_a_place(server: &Server) {
    let start = Instant::now();
    loop {
        // Refused before it has asked, a client may see no more than a reset.
        let answer = raw(server, b"GET /healthz HTTP/1.1\r\n\r\n");
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return;
        }
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whoever_does_not_read_is_dropped() {
    let server = server(Bounds {
        connections: 1,
        time: Duration::from_millis(500),
        ..Bounds::default()
    });
    // More than the sockets' buffers take.
    let mut wide = everything();
    let row = wide.softirq[0].clone();
    for cpu in 0..1900 {
        let mut row = row.clone();
        row.cpu = cpu;
        wide.softirq.push(row);
    }
    server.totals.offer(Arc::new(wide));
    // Rendered once for all, however long that takes here.
    let head = ask(&server, "HEAD", "/metrics", "");
    let whole: usize = head.header("content-length").unwrap().parse().unwrap();
    assert!(whole > 12 << 20, "{whole}");
    wait_for_a_place(&server);
    let mut deaf = connect(server.server.address());
    deaf.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    // The only place is its own, and it reads nothing.
    wait_for_a_place(&server);
    assert!(rest(&mut deaf).len() < whole);
}

#[test]
fn one_too_many_is_told_so_and_places_become_free() {
    let server = server(Bounds {
        connections: 3,
        ..Bounds::default()
    });
    let mut held: Vec<_> = (0..3).map(|_| connect(server.server.address())).collect();
    let mut refused = connect(server.server.address());
    let answer = String::from_utf8(rest(&mut refused)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\ntoo many connections\n"),
        "{answer}"
    );
    for stream in &mut held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
        assert!(rest(stream).starts_with(b"HTTP/1.1 200 "));
    }
    wait_for_a_place(&server);
}

#[test]
fn an_address_that_cannot_be_had_is_one_clear_line() {
    let server = server(Bounds::default());
    let taken = PrometheusSettings::new(server.server.address(), None);
    let error = PrometheusServer::spawn(taken, Resource::default(), Arc::clone(&server.totals))
        .unwrap_err();
    let line = error.to_string();
    assert!(
        line.contains("is another kctx running?") && !line.contains('\n'),
        "{line}"
    );
    // TEST-NET-1: no host has it.
    let away = PrometheusSettings::new("192.0.2.1:9769".parse().unwrap(), None);
    let error =
        PrometheusServer::spawn(away, Resource::default(), Arc::clone(&server.totals)).unwrap_err();
    assert!(error.to_string().contains("no such address"), "{error}");
}

#[test]
fn dropped_it_listens_no_more() {
    let server = server(Bounds::default());
    let address = server.server.address();
    drop(server);
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < LONG, "still listening");
        std::thread::sleep(Duration::from_millis(5));
    }
}
