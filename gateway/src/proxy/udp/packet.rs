//! The socket of a UDP entry point: it knows to which of the machine's addresses a datagram was sent, and answers from
//! there. A client does not listen to an answer from another address than the one it asked.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The socket, and whether the system tells where datagrams were sent to.
#[derive(Debug)]
pub(super) struct FrontSocket {
    socket: UdpSocket,
    is_v6: bool,
    tells: bool,
}

/// A datagram that came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) from: SocketAddr,
    /// Where it was sent to, where that is told.
    pub(super) to: Option<IpAddr>,
}

impl FrontSocket {
    pub(super) fn new(socket: UdpSocket) -> Self {
        let local = socket.local_addr().ok();
        let is_v6 = local.is_some_and(|local| local.is_ipv6());
        // Bound to one address, it answers from there anyway.
        let is_any = local.is_some_and(|local| local.ip().is_unspecified());
        let tells = is_any
            && if is_v6 {
                setsockopt(&socket, Ipv6RecvPacketInfo, &true).is_ok()
            } else {
                setsockopt(&socket, Ipv4PacketInfo, &true).is_ok()
            };
        Self { socket, is_v6, tells }
    }

    /// The next datagram; none where its sender has no address.
    pub(super) async fn receive(&self, datagram: &mut [u8]) -> io::Result<Option<Received>> {
        if !self.tells {
            let (length, from) = self.socket.recv_from(datagram).await?;
            return Ok(Some(Received { length, from, to: None }));
        }
        self.socket.async_io(Interest::READABLE, || self.receive_now(datagram)).await
    }

    fn receive_now(&self, datagram: &mut [u8]) -> io::Result<Option<Received>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
        let mut slices = [IoSliceMut::new(datagram)];
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let Some(from) = message.address.as_ref().and_then(socket_address) else {
            return Ok(None);
        };
        let to = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr))))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
            _ => None,
        });
        Ok(Some(Received { length: message.bytes, from, to }))
    }

    /// Sends an answer, if there is room now.
    pub(super) fn try_send(&self, answer: &[u8], from: Option<IpAddr>, to: SocketAddr) -> io::Result<usize> {
        match from {
            Some(from) => self.socket.try_io(Interest::WRITABLE, || self.send_now(answer, from, to)),
            None => self.socket.try_send_to(answer, to),
        }
    }

    /// Sends an answer, once there is room.
    pub(super) async fn send(
        &self,
        answer: &[u8],
        from: Option<IpAddr>,
        to: SocketAddr,
    ) -> io::Result<usize> {
        match from {
            Some(from) => self.socket.async_io(Interest::WRITABLE, || self.send_now(answer, from, to)).await,
            None => self.socket.send_to(answer, to).await,
        }
    }

    fn send_now(&self, answer: &[u8], from: IpAddr, to: SocketAddr) -> io::Result<usize> {
        let to = SockaddrStorage::from(to);
        let slices = [IoSlice::new(answer)];
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(self.socket.as_raw_fd(), &slices, control, MsgFlags::empty(), Some(&to))
        };
        // A socket of IPv6 names IPv4 addresses in their mapped form, as it was told them.
        let sent = match from {
            IpAddr::V4(from) if !self.is_v6 => send(&[ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: from.to_bits().to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            })]),
            IpAddr::V4(_) | IpAddr::V6(_) => {
                let from = match from {
                    IpAddr::V4(from) => from.to_ipv6_mapped(),
                    IpAddr::V6(from) => from,
                };
                send(&[ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
                    ipi6_ifindex: 0,
                })])
            }
        };
        Ok(sent?)
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    // The interface of a link-local address is needed to answer it.
    Some(SocketAddr::V6(std::net::SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id())))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// Sends to `to` on a socket of all addresses, and says who answers.
    async fn answered_from(any: IpAddr, to: IpAddr) -> IpAddr {
        let front = FrontSocket::new(UdpSocket::bind((any, 0)).await.unwrap());
        let port = front.socket.local_addr().unwrap().port();
        let client = UdpSocket::bind((to, 0)).await.unwrap();
        client.send_to(b"question", (to, port)).await.unwrap();
        let mut datagram = [0; 64];
        let received = front.receive(&mut datagram).await.unwrap().unwrap();
        assert_eq!(&datagram[..received.length], b"question");
        assert_eq!(received.to.map(|to| to.to_canonical()), Some(to));
        front.send(b"answer", received.to, received.from).await.unwrap();
        client.recv_from(&mut datagram).await.unwrap().1.ip()
    }

    #[tokio::test]
    async fn answers_come_from_the_address_that_was_asked() {
        // Without it, the system would choose 127.0.0.1.
        let asked = IpAddr::from([127, 9, 9, 9]);
        assert_eq!(answered_from(Ipv4Addr::UNSPECIFIED.into(), asked).await, asked);
        if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert_eq!(answered_from(Ipv6Addr::UNSPECIFIED.into(), asked).await, asked);
            let asked = IpAddr::V6(Ipv6Addr::LOCALHOST);
            assert_eq!(answered_from(Ipv6Addr::UNSPECIFIED.into(), asked).await, asked);
        }
    }
}
