//! What is set at run time for backends, as the file `backends.json` of the state directory.

mod format;
#[cfg(test)]
mod tests;

use std::time::Duration;

use guideway_chassis::store::Stored;

use crate::state::Settings;

/// The settings' way to the disk.
pub type Store = guideway_chassis::store::Store<Settings>;

impl Stored for Settings {
    const FILE: &'static str = "backends.json";
    const SETTING: &'static str = "control.state_directory";
    const RETRY: Duration =
        if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(3) };

    fn is_same(&self, other: &Settings) -> bool {
        Settings::is_same(self, other)
    }

    fn encode(&self) -> Vec<u8> {
        format::encode(self)
    }

    fn decode(file: &[u8]) -> Result<Settings, String> {
        format::decode(file)
    }
}

/// What a daemon finds that starts now.
#[cfg(test)]
pub(crate) fn stored(path: &std::path::Path) -> Settings {
    use guideway_chassis::store::Directory;
    let directory = Directory::new(path, Settings::FILE, Settings::SETTING);
    let file = directory.read().expect("a file that can be read");
    file.map_or(Settings::default(), |file| format::decode(&file).expect("settings"))
}
