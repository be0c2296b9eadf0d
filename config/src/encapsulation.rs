//! The encapsulations of packets to backends, and their settings: keys of both pools and backends.

use toml::de::DeValue;

use super::findings::{Checked, Located};
use super::model::{Encapsulation, GreKey, Parameters, UdpChecksum};
use super::section::Section;
use super::value;
use guideway_core::balancer::encapsulation::Setting;

const CHECKSUMS: [(&str, UdpChecksum); 2] =
    [("zero", UdpChecksum::Zero), ("compute", UdpChecksum::Compute)];

/// Labels below 16 have special meanings (RFC 3032).
const LABELS: std::ops::RangeInclusive<i64> = 16..=0xf_ffff;

/// The encapsulations and settings of one pool or backend.
#[derive(Debug)]
pub(super) struct EncapsulationDraft {
    /// In the file's order; `None` without the key.
    pub(super) encapsulations: Checked<Option<Located<Vec<Encapsulation>>>>,
    pub(super) parameters: Checked<Parameters>,
    /// The settings that are set, with their positions.
    pub(super) keys: Vec<Located<Setting>>,
}

pub(super) fn read(section: &mut Section<'_>) -> EncapsulationDraft {
    let encapsulations = section.optional("encapsulation", encapsulations);
    let mut keys = Vec::new();
    let parameters = parameters(section, &mut keys);
    EncapsulationDraft { encapsulations, parameters, keys }
}

fn parameters(section: &mut Section<'_>, keys: &mut Vec<Located<Setting>>) -> Checked<Parameters> {
    fn record<T>(
        keys: &mut Vec<Located<Setting>>,
        setting: Setting,
        found: Checked<Option<Located<T>>>,
    ) -> Checked<Option<T>> {
        let found = found?;
        keys.extend(found.as_ref().map(|found| Located { value: setting, at: found.at }));
        Ok(found.map(|found| found.value))
    }
    let mac = || value::text(value::mac);
    // Every key is read before the first error returns.
    let gre_key = section.optional(Setting::GreKey.name(), gre_key);
    let udp_port = section.optional(Setting::UdpPort.name(), value::integer(1..=65_535));
    let udp_checksum = section.optional(Setting::UdpChecksum.name(), value::word(&CHECKSUMS));
    let vni = section.optional(Setting::Vni.name(), value::integer(0..=0xff_ffff));
    let source = section.optional(Setting::InnerSourceMac.name(), mac());
    let destination = section.optional(Setting::InnerDestinationMac.name(), mac());
    let label = section.optional(Setting::Label.name(), value::integer(LABELS));
    let gre_key = record(keys, Setting::GreKey, gre_key);
    let udp_port = record(keys, Setting::UdpPort, udp_port);
    let udp_checksum = record(keys, Setting::UdpChecksum, udp_checksum);
    let vni = record(keys, Setting::Vni, vni);
    let inner_source_mac = record(keys, Setting::InnerSourceMac, source);
    let inner_destination_mac = record(keys, Setting::InnerDestinationMac, destination);
    let label = record(keys, Setting::Label, label);
    Ok(Parameters {
        gre_key: gre_key?,
        udp_port: udp_port?,
        udp_checksum: udp_checksum?,
        vni: vni?,
        inner_source_mac: inner_source_mac?,
        inner_destination_mac: inner_destination_mac?,
        label: label?,
    })
}

/// A name, or several in an array.
fn encapsulations(value: &DeValue<'_>) -> Result<Vec<Encapsulation>, String> {
    let one = value::word(Encapsulation::NAMES);
    let DeValue::Array(array) = value else { return Ok(vec![one(value)?]) };
    let mut listed = Vec::with_capacity(array.len().min(Encapsulation::NAMES.len()));
    for (index, element) in array.iter().enumerate() {
        let found = one(element.get_ref()).map_err(|why| format!("[{index}] {why}"))?;
        if listed.contains(&found) {
            return Err(format!("has {:?} twice; keep one", found.name()));
        }
        listed.push(found);
    }
    if listed.is_empty() {
        return Err(
            "is empty; list what the backends accept, for example [\"gue\", \"gre\"]".to_owned()
        );
    }
    Ok(listed)
}

/// A number, or `"flow"`.
fn gre_key(value: &DeValue<'_>) -> Result<GreKey, String> {
    match value {
        DeValue::String(_) => value::word(&[("flow", GreKey::Flow)])(value),
        _ => value::integer(0..=0xffff_ffff)(value)
            .map(GreKey::Fixed)
            .map_err(|why| format!("{why}, or \"flow\"")),
    }
}

impl EncapsulationDraft {
    /// The encapsulations of a backend with this draft: its own list, or its pool's, or the default.
    pub(super) fn listed(&self, pool: &EncapsulationDraft) -> Checked<Vec<Encapsulation>> {
        let own = match &self.encapsulations {
            Err(reported) => return Err(*reported),
            Ok(own) => own.as_ref(),
        };
        let of_pool = match &pool.encapsulations {
            Err(reported) if own.is_none() => return Err(*reported),
            of_pool => of_pool.as_ref().ok().and_then(Option::as_ref),
        };
        Ok(own.or(of_pool).map_or_else(|| vec![Encapsulation::DEFAULT], |at| at.value.clone()))
    }

    /// The settings of a backend with this draft; the pool's where the backend has none.
    pub(super) fn parameters(&self, pool: &EncapsulationDraft) -> Checked<Parameters> {
        Ok(self.parameters?.or(&pool.parameters?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T>(
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
        value: &str,
    ) -> Result<T, String> {
        parse(DeValue::parse(value).unwrap().get_ref())
    }

    #[test]
    fn one_encapsulation_or_several() {
        let read = |value| parsed(encapsulations, value);
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
        let read = |value| parsed(gre_key, value);
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
