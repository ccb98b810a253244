//! A small HTTP/1.1 server on loopback that does what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What a server on this machine answers to it.
    pub fn pass_on(&self, port: u16) -> Answer {
        self.try_pass_on(port).unwrap_or_else(|| Answer::new(502))
    }

    fn try_pass_on(&self, port: u16) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        // In HTTP/1.0, so that the answer comes in one piece and ends with the connection.
        write!(stream, "{} {} HTTP/1.0\r\n", self.method, self.path).ok()?;
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "connection") {
            write!(stream, "{name}: {value}\r\n").ok()?;
        }
        stream.write_all(b"\r\n").and_then(|()| stream.write_all(&self.body)).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer { body, ..Answer::new(status) };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let name = name.to_ascii_lowercase();
            // The length of what there is; that of what is only told of must be said.
            if name == "connection" || (name == "content-length" && self.method != "HEAD") {
                continue;
            }
            answer.headers.push((name, value.trim().to_owned()));
        }
        Some(answer)
    }

    /// The first byte that a range asks for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Good,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// One byte after the other, slowly.
    Trickle,
    /// The body is sent again and again, its length unsaid.
    Endless,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), end: End::Good }
    }

    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new(200) }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"told by the test"}}]}}"#);
        Self { body: body.into_bytes(), ..Self::new(status) }
    }

    /// A blob, from where the request wants it.
    pub fn blob(request: &Request, bytes: &[u8]) -> Self {
        match request.range() {
            Some(start) if start < bytes.len() => Self { status: 206, ..Self::bytes(&bytes[start..]) }
                .with("content-range", &format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
            Some(_) => Self::new(416),
            None => Self::bytes(bytes),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// With a body that was changed; the digest that was promised of it is not said any more.
    pub fn edit(mut self, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        edit(&mut self.body);
        self.without("docker-content-digest")
    }

    /// Bytes of the body.
    pub fn length(&self) -> usize {
        self.body.len()
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn cut(self, after: usize) -> Self {
        Self { end: End::Cut(after), ..self }
    }

    pub fn stall(self, after: usize) -> Self {
        Self { end: End::Stall(after), ..self }
    }

    pub fn trickle(self) -> Self {
        Self { end: End::Trickle, ..self }
    }

    pub fn endless(self) -> Self {
        Self { end: End::Endless, ..self }
    }
}

type Handler = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// The server; it ends with the test.
pub struct Server {
    pub port: u16,
    log: Arc<Mutex<Vec<Request>>>,
    end: Arc<AtomicBool>,
}

impl Server {
    /// The handler is told how many requests came before, of the same method and path.
    pub fn start(handler: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log: Arc<Mutex<Vec<Request>>> = Arc::default();
        let end = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (log_in, end_in) = (log.clone(), end.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end_in.load(Ordering::Relaxed) {
                    break;
                }
                let (handler, log, end) = (handler.clone(), log_in.clone(), end_in.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || {
                        let _ = serve(stream, &*handler, &log, &end);
                    });
                }
            }
        });
        Self { port, log, end }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All requests, in order.
    pub fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Request>>, end: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request { method, path, headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        let before = {
            let mut log = log.lock().unwrap();
            let same = |one: &&Request| one.method == request.method && one.path == request.path;
            let before = log.iter().filter(same).count();
            log.push(request.clone());
            before
        };
        let answer = handler(&request, before);
        if respond(&mut stream, &request, &answer, end)? {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return Ok(());
        }
    }
}

/// Answers; says whether the connection is over.
fn respond(stream: &mut TcpStream, request: &Request, answer: &Answer, end: &AtomicBool) -> std::io::Result<bool> {
    write!(stream, "HTTP/1.1 {} so\r\n", answer.status)?;
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    if answer.end == End::Endless {
        write!(stream, "transfer-encoding: chunked\r\n\r\n")?;
        while !end.load(Ordering::Relaxed) {
            write!(stream, "{:x}\r\n", answer.body.len())?;
            stream.write_all(&answer.body)?;
            write!(stream, "\r\n")?;
        }
        return Ok(true);
    }
    if !answer.headers.iter().any(|(name, _)| name == "content-length") {
        write!(stream, "content-length: {}\r\n", answer.body.len())?;
    }
    write!(stream, "\r\n")?;
    if request.method == "HEAD" {
        return Ok(false);
    }
    match answer.end {
        End::Cut(count) | End::Stall(count) => {
            stream.write_all(&answer.body[..count.min(answer.body.len())])?;
            stream.flush()?;
            while answer.end == End::Stall(count) && !end.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(true)
        }
        End::Trickle => {
            for byte in &answer.body {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(true)
        }
        End::Good | End::Endless => {
            stream.write_all(&answer.body)?;
            Ok(false)
        }
    }
}
