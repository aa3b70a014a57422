//! W3C trace context: which request a call belongs to and which hop made it.

use std::fmt;

use crate::chance::Chance;

/// Length of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Names a request across all services (trace id) and the hop that made this call (span id). All zero means no trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Same for every call made on behalf of one request.
    pub trace_id: u128,
    /// Differs for every hop.
    pub span_id: u64,
    /// Flags of the W3C format; 1 means sampled.
    pub flags: u8,
}

impl Trace {
    /// Makes a trace from its two ids, sampled.
    pub fn new(trace_id: u128, span_id: u64) -> Self {
        Trace { trace_id, span_id, flags: 1 }
    }

    /// Tells whether there is no trace.
    pub fn is_none(&self) -> bool {
        self.trace_id == 0
    }

    /// Parses a `traceparent`; `None` when it is not a valid one.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let bytes = traceparent.as_bytes();
        // A later version may append fields after a dash; version ff is forbidden.
        let shaped = bytes.len() == TRACEPARENT_BYTES
            || (bytes.len() > TRACEPARENT_BYTES && bytes[TRACEPARENT_BYTES] == b'-' && &bytes[..2] != b"00");
        if !shaped || bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' || &bytes[..2] == b"ff" {
            return None;
        }
        parse_hex(&bytes[..2])?;
        let trace_id = parse_hex(&bytes[3..35])?;
        let span_id = parse_hex(&bytes[36..52])? as u64;
        let flags = parse_hex(&bytes[53..55])? as u8;
        (trace_id != 0 && span_id != 0).then_some(Trace { trace_id, span_id, flags })
    }

    /// Writes the `traceparent`; an empty string when there is no trace.
    pub fn traceparent(&self) -> String {
        if self.is_none() {
            return String::new();
        }
        self.bytes().iter().map(|&byte| byte as char).collect()
    }

    /// Writes the `traceparent` of a trace that is there.
    pub(crate) fn bytes(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut out[3..35], self.trace_id);
        write_hex(&mut out[36..52], u128::from(self.span_id));
        write_hex(&mut out[53..55], u128::from(self.flags));
        out
    }

    /// Makes the trace of the next hop: same trace id, new span id; a new trace when there is none.
    pub(crate) fn next_hop(&self, chance: &Chance) -> Self {
        let span_id = chance.bits().max(1);
        if self.is_none() {
            let trace_id = (u128::from(chance.bits()) << 64) | u128::from(chance.bits());
            return Trace::new(trace_id.max(1), span_id);
        }
        Trace { span_id, ..*self }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

/// Parses lower-case hexadecimal digits, at most 32.
fn parse_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(nibble))
    })
}

fn write_hex(out: &mut [u8], mut value: u128) {
    for slot in out.iter_mut().rev() {
        *slot = HEX[(value & 0xf) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_survives_the_round_trip() {
        let trace = Trace::parse(EXAMPLE).unwrap();
        assert_eq!(trace.traceparent(), EXAMPLE);
        assert_eq!(trace.span_id, 0xb7ad_6b71_6920_3331);
        assert_eq!(trace.flags, 1);
    }

    #[test]
    fn a_malformed_traceparent_is_no_trace() {
        let long = format!("{EXAMPLE}-extra");
        for bad in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            &long,
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
        assert!(Trace::parse(&EXAMPLE.replacen("00", "01", 1)).is_some());
    }

    #[test]
    fn the_next_hop_keeps_the_trace_and_changes_the_span() {
        let chance = Chance::new(Some(3));
        let trace = Trace::parse(EXAMPLE).unwrap();
        let next = trace.next_hop(&chance);
        assert_eq!(next.trace_id, trace.trace_id);
        assert_ne!(next.span_id, trace.span_id);
        assert!(!Trace::default().next_hop(&chance).is_none());
        assert_eq!(Trace::default().traceparent(), "");
    }
}
