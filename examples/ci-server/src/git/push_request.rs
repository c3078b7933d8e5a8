//! What does a client of `git push` say, and what is it told? (*gitprotocol-pack*, "Pushing Data To a Server")

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncRead;

use super::{Error, Result, pktline, pktline::Packet};
use crate::configdata::{ObjectId, RefName};

/// The most that the commands of a push may take, in bytes: about ten thousand refs. Rows and triggers of a ref take up
/// to four times as much, and a transaction holds 4 MiB.
const COMMAND_BYTES_MAX: usize = 1 << 20;

/// What this server can do, as it is advertised.
const CAPABILITIES: &str = concat!(
    "report-status delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 agent=runyard/",
    env!("CARGO_PKG_VERSION")
);

/// The head of a push, before its pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PushRequest {
    pub(super) commands: Vec<Command>,
    /// Whether the client wants to hear what became of each ref.
    pub(super) report_status: bool,
    /// Whether the reply may mix data with messages for the user.
    pub(super) side_band: bool,
    pub(super) atomic: bool,
    /// Whether the client has only the newest part of the history.
    pub(super) shallow: bool,
}

/// What a push asks of one ref. The name is as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) old: Option<ObjectId>,
    pub(super) new: Option<ObjectId>,
}

impl PushRequest {
    /// Reads the commands, up to where the pack begins.
    pub(super) async fn read(input: &mut (impl AsyncRead + Unpin)) -> Result<Self> {
        let mut request = Self::default();
        let mut size = 0;
        loop {
            match pktline::read(input).await {
                Ok(None | Some(Packet::Flush)) => return Ok(request),
                Ok(Some(Packet::Data(line))) => {
                    size += line.len();
                    if size > COMMAND_BYTES_MAX {
                        return Err(Error::Protocol(
                            "it changes too many refs: push some thousands of them at a time".to_owned(),
                        ));
                    }
                    request.add_line(&line)?;
                }
                Ok(Some(Packet::Special)) => {
                    return Err(Error::Protocol("a push has no protocol version 2".to_owned()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(Error::Protocol(error.to_string()));
                }
                Err(error) => return Err(Error::Body(error)),
            }
        }
    }

    fn add_line(&mut self, line: &[u8]) -> Result<()> {
        let invalid = || Error::Protocol(format!("`{}` is not a command of a push", line.escape_ascii()));
        let text = std::str::from_utf8(line).map_err(|_| invalid())?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.starts_with("shallow ") {
            self.shallow = true;
            return Ok(());
        }
        let (command, capabilities) = text.split_once('\0').unwrap_or((text, ""));
        for capability in capabilities.split(' ') {
            match capability {
                "report-status" => self.report_status = true,
                "side-band-64k" => self.side_band = true,
                "atomic" => self.atomic = true,
                other if other.starts_with("object-format=") && other != "object-format=sha1" => {
                    return Err(Error::Protocol("this server keeps SHA-1 repositories only".to_owned()));
                }
                _ => {}
            }
        }
        let mut parts = command.splitn(3, ' ');
        let mut object = || match parts.next()? {
            ObjectId::ZERO => Some(None),
            text => text.parse().ok().map(Some),
        };
        let (old, new) = (object().ok_or_else(invalid)?, object().ok_or_else(invalid)?);
        let name = parts.next().ok_or_else(invalid)?.to_owned();
        self.commands.push(Command { name, old, new });
        Ok(())
    }
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether the pack was taken; if not, no ref was changed.
    pub(super) unpack: Result<(), String>,
    /// One for each command, in its order.
    pub(super) refs: Vec<Result<(), String>>,
    /// For the user, after `remote: `.
    pub(super) messages: Vec<String>,
}

impl Report {
    /// The answer to a push of which nothing was done.
    pub(super) fn failed(request: &PushRequest, reason: String) -> Self {
        let refs = vec![Err("nothing of the push was taken".to_owned()); request.commands.len()];
        Self { messages: vec![reason.clone()], unpack: Err(reason), refs }
    }

    /// The body of the reply.
    pub(super) fn encode(&self, request: &PushRequest) -> Bytes {
        let mut status = BytesMut::new();
        match &self.unpack {
            Ok(()) => pktline::write(&mut status, "unpack ok\n"),
            Err(reason) => pktline::write(&mut status, format!("unpack {}\n", one_line(reason))),
        }
        for (command, outcome) in request.commands.iter().zip(&self.refs) {
            match outcome {
                Ok(()) => pktline::write(&mut status, format!("ok {}\n", command.name)),
                Err(reason) => pktline::write(&mut status, format!("ng {} {}\n", command.name, one_line(reason))),
            }
        }
        pktline::flush(&mut status);
        let mut reply = BytesMut::new();
        if !request.side_band {
            return if request.report_status { status.freeze() } else { reply.freeze() };
        }
        for message in &self.messages {
            pktline::write_band(&mut reply, pktline::BAND_MESSAGE, format!("{message}\n").as_bytes());
        }
        if request.report_status {
            pktline::write_band(&mut reply, pktline::BAND_DATA, &status);
        }
        pktline::flush(&mut reply);
        reply.freeze()
    }
}

/// A reason must fit one line of the report.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(1000).collect()
}

/// The list of refs that a push begins with.
pub(super) fn advertisement(refs: &[(RefName, ObjectId)], protocol: &str) -> Bytes {
    let mut out = BytesMut::new();
    pktline::write(&mut out, "# service=git-receive-pack\n");
    pktline::flush(&mut out);
    if protocol.split(':').any(|part| part == "version=1") {
        pktline::write(&mut out, "version 1\n");
    }
    if refs.is_empty() {
        pktline::write(&mut out, format!("{} capabilities^{{}}\0{CAPABILITIES}\n", ObjectId::ZERO));
    }
    for (index, (name, object)) in refs.iter().enumerate() {
        match index {
            0 => pktline::write(&mut out, format!("{object} {name}\0{CAPABILITIES}\n")),
            _ => pktline::write(&mut out, format!("{object} {name}\n")),
        }
    }
    pktline::flush(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(lines: &[String]) -> Result<PushRequest> {
        let mut input = BytesMut::new();
        lines.iter().for_each(|line| pktline::write(&mut input, line));
        pktline::flush(&mut input);
        input.extend_from_slice(b"PACK");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut rest = &input[..];
        let request = runtime.block_on(PushRequest::read(&mut rest))?;
        assert_eq!(rest, b"PACK", "the pack is left to be read");
        Ok(request)
    }

    #[test]
    fn commands_and_capabilities_are_read_up_to_the_pack() {
        let zero = ObjectId::ZERO;
        let request = parse(&[
            format!("shallow {A}\n"),
            format!("{A} {B} refs/heads/a b\0 report-status side-band-64k atomic object-format=sha1 agent=git/2\n"),
            format!("{zero} {B} refs/heads/new"),
            format!("{A} {zero} refs/heads/old"),
        ])
        .expect("valid");
        assert!(request.report_status && request.side_band && request.atomic && request.shallow);
        let object = |text: &str| Some(text.parse().expect("an object id"));
        let expected = [
            Command { name: "refs/heads/a b".to_owned(), old: object(A), new: object(B) },
            Command { name: "refs/heads/new".to_owned(), old: None, new: object(B) },
            Command { name: "refs/heads/old".to_owned(), old: object(A), new: None },
        ];
        assert_eq!(request.commands, expected);
    }

    #[test]
    fn what_is_not_a_command_is_refused() {
        for bad in [
            "hello".to_owned(),
            format!("{A} {B}"),
            format!("{A} xyz refs/heads/a"),
            format!("{A} {B} refs/heads/a\0object-format=sha256"),
        ] {
            assert!(matches!(parse(std::slice::from_ref(&bad)), Err(Error::Protocol(_))), "{bad}");
        }
    }

    #[test]
    fn the_report_names_every_ref_and_its_reason_on_one_line() {
        let mut request =
            parse(&[format!("{A} {B} refs/heads/a\0report-status"), format!("{A} {B} refs/heads/b")]).expect("valid");
        let report = Report {
            unpack: Ok(()),
            refs: vec![Ok(()), Err("first\nsecond".to_owned())],
            messages: vec!["hello".to_owned()],
        };
        let plain = "000eunpack ok\n0014ok refs/heads/a\n0021ng refs/heads/b first second\n0000";
        assert_eq!(report.encode(&request), plain);
        request.side_band = true;
        let banded = format!("000b\x02hello\n{:04x}\x01{plain}0000", plain.len() + 5);
        assert_eq!(report.encode(&request), banded);
    }
}
