//! The tree that every format becomes: maps, lists and scalars, each with the place where it is written.
//!
//! Scalars keep their text, so that a reader of the tree decides what `1.10` or `yes` is: it knows what it expects.

use std::fmt;

/// Where something is written; both count from 1. 0: the format does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Nothing, or the word `null`.
    Null,
    /// A piece of text, perhaps a number or a boolean.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Entries in the order of the file. A key may occur twice.
    Map(Vec<(Key, Node)>),
}

/// A piece of text and what the format takes it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text as it is written, without quotes.
    pub text: String,
    /// What the format takes it for.
    pub kind: ScalarKind,
}

/// What the format takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// Text without quotes, such as `yes`, or in a block.
    Plain,
    /// Text in quotes.
    Quoted,
}

/// The key of an entry and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub position: Position,
    /// Its text.
    pub text: String,
}

impl Node {
    /// What the node is, as a phrase for a message.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Scalar(scalar) => match scalar.kind {
                ScalarKind::Bool => "a boolean",
                ScalarKind::Number => "a number",
                ScalarKind::Plain | ScalarKind::Quoted => "a string",
            },
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }
}

impl From<&serde_json::Value> for Node {
    /// What a program has made: nothing of it is written anywhere.
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        let position = Position::default();
        let scalar = |text: String, kind| NodeKind::Scalar(Scalar { text, kind });
        let kind = match value {
            Value::Null => NodeKind::Null,
            Value::Bool(value) => scalar(value.to_string(), ScalarKind::Bool),
            Value::Number(number) => scalar(number.to_string(), ScalarKind::Number),
            Value::String(text) => scalar(text.clone(), ScalarKind::Quoted),
            Value::Array(values) => NodeKind::List(values.iter().map(Self::from).collect()),
            Value::Object(entries) => {
                let key = |text: &String| Key { position, text: text.clone() };
                NodeKind::Map(entries.iter().map(|(name, value)| (key(name), Self::from(value))).collect())
            }
        };
        Self { position, kind }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
