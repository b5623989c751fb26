//! The file that a configuration is read from.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError, DEFAULT_PATH};

/// The file, which may be read again.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// That it is not there is an error: it was named, or was there before.
    expected: bool,
}

impl ConfigFile {
    /// The file at `path`; without one the default file, which need not be there.
    #[must_use]
    pub fn new(path: Option<&Path>) -> Self {
        Self {
            path: path.unwrap_or(Path::new(DEFAULT_PATH)).to_owned(),
            expected: path.is_some(),
        }
    }

    /// Reads it; without one the defaults, unless it was there before.
    pub fn read(&mut self) -> Result<Config, ConfigError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound && !self.expected => {
                return Ok(Config::default());
            }
            Err(source) => {
                let path = self.path.clone();
                return Err(ConfigError::Read { path, source });
            }
        };
        self.expected = true;
        Config::parse(&text).map_err(|message| ConfigError::Invalid {
            path: self.path.clone(),
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_there_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kctx.toml");
        let mut file = ConfigFile {
            path: path.clone(),
            expected: false,
        };
        assert_eq!(file.read().unwrap(), Config::default());
        std::fs::write(&path, "[log]\nrate = 7\n").unwrap();
        assert_eq!(file.read().unwrap().log.rate, 7);
        std::fs::write(&path, "[log]\nrate = 0\n").unwrap();
        let why = file.read().unwrap_err().to_string();
        assert!(
            why.contains("kctx.toml: line 2: 0 is out of range"),
            "{why}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = file.read().unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
        let mut named = ConfigFile::new(Some(&path));
        assert!(named.read().is_err());
    }
}
