//! The sample server that walkthroughs and tests deploy: answers who it is, drains on SIGTERM.
//!
//! Standard library only, and one file: `kontiki-runtime`'s build script compiles it with plain rustc into a static
//! binary and makes the `kontiki-sample` images of it. Not a web server for anything else.
//!
//! `kontiki-sample` serves `GET /` (`{"pod":...,"version":...}`) and `GET /healthz` on `$PORT` (8080).
//! `kontiki-sample --once [WORDS...]` prints one line and ends with 0: the body of a job.
//! `kontiki-sample --exit CODE [SECONDS]` ends with a code after a time: for restart tests.
//! `kontiki-sample --echo` writes what it reads, up to its end: for streams.
//! `kontiki-sample --get HOST:PORT[/PATH]` fetches a page and prints its body: a probe from within a pod.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Connections served at once; more wait in the listener's backlog.
const CONNECTIONS: usize = 64;
/// Longest silence on a connection.
const IDLE: Duration = Duration::from_secs(5);
/// After SIGTERM connections are still taken for so long, until every proxy has heard of the end.
const LAME_DUCK: Duration = Duration::from_millis(1500);
/// Longest request head.
const HEAD_BYTES: u64 = 16 * 1024;

static STOPPING: AtomicBool = AtomicBool::new(false);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--once") => println!("{} says: {}", pod_name(), arguments[1..].join(" ")),
        Some("--exit") => {
            std::thread::sleep(Duration::from_secs(number(arguments.get(2))));
            std::process::exit(number(arguments.get(1)) as i32);
        }
        Some("--echo") => {
            let copied = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::stdout().lock());
            std::process::exit(i32::from(copied.is_err()));
        }
        Some("--get") => std::process::exit(fetch(arguments.get(1).map_or("", String::as_str))),
        _ => serve(),
    }
}

fn number(text: Option<&String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn serve() {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = match TcpListener::bind(format!("0.0.0.0:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            std::process::exit(1);
        }
    };
    let page: Arc<str> = format!(
        "{{\"pod\":{:?},\"version\":{:?}}}\n",
        pod_name(),
        std::env::var("VERSION").unwrap_or_else(|_| "unknown".into())
    )
    .into();
    println!("listening on port {port}");
    let busy = Arc::new(AtomicUsize::new(0));
    termination::on_sigterm({
        let busy = Arc::clone(&busy);
        move || {
            println!("SIGTERM: draining");
            STOPPING.store(true, Ordering::SeqCst);
            std::thread::sleep(LAME_DUCK);
            while busy.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            println!("done");
            std::process::exit(0);
        }
    });
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        while busy.load(Ordering::SeqCst) >= CONNECTIONS {
            std::thread::sleep(Duration::from_millis(1));
        }
        busy.fetch_add(1, Ordering::SeqCst);
        let (page, busy) = (Arc::clone(&page), Arc::clone(&busy));
        std::thread::spawn(move || {
            // A client that goes away is its own affair.
            let _ = answer_all(&stream, &page);
            busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Serves one connection until either side wants no more.
fn answer_all(stream: &TcpStream, page: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        let mut limited = (&mut reader).take(HEAD_BYTES);
        while !head.ends_with("\r\n\r\n") {
            if limited.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or("/");
        let (status, body) = match path {
            "/" => ("200 OK", page),
            "/healthz" => ("200 OK", "ok\n"),
            _ => ("404 Not Found", "not found\n"),
        };
        let asked = head.to_ascii_lowercase().contains("connection: close");
        let close = asked || STOPPING.load(Ordering::SeqCst);
        let connection = if close { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: {connection}\r\n\r\n{body}",
            body.len()
        );
        (&mut &*stream).write_all(answer.as_bytes())?;
        if close {
            return Ok(());
        }
    }
}

/// Prints a page's body; the exit code is 0 for a 200.
fn fetch(target: &str) -> i32 {
    let (address, path) = target.split_once('/').unwrap_or((target, ""));
    let page = || -> std::io::Result<String> {
        let parsed = address.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&parsed, IDLE)?;
        stream.set_read_timeout(Some(IDLE))?;
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match page() {
        Ok(answer) => {
            print!(
                "{}",
                answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
            );
            i32::from(!answer.starts_with("HTTP/1.1 200"))
        }
        Err(error) => {
            eprintln!("{address}: {error}");
            1
        }
    }
}

fn pod_name() -> String {
    std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| {
            std::fs::read_to_string("/etc/hostname")
                .map_or("unknown".into(), |name| name.trim().into())
        })
}

/// SIGTERM without a signal crate: the one place with foreign calls.
#[allow(unsafe_code)]
mod termination {
    use std::os::raw::{c_int, c_void};

    const SIG_BLOCK: c_int = 0;
    const SIGINT: c_int = 2;
    const SIGTERM: c_int = 15;

    unsafe extern "C" {
        fn sigemptyset(set: *mut c_void) -> c_int;
        fn sigaddset(set: *mut c_void, signal: c_int) -> c_int;
        fn pthread_sigmask(how: c_int, set: *const c_void, old: *mut c_void) -> c_int;
        fn sigwait(set: *const c_void, signal: *mut c_int) -> c_int;
    }

    /// Blocks SIGTERM and SIGINT in this thread and those it starts; another thread waits for them and calls
    /// `then`. To be called before any other thread is started. Process 1 of a container has no default action
    /// for SIGTERM, hence waiting for it is needed at all.
    pub fn on_sigterm(then: impl FnOnce() + Send + 'static) {
        // A sigset_t has 128 bytes on Linux with glibc and with musl.
        let mut set = [0u64; 16];
        // SAFETY: `set` is a live, aligned buffer of a sigset_t's size; the calls only read or write within it.
        unsafe {
            let pointer = set.as_mut_ptr().cast::<c_void>();
            sigemptyset(pointer);
            sigaddset(pointer, SIGTERM);
            sigaddset(pointer, SIGINT);
            pthread_sigmask(SIG_BLOCK, pointer, std::ptr::null_mut());
        }
        std::thread::spawn(move || {
            let mut signal = 0;
            // SAFETY: as above; sigwait writes one c_int.
            unsafe { sigwait(set.as_ptr().cast::<c_void>(), &raw mut signal) };
            then();
        });
    }
}
