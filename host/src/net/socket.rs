//! The UDP socket under QUIC, which tells the runtime of what arrives and of nothing else.
//!
//! Tokio's own socket also hears that there is room to send. There nearly always is, and yet the
//! kernel says so after each datagram that leaves: a thread that sleeps is woken in vain, two or
//! three times for each call that a node serves. Here the kernel is asked about room only after it
//! had none. And who was given fewer datagrams than it had buffers for does not ask for more: what
//! arrives later is told anew.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The datagrams of a bound socket that does not block.
#[derive(Debug)]
pub(super) struct Datagrams {
    udp: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// The last datagram found no room. Who sends next waits until there is some.
    is_full: AtomicBool,
}

impl Datagrams {
    /// Listens to a socket.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn new(udp: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&udp).into())?;
        let udp = register(udp, Interest::READABLE)?;
        Ok(Self { udp, state, is_full: AtomicBool::new(false) })
    }
}

impl AsyncUdpSocket for Datagrams {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { datagrams: self, awaited: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.udp.get_ref().into(), transmit);
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut arrived = ready!(self.udp.poll_read_ready(context))?;
            let received =
                arrived.try_io(|udp| self.state.recv(udp.get_ref().into(), buffers, meta));
            if let Ok(received) = received {
                if matches!(received, Ok(datagrams) if datagrams < buffers.len()) {
                    // Takes nothing back that was told since.
                    arrived.clear_ready();
                }
                return Poll::Ready(received);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits for room to send, on behalf of one connection.
#[derive(Debug)]
struct Room {
    datagrams: Arc<Datagrams>,
    /// The same socket, of which the runtime is told when there is room. Registered for one wait
    /// only, for the kernel answers at once if there is room already.
    awaited: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { datagrams, awaited } = self.get_mut();
        if awaited.is_none() && !datagrams.is_full.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let full = match awaited {
            Some(full) => full,
            None => match datagrams.udp.get_ref().try_clone().and_then(writable) {
                Ok(full) => awaited.insert(full),
                // The process has no descriptor left. An error here would end the connection
                // without a word, so it tries again, after others had their turn.
                Err(_) => {
                    datagrams.is_full.store(false, Ordering::Relaxed);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
        };
        let room = ready!(full.poll_write_ready(context)).map(drop);
        *awaited = None;
        datagrams.is_full.store(false, Ordering::Relaxed);
        Poll::Ready(room)
    }
}

fn writable(udp: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    register(udp, Interest::WRITABLE)
}

/// Has the runtime told of one kind of news of a socket.
#[expect(
    deprecated,
    reason = "its successor is an `unsafe fn`, for what it is given must keep its descriptor; \
              a socket of the standard library does"
)]
fn register(udp: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(udp, interest)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use super::*;

    const BUFFERS: usize = 4;

    fn bound() -> (Arc<Datagrams>, SocketAddr) {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        udp.set_nonblocking(true).unwrap();
        let datagrams = Arc::new(Datagrams::new(udp).unwrap());
        let addr = datagrams.local_addr().unwrap();
        (datagrams, addr)
    }

    fn send(from: &Datagrams, destination: SocketAddr, number: u8) {
        let contents = &[number];
        let transmit =
            Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        from.try_send(&transmit).unwrap();
    }

    fn poll(datagrams: &Datagrams, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut bytes = [[0_u8; 64]; BUFFERS];
        let mut metas = [RecvMeta::default(); BUFFERS];
        let received = {
            let mut buffers = bytes.each_mut().map(|bytes| IoSliceMut::new(bytes));
            ready!(datagrams.poll_recv(context, &mut buffers, &mut metas)).unwrap()
        };
        let filled = bytes.iter().zip(&metas).take(received);
        Poll::Ready(filled.flat_map(|(bytes, meta)| bytes[..meta.len].to_vec()).collect())
    }

    #[tokio::test]
    async fn all_that_arrives_is_heard_of_once() {
        let (here, addr) = bound();
        let (there, _) = bound();
        // Fewer than fit, as many, more, and many more: after each, nothing is left and nothing lost.
        for count in [1, BUFFERS, BUFFERS + 1, 5 * BUFFERS] {
            let sent: Vec<_> = (0..u8::try_from(count).unwrap()).collect();
            for number in &sent {
                send(&there, addr, *number);
            }
            let mut received = Vec::new();
            while received.len() < count {
                received.extend(poll_fn(|context| poll(&here, context)).await);
            }
            assert_eq!(received, sent);
            poll_fn(|context| {
                assert!(poll(&here, context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
    }

    #[tokio::test]
    async fn room_is_waited_for_only_after_there_was_none() {
        let (datagrams, _) = bound();
        let mut room = datagrams.clone().create_io_poller();
        let at_once = |room: &mut Pin<Box<dyn UdpPoller>>| {
            room.as_mut().poll_writable(&mut Context::from_waker(std::task::Waker::noop()))
        };
        assert!(at_once(&mut room).is_ready());
        datagrams.is_full.store(true, Ordering::Relaxed);
        assert!(at_once(&mut room).is_pending(), "it asks the kernel");
        poll_fn(|context| room.as_mut().poll_writable(context)).await.unwrap();
        assert!(!datagrams.is_full.load(Ordering::Relaxed));
        assert!(at_once(&mut room).is_ready());
    }
}
