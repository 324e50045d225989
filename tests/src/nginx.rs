//! nginx in front of a cluster, as people run it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::wait::{PATIENCE, eventually};

/// How it spreads requests over the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// One after the other.
    RoundRobin,
    /// The same player to the same node, as long as that answers.
    Sticky,
}

/// A running nginx. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    addr: SocketAddr,
}

impl Nginx {
    /// Starts it in front of these addresses, with its files in `folder`.
    ///
    /// # Errors
    ///
    /// When there is none on this machine.
    ///
    /// # Panics
    ///
    /// When it does not serve.
    pub fn start(folder: &Path, nodes: &[SocketAddr], spread: Spread) -> Result<Self> {
        let version = Command::new("nginx").arg("-v").output().context("`nginx` is not here")?;
        ensure!(version.status.success(), "`nginx` does not run");
        let folder = folder.join("nginx");
        fs::create_dir_all(&folder)?;
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = folder.join("nginx.conf");
        fs::write(&file, config(&folder, addr, nodes, spread))?;
        let log = folder.join("error.log");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(&folder).arg("-e").arg(&log);
        let child = command.stdin(Stdio::null()).spawn()?;
        let nginx = Self { child, addr };
        eventually(PATIENCE, || match std::net::TcpStream::connect(addr) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}: {}", fs::read_to_string(&log).unwrap_or_default())),
        });
        Ok(nginx)
    }

    /// Returns where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.child.wait().ok();
    }
}

/// The same as `docs/operating.md` shows. A request that a node did not answer goes to the next one,
/// also if it changes something: its key makes that safe.
fn config(folder: &Path, addr: SocketAddr, nodes: &[SocketAddr], spread: Spread) -> String {
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let folder = folder.display();
    let spread = match spread {
        Spread::RoundRobin => "",
        Spread::Sticky => "hash $uri consistent;",
    };
    let server = |node: &SocketAddr| format!("server {node} max_fails=1 fail_timeout=1s; ");
    let servers: String = nodes.iter().map(server).collect();
    format!(
        r#"
        {user}
        daemon off;
        pid {folder}/nginx.pid;
        worker_processes 1;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            upstream players {{
                {spread}
                {servers}
                keepalive 64;
            }}
            server {{
                listen {addr};
                location / {{
                    proxy_pass http://players;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_connect_timeout 1s;
                    proxy_read_timeout 15s;
                    proxy_next_upstream error timeout http_503 non_idempotent;
                    proxy_next_upstream_tries 3;
                }}
            }}
        }}
        "#
    )
}
