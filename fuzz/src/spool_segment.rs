//! A segment of a spool, whatever is in its file: what is read are whole records that were written
//! with their checksums, in order, and what comes behind something else is not read.

use balancer_user::spool::record::{self, Kind, Records};

/// Runs one input.
pub fn run(input: &[u8]) {
    read(input);
    // Records with right checksums, behind which the input stands.
    let Some((&count, rest)) = input.split_first() else { return };
    let (mut file, mut written) = (Vec::new(), Vec::new());
    for part in rest.chunks(usize::from(count) + 1) {
        let kind = if part.len() % 2 == 0 { Kind::Message } else { Kind::Preamble };
        record::append(&mut file, kind, part);
        written.push((kind, part));
    }
    let whole = file.len();
    file.extend_from_slice(input);
    let found: Vec<_> = Records::of(&file).map_while(Result::ok).collect();
    assert!(found.len() >= written.len());
    for (found, (kind, part)) in found.iter().zip(&written) {
        assert_eq!((found.kind, found.bytes), (*kind, *part));
    }
    // A file that is cut, as by the loss of power, has the records up to there.
    let cut = whole.saturating_sub(usize::from(count));
    let before = Records::of(&file[..cut]).map_while(Result::ok).count();
    assert!(before <= written.len());
}

fn read(bytes: &[u8]) {
    let mut records = Records::of(bytes);
    let mut again = Vec::new();
    for record in records.by_ref().map_while(Result::ok) {
        record::append(&mut again, record.kind, record.bytes);
    }
    assert_eq!(again, &bytes[..records.read()]);
    assert!(records.next().is_none(), "a record after the end");
}
