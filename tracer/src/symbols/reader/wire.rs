//! Messages between the tracer and the process that reads files for it, some with a file.
//!
//! A message is its length (four bytes, little-endian), with which a descriptor may come along
//! (unix(7), `SCM_RIGHTS`), and then JSON.

use super::named::{Named, Wanted};
use crate::files::BuildId;
use crate::symbols::reason::Reason;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest message that is read. 20,000 places of a large Rust program, with 84,000 frames, take
/// 21 MB.
const MAX_MESSAGE: u32 = 256 << 20;

/// What the tracer says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Read the file that comes along.
    Read(Wanted),
    /// The file that was asked for comes along, if there is one.
    Here,
}

/// What the reader says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It needs the file at a path.
    Open(String),
    /// It needs the debug file of a build-id, if it was fetched before.
    Cached(BuildId),
    /// It needs it from a server.
    Fetch(BuildId),
    /// It has read the file.
    Done(Result<Named, Reason>),
    /// It can't give up what it has to, and reads nothing.
    Refused(String),
}

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Wire(UnixStream);

impl Wire {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// How long [`Wire::receive`] waits from now on for anything to come.
    pub(super) fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(time))
    }

    pub(super) fn send<T: Serialize>(&self, message: &T, file: Option<&File>) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let length = length.to_le_bytes();
        let descriptor: Vec<RawFd> = file.iter().map(|file| file.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&descriptor)];
        let along = if descriptor.is_empty() {
            &[]
        } else {
            &rights[..]
        };
        let head = [IoSlice::new(&length)];
        let socket = self.0.as_raw_fd();
        let sent = again(|| sendmsg::<()>(socket, &head, along, MsgFlags::MSG_NOSIGNAL, None))?;
        (&self.0).write_all(&length[sent..])?;
        (&self.0).write_all(&body)
    }

    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<(T, Option<File>)> {
        let (length, file) = self.receive_head()?;
        if length > MAX_MESSAGE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut body = Vec::new();
        (&self.0).take(length.into()).read_to_end(&mut body)?;
        Ok((serde_json::from_slice(&body)?, file))
    }

    fn receive_head(&self) -> io::Result<(u32, Option<File>)> {
        let mut length = [0; 4];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let (socket, flags) = (self.0.as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
        // It is waited for here, where a signal may come between: what recvmsg gives borrows its
        // buffers, and can't be asked for again.
        again(|| nix::sys::socket::recv(socket, &mut [0], MsgFlags::MSG_PEEK))?;
        let mut head = [IoSliceMut::new(&mut length)];
        let received = recvmsg::<()>(socket, &mut head, Some(&mut space), flags)?;
        let mut descriptors = Vec::new();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(all) = message {
                // SAFETY: the kernel has just made these descriptors for us, and nobody else knows
                // their numbers.
                descriptors.extend(all.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let got = received.bytes;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (&self.0).read_exact(&mut length[got..])?;
        let file = descriptors.into_iter().next().map(File::from);
        Ok((u32::from_le_bytes(length), file))
    }
}

/// Does it again where a signal came between: with a limit on its time, a system call is not
/// restarted after a handler (signal(7)).
fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, SeekFrom};

    fn pair() -> (Wire, Wire) {
        let (here, there) = UnixStream::pair().expect("a socket");
        (Wire::new(here), Wire::new(there))
    }

    #[test]
    fn messages_come_as_they_were_sent_and_files_with_them() {
        let (here, there) = pair();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"content").expect("written");
        file.seek(SeekFrom::Start(0)).expect("back");
        let id = BuildId::of(&[7; 20]).expect("an id");
        let answers = [Answer::Fetch(id), Answer::Open("/a \"b\"\n".to_owned())];
        here.send(&answers[0], Some(&file)).expect("sent");
        here.send(&answers[1], None).expect("sent");
        let (first, came) = there.receive::<Answer>().expect("received");
        assert_eq!(first, answers[0]);
        let mut content = String::new();
        let mut came = came.expect("a file");
        came.read_to_string(&mut content).expect("read");
        assert_eq!(content, "content");
        let (second, none) = there.receive::<Answer>().expect("received");
        assert_eq!(second, answers[1]);
        assert!(none.is_none());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (here, there) = pair();
        there
            .wait_at_most(Duration::from_millis(10))
            .expect("a limit");
        let error = |there: &Wire| there.receive::<Answer>().expect_err("nothing came").kind();
        assert_eq!(error(&there), io::ErrorKind::WouldBlock, "late");
        (&here.0).write_all(&u32::MAX.to_le_bytes()).expect("sent");
        assert_eq!(error(&there), io::ErrorKind::FileTooLarge);
        (&here.0).write_all(b"\x02\0\0\0{]").expect("sent");
        assert_eq!(error(&there), io::ErrorKind::InvalidData);
        let broken = r#"{"Fetch":"../../etc"}"#;
        let head = (broken.len() as u32).to_le_bytes();
        (&here.0).write_all(&head).expect("sent");
        (&here.0).write_all(broken.as_bytes()).expect("sent");
        assert_eq!(error(&there), io::ErrorKind::InvalidData, "no build-id");
        drop(here);
        assert_eq!(error(&there), io::ErrorKind::UnexpectedEof);
    }

    extern "C" fn nothing(_: libc::c_int) {}

    /// A limit on the time makes the kernel give up where a signal comes (signal(7)).
    #[test]
    fn signals_do_not_end_a_wait() {
        use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
        let handler = SigHandler::Handler(nothing);
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler does nothing, and nobody else here uses this signal.
        unsafe { sigaction(Signal::SIGUSR2, &action) }.expect("a handler");
        let (here, there) = pair();
        there
            .wait_at_most(Duration::from_secs(60))
            .expect("a limit");
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            // SAFETY: takes no argument.
            tell.send(unsafe { libc::pthread_self() }).expect("told");
            there.receive::<Answer>()
        });
        let thread = told.recv().expect("its id");
        for _ in 0..10_000 {
            // SAFETY: the thread waits for what is only sent below, so it is there.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
        }
        let answer = Answer::Open("/a".to_owned());
        here.send(&answer, None).expect("sent");
        assert_eq!(
            waiting.join().expect("no panic").expect("received").0,
            answer
        );
    }
}
