//! A mirror on the loopback that misbehaves as a test wants, and a proxy for those who ask it as one.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is wrong with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Half of it comes, then the connection ends.
    Truncated,
    /// One byte in its middle is another.
    Altered,
    /// Half of it comes, then nothing more.
    Hangs,
}

/// The mirror. It lives as long as the test's process.
pub struct Server {
    pub url: String,
    fault: Arc<Mutex<Option<(String, Fault)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let fault: Arc<Mutex<Option<(String, Fault)>>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (root, shared, noted) = (root.to_path_buf(), fault.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, shared, noted) = (root.clone(), shared.clone(), noted.clone());
                std::thread::spawn(move || answer(stream, &root, &shared, &noted));
            }
        });
        Self { url, fault, asked }
    }

    /// What was asked for so far: paths, or host and path where it was asked as a proxy.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// From now on a file whose path ends so has this fault; `None`: none has.
    pub fn set(&self, fault: Option<(&str, Fault)>) {
        *self.fault.lock().unwrap() = fault.map(|(path, fault)| (path.to_owned(), fault));
    }
}

/// Answers one request; what the other side does not want to hear is its own affair.
fn answer(
    mut stream: TcpStream,
    root: &Path,
    fault: &Mutex<Option<(String, Fault)>>,
    asked: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
    }
    // A proxy is asked for whole URLs (RFC 9112, section 3.2.2).
    let path = first.split(' ').nth(1)?.trim_start_matches("http://").trim_start_matches('/').to_owned();
    asked.lock().unwrap().push(path.clone());
    let file: PathBuf = root.join(&path);
    let Ok(mut bytes) = std::fs::read(&file) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    };
    let fault = fault.lock().unwrap().clone().filter(|(end, _)| path.ends_with(end.as_str())).map(|(_, fault)| fault);
    let half = bytes.len() / 2;
    if fault == Some(Fault::Altered) {
        bytes[half] ^= 1;
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).ok()?;
    match fault {
        Some(Fault::Truncated) => stream.write_all(&bytes[..half]).ok(),
        Some(Fault::Hangs) => {
            stream.write_all(&bytes[..half]).ok()?;
            std::thread::sleep(Duration::from_secs(600));
            None
        }
        _ => stream.write_all(&bytes).ok(),
    }
}
