//! Why a message was dropped, a session refused or closed: one list for counters, `status`,
//! metrics, logs and documents.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why something was dropped, refused or closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: [Reason; [$($name),+].len()] = [$(Reason::$variant),+];

            /// The name in counters, `status` and logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)+
                }
            }

            /// One sentence for people: what happened.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Reason::$variant => concat!($($doc),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

reasons! {
    /// The sets or templates of the message do not add up (RFC 7011 section 9.1).
    Malformed = "malformed",
    /// Version or length of a TCP message is impossible: the connection was closed.
    FramingLost = "framing_lost",
    /// Eight malformed messages in a row: the connection was closed.
    MalformedRow = "malformed_row",
    /// A NetFlow version 5 datagram.
    NetflowV5 = "netflow_v5",
    /// A NetFlow version 9 datagram.
    NetflowV9 = "netflow_v9",
    /// A version other than 10, 9 and 5.
    Version = "version",
    /// The session has more templates than are kept.
    TemplateLimit = "template_limit",
    /// The session has more options records than are kept for destinations that connect later.
    OptionsLimit = "options_limit",
    /// The session has more observation domains than are kept.
    DomainLimit = "domain_limit",
    /// The receiver has as many sessions as it may.
    SessionLimit = "session_limit",
    /// The exporter's address is not in ALLOW_FROM.
    NotAllowed = "not_allowed",
    /// Half a message came, then nothing for too long: the connection was closed.
    IdleTimeout = "idle_timeout",
    /// The connection ended in the middle of a message.
    Truncated = "truncated",
    /// The kernel dropped datagrams before the receiver could read them.
    ReceiveBuffer = "receive_buffer",
    /// The destination's queue was full.
    QueueFull = "queue_full",
    /// The message does not fit into a datagram and could not be split.
    Oversize = "oversize",
    /// The kernel refused to send the datagram.
    SendError = "send_error",
    /// The destination was away for too long after the exporter's session had ended.
    Undelivered = "undelivered",
}

impl Reason {
    /// The reason's place in a table of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

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
