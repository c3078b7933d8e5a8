//! The events of the parser into trees, one for each document.
//!
//! Aliases are replaced by what they stand for; budgets bound what that may grow to, so that a small file cannot become a
//! large tree.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{
    DEPTH_MAX, DOCUMENTS_MAX, Failure, NODES_MAX, TEXT_BYTES_MAX,
    merge::Entries,
    scalar::{Style, scalar},
};
use crate::node::{Key, Node, NodeKind, Position};

type Result<T> = std::result::Result<T, Failure>;

/// The documents of a file that say something.
pub(super) fn documents(text: &str) -> Result<Vec<Node>> {
    let mut options = Options::default();
    options.emit_comments = false;
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        size: Size::default(),
        misplaced: None,
    };
    let mut documents = Vec::new();
    let mut started = 0;
    // Of the first document: no other is read.
    let mut misplaced = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => return misplaced.map_or(Ok(documents), Err),
            Event::DocumentStart(..) => {
                started += 1;
                if started > DOCUMENTS_MAX {
                    return Err(Failure::TooManyDocuments { position: position(&span) });
                }
                // Anchors are those of their document.
                builder.anchors.clear();
            }
            Event::StreamStart | Event::DocumentEnd => {}
            event => {
                let root = builder.node(event, &span, 0)?.node;
                if root.kind != NodeKind::Null {
                    if documents.is_empty() {
                        misplaced = builder.misplaced.take();
                    }
                    documents.push(root);
                }
            }
        }
    }
}

/// What a tree takes, with what its aliases stand for.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    text_bytes: usize,
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What aliases stand for, by the numbers of the parser.
    anchors: HashMap<usize, Anchored>,
    /// Of all documents so far.
    size: Size,
    /// The first that is no value where it stands. That the file is no YAML further down is worse, and said instead.
    misplaced: Option<Failure>,
}

/// A node with all below it.
struct Built {
    node: Node,
    /// How many lists and maps are nested in it, itself included.
    height: usize,
    is_merge_key: bool,
}

/// What an alias stands for.
struct Anchored {
    node: Node,
    height: usize,
    size: Size,
    is_merge_key: bool,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(event) => event.map_err(|error| broken(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The node that begins with `event`, below so many lists and maps.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Built> {
        let at = position(span);
        let before = self.size;
        if let Event::Alias(id) = event {
            return self.alias(id, at, depth);
        }
        let anchor = event.anchor_id();
        refuse_tag(&event, at)?;
        self.grow(Size { nodes: 1, text_bytes: 0 }, at)?;
        let built = match event {
            Event::Scalar(text, style, _, tag) => {
                self.grow(Size { nodes: 0, text_bytes: text.len() }, at)?;
                let is_merge_key = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                let kind = scalar(text.into_owned(), style_of(style, tag.as_deref()));
                Built { node: Node { position: at, kind }, height: 0, is_merge_key }
            }
            Event::SequenceStart(..) => self.list(at, depth + 1)?,
            Event::MappingStart(..) => self.map(at, depth + 1)?,
            _ => return Err(Failure::Broken { position: at, message: "a value is missing".to_owned() }),
        };
        if let Some(id) = anchor {
            let size =
                Size { nodes: self.size.nodes - before.nodes, text_bytes: self.size.text_bytes - before.text_bytes };
            let Built { node, height, is_merge_key } = &built;
            let anchored = Anchored { node: node.clone(), height: *height, size, is_merge_key: *is_merge_key };
            self.anchors.insert(id, anchored);
        }
        Ok(built)
    }

    fn alias(&mut self, id: usize, at: Position, depth: usize) -> Result<Built> {
        // One that stands for what it is itself a part of is not there yet.
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Failure::Broken {
                position: at,
                message: "alias stands for a value that it is a part of".into(),
            });
        };
        let (size, height) = (anchored.size, anchored.height);
        // Before it is copied: that is what is bounded.
        self.grow(size, at)?;
        require_depth(depth + height, at)?;
        let Anchored { node, is_merge_key, .. } = &self.anchors[&id];
        Ok(Built { node: node.clone(), height, is_merge_key: *is_merge_key })
    }

    fn list(&mut self, at: Position, depth: usize) -> Result<Built> {
        require_depth(depth, at)?;
        let (mut items, mut height) = (Vec::new(), 0);
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Built {
                    node: Node { position: at, kind: NodeKind::List(items) },
                    height: height + 1,
                    is_merge_key: false,
                });
            }
            let built = self.node(event, &span, depth)?;
            height = height.max(built.height);
            items.push(built.node);
        }
    }

    fn map(&mut self, at: Position, depth: usize) -> Result<Built> {
        require_depth(depth, at)?;
        let (mut entries, mut height) = (Entries::default(), 0);
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                let kind = NodeKind::Map(entries.finish());
                return Ok(Built { node: Node { position: at, kind }, height: height + 1, is_merge_key: false });
            }
            let key = self.node(event, &span, depth)?;
            height = height.max(key.height);
            let is_merge_key = key.is_merge_key;
            let key = self.placed(key_of(key.node));
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth)?;
            height = height.max(value.height);
            if is_merge_key {
                let merged = entries.merge(value.node);
                self.placed(merged);
            } else if let Some(key) = key {
                entries.push(key, value.node);
            }
        }
    }

    /// What is where it may be; what is not is said at the end.
    fn placed<T>(&mut self, value: std::result::Result<T, (Position, String)>) -> Option<T> {
        let misplaced = |(position, message)| Failure::Misplaced { position, message };
        value.map_err(|error| self.misplaced.get_or_insert_with(|| misplaced(error)).clone()).ok()
    }

    fn grow(&mut self, by: Size, at: Position) -> Result<()> {
        self.size.nodes = self.size.nodes.saturating_add(by.nodes);
        self.size.text_bytes = self.size.text_bytes.saturating_add(by.text_bytes);
        match self.size.nodes > NODES_MAX || self.size.text_bytes > TEXT_BYTES_MAX {
            true => Err(Failure::TooLarge { position: at }),
            false => Ok(()),
        }
    }
}

/// A tag of a scalar before a list or a map.
fn refuse_tag(event: &Event<'_>, at: Position) -> Result<()> {
    let tag = event.tag().filter(|_| event.scalar().is_none()).and_then(Tag::core_suffix);
    match tag {
        Some(tag @ ("str" | "int" | "float" | "bool" | "null" | "binary")) => {
            Err(Failure::Broken { position: at, message: format!("unsupported tag `!!{tag}`") })
        }
        _ => Ok(()),
    }
}

fn require_depth(depth: usize, at: Position) -> Result<()> {
    if depth > DEPTH_MAX { Err(Failure::TooDeep { position: at }) } else { Ok(()) }
}

fn key_of(node: Node) -> std::result::Result<Key, (Position, String)> {
    match node.kind {
        NodeKind::Scalar(scalar) => Ok(Key { position: node.position, text: scalar.text }),
        _ => Err((node.position, format!("a key must be a string, and this is {}", node.describe()))),
    }
}

fn style_of(style: ScalarStyle, tag: Option<&Tag>) -> Style {
    match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Text,
        ScalarStyle::Plain => match tag {
            // What others mean is not known here, so the text decides.
            Some(tag) if matches!(tag.core_suffix(), Some("str" | "binary")) || tag.suffix() == "!" => Style::Text,
            _ => Style::Plain,
        },
    }
}

fn position(span: &Span) -> Position {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(span.start.line()), column: number(span.start.col() + 1) }
}

fn broken(error: &ScanError) -> Failure {
    let position = position(&Span::empty(*error.marker()));
    let message = match error.kind() {
        ErrorKind::UnknownAnchor => "alias references unknown anchor".to_owned(),
        _ => error.info().to_string(),
    };
    Failure::Broken { position, message }
}
