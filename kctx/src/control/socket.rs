//! The socket's file: made for this user alone, replaced where nobody listens, removed in the end.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::Mode;

/// Why there is no socket; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there.
    #[error(
        "another kctx run listens on {0}; end it, or give this one a socket of its own (--socket PATH, or --socket= for none)"
    )]
    Live(PathBuf),
    /// A file that is no socket.
    #[error("{0} is there and is no socket; remove it, or name another (--socket PATH)")]
    Foreign(PathBuf),
    /// Anything else.
    #[error(
        "cannot listen on {path}: {source}; name another (--socket PATH, or --socket= for none)"
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A socket that is listened on. Dropped, its file goes, if it still is this one's.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    file: Identity,
    listener: Option<UnixListener>,
}

impl ControlSocket {
    /// Listens on `path`. Its folder is made where there is none, for this user alone, as the socket is. To be called
    /// while there is one thread: the process's mask of file modes is changed for a moment.
    pub fn listen(path: &Path) -> Result<Self, SocketError> {
        let at_path = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at_path)?;
        // Of two that start at a time one looks and listens, then the other.
        let lock = File::open(folder).map_err(at_path)?;
        // File systems without locks: go on without.
        let _ = lock.lock();
        let listener = match bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(path)?;
                bind(path).map_err(at_path)?
            }
            result => result.map_err(at_path)?,
        };
        let metadata = fs::symlink_metadata(path).map_err(at_path)?;
        Ok(Self {
            path: path.to_owned(),
            file: identity(&metadata),
            listener: Some(listener),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What listens, once.
    pub fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.file);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What tells a file from one that is made later, which may get the same inode number: device, inode, and when the inode was
/// changed last.
type Identity = (u64, u64, i64, i64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

/// The file is made with its mode: there is no moment in which others may connect.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let at_path = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::symlink_metadata(path).map_err(at_path)?;
    if !metadata.file_type().is_socket() {
        return Err(SocketError::Foreign(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Live(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(at_path)
        }
        // Its queue is full: somebody listens.
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(SocketError::Live(path.to_owned()))
        }
        Err(error) => Err(at_path(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn folder_and_socket_are_for_this_user_alone_and_the_socket_goes_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/kctx.sock");
        let socket = ControlSocket::listen(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_is_listened_on_stays_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kctx.sock");
        let first = ControlSocket::listen(&path).unwrap();
        let error = ControlSocket::listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::Live(_)), "{error}");
        assert!(UnixStream::connect(&path).is_ok(), "it still listens");
        // As a killed daemon leaves it: the file, and nobody who listens.
        let mut first = first;
        drop(first.take_listener());
        let second = ControlSocket::listen(&path).unwrap();
        drop(first);
        assert!(
            path.exists(),
            "what the other made is not this one's to remove"
        );
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
    }

    #[test]
    fn a_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kctx.sock");
        fs::write(&path, "precious").unwrap();
        let error = ControlSocket::listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::Foreign(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
