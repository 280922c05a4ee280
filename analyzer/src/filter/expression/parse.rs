//! The grammar of pcap-filter(7).

use super::lexer::{Token, tokens};
use super::lower::{Layers, Side, length};
use super::names::{self, ARP, IP, IP6, Protocol, RARP};
use super::{Joint, Operator, Relation, Test, Value, Wrong};

/// How deep parentheses and arithmetic may be nested.
const DEEPEST: usize = 64;
/// How many operators arithmetic may have: each nests the ones before it.
const MOST_OPERATORS: usize = 128;
/// How tightly a minus before a number binds: more than all but `%` and `^`.
const UNARY: u8 = 15;

/// Parses an expression.
pub fn parse(text: &str) -> Result<Test, Wrong> {
    let end = text.chars().count() + 1;
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end, layers: Layers::default(), depth: 0 };
    let (test, _) = parser.chain(None)?;
    match parser.peek() {
        None => Ok(test),
        Some(_) => Err(parser.unexpected("and, or, or the end")),
    }
}

/// What stands before an identifier, and is inherited by the next: `port 80 or 443`.
#[derive(Clone, Copy, Debug)]
struct Qualifier {
    /// The protocol, if one was named.
    protocol: Option<Protocol>,
    /// The side.
    side: Side,
    /// Whether a side was named.
    sided: bool,
    /// What the identifier is.
    kind: Kind,
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An address.
    Host,
    /// A network.
    Net,
    /// A port.
    Port,
    /// A range of ports.
    PortRange,
    /// A protocol.
    Proto,
}

/// A part of an expression.
enum Operand {
    /// Something that fits or not, and the qualifier that the next identifier inherits.
    Test(Test, Option<Qualifier>),
    /// A number, with what must hold so that there is one.
    Number(Arithmetic),
}

/// A number with what must hold so that there is one.
struct Arithmetic {
    /// The number.
    value: Value,
    /// Protocols whose headers are looked at.
    checks: Vec<Test>,
    /// Operators in it.
    operators: usize,
}

impl Arithmetic {
    /// A number that hangs on nothing.
    fn plain(value: Value) -> Self {
        Self { value, checks: Vec::new(), operators: 0 }
    }
}

/// Where the parser is.
struct Parser {
    /// The tokens with their places.
    tokens: Vec<(Token, usize)>,
    /// The next of them.
    next: usize,
    /// The place behind the text.
    end: usize,
    /// Headers before the one that is meant.
    layers: Layers,
    /// How many parentheses are open.
    depth: usize,
}

impl Parser {
    /// The next token.
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    /// Where the next token is.
    fn place(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    /// The next token if it is this symbol.
    fn symbol(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(symbol)) if *symbol == wanted);
        self.next += usize::from(found);
        found
    }

    /// The next token if it is this word.
    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word == wanted);
        self.next += usize::from(found);
        found
    }

    /// The word that comes next.
    fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// An error at the next token.
    fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong { why: why.into(), at: self.place() }
    }

    /// An error about the token before the next.
    fn wrong_before(&self, why: impl Into<String>) -> Wrong {
        let at =
            self.next.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(self.end, |(_, at)| *at);
        Wrong { why: why.into(), at }
    }

    /// The next token is not what it should be.
    fn unexpected(&self, wanted: &str) -> Wrong {
        match self.peek() {
            None => self.wrong(format!("it ends where {wanted} should follow")),
            Some(Token::Word(word)) if names::is_elsewhere(word) => {
                self.wrong(format!("\"{word}\" cannot be asked of recorded headers"))
            }
            Some(Token::Word(word)) if !is_known(word) => self.wrong(format!("unknown word \"{word}\"")),
            Some(token) => self.wrong(format!("\"{token}\" where {wanted} should follow")),
        }
    }

    /// Takes a symbol that must come.
    fn expect(&mut self, wanted: &str) -> Result<(), Wrong> {
        if self.symbol(wanted) { Ok(()) } else { Err(self.unexpected(&format!("\"{wanted}\""))) }
    }

    /// Takes a number that must come.
    fn number(&mut self) -> Result<u32, Wrong> {
        let Some(Token::Number(number)) = self.peek() else { return Err(self.unexpected("a number")) };
        let number = *number;
        self.next += 1;
        Ok(number)
    }

    /// Goes into parentheses.
    fn open(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            Err(self.wrong(format!("more than {DEEPEST} parentheses are open")))
        } else {
            Ok(())
        }
    }

    /// `and` or `or`.
    fn joint(&mut self) -> Option<Joint> {
        if self.word("and") || self.symbol("&&") {
            Some(Joint::And)
        } else if self.word("or") || self.symbol("||") {
            Some(Joint::Or)
        } else {
            None
        }
    }

    /// Tests that are joined, from left to right.
    fn chain(&mut self, inherited: Option<Qualifier>) -> Result<(Test, Option<Qualifier>), Wrong> {
        let first = self.operand(inherited)?;
        self.chain_from(first, inherited)
    }

    /// The rest of a chain whose first operand was read.
    fn chain_from(
        &mut self,
        first: Operand,
        inherited: Option<Qualifier>,
    ) -> Result<(Test, Option<Qualifier>), Wrong> {
        let (first, mut qualifier) = self.test_of(first, inherited)?;
        let mut rest = Vec::new();
        while let Some(joint) = self.joint() {
            let operand = self.operand(qualifier)?;
            let (test, next) = self.test_of(operand, qualifier)?;
            qualifier = next;
            rest.push((joint, test));
        }
        let test = if rest.is_empty() { first } else { Test::Chain(Box::new(first), rest) };
        Ok((test, qualifier))
    }

    /// An operand as a test: a number alone is an identifier, if there is a qualifier to inherit.
    fn test_of(
        &mut self,
        operand: Operand,
        inherited: Option<Qualifier>,
    ) -> Result<(Test, Option<Qualifier>), Wrong> {
        match (operand, inherited) {
            (Operand::Test(test, qualifier), _) => Ok((test, qualifier)),
            (Operand::Number(Arithmetic { value: Value::Number(number), .. }), Some(qualifier)) => {
                Ok((self.numbered(number, None, qualifier)?, inherited))
            }
            _ => Err(self.unexpected("a comparison, such as = 5,")),
        }
    }

    /// One operand.
    fn operand(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        let mut negated = false;
        let mut any = false;
        while self.word("not") {
            negated = !negated;
            any = true;
        }
        let operand = if self.symbol("(") { self.group(inherited)? } else { self.primary(inherited)? };
        if !any {
            return Ok(operand);
        }
        let (test, qualifier) = self.test_of(operand, inherited)?;
        Ok(Operand::Test(if negated { Test::Not(Box::new(test)) } else { test }, qualifier))
    }

    /// What stands in parentheses, of which the first is read, and arithmetic that goes on behind it.
    fn group(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        self.open()?;
        let first = self.operand(inherited)?;
        let alone = matches!(self.peek(), Some(Token::Symbol(")")));
        let found = match first {
            Operand::Number(number) if alone => Operand::Number(number),
            first => Operand::Test(self.chain_from(first, inherited)?.0, inherited),
        };
        self.expect(")")?;
        self.depth -= 1;
        match found {
            Operand::Number(number) => self.compared(number),
            test => Ok(test),
        }
    }

    /// A comparison whose left side was begun, or the number alone.
    fn compared(&mut self, left: Arithmetic) -> Result<Operand, Wrong> {
        let mut left = self.arithmetic_from(left, 0)?;
        let Some(relation) = self.relation() else { return Ok(Operand::Number(left)) };
        let right = self.arithmetic(0)?;
        let compare = Test::Compare(left.value, relation, right.value);
        left.checks.extend(right.checks);
        left.checks.push(compare);
        Ok(Operand::Test(super::lower::all(left.checks), None))
    }

    /// A relation.
    fn relation(&mut self) -> Option<Relation> {
        let Some(Token::Symbol(symbol)) = self.peek() else { return None };
        let relation = match *symbol {
            "=" | "==" => Relation::Equal,
            "!=" => Relation::NotEqual,
            "<" => Relation::Less,
            "<=" => Relation::AtMost,
            ">" => Relation::Greater,
            ">=" => Relation::AtLeast,
            _ => return None,
        };
        self.next += 1;
        Some(relation)
    }

    /// An operand that begins with none of `not` and a parenthesis.
    fn primary(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        if self.begins_number() {
            let left = self.unary()?;
            return self.compared(left);
        }
        let Some(word) = self.peek_word().map(str::to_owned) else {
            return self.inherit(inherited);
        };
        let plain = |test| Ok(Operand::Test(test, None));
        match word.as_str() {
            "less" | "greater" => {
                self.next += 1;
                let relation = if word == "less" { Relation::AtMost } else { Relation::AtLeast };
                plain(length(relation, self.number()?))
            }
            "vlan" => {
                self.next += 1;
                let number = self.vlan_number()?;
                plain(self.layers.vlan(number))
            }
            "broadcast" | "multicast" => plain(self.group_address(Protocol::Link)?),
            _ if names::protocol(&word).is_some() || is_qualifier(&word) => self.qualified(),
            _ => self.inherit(inherited),
        }
    }

    /// An identifier whose qualifier stands before the one before it.
    fn inherit(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        match (inherited, self.peek()) {
            (Some(qualifier), Some(_)) if !self.peek_word().is_some_and(is_known) => {
                Ok(Operand::Test(self.identifier(qualifier)?, inherited))
            }
            (None, Some(Token::Dotted(..) | Token::Ipv6(_) | Token::Mac(_))) => {
                Err(self.wrong("an address needs host or net before it"))
            }
            _ => Err(self.unexpected("a protocol, host, net, port, or a comparison")),
        }
    }

    /// The number of a VLAN, if there is one.
    fn vlan_number(&mut self) -> Result<Option<u32>, Wrong> {
        match self.peek() {
            Some(Token::Number(number)) if *number > 4095 => {
                Err(self.wrong("a VLAN's number is at most 4095"))
            }
            Some(Token::Number(_)) => self.number().map(Some),
            _ => Ok(None),
        }
    }

    /// `broadcast` or `multicast` of a protocol.
    fn group_address(&mut self, protocol: Protocol) -> Result<Test, Wrong> {
        let test = if self.word("broadcast") {
            match protocol {
                Protocol::Link => Some(self.layers.broadcast()),
                Protocol::Network(IP) => {
                    return Err(self.wrong_before(
                        "ip broadcast needs the network's mask, which is not recorded: use net",
                    ));
                }
                _ => None,
            }
        } else {
            self.next += 1;
            self.layers.multicast(protocol)
        };
        test.ok_or_else(|| {
            self.wrong_before("only ether, ip and ip6 have groups of receivers, which stand here")
        })
    }

    /// A primitive that begins with qualifiers.
    fn qualified(&mut self) -> Result<Operand, Wrong> {
        let protocol = self.peek_word().and_then(names::protocol);
        self.next += usize::from(protocol.is_some());
        if matches!(self.peek_word(), Some("broadcast" | "multicast"))
            && let Some(protocol) = protocol
        {
            return Ok(Operand::Test(self.group_address(protocol)?, None));
        }
        let (side, sided) = self.side();
        let kind = self.kind();
        match (protocol, kind) {
            (Some(protocol), None) if !sided => {
                let test = self.layers.protocol(protocol);
                let test =
                    test.ok_or_else(|| self.wrong_before("\"ether\" needs host, proto or [ behind it"))?;
                Ok(Operand::Test(test, None))
            }
            _ => {
                let qualifier = Qualifier { protocol, side, sided, kind: kind.unwrap_or(Kind::Host) };
                Ok(Operand::Test(self.identifiers(qualifier)?, Some(qualifier)))
            }
        }
    }

    /// The side that is named, and whether one is.
    fn side(&mut self) -> (Side, bool) {
        let first = match self.peek_word() {
            Some("src") => Side::Source,
            Some("dst") => Side::Destination,
            _ => return (Side::Either, false),
        };
        self.next += 1;
        let start = self.next;
        let other = if first == Side::Source { "dst" } else { "src" };
        match self.joint() {
            Some(joint) if self.word(other) => {
                (if joint == Joint::And { Side::Both } else { Side::Either }, true)
            }
            _ => {
                self.next = start;
                (first, true)
            }
        }
    }

    /// What the identifier is, if it is said.
    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek_word()? {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            "proto" => Kind::Proto,
            _ => return None,
        };
        self.next += 1;
        Some(kind)
    }

    /// An identifier, or several in parentheses.
    fn identifiers(&mut self, qualifier: Qualifier) -> Result<Test, Wrong> {
        let mut negated = false;
        while self.word("not") {
            negated = !negated;
        }
        let test = if self.symbol("(") {
            self.open()?;
            let first = self.identifiers(qualifier)?;
            let mut rest = Vec::new();
            while let Some(joint) = self.joint() {
                rest.push((joint, self.identifiers(qualifier)?));
            }
            self.expect(")")?;
            self.depth -= 1;
            if rest.is_empty() { first } else { Test::Chain(Box::new(first), rest) }
        } else {
            self.identifier(qualifier)?
        };
        Ok(if negated { Test::Not(Box::new(test)) } else { test })
    }

    /// An identifier.
    fn identifier(&mut self, qualifier: Qualifier) -> Result<Test, Wrong> {
        let wanted = match qualifier.kind {
            Kind::Host => "an address",
            Kind::Net => "a network",
            Kind::Port => "a port",
            Kind::PortRange => "a range of ports",
            Kind::Proto => "a protocol's number, or its name with a backslash,",
        };
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected(wanted)) };
        self.next += 1;
        match token {
            Token::Number(number) => self.numbered(number, None, qualifier),
            Token::Dotted(value, bits) => self.dotted(value, bits, qualifier),
            Token::Ipv6(address) => self.ipv6(address.to_bits(), qualifier),
            Token::Mac(mac) => self.station(mac, qualifier),
            Token::Name(name) => self.named(&name, qualifier),
            Token::Word(word) if !is_known(&word) => self.named(&word, qualifier),
            _ => {
                self.next -= 1;
                Err(self.unexpected(wanted))
            }
        }
    }

    /// An identifier that is a number; of several with dots also their bits.
    fn numbered(&mut self, value: u32, bits: Option<u32>, qualifier: Qualifier) -> Result<Test, Wrong> {
        let layers = self.layers;
        match qualifier.kind {
            Kind::Port => self.ports(value, value, qualifier),
            Kind::PortRange => self.ports(value, value, qualifier),
            Kind::Proto => self.carries(value, qualifier),
            Kind::Host | Kind::Net => {
                let of = self.network_of(qualifier, &[IP, ARP, RARP])?;
                // A network may be written by its first numbers only: 10 is 10.0.0.0/8.
                let unused = match bits {
                    Some(bits) => 32 - bits,
                    None if qualifier.kind == Kind::Net && value != 0 => value.leading_zeros() / 8 * 8,
                    None => 0,
                };
                let mask = u32::MAX.checked_shl(unused).unwrap_or(0);
                Ok(layers.host(of, qualifier.side, value.checked_shl(unused).unwrap_or(0), mask))
            }
        }
    }

    /// Numbers with dots: an address, or a network with its mask.
    fn dotted(&mut self, value: u32, bits: u32, qualifier: Qualifier) -> Result<Test, Wrong> {
        let mask = if self.symbol("/") {
            let length = self.number()?;
            let wrong = || self.wrong_before("a prefix of IPv4 has 0 to 32 bits");
            let unused = 32_u32.checked_sub(length).ok_or_else(wrong)?;
            u32::MAX.checked_shl(unused).unwrap_or(0)
        } else if self.word("mask") {
            let Some(Token::Dotted(mask, bits)) = self.peek() else { return Err(self.unexpected("a mask")) };
            let mask = mask << (32 - bits);
            self.next += 1;
            mask
        } else {
            return self.numbered(value, Some(bits), qualifier);
        };
        let address = value << (32 - bits);
        self.check_net(qualifier, address & !mask == 0)?;
        let of = self.network_of(qualifier, &[IP, ARP, RARP])?;
        Ok(self.layers.host(of, qualifier.side, address, mask))
    }

    /// An address of IPv6, or a network.
    fn ipv6(&mut self, address: u128, qualifier: Qualifier) -> Result<Test, Wrong> {
        let mut mask = u128::MAX;
        if self.symbol("/") {
            let length = self.number()?;
            let wrong = || self.wrong_before("a prefix of IPv6 has 0 to 128 bits");
            let unused = 128_u32.checked_sub(length).ok_or_else(wrong)?;
            mask = u128::MAX.checked_shl(unused).unwrap_or(0);
            if unused > 0 {
                self.check_net(qualifier, true)?;
            }
        }
        self.check_net(Qualifier { kind: Kind::Net, ..qualifier }, address & !mask == 0)?;
        if !matches!(qualifier.kind, Kind::Host | Kind::Net) {
            return Err(self.wrong_before("an address is no port and no protocol"));
        }
        self.network_of(qualifier, &[IP6])?;
        Ok(self.layers.host6(qualifier.side, address, mask))
    }

    /// Refuses a mask that is no network's, or leaves bits of the address out.
    fn check_net(&self, qualifier: Qualifier, whole: bool) -> Result<(), Wrong> {
        if qualifier.kind != Kind::Net {
            return Err(self.wrong_before("a mask needs net before the address"));
        }
        if whole { Ok(()) } else { Err(self.wrong_before("the network has bits that its mask leaves out")) }
    }

    /// The ethertype whose addresses are meant: one of those that have such ones, or none for all.
    fn network_of(&self, qualifier: Qualifier, with: &[u32]) -> Result<Option<u32>, Wrong> {
        match qualifier.protocol {
            None => Ok(None),
            Some(Protocol::Network(number)) if with.contains(&number) => Ok(Some(number)),
            _ => Err(self.wrong_before("this protocol has no such addresses")),
        }
    }

    /// A range of ports.
    fn ports(&self, first: u32, last: u32, qualifier: Qualifier) -> Result<Test, Wrong> {
        let protocol = match qualifier.protocol {
            None => None,
            Some(Protocol::Transport(number @ (6 | 17 | 132), _)) => Some(number),
            _ => return Err(self.wrong_before("only tcp, udp and sctp have ports")),
        };
        if first.max(last) > u16::MAX.into() {
            return Err(self.wrong_before("ports end at 65535"));
        }
        Ok(self.layers.ports(protocol, qualifier.side, first.min(last), first.max(last)))
    }

    /// Whether a protocol carries another one.
    fn carries(&self, number: u32, qualifier: Qualifier) -> Result<Test, Wrong> {
        if qualifier.sided {
            return Err(self.wrong_before("a protocol has no source and no destination"));
        }
        match qualifier.protocol {
            None => Ok(self.layers.in_either(number)),
            Some(Protocol::Link) if [0xe0, 0x809b, 0x80f3].contains(&number) => {
                Err(self.wrong_before("IPX and AppleTalk cannot be asked of recorded headers"))
            }
            Some(Protocol::Link) => Ok(self.layers.is_type(number)),
            Some(Protocol::Network(IP)) => Ok(self.layers.in_ip(number)),
            Some(Protocol::Network(IP6)) => Ok(self.layers.in_ip6(number)),
            _ => Err(self.wrong_before("only ether, ip and ip6 have a protocol's number")),
        }
    }

    /// An address of Ethernet.
    fn station(&self, mac: [u8; 6], qualifier: Qualifier) -> Result<Test, Wrong> {
        match (qualifier.protocol, qualifier.kind) {
            (Some(Protocol::Link), Kind::Host) => Ok(self.layers.station(qualifier.side, mac)),
            _ => Err(self.wrong_before("an address of Ethernet needs ether host before it")),
        }
    }

    /// An identifier that is a name.
    fn named(&mut self, name: &str, qualifier: Qualifier) -> Result<Test, Wrong> {
        match qualifier.kind {
            Kind::Host | Kind::Net => {
                Err(self.wrong_before(format!("\"{name}\" is no address; names are not looked up")))
            }
            Kind::Proto => match names::protocol(name) {
                Some(Protocol::Network(number)) if qualifier.protocol == Some(Protocol::Link) => {
                    self.carries(number, qualifier)
                }
                Some(Protocol::Transport(number, _)) if qualifier.protocol != Some(Protocol::Link) => {
                    self.carries(number, qualifier)
                }
                _ => Err(self.wrong_before(format!("unknown protocol \"{name}\": write its number"))),
            },
            Kind::Port => {
                let (port, alone) = names::service(name).ok_or_else(|| {
                    self.wrong_before(format!("unknown service \"{name}\": write the port's number"))
                })?;
                self.service(port, alone, qualifier)
            }
            Kind::PortRange => {
                let range = name.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                let (first, last) = range.ok_or_else(|| {
                    self.wrong_before(format!("\"{name}\" is no range of ports: write 8000-8099"))
                })?;
                self.ports(first, last, qualifier)
            }
        }
    }

    /// The port of a service, which one protocol may have alone.
    fn service(&self, port: u32, alone: Option<u32>, qualifier: Qualifier) -> Result<Test, Wrong> {
        let protocol = match (qualifier.protocol, alone) {
            (None, Some(alone)) => Some(Protocol::Transport(alone, names::Versions::Both)),
            (Some(Protocol::Transport(number, _)), Some(alone)) if number != alone => {
                return Err(self.wrong_before("another protocol has this service"));
            }
            (protocol, _) => protocol,
        };
        self.ports(port, port, Qualifier { protocol, ..qualifier })
    }

    /// Whether a number comes.
    fn begins_number(&self) -> bool {
        let bracket = || matches!(self.tokens.get(self.next + 1), Some((Token::Symbol("["), _)));
        match self.peek() {
            Some(Token::Number(_) | Token::Symbol("-")) => true,
            Some(Token::Word(word)) => {
                word == "len" || names::number(word).is_some() || names::protocol(word).is_some() && bracket()
            }
            _ => false,
        }
    }

    /// Arithmetic whose operators bind at least so tightly.
    fn arithmetic(&mut self, least: u8) -> Result<Arithmetic, Wrong> {
        self.open()?;
        let left = self.unary()?;
        let whole = self.arithmetic_from(left, least)?;
        self.depth -= 1;
        Ok(whole)
    }

    /// The rest of arithmetic whose left side was read.
    fn arithmetic_from(&mut self, mut left: Arithmetic, least: u8) -> Result<Arithmetic, Wrong> {
        while let Some(Token::Symbol(symbol)) = self.peek() {
            let Some((operator, before, behind)) = names::operator(symbol).filter(|o| o.1 >= least) else {
                break;
            };
            let _ = before;
            self.next += 1;
            let right = self.arithmetic(behind)?;
            left = self.calculated(left, operator, right)?;
        }
        Ok(left)
    }

    /// Two numbers and what is made of them.
    fn calculated(
        &self,
        left: Arithmetic,
        operator: Operator,
        right: Arithmetic,
    ) -> Result<Arithmetic, Wrong> {
        match (operator, &right.value) {
            (Operator::Divide | Operator::Modulo, Value::Number(0)) => {
                return Err(self.wrong_before("division by zero"));
            }
            (Operator::ShiftLeft | Operator::ShiftRight, Value::Number(32..)) => {
                return Err(self.wrong_before("a shift by more than 31 bits"));
            }
            _ => {}
        }
        let operators = left.operators + right.operators + 1;
        if operators > MOST_OPERATORS {
            return Err(self.wrong_before(format!("arithmetic has more than {MOST_OPERATORS} operators")));
        }
        // libpcap forgets which protocol the right side needs (gen_arth), and so does the recorder.
        let value = Value::Calculate(Box::new(left.value), operator, Box::new(right.value));
        Ok(Arithmetic { value, checks: left.checks, operators })
    }

    /// A number, bytes of a header, or arithmetic in parentheses, with a minus or not.
    fn unary(&mut self) -> Result<Arithmetic, Wrong> {
        if self.symbol("-") {
            let operand = self.arithmetic(UNARY)?;
            let checks = operand.checks.clone();
            let negated =
                self.calculated(Arithmetic::plain(Value::Number(0)), Operator::Subtract, operand)?;
            return Ok(Arithmetic { checks, ..negated });
        }
        if self.symbol("(") {
            let inner = self.arithmetic(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.word("len") {
            return Ok(Arithmetic::plain(Value::Length));
        }
        if let Some(number) = self.peek_word().and_then(names::number) {
            self.next += 1;
            return Ok(Arithmetic::plain(Value::Number(number)));
        }
        match self.peek_word().and_then(names::protocol) {
            Some(protocol) => self.header(protocol),
            None => self.number().map(|number| Arithmetic::plain(Value::Number(number))),
        }
    }

    /// `tcp[0:2]`: bytes of a protocol's header.
    fn header(&mut self, protocol: Protocol) -> Result<Arithmetic, Wrong> {
        self.next += 1;
        self.expect("[")?;
        let index = self.arithmetic(0)?;
        let size = if self.symbol(":") { self.number()? } else { 1 };
        if ![1, 2, 4].contains(&size) {
            return Err(self.wrong_before("1, 2 or 4 bytes can be compared"));
        }
        self.expect("]")?;
        let (checks, value) = self.layers.header(protocol, index.value, size);
        let operators = index.operators + 1;
        Ok(Arithmetic { value, checks: index.checks.into_iter().chain(checks).collect(), operators })
    }
}

/// Words before an identifier.
fn is_qualifier(word: &str) -> bool {
    ["src", "dst", "host", "net", "port", "portrange", "proto"].contains(&word)
}

/// Words of the language.
fn is_known(word: &str) -> bool {
    const OTHERS: [&str; 10] =
        ["and", "or", "not", "len", "less", "greater", "vlan", "mask", "broadcast", "multicast"];
    is_qualifier(word)
        || OTHERS.contains(&word)
        || names::protocol(word).is_some()
        || names::number(word).is_some()
        || names::is_elsewhere(word)
}
