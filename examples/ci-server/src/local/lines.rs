//! How does the output of a command become lines that cannot damage a screen? Pure.
//!
//! Colours stay; everything else that moves the cursor, clears, beeps, retitles or reorders is dropped. Of what a
//! carriage return overwrites, the last version stays. A colour that a line leaves on goes on in the next line of the
//! same log, and ends at each line's end, since lines of other tasks come between.

use std::mem;

/// The longest line, in bytes; a longer one is cut into several.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The most that is remembered of the colours of a log.
const STYLE_BYTES_MAX: usize = 64;

/// Ends every colour.
const RESET: &str = "\x1b[0m";

/// Cuts a log into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// The last byte was a carriage return, which may be half of a line break.
    returned: bool,
}

impl Lines {
    /// The lines that `bytes` end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.returned = false;
                    lines.push(mem::take(&mut self.pending));
                }
                b'\r' => self.returned = true,
                byte => {
                    if mem::take(&mut self.returned) {
                        self.pending.clear();
                    }
                    self.pending.push(*byte);
                    if self.pending.len() >= LINE_BYTES_MAX {
                        lines.push(mem::take(&mut self.pending));
                    }
                }
            }
        }
        lines
    }

    /// The rest, which no line break ends.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        self.returned = false;
        Some(mem::take(&mut self.pending)).filter(|rest| !rest.is_empty())
    }
}

/// Makes lines of one log harmless.
#[derive(Debug, Default)]
pub(super) struct Sanitiser {
    /// The colours that are on, as the sequences that turned them on.
    style: String,
}

impl Sanitiser {
    /// The line with its colours.
    pub(super) fn coloured(&mut self, line: &[u8]) -> String {
        let mut clean = self.style.clone();
        let mut has_colours = !clean.is_empty();
        for piece in Pieces::new(&String::from_utf8_lossy(line)) {
            match piece {
                Piece::Text(char) => clean.push(char),
                Piece::Style(parameters) => {
                    has_colours = true;
                    clean.push_str(&format!("\x1b[{parameters}m"));
                    self.remember(&parameters);
                }
            }
        }
        if has_colours {
            clean.push_str(RESET);
        }
        clean
    }

    fn remember(&mut self, parameters: &str) {
        if parameters.is_empty() || parameters == "0" {
            self.style.clear();
            return;
        }
        if self.style.len() + parameters.len() + 3 > STYLE_BYTES_MAX {
            self.style.clear();
        }
        if parameters.len() + 3 <= STYLE_BYTES_MAX {
            self.style.push_str(&format!("\x1b[{parameters}m"));
        }
    }
}

/// The line without colours.
pub(super) fn plain(line: &str) -> String {
    let text = |piece| match piece {
        Piece::Text(char) => Some(char),
        Piece::Style(_) => None,
    };
    Pieces::new(line).filter_map(text).collect()
}

enum Piece {
    Text(char),
    /// The parameters of a sequence that sets colours.
    Style(String),
}

struct Pieces<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl<'a> Pieces<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.chars().peekable())
    }

    /// After ESC `[`: parameters, intermediates, and the byte that says what it is.
    fn control_sequence(&mut self) -> Option<Piece> {
        let mut parameters = String::new();
        while let Some(char) = self.0.next_if(|char| ('\x20'..='\x3f').contains(char)) {
            parameters.push(char);
        }
        let last = self.0.next_if(|char| ('\x40'..='\x7e').contains(char))?;
        let is_style =
            last == 'm' && parameters.chars().all(|char| char.is_ascii_digit() || char == ';' || char == ':');
        is_style.then_some(Piece::Style(parameters))
    }

    /// After the beginning of a string for the terminal: up to BEL, ST or the end of the line.
    fn skip_string(&mut self) {
        while let Some(char) = self.0.next() {
            match char {
                '\x07' | '\u{9c}' => return,
                '\x1b' => {
                    self.0.next_if_eq(&'\\');
                    return;
                }
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<Piece> {
        match self.0.next_if(|char| ('\x20'..='\x7e').contains(char))? {
            '[' => return self.control_sequence(),
            ']' | 'P' | 'X' | '^' | '_' => self.skip_string(),
            // Intermediates and the byte that ends them, such as the choice of a character set.
            '\x20'..='\x2f' => {
                while self.0.next_if(|char| ('\x20'..='\x2f').contains(char)).is_some() {}
                self.0.next_if(|char| ('\x30'..='\x7e').contains(char));
            }
            _ => {}
        }
        None
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        loop {
            match self.0.next()? {
                '\x1b' => {
                    if let Some(piece) = self.escape() {
                        return Some(piece);
                    }
                }
                '\u{9b}' => {
                    if let Some(piece) = self.control_sequence() {
                        return Some(piece);
                    }
                }
                '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => self.skip_string(),
                '\t' => return Some(Piece::Text('\t')),
                char if char.is_control() || is_reordering(char) => {}
                char => return Some(Piece::Text(char)),
            }
        }
    }
}

/// Characters that change the order in which others are shown.
fn is_reordering(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut all: Vec<_> = pieces.iter().flat_map(|piece| lines.push(piece.as_bytes())).collect();
        all.extend(lines.finish());
        all.into_iter().map(|line| String::from_utf8(line).expect("text")).collect()
    }

    #[test]
    fn lines_end_at_breaks_wherever_the_pieces_end() {
        assert_eq!(lines(&["a\nb", "c\r", "\nd\n", "", "e"]), ["a", "bc", "d", "e"]);
        assert_eq!(lines(&["\n\n"]), ["", ""]);
    }

    #[test]
    fn what_a_carriage_return_overwrites_is_gone() {
        assert_eq!(lines(&["10%\r20%\r", "100%\r\nnext\r"]), ["100%", "next"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_an_endless_progress_bar_takes_no_memory() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        assert_eq!(lines(&[&long]).iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 1]);
        let mut bar = Lines::default();
        for _ in 0..10_000 {
            assert!(bar.push(b"working\r").is_empty());
        }
        assert!(bar.pending.len() < 20);
    }

    #[test]
    fn only_text_and_colours_remain() {
        for (dirty, clean) in [
            ("plain\ttext", "plain\ttext"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
            ("\x1b[2J\x1b[1;1Hhome", "home"),
            ("\x1b[?1049halt", "alt"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bP1$qm\x1b\\x", "x"),
            ("\x1b(0lqk", "lqk"),
            ("\x1bcreset", "reset"),
            ("bell\x07 back\x08 del\x7f", "bell back del"),
            ("c1\u{9b}2J\u{85}", "c1"),
            ("\u{202e}evil", "evil"),
            ("cut \x1b[3", "cut "),
            ("cut \x1b", "cut "),
            ("\x1b[>4;2mmode", "mode"),
        ] {
            assert_eq!(Sanitiser::default().coloured(dirty.as_bytes()), clean, "{dirty:?}");
        }
        assert_eq!(Sanitiser::default().coloured(b"\xff!"), "\u{fffd}!");
        assert_eq!(plain("\x1b[1;31mred\x1b[0m"), "red");
    }

    #[test]
    fn a_colour_goes_on_in_the_next_line_and_never_outside() {
        let mut log = Sanitiser::default();
        assert_eq!(log.coloured(b"\x1b[32mone"), "\x1b[32mone\x1b[0m");
        assert_eq!(log.coloured(b"two"), "\x1b[32mtwo\x1b[0m");
        assert_eq!(log.coloured(b"three\x1b[m"), "\x1b[32mthree\x1b[m\x1b[0m");
        assert_eq!(log.coloured(b"four"), "four");
        for _ in 0..1000 {
            log.coloured(b"\x1b[1m\x1b[33m");
        }
        assert!(log.style.len() <= STYLE_BYTES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_command_prints_moves_nothing(bytes: Vec<u8>) {
            let mut lines = Lines::default();
            let mut all = lines.push(&bytes);
            all.extend(lines.finish());
            let mut log = Sanitiser::default();
            for line in all {
                let text = plain(&log.coloured(&line));
                proptest::prop_assert!(text.chars().all(|char| char == '\t' || !char.is_control()), "{text:?}");
            }
        }
    }
}
