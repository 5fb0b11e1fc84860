//! TCP connections of a capture, put together again as far as their segments come in order.

use std::collections::BTreeMap;

use super::{
    fault::Fault,
    framer::{Framer, Piece},
    source::{Flow, Sink, Stop},
};

/// Directions of connections kept at a time; each holds at most a message.
const MAX_STREAMS: usize = 1024;

/// What a segment says.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of its first byte.
    pub sequence: u32,
    /// SYN: a new connection.
    pub begins: bool,
    /// FIN or RST: nothing comes after it.
    pub ends: bool,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// The directions of connections that are open.
#[derive(Debug, Default)]
pub struct Streams {
    by_flow: BTreeMap<Flow, Stream>,
    /// Segments so far.
    clock: u64,
}

#[derive(Debug)]
struct Stream {
    framer: Framer,
    /// Sequence number that is due.
    next: u32,
    /// Whether there was a message in it: what is missing of other traffic is nobody's business.
    ipfix: bool,
    /// Whether there was a message since it began, or since bytes were missing.
    in_step: bool,
    /// Time of its last segment.
    used: u64,
}

impl Streams {
    /// Takes a segment of this direction of a connection.
    pub fn segment(
        &mut self,
        flow: &Flow,
        offset: u64,
        segment: &Segment<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        self.clock += 1;
        let mut sequence = segment.sequence;
        if segment.begins {
            self.end(flow, offset, sink)?;
            // A SYN counts as one byte.
            sequence = sequence.wrapping_add(1);
        }
        if segment.begins || !segment.payload.is_empty() {
            self.make_room(flow, sink);
            let framer = if segment.begins { Framer::default() } else { Framer::in_the_middle() };
            let new = Stream { framer, next: sequence, ipfix: false, in_step: false, used: 0 };
            let stream = self.by_flow.entry(*flow).or_insert(new);
            stream.used = self.clock;
            stream.receive(flow, offset, sequence, segment.payload, sink)?;
        }
        if segment.ends {
            self.end(flow, offset, sink)?;
        }
        Ok(())
    }

    /// The capture is over. A connection that is cut by its end is not at fault.
    pub fn finish(self, offset: u64, sink: &mut impl Sink) -> Result<(), Stop> {
        for (flow, mut stream) in self.by_flow {
            while let Some(piece) = stream.framer.next(true) {
                if let Piece::Message(_, message) = piece {
                    sink.message(Some(&flow), offset, message)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, flow: &Flow, offset: u64, sink: &mut impl Sink) -> Result<(), Stop> {
        if let Some(mut stream) = self.by_flow.remove(flow) {
            stream.pass_on(flow, offset, true, sink)?;
            sink.ended(flow);
        }
        Ok(())
    }

    /// Gives up the connection that has been silent for longest, if there are too many.
    fn make_room(&mut self, flow: &Flow, sink: &mut impl Sink) {
        if self.by_flow.len() < MAX_STREAMS || self.by_flow.contains_key(flow) {
            return;
        }
        let silent = self.by_flow.iter().min_by_key(|(_, stream)| stream.used);
        if let Some(flow) = silent.map(|(flow, _)| *flow) {
            self.by_flow.remove(&flow);
            sink.ended(&flow);
        }
    }
}

impl Stream {
    /// Takes bytes with this sequence number; what was there before is not taken again.
    fn receive(
        &mut self,
        flow: &Flow,
        offset: u64,
        sequence: u32,
        payload: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        let ahead = sequence.wrapping_sub(self.next);
        // Half the numbers are ahead of the one that is due, half are behind it.
        let known = if ahead > u32::MAX / 2 { ahead.wrapping_neg() } else { 0 };
        let Some(new) = payload.get(usize::try_from(known).unwrap_or(usize::MAX)..) else {
            return Ok(());
        };
        if known == 0 && ahead > 0 {
            if self.ipfix {
                sink.fault(offset, Fault::TcpGap(ahead))?;
            }
            self.framer = Framer::in_the_middle();
            self.in_step = false;
            self.next = sequence;
        }
        self.next = self.next.wrapping_add(u32::try_from(new.len()).unwrap_or(0));
        self.framer.push(new);
        self.pass_on(flow, offset, false, sink)
    }

    fn pass_on(
        &mut self,
        flow: &Flow,
        offset: u64,
        ended: bool,
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        while let Some(piece) = self.framer.next(ended) {
            match piece {
                Piece::Message(_, message) => {
                    (self.ipfix, self.in_step) = (true, true);
                    sink.message(Some(flow), offset, message)?;
                }
                Piece::Skipped(_, length) if self.in_step => {
                    sink.fault(offset, Fault::NoMessage(length))?;
                }
                Piece::Skipped(..) => {}
            }
        }
        Ok(())
    }
}
