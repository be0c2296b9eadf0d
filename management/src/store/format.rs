//! The file of the settings: JSON, a line for each backend, sorted by pool and address.
//!
//! The format is for one daemon and the next. A daemon that finds another [`VERSION`] does not read the file.

use std::collections::HashSet;
use std::net::IpAddr;

use guideway_api::SetState;
use serde::{Deserialize, Serialize};

use crate::state::{Layer, Set, Setting, Settings};
use guideway_chassis::wall::Wall;

/// The version of the format.
const VERSION: u32 = 1;

/// The largest weight: that of the configuration.
const MAX_WEIGHT: u32 = 1_000_000;

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(rename = "version")]
    _version: u32,
    backends: Vec<StoredBackend>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredBackend {
    pool: String,
    address: IpAddr,
    #[serde(default, skip_serializing_if = "StoredLayer::is_empty")]
    controller: StoredLayer,
    #[serde(default, skip_serializing_if = "StoredLayer::is_empty")]
    operator: StoredLayer,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLayer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<StoredSet<SetState>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<StoredSet<u32>>,
}

/// Times are milliseconds from 1970 on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSet<T> {
    value: T,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// The file with these settings.
pub(super) fn encode(settings: &Settings) -> Vec<u8> {
    let mut backends: Vec<_> = settings.iter().collect();
    backends.sort_unstable_by_key(|&(pool, address, _)| (pool, address));
    let mut file = format!("{{\"version\":{VERSION},\"backends\":[").into_bytes();
    for (index, (pool, address, setting)) in backends.into_iter().enumerate() {
        file.extend(if index == 0 { &b"\n"[..] } else { b",\n" });
        let (controller, operator) = ((&setting.controller).into(), (&setting.operator).into());
        let backend = StoredBackend { pool: pool.to_owned(), address, controller, operator };
        serde_json::to_writer(&mut file, &backend).expect("names, numbers and texts");
    }
    file.extend(b"\n]}\n");
    file
}

/// The settings in a file.
///
/// # Errors
/// If it is not what [`encode`] makes.
pub(super) fn decode(file: &[u8]) -> Result<Settings, String> {
    let head: Head = serde_json::from_slice(file).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!("its format is {}, and that of this daemon {VERSION}", head.version));
    }
    let contents: Contents = serde_json::from_slice(file).map_err(|error| error.to_string())?;
    let mut settings = Settings::default();
    let mut known = HashSet::new();
    for StoredBackend { pool, address, controller, operator } in contents.backends {
        let place = || format!("{pool}/{address}");
        if !known.insert((pool.clone(), address)) {
            return Err(format!("it has {} twice", place()));
        }
        let weights =
            [&controller, &operator].into_iter().filter_map(|layer| layer.weight.as_ref());
        if let Some(weight) = weights.map(|set| set.value).find(|&weight| weight > MAX_WEIGHT) {
            return Err(format!("the weight of {} is {weight}", place()));
        }
        let setting = Setting { controller: controller.into(), operator: operator.into() };
        settings.put(&pool, address, setting);
    }
    Ok(settings)
}

impl StoredLayer {
    fn is_empty(&self) -> bool {
        self.state.is_none() && self.weight.is_none()
    }
}

impl From<&Layer> for StoredLayer {
    fn from(layer: &Layer) -> StoredLayer {
        StoredLayer {
            state: layer.state.as_ref().map(StoredSet::from),
            weight: layer.weight.as_ref().map(StoredSet::from),
        }
    }
}

impl From<StoredLayer> for Layer {
    fn from(layer: StoredLayer) -> Layer {
        Layer { state: layer.state.map(Set::from), weight: layer.weight.map(Set::from) }
    }
}

impl<T: Copy> From<&Set<T>> for StoredSet<T> {
    fn from(set: &Set<T>) -> StoredSet<T> {
        StoredSet {
            value: set.value,
            reason: set.reason.as_deref().map(str::to_owned),
            at: set.at.0,
            until: set.until.map(|end| end.0),
        }
    }
}

impl<T> From<StoredSet<T>> for Set<T> {
    fn from(set: StoredSet<T>) -> Set<T> {
        let StoredSet { value, reason, at, until } = set;
        Set { value, reason: reason.map(Into::into), at: Wall(at), until: until.map(Wall) }
    }
}
