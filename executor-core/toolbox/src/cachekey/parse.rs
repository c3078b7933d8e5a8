//! What do the words of the actions mean together?

use super::Mistake;
use super::lex::{Piece, Token, TokenKind};

/// Nesting that no key needs; deeper would exhaust the stack.
const DEPTH_MAX: usize = 100;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Output(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands whose value is the last argument of the next one. Never empty.
#[derive(Debug)]
pub(super) struct Pipeline(pub(super) Vec<Command>);

#[derive(Debug)]
pub(super) struct Command {
    pub(super) offset: usize,
    pub(super) head: Operand,
    pub(super) arguments: Vec<Command>,
}

#[derive(Debug)]
pub(super) enum Operand {
    Function(String),
    String(String),
    Integer(i64),
    Bool(bool),
    Parentheses(Pipeline),
}

/// Makes a tree of the parts of a template.
pub(super) fn parse(pieces: &[Piece]) -> Result<Vec<Node>, Mistake> {
    let mut parser = Parser { pieces: pieces.iter() };
    match parser.block(0)? {
        (nodes, BlockEnd::Template) => Ok(nodes),
        (_, BlockEnd::Else { offset, .. }) => Err(Mistake::new(offset, "`else` without `if`")),
        (_, BlockEnd::Closed(offset)) => Err(Mistake::new(offset, "`end` without `if`")),
    }
}

enum BlockEnd<'a> {
    Template,
    Closed(usize),
    /// With the words after `else`.
    Else {
        offset: usize,
        rest: &'a [Token],
    },
}

struct Parser<'a> {
    pieces: std::slice::Iter<'a, Piece>,
}

impl<'a> Parser<'a> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, BlockEnd<'a>), Mistake> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (offset, tokens) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    continue;
                }
                Piece::Action { offset, tokens } => (*offset, tokens.as_slice()),
            };
            let (keyword, rest) = match tokens {
                [Token { kind: TokenKind::Word(word), .. }, rest @ ..] => (word.as_str(), rest),
                _ => ("", tokens),
            };
            match keyword {
                "if" => nodes.push(self.condition(offset, rest, depth + 1)?),
                "else" => return Ok((nodes, BlockEnd::Else { offset, rest })),
                "end" if rest.is_empty() => return Ok((nodes, BlockEnd::Closed(offset))),
                "range" | "with" | "define" | "template" | "block" | "break" | "continue" => {
                    return Err(Mistake::new(offset, format!("`{keyword}` is not supported in a cache key")));
                }
                _ => nodes.push(Node::Output(pipeline(offset, tokens)?)),
            }
        }
        Ok((nodes, BlockEnd::Template))
    }

    fn condition(&mut self, offset: usize, tokens: &[Token], depth: usize) -> Result<Node, Mistake> {
        if depth > DEPTH_MAX {
            return Err(Mistake::new(offset, "the template is nested too deeply"));
        }
        let condition = pipeline(offset, tokens)?;
        let unclosed = || Mistake::new(offset, "`if` without `end`");
        let (then, end) = self.block(depth)?;
        let otherwise = match end {
            BlockEnd::Template => return Err(unclosed()),
            BlockEnd::Closed(_) => Vec::new(),
            BlockEnd::Else { rest: [], .. } => match self.block(depth)? {
                (otherwise, BlockEnd::Closed(_)) => otherwise,
                (_, BlockEnd::Else { offset, .. }) => return Err(Mistake::new(offset, "a second `else`")),
                (_, BlockEnd::Template) => return Err(unclosed()),
            },
            // `else if` shares the `end` of its `if`.
            BlockEnd::Else { offset, rest: [Token { kind: TokenKind::Word(word), .. }, rest @ ..] } if word == "if" => {
                vec![self.condition(offset, rest, depth + 1)?]
            }
            BlockEnd::Else { offset, .. } => return Err(Mistake::new(offset, "unexpected words after `else`")),
        };
        Ok(Node::If { condition, then, otherwise })
    }
}

fn pipeline(offset: usize, tokens: &[Token]) -> Result<Pipeline, Mistake> {
    let mut words = Words { tokens, offset };
    let pipeline = words.pipeline(0)?;
    match words.next() {
        None => Ok(pipeline),
        Some(token) => Err(Mistake::new(token.offset, "unexpected `)`")),
    }
}

struct Words<'a> {
    tokens: &'a [Token],
    /// Where the last word began.
    offset: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        self.offset = first.offset;
        Some(first)
    }

    fn peek(&self) -> Option<&'a TokenKind> {
        self.tokens.first().map(|token| &token.kind)
    }

    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, Mistake> {
        let mut commands = vec![self.command(depth)?];
        while self.peek() == Some(&TokenKind::Pipe) {
            self.next();
            let command = self.command(depth)?;
            if !matches!(command.head, Operand::Function(_)) {
                return Err(Mistake::new(command.offset, "what follows `|` must be a function"));
            }
            commands.push(command);
        }
        Ok(Pipeline(commands))
    }

    fn command(&mut self, depth: usize) -> Result<Command, Mistake> {
        let mut command = self.operand(depth)?;
        while !matches!(self.peek(), None | Some(TokenKind::Pipe | TokenKind::Close)) {
            command.arguments.push(self.operand(depth)?);
        }
        if !command.arguments.is_empty() && !matches!(command.head, Operand::Function(_)) {
            return Err(Mistake::new(command.offset, "only a function can have arguments"));
        }
        Ok(command)
    }

    fn operand(&mut self, depth: usize) -> Result<Command, Mistake> {
        let token = self.next().ok_or_else(|| Mistake::new(self.offset, "a value is missing"))?;
        let head = match &token.kind {
            TokenKind::Word(word) if word == "true" || word == "false" => Operand::Bool(word == "true"),
            TokenKind::Word(word) => Operand::Function(word.clone()),
            TokenKind::String(text) => Operand::String(text.clone()),
            TokenKind::Integer(number) => Operand::Integer(*number),
            TokenKind::Open if depth >= DEPTH_MAX => {
                return Err(Mistake::new(token.offset, "the template is nested too deeply"));
            }
            TokenKind::Open => {
                let inner = self.pipeline(depth + 1)?;
                if self.next().is_none_or(|close| close.kind != TokenKind::Close) {
                    return Err(Mistake::new(token.offset, "`(` without `)`"));
                }
                Operand::Parentheses(inner)
            }
            TokenKind::Pipe | TokenKind::Close => return Err(Mistake::new(token.offset, "a value is missing")),
        };
        Ok(Command { offset: token.offset, head, arguments: Vec::new() })
    }
}
