//! Over loopback, with a proxy of a few lines.

use std::sync::Mutex;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

use super::*;

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Through this proxy, all but one host.
#[derive(Debug, Default)]
struct Set(Mutex<Option<Proxy>>);

impl Routes for Set {
    fn proxy_for(&self, host: &str) -> Option<Proxy> {
        self.0.lock().unwrap().clone().filter(|_| host != "127.0.0.1")
    }
}

fn through(port: u16) -> (Dialer, Arc<Set>) {
    let proxy = Proxy { host: "127.0.0.1".to_owned(), port };
    let set = Arc::new(Set(Mutex::new(Some(proxy))));
    (Dialer::by(Arc::clone(&set) as Arc<dyn Routes>), set)
}

/// A server that says who it is, and what it hears.
async fn server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"server ").await;
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    port
}

/// A proxy that answers so; where that is 200, all of its tunnels lead to `server`. Returns its port and what it
/// is asked for.
async fn proxy(answer: &'static str, server: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await.unwrap_or_default();
            kept.lock().unwrap().push(String::from_utf8(head).unwrap());
            let _ = stream.write_all(answer.as_bytes()).await;
            if answer.contains(" 200 ") {
                let mut onward = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            } else if answer.is_empty() {
                // Silent until the client goes away.
                let _ = stream.read_u8().await;
            }
        }
    });
    (port, asked)
}

async fn said(mut stream: TcpStream) -> String {
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn a_host_that_only_the_proxy_knows_is_reached_through_it() {
    let server = server().await;
    let (port, asked) = proxy("HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", server).await;
    let (dialer, _) = through(port);
    let stream = dialer.connect("oracle.invalid", 7443).await.unwrap();
    assert_eq!(said(stream).await, "server hello");
    let expected = "CONNECT oracle.invalid:7443 HTTP/1.1\r\nHost: oracle.invalid:7443\r\n\r\n";
    assert_eq!(*asked.lock().unwrap(), [expected]);
    let stream = dialer.connect("2001:db8::1", 443).await.unwrap();
    assert_eq!(said(stream).await, "server hello");
    assert!(asked.lock().unwrap()[1].starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"));
}

#[tokio::test]
async fn what_needs_no_proxy_goes_around_it_and_other_settings_hold_from_the_next_connection_on() {
    let server = server().await;
    let (port, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n", server).await;
    let (dialer, set) = through(port);
    assert_eq!(said(dialer.connect("127.0.0.1", server).await.unwrap()).await, "server hello");
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(said(dialer.connect("oracle.invalid", 1).await.unwrap()).await, "server hello");
    *set.0.lock().unwrap() = None;
    let error = dialer.connect("oracle.invalid", 1).await.unwrap_err();
    assert!(matches!(error, DialError::Connect { .. }), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 1);
    let plain = Dialer::default().connect("127.0.0.1", server).await.unwrap();
    assert_eq!(said(plain).await, "server hello");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_status() {
    for (answer, status, words) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, " (Forbidden)"),
        (
            "HTTP/1.0 407 Proxy Authentication\u{7} Required\r\n\r\n",
            407,
            " (Proxy Authentication Required)",
        ),
        ("HTTP/1.1 502\r\n\r\n", 502, ""),
    ] {
        let (port, _) = proxy(answer, 0).await;
        let error = through(port).0.connect("oracle.invalid", 443).await.unwrap_err();
        let expected = format!(
            "the proxy 127.0.0.1:{port} refuses a tunnel to oracle.invalid:443: status {status}{words}"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn what_is_no_proxy_is_told_so() {
    let long: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(9000)).into_boxed_str());
    for (answer, why) in [
        ("SSH-2.0-x\r\n\r\n", "it begins with \"SSH-2.0-x\""),
        ("HTTP/1.1 abc\r\n\r\n", "it begins with"),
        ("HTTP/1.1 403 half", "it hung up"),
        (long, "longer than 8192 bytes"),
    ] {
        let (port, _) = proxy(answer, 0).await;
        let error = through(port).0.connect("oracle.invalid", 443).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = through(1).0.connect("a b", 443).await.unwrap_err();
    assert!(matches!(error, DialError::Proxy { .. } | DialError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_proxy_is_given_up_in_time() {
    let (port, asked) = proxy("", 0).await;
    let error = timeout(PATIENCE, through(port).0.connect("oracle.invalid", 443)).await.unwrap();
    let expected = format!(
        "the proxy 127.0.0.1:{port} did not answer within 9 s when asked for oracle.invalid:443"
    );
    assert_eq!(error.unwrap_err().to_string(), expected);
    assert_eq!(asked.lock().unwrap().len(), 1);
}
