//! nginx before an API, as a gateway has it: certificates on both sides, limits of rate.

use super::files::Folder;
use super::program::Program;
use std::process::Command;

/// A running nginx, with a folder of its own. It is gone with its owner.
pub struct Nginx {
    folder: Folder,
    program: Option<Program>,
}

impl Nginx {
    /// Takes a folder, in which certificates are; nothing runs yet.
    pub fn new(folder: Folder) -> Self {
        Nginx { folder, program: None }
    }

    /// Gives its folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Starts it with this in its block `http`, in which `@HERE@` is its folder; what ran before
    /// ends first.
    #[track_caller]
    pub fn serve(&mut self, http: &str) {
        self.stop();
        let here = self.folder.path().display().to_string();
        // One process: it is gone when it is killed. Nothing of the machine's own nginx is used.
        let text = format!(
            r#"
daemon off;
master_process off;
pid {here}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log {here}/access.log combined;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    limit_req_status 429;
    limit_conn_status 429;
    {http}
}}
"#
        );
        let file = self.folder.write("nginx.conf", text.replace("@HERE@", &here));
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(self.folder.path()).arg("-c").arg(file).args(["-e", "stderr"]);
        // It says its name when its sockets are open.
        self.program = Some(Program::start(command, "nginx/"));
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Tells how many requests it answered with this status.
    pub fn answered(&self, status: u16) -> usize {
        let lines = self.folder.lines("access.log");
        lines.iter().filter(|line| line.contains(&format!("\" {status} "))).count()
    }
}
