//! Recording at the handler: the recorder that its sessions share, and the end of its intervals.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::shared::Shared;
use crate::{
    config::{Mode, Receiver},
    record::{Beat, Recorder},
};

/// Starts, changes or ends recording, as the configuration wants it. The sessions follow.
pub fn follow(shared: &Rc<Shared>, receiver: &Receiver) -> io::Result<()> {
    let running = shared.recorder.borrow().clone();
    match (running, receiver.mode) {
        (Some(recorder), Mode::Disabled) => recorder.reconfigure(receiver),
        (Some(recorder), Mode::All | Mode::RoundRobin) => {
            *shared.recorder.borrow_mut() = None;
            for relay in shared.relays() {
                relay.borrow_mut().follow_recorder();
            }
            recorder.end();
        }
        (None, Mode::Disabled) => start(shared, receiver)?,
        (None, Mode::All | Mode::RoundRobin) => {}
    }
    Ok(())
}

fn start(shared: &Rc<Shared>, receiver: &Receiver) -> io::Result<()> {
    let Beat { lead, follow } = shared.beat.clone();
    let recorder = Rc::new(Recorder::start(receiver, Arc::clone(&shared.stats.record), lead)?);
    *shared.recorder.borrow_mut() = Some(Rc::clone(&recorder));
    tokio::task::spawn_local(keep_time(Rc::clone(shared), recorder, follow));
    Ok(())
}

/// Ends the sessions' files with every interval.
async fn keep_time(
    shared: Rc<Shared>,
    recorder: Rc<Recorder>,
    mut leader: Option<watch::Receiver<Duration>>,
) {
    let mut interval = recorder.interval();
    loop {
        interval = recorder.over(interval, &mut leader).await;
        let ours = shared.recorder.borrow().as_ref().is_some_and(|now| Rc::ptr_eq(now, &recorder));
        if !ours {
            return;
        }
        close_files(&shared);
        recorder.turned();
    }
}

/// Begins a new interval now. `done` hears when the files of the old one have their names.
pub fn rotate(shared: &Shared, done: oneshot::Sender<()>) {
    match &*shared.recorder.borrow() {
        Some(recorder) => recorder.rotate(done),
        None => drop(done.send(())),
    }
}

/// Ends recording once no session has anything more for it; whether all of it is done.
pub fn is_complete(shared: &Shared) -> bool {
    let recorder = shared.recorder.borrow();
    let Some(recorder) = recorder.as_ref() else { return true };
    if shared.relays().iter().all(|relay| !relay.borrow().is_recording()) {
        recorder.end();
    }
    recorder.has_ended()
}

fn close_files(shared: &Shared) {
    for relay in shared.relays() {
        relay.borrow_mut().close_outdated_file();
    }
}
