//! What the tests of the store share: places for a database of either kind, among them a PostgreSQL
//! server of their own.

use crate::sql::Row;
use crate::{Identity, Location, Store};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use sqlx::Row as _;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::{fs, thread};
use tempfile::TempDir;

/// Declares tests that run on both databases, each with a [`Place`] of its own.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() {
                super::$name(&$crate::testing::Place::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test] async fn $name() {
                super::$name(&$crate::testing::Place::postgres()).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// Where a database can be opened again and again.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres { server: Server, schemas: AtomicUsize },
}

impl Place {
    pub fn sqlite() -> Self {
        Place::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Self {
        Place::Postgres { server: Server::start(), schemas: AtomicUsize::new(0) }
    }

    pub fn location(&self) -> Location {
        match self {
            Place::Sqlite(folder) => Location::file(&folder.path().join("azud.db")),
            Place::Postgres { server, schemas } => {
                server.location(&format!("case_{}", schemas.load(Ordering::SeqCst)))
            }
        }
    }

    /// Leaves the database behind; the next is empty.
    pub async fn begin_anew(&self) {
        match self {
            Place::Sqlite(folder) => {
                for entry in fs::read_dir(folder).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
            }
            Place::Postgres { server, schemas } => {
                let number = schemas.fetch_add(1, Ordering::SeqCst) + 1;
                server.run(&format!("CREATE SCHEMA case_{number}"));
            }
        }
    }

    pub async fn open(&self) -> Store {
        Store::open_at(&self.location(), ME, Clock::manual(EventTime::EPOCH)).await.unwrap()
    }
}

/// Who opens the databases of tests: an instance without a log.
pub(crate) const ME: Identity = Identity { folder: [1; 16], resumes: false };

/// Gives the number that a query answers.
pub(crate) async fn number(store: &Store, query: &'static str) -> i64 {
    let rows = store.readers.rows(query, &[]).await.unwrap();
    match &rows[0] {
        Row::Sqlite(row) => row.get(0),
        Row::Postgres(row) => row.get(0),
    }
}

/// Runs a statement as the writer, outside any transaction.
pub(crate) async fn execute(store: &Store, statement: &'static str) {
    store.writer().unwrap().pool.rows(statement, &[]).await.unwrap();
}

/// A PostgreSQL server in a folder of its own, reached over a socket there. It ends with its owner.
pub(crate) struct Server {
    folder: TempDir,
    process: Option<Child>,
}

impl Server {
    /// Makes a cluster and starts its server.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some(user) = server_user() {
            chown(&data, Some(user), None).unwrap();
        }
        let mut initdb = as_server_user(&program("initdb"));
        initdb.args(["--auth=trust", "--username=azud", "--encoding=UTF8", "--locale=C.UTF-8"]);
        let made = initdb.args(["--no-sync", "-D"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Server { folder, process: None };
        server.resume();
        server.run("CREATE SCHEMA case_0");
        server
    }

    /// Starts the server again after [`Server::kill`].
    pub fn resume(&mut self) {
        let mut postgres = as_server_user(&program("postgres"));
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.data());
        // What a killed server had written, the system still has: no test turns off the machine.
        postgres.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        let mut process = postgres.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (sender, ready) = mpsc::channel();
        // Read to its end, or the server would wait for somebody to read on.
        thread::spawn(move || {
            let mut told = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                if line.contains("ready to accept connections") {
                    let _ = sender.send(Ok(()));
                }
                told.push(line);
            }
            let _ = sender.send(Err(told.join("\n")));
        });
        self.process = Some(process);
        ready.recv().unwrap().unwrap();
    }

    /// Ends the server and all its processes without a word to anybody.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // The processes of the connections see that it is gone, and end as well.
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Names a schema of it.
    pub fn location(&self, schema: &str) -> Location {
        self.location_as("azud", schema)
    }

    /// Names a schema of it, for a user.
    pub fn location_as(&self, user: &str, schema: &str) -> Location {
        let host = self.data().display().to_string().replace('/', "%2F");
        let url = format!("postgres://{user}@{host}/postgres?options[search_path]={schema}");
        Location::parse(&url, None).unwrap()
    }

    /// Runs a statement by the shell of PostgreSQL.
    pub fn run(&self, statement: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args(["-U", "azud", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt", "-h"]);
        let done = psql.arg(self.data()).args(["-c", statement]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Gives all that is in it, as `pg_dump` writes it.
    pub fn dump(&self) -> String {
        let mut dump = Command::new(program("pg_dump"));
        dump.args(["-U", "azud", "-d", "postgres", "-h"]).arg(self.data());
        let done = dump.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds a program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.map(|entry| entry.unwrap().path());
    let newest = versions.max_by_key(|path| {
        let version = path.file_name().and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    let found = newest.map(|path| path.join("bin").join(name)).filter(|path| path.exists());
    found.unwrap_or_else(|| panic!("PostgreSQL's {name} is not here; tests/run installs it"))
}

/// A command that ends with the thread that starts it, as a user that PostgreSQL accepts: it
/// refuses to run as root.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if server_user().is_some() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir("/").stdout(Stdio::null());
    command
}

/// The user `postgres` when we are root, else nobody else.
fn server_user() -> Option<u32> {
    let id = |arguments: &[&str]| {
        let told = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    (id(&["-u"]) == 0).then(|| id(&["-u", "postgres"]))
}
