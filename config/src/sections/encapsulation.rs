//! The encapsulations of packets to backends, and their settings: keys of both pools and backends.

use crate::declare::section;
use crate::findings::Checked;
use crate::kind::{IntegerOr, OneOrMore, Words, integer};
use crate::section::Section;
use crate::text::{MAC, Mac};
use guideway_core::balancer::encapsulation::{
    Encapsulation, GreKey, Parameters, Setting, UdpChecksum,
};

const ENCAPSULATIONS: OneOrMore<Encapsulation> = OneOrMore(Words(Encapsulation::NAMES));

const CHECKSUMS: Words<UdpChecksum> =
    Words(&[("zero", UdpChecksum::Zero), ("compute", UdpChecksum::Compute)]);

/// Labels below 16 have special meanings (RFC 3032).
const LABELS: std::ops::RangeInclusive<i64> = 16..=0xf_ffff;

fn gre_key() -> IntegerOr<u32, GreKey> {
    let integer = integer(0..=0xffff_ffff);
    IntegerOr { integer, meaning: GreKey::Fixed, word: &[("flow", GreKey::Flow)] }
}

section! {
    /// The encapsulations and their settings.
    "[]" 0..=1 => EncapsulationDraft {
        /// How packets travel to the backends. Of several, [the best that can be
        /// sent](operations.md#encapsulations).
        encapsulation: Vec<Encapsulation> = ENCAPSULATIONS, optional "\"gre\"" else "\"gre\"", reload;
        /// Of `gre` and `gre-udp`: a key for all packets, or `"flow"`, 32 bits of the flow's hash.
        gre_key: GreKey = gre_key(), optional "7" else "no key", reload;
        /// Of those over UDP: the destination port.
        udp_port: u16 = integer(1..=65_535), optional "4789" else "of the encapsulation", reload;
        /// Of those over UDP: `"compute"` computes the outer checksum over IPv6. Over IPv4 it is always
        /// 0.
        udp_checksum: UdpChecksum = CHECKSUMS, optional "\"compute\"" else "\"zero\"", reload;
        /// Of `vxlan` and `geneve`, which require it: the network identifier.
        vni: u32 = integer(0..=0xff_ffff), optional "100" else "none", reload;
        /// Of `vxlan`: the source of the inner Ethernet header.
        inner_source_mac: Mac = MAC, optional "\"02:00:00:00:00:02\"" else "the port's", reload;
        /// Of `vxlan`: the destination of the inner Ethernet header. Either give the backend's VXLAN
        /// device this address, or name the device's here.
        inner_destination_mac: Mac =
            MAC, optional "\"02:00:00:00:05:01\"" else "\"02:47:57:00:00:01\"", reload;
        /// Of `mpls-udp` and `mpls-gre`, which require it: the label.
        label: u32 = integer(LABELS), optional "1000" else "none", reload;
    }
}

impl EncapsulationDraft {
    /// Reads the keys of a pool or a backend. Most backends have none.
    pub(crate) fn read_shared(section: &Section<'_>) -> EncapsulationDraft {
        if section.may_have(Self::NAMES) {
            return Self::read_keys(section);
        }
        EncapsulationDraft {
            encapsulation: Ok(None),
            gre_key: Ok(None),
            udp_port: Ok(None),
            udp_checksum: Ok(None),
            vni: Ok(None),
            inner_source_mac: Ok(None),
            inner_destination_mac: Ok(None),
            label: Ok(None),
        }
    }

    /// The encapsulations of a backend with this draft: its own list, or its pool's, or the default.
    pub(crate) fn listed<'a>(
        &'a self,
        pool: &'a EncapsulationDraft,
    ) -> Checked<&'a [Encapsulation]> {
        let own = match &self.encapsulation {
            Err(reported) => return Err(*reported),
            Ok(own) => own.as_deref(),
        };
        let of_pool = match &pool.encapsulation {
            Err(reported) if own.is_none() => return Err(*reported),
            of_pool => of_pool.as_ref().ok().and_then(Option::as_deref),
        };
        Ok(own.or(of_pool).unwrap_or(&[Encapsulation::DEFAULT]))
    }

    /// The settings of a backend with this draft; the pool's where the backend has none.
    pub(crate) fn parameters(&self, pool: &EncapsulationDraft) -> Checked<Parameters> {
        let ((own, own_whole), (of_pool, pool_whole)) =
            (self.own_parameters(), pool.own_parameters());
        own_whole.and(pool_whole).map(|()| own.or(&of_pool))
    }

    /// Whether no key is there.
    pub(crate) fn is_unset(&self) -> bool {
        matches!(self.encapsulation, Ok(None))
            && matches!((self.gre_key, self.udp_port), (Ok(None), Ok(None)))
            && matches!((self.udp_checksum, self.vni), (Ok(None), Ok(None)))
            && matches!(self.inner_source_mac, Ok(None))
            && matches!((self.inner_destination_mac, self.label), (Ok(None), Ok(None)))
    }

    /// The settings that are set, without those that have a mistake.
    pub(crate) fn settings(&self) -> impl Iterator<Item = Setting> {
        let (own, _) = self.own_parameters();
        Setting::ALL.into_iter().filter(move |setting| setting.is_set(&own))
    }

    /// The settings without a mistake, and whether these are all.
    fn own_parameters(&self) -> (Parameters, Checked<()>) {
        fn valid<T: Copy>(found: Checked<Option<T>>, whole: &mut Checked<()>) -> Option<T> {
            *whole = whole.and(found.map(|_| ()));
            found.ok().flatten()
        }
        let mut whole = Ok(());
        let parameters = Parameters {
            gre_key: valid(self.gre_key, &mut whole),
            udp_port: valid(self.udp_port, &mut whole),
            udp_checksum: valid(self.udp_checksum, &mut whole),
            vni: valid(self.vni, &mut whole),
            inner_source_mac: valid(self.inner_source_mac, &mut whole),
            inner_destination_mac: valid(self.inner_destination_mac, &mut whole),
            label: valid(self.label, &mut whole),
        };
        (parameters, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::tree::Value;

    fn parsed<K: Kind>(kind: &K, value: &str) -> Result<K::Value, String> {
        kind.parse(&Value::parse(value).unwrap())
    }

    #[test]
    fn one_encapsulation_or_several() {
        let read = |value| parsed(&ENCAPSULATIONS, value);
        assert_eq!(read("'gue'"), Ok(vec![Encapsulation::Gue]));
        assert_eq!(read("['gue', 'gre']"), Ok(vec![Encapsulation::Gue, Encapsulation::Gre]));
        for (value, why) in [
            ("[]", "is empty; list"),
            ("['gre', 'gre']", "has \"gre\" twice"),
            ("['gre', 'grr']", "[1] is the string \"grr\"; expected \"gre\" or \"ipip\""),
            ("7", "is the integer 7; expected \"gre\" or"),
        ] {
            let message = read(value).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn a_gre_key_is_a_number_or_the_flow() {
        let read = |value| parsed(&gre_key(), value);
        assert_eq!(read("7"), Ok(GreKey::Fixed(7)));
        assert_eq!(read("0xffff_ffff"), Ok(GreKey::Fixed(u32::MAX)));
        assert_eq!(read("'flow'"), Ok(GreKey::Flow));
        for (value, why) in [
            ("4294967296", "from 0 to 4294967295, or \"flow\""),
            ("-1", "from 0"),
            ("'hash'", "expected \"flow\""),
            ("true", "or \"flow\""),
        ] {
            let message = read(value).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
    }
}
