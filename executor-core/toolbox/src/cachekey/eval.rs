//! What is the value of an action?

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;

use jiff::tz::TimeZone;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::parse::{Command, Node, Operand, Pipeline};
use super::{Context, Mistake, printf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Bool(bool),
}

impl Value {
    fn is_true(&self) -> bool {
        match self {
            Value::String(text) => !text.is_empty(),
            Value::Integer(number) => *number != 0,
            Value::Bool(truth) => *truth,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::String(text) => f.write_str(text),
            Value::Integer(number) => number.fmt(f),
            Value::Bool(truth) => truth.fmt(f),
        }
    }
}

pub(super) struct Evaluator<'a> {
    pub(super) context: &'a Context,
}

impl Evaluator<'_> {
    /// Appends what `nodes` render to.
    pub(super) fn nodes(&self, nodes: &[Node], key: &mut String) -> Result<(), Mistake> {
        for node in nodes {
            match node {
                Node::Text(text) => key.push_str(text),
                Node::Output(pipeline) => {
                    let value = self.pipeline(pipeline)?;
                    write!(key, "{value}").expect("a string takes everything");
                }
                Node::If { condition, then, otherwise } => {
                    let branch = if self.pipeline(condition)?.is_true() { then } else { otherwise };
                    self.nodes(branch, key)?;
                }
            }
        }
        Ok(())
    }

    fn pipeline(&self, Pipeline(commands): &Pipeline) -> Result<Value, Mistake> {
        let mut value = None;
        for command in commands {
            value = Some(self.command(command, value)?);
        }
        Ok(value.expect("the parser makes no empty pipeline"))
    }

    fn command(&self, command: &Command, piped: Option<Value>) -> Result<Value, Mistake> {
        match &command.head {
            Operand::String(text) => Ok(Value::String(text.clone())),
            Operand::Integer(number) => Ok(Value::Integer(*number)),
            Operand::Bool(truth) => Ok(Value::Bool(*truth)),
            Operand::Parentheses(pipeline) => self.pipeline(pipeline),
            Operand::Function(name) if name == "and" || name == "or" => self.decide(name, command, piped),
            Operand::Function(name) => {
                let mut arguments = Vec::new();
                for argument in &command.arguments {
                    arguments.push(self.command(argument, None)?);
                }
                arguments.extend(piped);
                self.call(name, &arguments).map_err(|message| Mistake::new(command.offset, message))
            }
        }
    }

    // As in Go, what comes after the deciding argument is not evaluated.
    fn decide(&self, name: &str, command: &Command, piped: Option<Value>) -> Result<Value, Mistake> {
        let mut last = None;
        for argument in &command.arguments {
            let value = self.command(argument, None)?;
            if value.is_true() == (name == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| Mistake::new(command.offset, format!("`{name}` needs an argument")))
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let text = |text: String| Ok(Value::String(text));
        match (name, arguments) {
            ("md5sum", [Value::String(file)]) => text(self.hash_of::<Md5>(file)?),
            ("sha256sum", [Value::String(file)]) => text(self.hash_of::<Sha256>(file)?),
            ("env", [Value::String(name)]) => text(self.context.environment.get(name).cloned().unwrap_or_default()),
            ("os", []) => text(std::env::consts::OS.to_owned()),
            ("arch", []) => text(arch().to_owned()),
            ("unixtime", []) => text(self.now()?.as_nanosecond().to_string()),
            ("year", []) => text(self.date("%Y")?),
            ("month", []) => text(self.date("%m")?),
            ("day", []) => text(self.date("%d")?),
            ("printf", [Value::String(format), values @ ..]) => text(printf::printf(format, values)?),
            ("not", [value]) => Ok(Value::Bool(!value.is_true())),
            ("eq", [first, others @ ..]) if !others.is_empty() => {
                let mut equal = false;
                for other in others {
                    equal |= same(first, other)?;
                }
                Ok(Value::Bool(equal))
            }
            ("ne", [one, other]) => Ok(Value::Bool(!same(one, other)?)),
            ("md5sum" | "sha256sum" | "env", _) => Err(format!("`{name}` needs one argument, a string")),
            ("os" | "arch" | "unixtime" | "year" | "month" | "day", _) => Err(format!("`{name}` takes no argument")),
            ("printf", _) => Err("`printf` needs a format, a string".into()),
            ("not", _) => Err("`not` needs one argument".into()),
            ("eq" | "ne", _) => Err(format!("`{name}` needs two arguments")),
            _ => Err(format!(
                "there is no function `{name}`; there are md5sum, sha256sum, env, os, arch, unixtime, year, month, day, \
                 printf, eq, ne, and, or, not"
            )),
        }
    }

    fn hash_of<D: Digest>(&self, file: &str) -> Result<String, String> {
        let unreadable = |error: std::io::Error| format!("cannot read `{file}`: {error}");
        let mut opened = File::open(self.context.working_dir.join(file)).map_err(unreadable)?;
        let mut hash = D::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match opened.read(&mut buffer).map_err(unreadable)? {
                0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
                count => hash.update(&buffer[..count]),
            }
        }
    }

    fn now(&self) -> Result<jiff::Timestamp, String> {
        jiff::Timestamp::try_from(self.context.now).map_err(|_| "the clock is beyond the year 9999".to_owned())
    }

    fn date(&self, format: &str) -> Result<String, String> {
        Ok(self.now()?.to_zoned(TimeZone::UTC).strftime(format).to_string())
    }
}

fn same(one: &Value, other: &Value) -> Result<bool, String> {
    if std::mem::discriminant(one) != std::mem::discriminant(other) {
        return Err(format!("`{one}` and `{other}` are of different kinds and cannot be compared"));
    }
    Ok(one == other)
}

// Keys are shared with what Go programs have called these machines for years.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
