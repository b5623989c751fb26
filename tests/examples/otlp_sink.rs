//! An OTLP endpoint over HTTP on loopback that takes everything. Says where it is, then of each export of metrics how many
//! bytes it has, and how many were sent of it. Ends when it is ended.

use std::{io::Write as _, time::Duration};

use kctx_tests::otlp::Endpoint;

fn main() -> anyhow::Result<()> {
    let endpoint = Endpoint::start(|_| 200)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", endpoint.address)?;
    let mut told = 0;
    loop {
        let received = endpoint.received("/v1/metrics");
        for request in &received[told..] {
            writeln!(out, "{} {}", request.body.len(), request.sent_bytes)?;
        }
        told = received.len();
        out.flush()?;
        std::thread::sleep(Duration::from_millis(100));
    }
}
