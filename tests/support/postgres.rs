//! A PostgreSQL server of a test's own, whose data can be copied and put back.

use super::wait::{self, PATIENCE};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tempfile::TempDir;

/// A server in a folder of its own; it ends with its owner.
pub struct Postgres {
    folder: TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts its server.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let address = super::program::free_address();
        let mut server = Postgres { folder, address, process: None };
        let data = server.data();
        fs::create_dir(&data).unwrap();
        if let Some(user) = server_user() {
            chown(&data, Some(user), None).unwrap();
        }
        let mut initdb = as_server_user(&program("initdb"));
        initdb.args(["--auth=trust", "--username=azud", "--encoding=UTF8", "--locale=C.UTF-8"]);
        let made = initdb.args(["--no-sync", "-D"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.resume();
        server
    }

    /// Stops the server in good order, as its administrator would; its sessions are ended.
    pub fn stop(&mut self) {
        let mut pg_ctl = as_server_user(&program("pg_ctl"));
        pg_ctl.args(["stop", "--mode=fast", "--silent", "-D"]).arg(self.data());
        assert!(pg_ctl.status().unwrap().success());
        self.process.take().expect("it runs").wait().unwrap();
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::kill`].
    pub fn resume(&mut self) {
        let mut postgres = as_server_user(&program("postgres"));
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.data());
        postgres.args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-p"]);
        postgres.arg(self.address.port().to_string());
        let mut process = postgres.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        self.process = Some(process);
        let ready = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ready);
        // Read to its end, or the server would wait for somebody to read on.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                told.fetch_or(line.contains("ready to accept connections"), SeqCst);
            }
        });
        wait::until("PostgreSQL", PATIENCE, || ready.load(SeqCst).then_some(()));
    }

    /// Ends the server without a word to anybody.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks everybody for a password from now on who comes over the network.
    pub fn want_passwords(&mut self) {
        let rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(self.data().join("pg_hba.conf"), rules).unwrap();
        self.stop();
        self.resume();
    }

    /// Gives its URL.
    pub fn url(&self) -> String {
        format!("postgres://azud@{}/postgres", self.address)
    }

    /// Copies the data of a server that was killed.
    pub fn copy(&self) {
        self.move_data(&["cp", "-a"], &self.data(), &self.folder.path().join("copy"));
    }

    /// Puts the copy in the place of the data of a server that was killed.
    pub fn restore(&self) {
        fs::remove_dir_all(self.data()).unwrap();
        self.move_data(&["cp", "-a"], &self.folder.path().join("copy"), &self.data());
    }

    fn move_data(&self, command: &[&str], from: &Path, to: &Path) {
        let done = Command::new(command[0]).args(&command[1..]).arg(from).arg(to).status();
        assert!(done.unwrap().success());
    }

    /// Runs a statement; gives what it answers.
    pub fn ask(&self, statement: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args(["-v", "ON_ERROR_STOP=1", "-qAt", "-c", statement]).arg(self.url());
        let done = psql.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Postgres {
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
