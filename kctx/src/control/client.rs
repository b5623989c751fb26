//! The side of who wants a capture.

use std::{
    io::{self, ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Hello, PROTOCOL, Request, frame::Frame};

/// For so long the daemon may take to answer a request.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// And, after the window that was asked for, to end.
const END_TIME: Duration = Duration::from_secs(30);

/// Why there is no capture through a daemon; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It did not want to.
    #[error("{0}")]
    Refused(String),
    /// The connection.
    #[error(
        "cannot capture through the daemon on {path}: {source}; with --alone kctx attaches by itself"
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It said what this version does not know.
    #[error(
        "what listens on {0} is no kctx run of this version; with --alone kctx attaches by itself"
    )]
    Foreign(PathBuf),
}

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon {
    path: PathBuf,
}

/// A connection to it.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    path: PathBuf,
}

/// A dump that was granted.
#[derive(Debug)]
pub struct Granted {
    /// The daemon.
    pub hello: Hello,
    daemon: Connection,
}

/// Says that it is enough.
#[derive(Debug)]
pub struct Finisher(UnixStream);

impl Daemon {
    /// Looks whether one listens there; `None` where none does. The connection is not kept: who asks it for a capture may
    /// have much to do before, and a daemon waits for no request for long.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(path) {
            Ok(_) => Ok(Some(Self {
                path: path.to_owned(),
            })),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for a dump of what is kept, and of `window` from now on.
    pub fn capture(self, window: Duration) -> Result<Granted, ClientError> {
        let path = self.path;
        match UnixStream::connect(&path) {
            Ok(stream) => Connection { stream, path }.capture(window),
            Err(source) => Err(ClientError::Io { path, source }),
        }
    }
}

impl Connection {
    fn capture(mut self, window: Duration) -> Result<Granted, ClientError> {
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let request = Request::Capture {
            protocol: PROTOCOL,
            window_ns,
        };
        let asked = self
            .stream
            .set_read_timeout(Some(ANSWER_TIME))
            .and_then(|()| say(&mut self.stream, &request));
        asked.map_err(|source| self.io(source))?;
        match self.frame()? {
            Frame::Hello(hello) => {
                let patience = Some(window + END_TIME);
                let set = self.stream.set_read_timeout(patience);
                set.map_err(|source| self.io(source))?;
                Ok(Granted {
                    hello,
                    daemon: self,
                })
            }
            _ => Err(ClientError::Foreign(self.path)),
        }
    }

    fn frame(&mut self) -> Result<Frame, ClientError> {
        match Frame::read(&mut self.stream) {
            Ok(Frame::Refused(why)) => Err(ClientError::Refused(why)),
            Ok(frame) => Ok(frame),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(ClientError::Foreign(self.path.clone()))
            }
            Err(source) => Err(self.io(source)),
        }
    }

    fn io(&self, source: io::Error) -> ClientError {
        // By their own words nobody would know whose pipe, or what ended.
        let source = match source.kind() {
            ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                io::Error::new(ErrorKind::ConnectionAborted, "the daemon hung up")
            }
            _ => source,
        };
        ClientError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl Granted {
    /// What ends it early.
    pub fn finisher(&self) -> io::Result<Finisher> {
        self.daemon.stream.try_clone().map(Finisher)
    }

    /// The dump's next frame.
    pub fn frame(&mut self) -> Result<Frame, ClientError> {
        self.daemon.frame()
    }
}

impl Finisher {
    /// The dump may end now.
    pub fn finish(&mut self) -> io::Result<()> {
        say(&mut self.0, &Request::Finish)
    }
}

fn say(stream: &mut UnixStream, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::net::UnixListener};

    use super::*;

    /// A daemon that waits for no request at all on the first connection, and answers the second with `answer`.
    fn daemon(answer: Option<Frame>) -> (tempfile::TempDir, Daemon) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kctx.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let found = Daemon::find(&path).unwrap().unwrap();
        drop(listener.accept().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if let Some(frame) = answer {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                let (head, body) = frame.encode();
                stream.write_all(&head).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        (folder, found)
    }

    #[test]
    fn who_takes_long_before_it_asks_is_served() {
        let hello = Hello {
            kctx_version: "7".to_owned(),
        };
        let (_folder, daemon) = daemon(Some(Frame::Hello(hello.clone())));
        let granted = daemon.capture(Duration::from_secs(1)).unwrap();
        assert_eq!(granted.hello, hello);
    }

    #[test]
    fn that_the_daemon_hung_up_is_no_broken_pipe_of_an_output() {
        let (_folder, daemon) = daemon(None);
        let error = daemon.capture(Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("the daemon hung up"), "{error}");
        let ClientError::Io { source, .. } = error else {
            panic!("{error}");
        };
        assert_ne!(source.kind(), ErrorKind::BrokenPipe);
    }
}
