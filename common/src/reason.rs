//! Why a message was dropped, a session refused or closed, and why the kernel path sent a datagram
//! up to the daemon: one list each for counters, `status`, metrics, logs and documents.

macro_rules! reasons {
    (
        $(#[doc = $about:literal])+
        pub enum $Enum:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $name:ident,)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $Enum {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $Enum {
            /// Every reason, in the order of its number.
            pub const ALL: [$Enum; [$(stringify!($name)),+].len()] = [$($Enum::$variant),+];

            /// The name in counters, `status` and logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($Enum::$variant => stringify!($name),)+
                }
            }

            /// One sentence for people: what happened.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($Enum::$variant => concat!($($doc),+).trim_ascii_start(),)+
                }
            }

            /// The reason's place in a table of counters.
            #[inline(always)]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// A second look at the same list: a counter for each reason, by name.
macro_rules! pass_ups {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:ident,)+) => {
        reasons! {
            /// Why the kernel path sent a datagram up to the daemon instead of forwarding it.
            pub enum PassUp {
                $($(#[doc = $doc])+ $variant = $name,)+
            }
        }

        /// Value of the map `RECEIVER_COUNTERS`, one for each CPU.
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        pub struct ReceiverCounters {
            /// Messages forwarded.
            pub messages: u64,
            /// Their bytes.
            pub bytes: u64,
            /// Datagrams dropped because of [`Reason::Overload`].
            pub overload: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
        }
    };
}

impl ReceiverCounters {
    /// Place of the first [`PassUp`] counter, counted in words.
    pub const FIRST_PASS_UP: usize = 3;
    /// Counters in it.
    pub const LEN: usize = Self::FIRST_PASS_UP + PassUp::ALL.len();
}

const _: () = assert!(size_of::<ReceiverCounters>() == ReceiverCounters::LEN * size_of::<u64>());

reasons! {
    /// Why something was dropped, refused or closed.
    pub enum Reason {
        /// The sets or templates of the message do not add up (RFC 7011 section 9.1).
        Malformed = malformed,
        /// Version or length of a TCP message is impossible: the connection was closed.
        FramingLost = framing_lost,
        /// Eight malformed messages in a row: the connection was closed.
        MalformedRow = malformed_row,
        /// A NetFlow version 5 datagram.
        NetflowV5 = netflow_v5,
        /// A NetFlow version 9 datagram.
        NetflowV9 = netflow_v9,
        /// A version other than 10, 9 and 5.
        Version = version,
        /// The session has more templates than are kept.
        TemplateLimit = template_limit,
        /// The session has more options records than are kept for destinations that connect later.
        OptionsLimit = options_limit,
        /// The session has more observation domains than are kept.
        DomainLimit = domain_limit,
        /// The receiver has as many sessions as it may.
        SessionLimit = session_limit,
        /// The exporter's address is not in ALLOW_FROM.
        NotAllowed = not_allowed,
        /// Half a message came, then nothing for too long: the connection was closed.
        IdleTimeout = idle_timeout,
        /// The connection ended in the middle of a message.
        Truncated = truncated,
        /// The kernel dropped datagrams before the receiver could read them: at least so many, for it
        /// counts datagrams that it has joined (GRO) as one.
        ReceiveBuffer = receive_buffer,
        /// The destination's queue was full.
        QueueFull = queue_full,
        /// The message does not fit into a datagram and could not be split.
        Oversize = oversize,
        /// The kernel refused to send the datagram.
        SendError = send_error,
        /// The session sent more than the daemon could handle while it was out of the kernel path;
        /// datagrams were dropped until the daemon had caught up, so that it could return.
        Overload = overload,
        /// The interface did not take a frame that the kernel path sent by it at XDP: its ring was full,
        /// or the frame too long for the other end.
        Egress = egress,
        /// The destination was away for too long after the exporter's session had ended.
        Undelivered = undelivered,
        /// The dump file could not take the message: its disk is full, or too slow.
        Unrecorded = unrecorded,
        /// The spool was full (SPOOL_MAX_MB), or its disk did not take more: messages were dropped.
        SpoolFull = spool_full,
        /// The messages had been in the spool for longer than SPOOL_MAX_HOURS.
        SpoolAge = spool_age,
        /// A file of the spool has vanished, or can't be read.
        SpoolLost = spool_lost,
        /// Somebody has emptied the spool (`ipfix-balancer spool purge`).
        SpoolPurged = spool_purged,
    }
}

pass_ups! {
    /// The exporter's session, or this observation domain of it, is not in the maps (yet).
    UnknownSession = unknown_session,
    /// The first of several IP fragments.
    Fragment = fragment,
    /// The IPv4 header has options.
    IpOptions = ip_options,
    /// Several segments in one packet (GSO, GRO).
    Gso = gso,
    /// The version is not 10.
    Version = version,
    /// The lengths of packet, datagram and message differ, as with several messages in a datagram.
    Lengths = lengths,
    /// The sets do not add up, or are more than the program looks at.
    Sets = sets,
    /// A header without sets.
    NoSets = no_sets,
    /// Templates or options templates.
    Template = template,
    /// Options data, or a set whose id shares its last eight bits with an options template.
    OptionsData = options_data,
    /// The UDP checksum is not complete: the sender left it to a network card that there is not.
    PartialChecksum = partial_checksum,
    /// Not all that went up before has been handled.
    Pending = pending,
    /// Another CPU was at work on this session.
    Busy = busy,
    /// A destination has not been sent all templates and options yet.
    Unsynced = unsynced,
    /// No destination takes a turn.
    NoDestination = no_destination,
    /// There is no route to the destination, or no Ethernet address of the next hop.
    NoRoute = no_route,
    /// The packet is larger than the way to the destination takes.
    Mtu = mtu,
    /// The kernel refused what the program asked it for.
    Refused = refused,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_pass_up_has_a_name_of_its_own() {
        let names: HashSet<_> = PassUp::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), PassUp::ALL.len());
        assert!(PassUp::ALL.iter().enumerate().all(|(index, reason)| reason.index() == index));
    }

    #[test]
    fn every_reason_stands_at_its_index_with_a_name_of_its_own() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(reason.meaning().ends_with('.') && !reason.meaning().starts_with(' '));
        }
    }
}
