//! Headers of a packet, read in place.

use common::maps::Flow;

/// Bytes of an Ethernet header.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of a UDP header.
pub const UDP_LEN: usize = 8;
/// Where the checksum stands in the IPv4 header, the hop limit in both, the addresses in both.
pub const IPV4_TTL: usize = 8;
/// Checksum of the IPv4 header.
pub const IPV4_CHECKSUM: usize = 10;
/// Addresses in the IPv4 header.
pub const IPV4_ADDRESSES: usize = 12;
/// Hop limit in the IPv6 header.
pub const IPV6_HOP_LIMIT: usize = 7;
/// Addresses in the IPv6 header.
pub const IPV6_ADDRESSES: usize = 8;
/// Checksum in the UDP header.
pub const UDP_CHECKSUM: usize = 6;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const VLAN_LEN: usize = 4;
/// The third word of an IPv4 address in IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const FRAGMENT_HEADER_LEN: usize = 8;
/// UDP in the header before it.
pub const PROTOCOL_UDP: u16 = 17;
const PROTOCOL_FRAGMENT: u16 = 44;
/// IPv4: the flag "more fragments" and the offset.
const FRAGMENT_FIELD: u16 = 0x3fff;
/// IPv4: the offset.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The longest message that is looked at: what fits into a jumbo frame.
const MAX_OFFSET: usize = 9216;

/// The bytes of a packet that can be accessed directly.
#[derive(Clone, Copy)]
pub struct View {
    start: usize,
    end: usize,
}

impl View {
    /// The packet from `start` to `end`, as its context tells.
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> View {
        View { start, end }
    }

    /// Bytes of the packet.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// A pointer to the `T` at `offset`, if the packet has all of it.
    #[inline(always)]
    pub fn at<T>(&self, offset: usize) -> Option<*mut T> {
        // The verifier wants to see a bound before it lets an offset into an address.
        if offset > MAX_OFFSET {
            return None;
        }
        let address = self.start + offset;
        if address + size_of::<T>() > self.end { None } else { Some(address as *mut T) }
    }

    /// A copy of the `T` at `offset`, if the packet has all of it; numbers are in network byte order.
    #[inline(always)]
    pub fn read<T: Numbers>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` has compared the whole of T with the packet's end, and every bit pattern is one.
        self.at::<T>(offset).map(|at| unsafe { at.read_unaligned() })
    }

    /// Puts a `T` in the place of the one at `offset`, and tells what was there.
    #[inline(always)]
    pub fn replace<T: Numbers>(&self, offset: usize, new: T) -> Option<T> {
        let at = self.at::<T>(offset)?;
        // SAFETY: `at` has compared the whole of T with the packet's end, and every bit pattern is one.
        let old = unsafe { at.read_unaligned() };
        // SAFETY: as above; the packet is the program's own while it runs.
        unsafe { at.write_unaligned(new) };
        Some(old)
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> Option<u16> {
        self.read(offset).map(u16::from_be)
    }
}

/// Types that are numbers and nothing else.
///
/// # Safety
///
/// Every bit pattern is a value, and there is no padding.
pub unsafe trait Numbers: Copy {}

// SAFETY: an integer; the others are integers, and arrays and structs of them without padding.
unsafe impl Numbers for u8 {}
// SAFETY: as above.
unsafe impl Numbers for u16 {}
// SAFETY: as above.
unsafe impl Numbers for u32 {}
// SAFETY: as above.
unsafe impl<T: Numbers, const N: usize> Numbers for [T; N] {}
// SAFETY: as above.
unsafe impl Numbers for Datagram {}

/// UDP header and message header, in network byte order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Datagram {
    /// Source port, then destination port.
    pub ports: u32,
    /// Length of the datagram.
    pub len: u16,
    /// Its checksum.
    pub checksum: u16,
    /// Version of the message.
    pub version: u16,
    /// Length of the message.
    pub message_len: u16,
    /// Export time.
    pub time: u32,
    /// Sequence number.
    pub sequence: u32,
    /// Observation domain id.
    pub domain: u32,
}

/// A [`Flow`], of larger words.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    source: [u32; 4],
    destination: [u32; 4],
    ports: u32,
    domain: u32,
}

const _: () = assert!(size_of::<Key>() == size_of::<Flow>());

impl Key {
    /// A number that keys differ in, as a rule.
    #[inline(always)]
    pub fn hash(&self) -> u32 {
        // The golden ratio (Knuth): the product's high bits depend on all bits.
        let mixed = self.source[3] ^ self.ports ^ self.domain.rotate_left(16);
        mixed.wrapping_mul(0x9e37_79b9) >> 16
    }

    /// As it stands in the map.
    #[inline(always)]
    pub fn flow(&self) -> &Flow {
        // SAFETY: the same numbers in the same places; a Flow is aligned less.
        unsafe { &*(&raw const *self).cast::<Flow>() }
    }
}

/// What the IP header says that keeps a packet out of the kernel path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    Plain,
    /// It is the first of several fragments.
    Fragment,
    /// It has IPv4 options.
    Options,
}

/// Where the headers of a UDP datagram are, from the packet's start.
#[derive(Clone, Copy)]
pub struct Layout {
    /// IP header.
    pub ip: usize,
    /// UDP header.
    pub udp: usize,
    /// Whether it is IPv6.
    pub ipv6: bool,
}

impl Layout {
    /// Without a VLAN tag, and without anything between the IP header and UDP's.
    #[inline(always)]
    pub fn plain(ipv6: bool) -> Layout {
        let ip_len = if ipv6 { IPV6_LEN } else { IPV4_LEN };
        Layout { ip: ETHERNET_LEN, udp: ETHERNET_LEN + ip_len, ipv6 }
    }

    /// Where the message begins.
    #[inline(always)]
    pub fn message(&self) -> usize {
        self.udp + UDP_LEN
    }
}

/// Where the headers of a UDP datagram are, and what they say.
#[derive(Clone, Copy)]
pub struct Headers {
    /// Where they are.
    pub at: Layout,
    /// What is special about the IP header.
    pub form: Form,
    /// Length of the IP packet, header included.
    pub ip_len: usize,
    /// UDP header and message header.
    pub datagram: Datagram,
}

/// Where the headers are, before those of the datagram are read.
struct Place {
    at: Layout,
    form: Form,
    ip_len: u16,
}

impl Headers {
    /// Reads the headers of a UDP datagram that holds a message, with at most one VLAN tag. `None`:
    /// it is something else, or a later fragment, which has no ports.
    #[inline(always)]
    pub fn read(view: &View) -> Option<Headers> {
        let Place { at, form, ip_len } = Place::of(view)?;
        let header_len = if at.ipv6 { IPV6_LEN } else { 0 };
        // In one access: behind IPv4 options the offset is variable, and the verifier has to see the
        // comparison with the packet's end and the access together.
        let datagram = view.read(at.udp)?;
        Some(Headers { at, form, ip_len: header_len + usize::from(ip_len), datagram })
    }

    /// Whether the IP header says that it is a UDP datagram, or the first piece of one.
    #[inline(always)]
    pub fn are_of_udp(view: &View) -> bool {
        Place::of(view).is_some()
    }

    /// Bytes of the message, by its own account.
    #[inline(always)]
    pub fn message_len(&self) -> usize {
        u16::from_be(self.datagram.message_len).into()
    }

    /// The message's sequence number.
    #[inline(always)]
    pub fn sequence(&self) -> u32 {
        u32::from_be(self.datagram.sequence)
    }

    /// The key that the packet's session and observation domain are found by.
    #[inline(always)]
    pub fn key(&self, view: &View) -> Option<Key> {
        let Datagram { ports, domain, .. } = self.datagram;
        let [source, destination] = match self.at.ipv6 {
            true => view.read(self.at.ip + IPV6_ADDRESSES)?,
            false => {
                let [source, destination]: [u32; 2] = view.read(self.at.ip + IPV4_ADDRESSES)?;
                [[0, 0, MAPPED, source], [0, 0, MAPPED, destination]]
            }
        };
        Some(Key { source, destination, ports, domain })
    }
}

impl Place {
    #[inline(always)]
    fn of(view: &View) -> Option<Place> {
        let mut ip = ETHERNET_LEN;
        let mut ethertype = view.word(ip - 2)?;
        if ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ {
            ip += VLAN_LEN;
            ethertype = view.word(ip - 2)?;
        }
        match ethertype {
            ETHERTYPE_IPV4 => Place::ipv4(view, ip),
            ETHERTYPE_IPV6 => Place::ipv6(view, ip),
            _ => None,
        }
    }

    #[inline(always)]
    fn ipv4(view: &View, ip: usize) -> Option<Place> {
        let [version_length, ip_len, _, fragment, ttl_protocol] =
            view.read::<[u16; 5]>(ip)?.map(u16::from_be);
        let header_len = usize::from(version_length >> 8 & 0xf) * 4;
        let protocol = ttl_protocol & 0xff;
        if version_length >> 12 != 4 || header_len < IPV4_LEN || protocol != PROTOCOL_UDP {
            return None;
        }
        if fragment & FRAGMENT_OFFSET != 0 {
            return None;
        }
        let plain = header_len == IPV4_LEN;
        let form = match plain {
            _ if fragment & FRAGMENT_FIELD != 0 => Form::Fragment,
            true => Form::Plain,
            false => Form::Options,
        };
        // Not the header's length field, though the two are the same here.
        let udp = ip + if plain { opaque(IPV4_LEN) } else { header_len };
        Some(Place { at: Layout { ip, udp, ipv6: false }, form, ip_len })
    }

    #[inline(always)]
    fn ipv6(view: &View, ip: usize) -> Option<Place> {
        let [version, _, ip_len, next_limit] = view.read::<[u16; 4]>(ip)?.map(u16::from_be);
        if version >> 12 != 6 {
            return None;
        }
        let udp = ip + IPV6_LEN;
        match next_limit >> 8 {
            PROTOCOL_UDP => {
                Some(Place { at: Layout { ip, udp, ipv6: true }, form: Form::Plain, ip_len })
            }
            PROTOCOL_FRAGMENT => {
                let [next, offset] = view.read::<[u16; 2]>(udp)?.map(u16::from_be);
                if next >> 8 != PROTOCOL_UDP || offset >> 3 != 0 {
                    return None;
                }
                let udp = udp + FRAGMENT_HEADER_LEN;
                Some(Place { at: Layout { ip, udp, ipv6: true }, form: Form::Fragment, ip_len })
            }
            _ => None,
        }
    }
}

/// The number itself, in a way that hides from the compiler where it comes from: it would make of it what
/// the verifier can't follow.
#[inline(always)]
pub fn opaque(number: usize) -> usize {
    let hidden: u64;
    // SAFETY: one instruction that copies a register.
    unsafe {
        core::arch::asm!(
            "{0} = {1}", out(reg) hidden, in(reg) number as u64, options(pure, nomem, nostack)
        )
    };
    hidden as usize
}
