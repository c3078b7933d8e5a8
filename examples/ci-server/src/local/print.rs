//! Who writes to standard output? One worker, so that lines of different tasks never mix.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    json,
    message::{LogStyle, Message},
    screen::{Drawn, Size, frame},
    text::Text,
};

/// How often the elapsed times on a terminal are drawn again. Nothing else happens by the clock.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);

/// So many messages are printed in one write at most.
const BATCH_MAX: usize = 256;

/// How things are printed.
#[derive(Debug)]
pub(super) enum Printer {
    Json,
    Lines(Text),
    Terminal(Text, Drawn),
}

impl Printer {
    /// As it suits standard output.
    pub(super) fn for_stdout(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        if Size::of_stdout().is_none() {
            return Self::Lines(Text::default());
        }
        let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::Terminal(Text::new(has_colours), Drawn::default())
    }

    /// How it wants the lines of logs.
    pub(super) fn style(&self) -> LogStyle {
        match self {
            Self::Json => LogStyle::Raw,
            Self::Terminal(text, _) if text.has_colours => LogStyle::Coloured,
            Self::Lines(_) | Self::Terminal(..) => LogStyle::Plain,
        }
    }

    /// Prints until no message can come any more. If nobody reads what is printed, cancels `unread`, and goes on
    /// without printing, so that nobody waits for the printer.
    pub(super) async fn print(mut self, mut messages: Receiver<Message>, unread: CancellationToken) {
        let mut is_read = true;
        let mut timer = tokio::time::interval(REDRAW_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some(batch) = self.next(&mut messages, &mut timer).await {
            if !is_read {
                continue;
            }
            // A terminal can be stopped; then only this worker is.
            let printed = tokio::task::block_in_place(|| self.write(batch, &mut io::stdout().lock()));
            if printed.is_err() {
                is_read = false;
                unread.cancel();
            }
        }
        if is_read && let Self::Terminal(_, drawn) = &mut self {
            // Nobody is left to be told that it failed.
            let _ = drawn.update(&mut io::stdout().lock(), "", &[]);
        }
    }

    /// The next messages: none of them if it is time to draw again. `None`: there are no more.
    async fn next(&self, messages: &mut Receiver<Message>, timer: &mut Interval) -> Option<Vec<Message>> {
        let is_live = matches!(self, Self::Terminal(text, _) if !text.runs.is_empty());
        let first = tokio::select! {
            message = messages.recv() => message?,
            _ = timer.tick(), if is_live => return Some(Vec::new()),
        };
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(message) = messages.try_recv()
        {
            batch.push(message);
        }
        Some(batch)
    }

    fn write(&mut self, batch: Vec<Message>, out: &mut dyn Write) -> io::Result<()> {
        let now = Instant::now();
        match self {
            Self::Json => {
                let text: String = batch.iter().map(json::render).collect();
                out.write_all(text.as_bytes())?;
                out.flush()
            }
            Self::Lines(text) => {
                let lines: String = batch.into_iter().map(|message| text.render(message, now)).collect();
                out.write_all(lines.as_bytes())?;
                out.flush()
            }
            Self::Terminal(text, drawn) => {
                let lines: String = batch.into_iter().map(|message| text.render(message, now)).collect();
                let size = Size::of_stdout().unwrap_or(Size { columns: 80, rows: 24 });
                drawn.update(out, &lines, &frame(&text.runs, size, now))
            }
        }
    }
}
