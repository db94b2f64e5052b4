//! Active mode: off, and where it is on, only back to the client itself (RFC 2577 section 3).

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use super::{clear_worker, worker};
use crate::harness::ftp::Ftp;

fn port_line(listener: &TcpListener) -> String {
    let port = listener.local_addr().unwrap().port();
    format!("PORT 127,0,0,1,{},{}", port / 256, port % 256)
}

#[test]
fn it_is_off_by_default() {
    let (_demo, mut ftp, _) = worker();
    ftp.command("PORT 127,0,0,1,200,1").must(502);
    ftp.command("EPRT |1|127.0.0.1|51201|").must(502);
    ftp.command("LIST").must(425);
}

/// Takes what a command sends to `listener`.
fn called_back(ftp: &mut Ftp, listener: &TcpListener, line: &str) -> Vec<u8> {
    ftp.command(line).must(150);
    let (mut data, _) = listener.accept().unwrap();
    let mut got = Vec::new();
    data.read_to_end(&mut got).unwrap();
    ftp.reply().unwrap().must(226);
    got
}

#[test]
fn where_it_is_on_the_client_itself_is_called_back() {
    let (demo, mut ftp, folder) = clear_worker("active = true");
    demo.make_file(&format!("{folder}/f"), "bytes");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ftp.command(&port_line(&listener)).must(200);
    assert_eq!(
        called_back(&mut ftp, &listener, &format!("RETR {folder}/f")),
        b"bytes"
    );
    let port = listener.local_addr().unwrap().port();
    ftp.command(&format!("EPRT |1|127.0.0.1|{port}|")).must(200);
    assert_eq!(
        called_back(&mut ftp, &listener, &format!("RETR {folder}/f")),
        b"bytes"
    );
    // One is good for one transfer.
    ftp.command(&format!("RETR {folder}/f")).must(425);
}

// libunftp 6: PORT connected to any address, at once. A bounce never leaves this host.
#[test]
fn nobody_else_and_no_service_of_the_host_is_ever_called() {
    let (_demo, mut ftp, _) = clear_worker("active = true");
    let victim = TcpListener::bind("127.0.0.8:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let port = victim.local_addr().unwrap().port();
    for line in [
        format!("PORT 127,0,0,8,{},{}", port / 256, port % 256),
        format!("EPRT |1|127.0.0.8|{port}|"),
        format!("EPRT |2|::ffff:127.0.0.8|{port}|"),
        "PORT 127,0,0,1,0,22".to_owned(),
        "PORT 127,0,0,1,3,255".to_owned(),
        "PORT 0,0,0,0,200,1".to_owned(),
        "EPRT |2|::1|51201|".to_owned(),
        "PORT 127,0,0,1,200".to_owned(),
        "PORT 127,0,0,1,200,256".to_owned(),
        "PORT".to_owned(),
        "EPRT 127.0.0.1".to_owned(),
    ] {
        ftp.command(&line).must(501);
        ftp.command("LIST").must(425);
    }
    ftp.command("EPRT |3|x|51201|").must(522);
    std::thread::sleep(Duration::from_millis(200));
    assert!(victim.accept().is_err(), "somebody came");
}

#[test]
fn the_call_is_made_at_the_transfer_and_not_before() {
    let (_demo, mut ftp, _) = clear_worker("active = true");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    ftp.command(&port_line(&listener)).must(200);
    std::thread::sleep(Duration::from_millis(200));
    assert!(listener.accept().is_err());
    drop(listener);
    ftp.command("LIST").must(150);
    ftp.reply().unwrap().must(425);
    ftp.command("NOOP").must(200);
}
