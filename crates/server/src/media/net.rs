//! System calls the standard library has no words for: epoll, a wake-up file, batched receiving. Nothing
//! here allocates after it was made.

use hushpad_telephony::relay::MAX_PACKET_BYTES;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// Packets taken from one socket at once. A call's socket rarely has more than one; a flooded one gets no
/// more than this before the others have their turn.
const BATCH: usize = 8;

/// One byte more than a packet may have, so that a larger one shows.
const BUFFER_BYTES: usize = MAX_PACKET_BYTES + 1;

/// Sockets reported at once.
const EVENTS: usize = 256;

/// Tells which sockets have something to read.
pub(super) struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS]>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a plain call; the new descriptor is owned at once")]
        let fd = unsafe {
            let fd = checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { fd, events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS]) })
    }

    /// Reports `token` whenever `fd` can be read. Closing the descriptor ends it.
    pub(super) fn add(&self, fd: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
        #[expect(unsafe_code, reason = "`event` outlives the call; the kernel checks both descriptors")]
        checked(unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
        })?;
        Ok(())
    }

    /// Waits until something can be read, at most `timeout_ms` if there is one, and gives the tokens.
    pub(super) fn wait(
        &mut self,
        timeout_ms: Option<u16>,
    ) -> io::Result<impl Iterator<Item = u64> + use<'_>> {
        let timeout = timeout_ms.map_or(-1, i32::from);
        let room = i32::try_from(EVENTS).unwrap_or(i32::MAX);
        #[expect(unsafe_code, reason = "`events` has room for as many entries as are said")]
        let ready = checked(unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), room, timeout)
        });
        let ready = match ready {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            ready => usize::try_from(ready?).unwrap_or(0),
        };
        Ok(self.events.iter().take(ready).map(|event| event.u64))
    }
}

/// Wakes a worker from another thread.
pub(super) struct Wake(OwnedFd);

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a plain call; the new descriptor is owned at once")]
        let fd = unsafe {
            let fd = checked(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self(fd))
    }

    /// Wakes. A full counter means it is awake already.
    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        #[expect(unsafe_code, reason = "`one` has the eight bytes that are said")]
        let _full = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Sleeps again.
    pub(super) fn clear(&self) {
        let mut count = [0_u8; 8];
        #[expect(unsafe_code, reason = "`count` has room for the eight bytes that are said")]
        let _empty = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Buffers to receive into.
pub(super) struct Inbox {
    buffers: Box<[[u8; BUFFER_BYTES]; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    lengths: [usize; BATCH],
}

impl Inbox {
    pub(super) fn new() -> Self {
        #[expect(unsafe_code, reason = "all zero is a valid address of no family")]
        let addresses = Box::new(unsafe { mem::zeroed() });
        Self { buffers: Box::new([[0; BUFFER_BYTES]; BATCH]), addresses, lengths: [0; BATCH] }
    }

    /// Takes what has arrived at a socket and gives each packet with its sender. A packet that is too large
    /// is one byte longer than [`MAX_PACKET_BYTES`].
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let received = self.fill(socket);
        let places = self.buffers.iter().zip(self.addresses.iter()).zip(self.lengths);
        places
            .take(received)
            .filter_map(|((buffer, address), length)| Some((from_raw(address)?, buffer.get(..length)?)))
    }

    fn fill(&mut self, socket: &UdpSocket) -> usize {
        #[expect(unsafe_code, reason = "all zero is a valid message header without buffers")]
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let places = self.buffers.iter_mut().zip(self.addresses.iter_mut());
        for ((header, vector), (buffer, address)) in headers.iter_mut().zip(&mut vectors).zip(places) {
            *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: BUFFER_BYTES };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(address).cast();
            header.msg_hdr.msg_namelen = STORAGE_BYTES;
        }
        let room = u32::try_from(BATCH).unwrap_or(1);
        #[expect(unsafe_code, reason = "the headers point into `self` and `vectors`, which outlive the call")]
        let received = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), room, flags, ptr::null_mut())
        };
        for (length, header) in self.lengths.iter_mut().zip(&headers) {
            *length = usize::try_from(header.msg_len).unwrap_or(0);
        }
        usize::try_from(received).unwrap_or(0)
    }
}

const STORAGE_BYTES: libc::socklen_t = size_of_bytes::<libc::sockaddr_storage>();

const fn size_of_bytes<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}

fn from_raw(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            #[expect(unsafe_code, reason = "the family says what it is, and the storage is large enough")]
            let raw = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            #[expect(unsafe_code, reason = "the family says what it is, and the storage is large enough")]
            let raw = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(address, u16::from_be(raw.sin6_port), 0, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Keeps this thread on one processor, counted over those it may use. Without effect if that fails: it is
/// faster when it works, and right when it does not.
pub(super) fn pin_to_processor(number: usize) {
    #[expect(unsafe_code, reason = "an empty set is all zero; both calls get its right size")]
    unsafe {
        let mut allowed: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, mem::size_of_val(&allowed), &raw mut allowed) != 0 {
            return;
        }
        let highest = 8 * mem::size_of_val(&allowed);
        let Some(processor) =
            (0..highest).filter(|processor| libc::CPU_ISSET(*processor, &allowed)).nth(number)
        else {
            return;
        };
        let mut only: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(processor, &mut only);
        libc::sched_setaffinity(0, mem::size_of_val(&only), &raw const only);
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
