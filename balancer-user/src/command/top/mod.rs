//! `ipfix-balancer top`: receivers and destinations, live.

mod rates;
mod view;

use std::{
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

use super::complain;
use crate::daemon::{Reply, Request, Status, ask};
use view::Screen;

/// The state at one moment.
struct Sample {
    at: Instant,
    status: Status,
}

pub fn top(config: &Path, seconds: u32) -> ExitCode {
    if !io::stdout().is_terminal() {
        complain(&"top needs a terminal; `ipfix-balancer status` prints the state once");
        return ExitCode::FAILURE;
    }
    // A daemon that is not there is told of without a screen.
    if let Err(error) = ask(config, Request::Status) {
        complain(&error);
        return ExitCode::FAILURE;
    }
    let outcome = run(&mut ratatui::init(), config, Duration::from_secs(seconds.into()));
    ratatui::restore();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(terminal: &mut DefaultTerminal, config: &Path, period: Duration) -> io::Result<()> {
    let mut screen = Screen::default();
    let mut before: Option<Sample> = None;
    loop {
        match ask(config, Request::Status) {
            Ok(Reply::Status(status)) => {
                let now = Sample { at: Instant::now(), status: *status };
                screen.show(before.as_ref().unwrap_or(&now), &now);
                before = Some(now);
            }
            Ok(_) => screen.fail("the daemon did not tell its state"),
            Err(error) => screen.fail(&error.to_string()),
        }
        let next = Instant::now() + period;
        loop {
            terminal.draw(|frame| screen.draw(frame))?;
            if !event::poll(next.saturating_duration_since(Instant::now()))? {
                break;
            }
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                match key {
                    KeyEvent { code: KeyCode::Char('q') | KeyCode::Esc, .. } => return Ok(()),
                    KeyEvent {
                        code: KeyCode::Char('c'), modifiers: KeyModifiers::CONTROL, ..
                    } => return Ok(()),
                    KeyEvent { code: KeyCode::Down | KeyCode::Char('j'), .. } => screen.scroll(1),
                    KeyEvent { code: KeyCode::Up | KeyCode::Char('k'), .. } => screen.scroll(-1),
                    _ => {}
                }
            }
        }
    }
}
