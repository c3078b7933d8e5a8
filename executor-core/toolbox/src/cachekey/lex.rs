//! Which parts of a template are text, and which words do its actions have?

use super::Mistake;

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Action { offset: usize, tokens: Vec<Token> },
}

/// A word of an action, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) offset: usize,
    pub(super) kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word(String),
    String(String),
    Integer(i64),
    Pipe,
    Open,
    Close,
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a template into text and actions.
pub(super) fn lex(template: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let rest = &template[at..];
        let start = rest.find("{{");
        let mut text = &rest[..start.unwrap_or(rest.len())];
        if trim_next {
            text = text.trim_start_matches(BLANK);
        }
        let Some(start) = start.map(|start| at + start) else {
            pieces.push(Piece::Text(text.to_owned()));
            return Ok(pieces);
        };
        let mut inside = start + 2;
        // `{{-3}}` is a number; only a blank after the hyphen makes it trim.
        if let Some(after) = template[inside..].strip_prefix('-')
            && after.starts_with(BLANK)
        {
            text = text.trim_end_matches(BLANK);
            inside += 1;
        }
        pieces.push(Piece::Text(text.to_owned()));
        let mut lexer = Lexer { template, at: inside, tokens: Vec::new(), trim_next: false };
        lexer.action(start)?;
        // A comment is an action without words, and nothing else may be.
        let comment = template[inside..].trim_start_matches(BLANK).starts_with("/*");
        match (lexer.tokens.is_empty(), comment) {
            (true, true) => {}
            (true, false) => return Err(Mistake::new(start, "the action is empty")),
            _ => pieces.push(Piece::Action { offset: start, tokens: lexer.tokens }),
        }
        (at, trim_next) = (lexer.at, lexer.trim_next);
    }
}

struct Lexer<'a> {
    template: &'a str,
    at: usize,
    tokens: Vec<Token>,
    trim_next: bool,
}

impl Lexer<'_> {
    /// Reads the words of an action, and its end.
    fn action(&mut self, start: usize) -> Result<(), Mistake> {
        self.comment(start)?;
        loop {
            let rest = &self.template[self.at..];
            if rest.starts_with("}}") {
                self.at += 2;
                return Ok(());
            }
            let word = rest.trim_start_matches(BLANK);
            self.at += rest.len() - word.len();
            if word.len() < rest.len() && word.starts_with("-}}") {
                self.trim_next = true;
                self.at += 3;
                return Ok(());
            }
            match word.chars().next() {
                None => return Err(Mistake::new(start, "the action has no `}}`")),
                Some('}') if word.starts_with("}}") => {}
                Some(first) => self.token(first, word)?,
            }
        }
    }

    fn comment(&mut self, start: usize) -> Result<(), Mistake> {
        let rest = &self.template[self.at..];
        let Some(comment) = rest.trim_start_matches(BLANK).strip_prefix("/*") else { return Ok(()) };
        let end = comment.find("*/").ok_or_else(|| Mistake::new(start, "the comment has no `*/`"))?;
        let after = &comment[end + 2..];
        self.at = self.template.len() - after.len();
        if after.starts_with("}}") || (after.starts_with(BLANK) && after.trim_start_matches(BLANK).starts_with("-}}")) {
            return Ok(());
        }
        Err(Mistake::new(start, "a comment must be all of its action"))
    }

    fn token(&mut self, first: char, word: &str) -> Result<(), Mistake> {
        let offset = self.at;
        let (kind, length) = match first {
            '|' => (TokenKind::Pipe, 1),
            '(' => (TokenKind::Open, 1),
            ')' => (TokenKind::Close, 1),
            '"' => quoted(word).map_err(|message| Mistake::new(offset, message))?,
            '`' => {
                let end = word[1..].find('`').ok_or_else(|| Mistake::new(offset, "the raw string has no end"))?;
                (TokenKind::String(word[1..=end].replace('\r', "")), end + 2)
            }
            _ => {
                let is_end = |c: char| BLANK.contains(&c) || "|()\"`}".contains(c);
                let length = word.find(is_end).unwrap_or(word.len());
                if length == 0 {
                    return Err(Mistake::new(offset, format!("unexpected `{first}`")));
                }
                (plain(&word[..length]).map_err(|message| Mistake::new(offset, message))?, length)
            }
        };
        self.tokens.push(Token { offset, kind });
        self.at += length;
        Ok(())
    }
}

fn plain(word: &str) -> Result<TokenKind, String> {
    let digits = word.trim_start_matches(['-', '+']);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        return word.parse().map(TokenKind::Integer).map_err(|_| format!("`{word}` is not a whole number"));
    }
    if word.starts_with('.') {
        return Err(format!("`{word}`: a cache key has no data; use a function such as `env`"));
    }
    if word.starts_with('$') || word == ":=" || word == "=" {
        return Err(format!("`{word}`: variables are not supported in a cache key"));
    }
    if word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Ok(TokenKind::Word(word.to_owned()));
    }
    Err(format!("unexpected `{word}`"))
}

// A string with the escapes of Go, and how many bytes of `word` it is.
fn quoted(word: &str) -> Result<(TokenKind, usize), String> {
    let mut text = String::new();
    let mut chars = word.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((TokenKind::String(text), index + 1)),
            '\n' => break,
            '\\' => {
                let Some((_, escape)) = chars.next() else { break };
                let mut code = |digits: usize| {
                    let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
                    code.and_then(char::from_u32).ok_or_else(|| format!("bad escape `\\{escape}{hex}` in a string"))
                };
                text.push(match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'v' => '\x0b',
                    '\\' | '"' => escape,
                    'x' => code(2)?,
                    'u' => code(4)?,
                    'U' => code(8)?,
                    _ => return Err(format!("bad escape `\\{escape}` in a string")),
                });
            }
            c => text.push(c),
        }
    }
    Err("the string has no end".into())
}
