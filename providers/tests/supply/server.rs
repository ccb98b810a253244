//! A small HTTP/1.1 server on loopback that can misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a path is served.
#[derive(Clone)]
pub enum Way {
    /// As it should be, ranges included.
    Good(Vec<u8>),
    /// As it should be, but ranges are not understood.
    NoRanges(Vec<u8>),
    /// The connection ends after so many bytes of what was asked for.
    CutAfter(usize, Vec<u8>),
    /// Nothing more comes after so many bytes.
    StallAfter(usize, Vec<u8>),
    /// So many bytes per tenth of a second.
    Trickle(usize, Vec<u8>),
    /// No bytes, this status.
    Status(u16),
    /// A redirect to another place.
    Redirect(String),
}

type Log = Vec<(String, Option<u64>)>;

/// The server; it ends with the test.
pub struct Server {
    port: u16,
    paths: Arc<Mutex<BTreeMap<String, Vec<Way>>>>,
    log: Arc<Mutex<Log>>,
    end: Arc<AtomicBool>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let paths: Arc<Mutex<BTreeMap<String, Vec<Way>>>> = Arc::default();
        let log: Arc<Mutex<Log>> = Arc::default();
        let end = Arc::new(AtomicBool::new(false));
        let (paths_in, log_in, end_in) = (paths.clone(), log.clone(), end.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end_in.load(Ordering::Relaxed) {
                    break;
                }
                let (paths, log, end) = (paths_in.clone(), log_in.clone(), end_in.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || {
                        let _ = serve(stream, &paths, &log, &end);
                    });
                }
            }
        });
        Self { port, paths, log, end }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves a path in these ways, one after the other; the last one stays.
    pub fn put(&self, path: &str, ways: &[Way]) {
        self.paths.lock().unwrap().insert(format!("/{path}"), ways.to_vec());
    }

    /// Serves all files below a directory.
    pub fn put_tree(&self, directory: &std::path::Path) {
        let mut stack = vec![directory.to_path_buf()];
        while let Some(next) = stack.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    stack.push(path);
                } else {
                    let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                    self.put(&name, &[Way::Good(std::fs::read(&path).unwrap())]);
                }
            }
        }
    }

    /// Paths asked for, with the first byte of the range, in order.
    pub fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut stream: TcpStream,
    paths: &Mutex<BTreeMap<String, Vec<Way>>>,
    log: &Mutex<Log>,
    end: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut range = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = value.trim_end_matches('-').parse::<u64>().ok();
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().unwrap().push((path.clone(), range));
        let way = match paths.lock().unwrap().get_mut(&path) {
            Some(ways) if ways.len() > 1 => ways.remove(0),
            Some(ways) => ways[0].clone(),
            None => Way::Status(404),
        };
        if answer(&mut stream, way, range, end)? {
            return Ok(());
        }
    }
}

/// Answers; says whether the connection is over.
fn answer(stream: &mut TcpStream, way: Way, range: Option<u64>, end: &AtomicBool) -> std::io::Result<bool> {
    let (body, ranges, cut, trickle) = match way {
        Way::Good(body) => (body, true, None, None),
        Way::NoRanges(body) => (body, false, None, None),
        Way::CutAfter(count, body) => (body, true, Some((count, false)), None),
        Way::StallAfter(count, body) => (body, true, Some((count, true)), None),
        Way::Trickle(count, body) => (body, true, None, Some(count)),
        Way::Status(code) => {
            write!(stream, "HTTP/1.1 {code} so\r\ncontent-length: 0\r\n\r\n")?;
            return Ok(false);
        }
        Way::Redirect(to) => {
            write!(stream, "HTTP/1.1 302 so\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")?;
            return Ok(false);
        }
    };
    let start = range.filter(|_| ranges).unwrap_or(0) as usize;
    if start > 0 && start >= body.len() {
        write!(stream, "HTTP/1.1 416 so\r\ncontent-length: 0\r\n\r\n")?;
        return Ok(false);
    }
    let part = &body[start..];
    if range.is_some() && ranges {
        let last = body.len() - 1;
        write!(
            stream,
            "HTTP/1.1 206 so\r\ncontent-range: bytes {start}-{last}/{}\r\ncontent-length: {}\r\n\r\n",
            body.len(),
            part.len()
        )?;
    } else {
        write!(stream, "HTTP/1.1 200 so\r\ncontent-length: {}\r\n\r\n", part.len())?;
    }
    if let Some(count) = trickle {
        for piece in part.chunks(count) {
            if end.load(Ordering::Relaxed) {
                break;
            }
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_millis(100));
        }
        return Ok(true);
    }
    match cut {
        Some((count, stall)) => {
            stream.write_all(&part[..count.min(part.len())])?;
            stream.flush()?;
            while stall && !end.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(true)
        }
        None => {
            stream.write_all(part)?;
            Ok(false)
        }
    }
}
