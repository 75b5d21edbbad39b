//! A pod whose ports echo, all but one.

use kontiki_apiserver::Frame;
use kontiki_base::status::Reason;
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::*;
use crate::streams::spdy::{self, Event, testing};

const CLOSED: u16 = 81;

#[derive(Clone)]
struct Echo;

impl Dial for Echo {
    async fn dial(&self, port: u16) -> Result<Tunnel, Status> {
        use futures::StreamExt as _;
        if port == CLOSED {
            return Err(Status::new(Reason::InternalError, "connection refused"));
        }
        let (to_node, at_node) = mpsc::channel::<Frame>(8);
        let frames = tokio_stream::wrappers::ReceiverStream::new(at_node);
        let from_node = frames
            .take_while(|frame| std::future::ready(!frame.is_end))
            .map(Ok);
        Ok(Tunnel {
            to_node,
            from_node: from_node.boxed(),
        })
    }
}

#[tokio::test]
async fn connections_over_spdy_live_and_fail_by_themselves() {
    let (client, server) = tokio::io::duplex(4096);
    let running = spawn(TaskKind::Request, over_spdy::run(server, b"", Echo));
    let mut encoder = testing::Encoder::default();
    let mut sent = Vec::new();
    let mut open = |stream, kind, port: &str, request| {
        let headers = [("streamtype", kind), ("port", port), ("requestid", request)];
        sent.extend(encoder.open(stream, &headers));
    };
    open(1, "error", "80", "0");
    open(3, "data", "80", "0");
    open(5, "data", "81", "1");
    open(7, "error", "81", "1");
    open(9, "data", "0", "2");
    open(11, "nonsense", "80", "2");
    sent.extend(testing::data(3, b"hello", false));
    sent.extend(testing::data(3, b"", true));
    let (read, mut write) = tokio::io::split(client);
    write.write_all(&sent).await.unwrap();
    let mut reader = spdy::Reader::new(read, b"");
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let (mut ended, mut refused) = (Vec::new(), Vec::new());
    while ended.len() < 4 || refused.len() < 2 {
        match reader.next().await.unwrap().unwrap() {
            Event::Data {
                stream,
                data,
                is_last,
            } => {
                match stream {
                    3 => out.extend_from_slice(&data),
                    7 => error.extend_from_slice(&data),
                    _ => assert!(data.is_empty()),
                }
                if is_last {
                    ended.push(stream);
                }
            }
            Event::Reset(stream) => refused.push(stream),
            _ => {}
        }
    }
    assert_eq!(
        (&out[..], &error[..]),
        (&b"hello"[..], &b"connection refused"[..])
    );
    ended.sort_unstable();
    assert_eq!((ended, refused), (vec![1, 3, 5, 7], vec![9, 11]));
    drop((reader, write));
    running.await.unwrap();
}

#[tokio::test]
async fn channels_of_a_websocket_begin_with_their_port() {
    let (client, server) = tokio::io::duplex(4096);
    let running = spawn(TaskKind::Request, async move {
        over_websocket::run(server, b"", false, &[80, CLOSED], Echo).await;
    });
    let (mut read, mut write) = tokio::io::split(client);
    let hello = [0x82, 0x86, 0, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'];
    write.write_all(&hello).await.unwrap();
    let mut said = std::collections::BTreeMap::<u8, Vec<u8>>::new();
    while said.get(&0).map_or(0, Vec::len) < 7 || said.get(&3).map_or(0, Vec::len) < 20 {
        let mut head = [0; 3];
        read.read_exact(&mut head).await.unwrap();
        let mut data = vec![0; usize::from(head[1]) - 1];
        read.read_exact(&mut data).await.unwrap();
        said.entry(head[2]).or_default().extend(data);
    }
    assert_eq!(said[&0], [&80_u16.to_le_bytes()[..], b"hello"].concat());
    assert_eq!(said[&1], 80_u16.to_le_bytes());
    assert_eq!(said[&2], CLOSED.to_le_bytes());
    let refused = [&CLOSED.to_le_bytes()[..], b"connection refused"].concat();
    assert_eq!(said[&3], refused);
    write.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    read.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [0x88, 2, 3, 0xE8]);
    drop((read, write));
    running.await.unwrap();
}

#[test]
fn ports_are_read_as_upstream_reads_them() {
    let ports = |text: &str| ports(&Query::parse(Some(text)).unwrap());
    assert_eq!(ports("ports=80&ports=81,82").unwrap(), [80, 81, 82]);
    for bad in [
        "",
        "ports=",
        "ports=0",
        "ports=65536",
        "ports=a",
        "ports=80,",
    ] {
        assert!(ports(bad).is_err(), "{bad}");
    }
    let many = vec!["ports=1"; PORTS + 1].join("&");
    assert!(ports(&many).is_err());
}
