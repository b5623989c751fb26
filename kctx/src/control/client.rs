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

/// A connection to a daemon.
#[derive(Debug)]
pub struct Daemon {
    stream: UnixStream,
    path: PathBuf,
}

/// A dump that was granted.
#[derive(Debug)]
pub struct Granted {
    /// The daemon.
    pub hello: Hello,
    daemon: Daemon,
}

/// Says that it is enough.
#[derive(Debug)]
pub struct Finisher(UnixStream);

impl Daemon {
    /// Connects; `None` where no daemon listens.
    pub fn connect(path: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Some(Self {
                stream,
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
    pub fn capture(mut self, window: Duration) -> Result<Granted, ClientError> {
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
