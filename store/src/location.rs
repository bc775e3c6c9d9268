//! Where the database is: a file beside the data, or a server.

use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the database of an instance is. Shown without its password, everywhere.
#[derive(Clone)]
pub struct Location(pub(crate) Place);

#[derive(Clone)]
pub(crate) enum Place {
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

/// Why a text names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It begins with something else.
    #[error("it begins neither with `postgres://` nor with `sqlite:`")]
    Scheme,
    /// It is not in the form of a URL, or names what a connection does not have. The text itself is
    /// not repeated, because it may hold a password.
    #[error("it is no URL of PostgreSQL")]
    Malformed,
}

impl Location {
    /// Names a SQLite file.
    pub fn file(path: &Path) -> Self {
        Location(Place::File(path.to_owned()))
    }

    /// Reads a URL: `postgres://user@host:5432/database?sslmode=verify-full`, also `postgresql://`,
    /// or `sqlite:` and a path. The parameters behind `?` are those of libpq.
    ///
    /// `password`, when there is one, is used instead of one in the URL.
    ///
    /// # Errors
    /// [`LocationError`], which does not repeat the text.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, LocationError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Ok(Location::file(Path::new(path.strip_prefix("//").unwrap_or(path))));
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(LocationError::Scheme);
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| LocationError::Malformed)?;
        let options = match password {
            Some(password) => options.password(password),
            None => options,
        };
        Ok(Location(Place::Server(Box::new(options))))
    }

    /// Gives the path of a SQLite file, `None` for a server.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Server(options) => {
                write!(f, "postgres://{}@", options.get_username())?;
                match options.get_socket() {
                    Some(socket) => write!(f, "{}", socket.display())?,
                    None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
                }
                write!(f, "/{}", options.get_database().unwrap_or(options.get_username()))
            }
        }
    }
}

/// As [`fmt::Display`]: the options of the driver would show the password.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_never_shows_its_password() {
        let url = "postgres://azud:hunter2@db.example:6000/soc?sslmode=require";
        for password in [None, Some("hunter2")] {
            let location = Location::parse(url, password).unwrap();
            assert_eq!(location.to_string(), "postgres://azud@db.example:6000/soc");
            assert!(!format!("{location:?}").contains("hunter2"));
        }
        let query = "postgres://db.example/soc?user=azud&password=hunter2";
        let location = Location::parse(query, None).unwrap();
        assert_eq!(location.to_string(), "postgres://azud@db.example:5432/soc");
    }

    #[test]
    fn what_names_no_database_is_refused_without_repeating_it() {
        assert_eq!(
            Location::parse("mysql://a:hunter2@b", None).unwrap_err(),
            LocationError::Scheme
        );
        for wrong in ["postgres://azud:hunter2@db:port/x", "postgres://a:hunter2@b/?sslmode=maybe"]
        {
            let error = Location::parse(wrong, None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_is_named_by_its_path() {
        let file = Location::parse("sqlite:/var/lib/azud/azud.db", None).unwrap();
        assert_eq!(file.path(), Some(Path::new("/var/lib/azud/azud.db")));
        let relative = Location::parse("sqlite://azud.db", None).unwrap();
        assert_eq!(relative.path(), Some(Path::new("azud.db")));
        assert_eq!(file.to_string(), "/var/lib/azud/azud.db");
    }
}
