//! Messages to the kernel's nftables, and its answers.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Room for a part of an answer.
const ROOM: usize = 32 << 10;

/// A socket that talks with the nftables of the network namespace it was opened in.
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one.
    pub fn open() -> Result<Self> {
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        Ok(Self(socket_with(family, SocketType::RAW, flags, Some(NETFILTER))?))
    }

    /// Adds all that the commands say, or nothing; it must be new.
    pub fn add(&self, family: NetfilterProtoFamily, commands: Vec<NfTablesMessage>) -> Result<()> {
        self.change(family, NLM_F_CREATE | NLM_F_EXCL, commands)
    }

    /// Removes what the command says.
    pub fn remove(&self, family: NetfilterProtoFamily, command: NfTablesMessage) -> Result<()> {
        self.change(family, 0, vec![command])
    }

    /// Makes changes to a family, all or none.
    fn change(&self, family: NetfilterProtoFamily, flags: u16, commands: Vec<NfTablesMessage>) -> Result<()> {
        let count = commands.len();
        let each = commands.into_iter().map(|command| message(family, flags | NLM_F_ACK, command.into()));
        // A batch says whom it is for where other messages have nothing.
        let limit = |what: ControlMessage| {
            let to = u8::from(NetfilterSubsystem::NfTables).into();
            let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, to);
            serialized(NetlinkMessage::from(NetfilterMessage::new(header, what)), 0)
        };
        let begin = [limit(ControlMessage::BatchBegin)].into_iter();
        let batch: Vec<u8> = begin.chain(each).chain([limit(ControlMessage::BatchEnd)]).flatten().collect();
        let answers = self.exchange(&batch)?;
        let done = answers.iter().filter(|answer| matches!(answer.payload, NetlinkPayload::Error(_))).count();
        if done < count { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Everything that a question is about, of all families.
    pub fn list(&self, question: NfTablesMessage) -> Result<Vec<(NetfilterProtoFamily, NfTablesMessage)>> {
        let answers = self.exchange(&message(NetfilterProtoFamily::Unspec, NLM_F_DUMP, question.into()))?;
        let inner = answers.into_iter().filter_map(|answer| match answer.payload {
            NetlinkPayload::InnerMessage(NetfilterMessage {
                header,
                inner: NetfilterMessageInner::NfTables(told),
                ..
            }) => Some((header.family, told)),
            _ => None,
        });
        Ok(inner.collect())
    }

    /// Sends, and reads all answers: the kernel has written them when it has taken the messages.
    fn exchange(&self, bytes: &[u8]) -> Result<Vec<NetlinkMessage<NetfilterMessage>>> {
        send(&self.0, bytes, SendFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; ROOM];
        loop {
            match recv(&self.0, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((_, length)) => answers.extend(parse(&buffer[..length.min(ROOM)])?),
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let error = answers.iter().find_map(|answer| match &answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Some(error.to_io()),
            _ => None,
        });
        error.map_or(Ok(answers), Err)
    }
}

/// A message to nftables.
fn message(family: NetfilterProtoFamily, flags: u16, inner: NetfilterMessageInner) -> Vec<u8> {
    let header = NetfilterHeader::new(family, 0, 0);
    serialized(NetlinkMessage::from(NetfilterMessage::new(header, inner)), flags)
}

/// The bytes of a message. Nobody needs its number: answers come in order.
fn serialized(mut message: NetlinkMessage<NetfilterMessage>, flags: u16) -> Vec<u8> {
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Takes answers apart that came together.
fn parse(mut bytes: &[u8]) -> Result<Vec<NetlinkMessage<NetfilterMessage>>> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let answer = NetlinkMessage::deserialize(bytes).map_err(Error::other)?;
        let length = (answer.header.length as usize).next_multiple_of(4);
        bytes = bytes.get(length..).unwrap_or_default();
        answers.push(answer);
    }
    Ok(answers)
}
