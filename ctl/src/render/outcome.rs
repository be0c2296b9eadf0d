//! What a command that set backends did not achieve: what outweighs it, and what else keeps flows away.

use guideway_api::{Backend, BackendOrder, BackendSetting, BackendState, SetState, Source};

use super::sentence;
use crate::arguments::Setting;

/// Backends with a note of their own; the others are counted.
const NOTED: usize = 5;

/// The note on settings that a restart would lose.
pub(crate) const UNSTORED: &str = "note: the settings are in force but not stored, a restart would lose them; the \
                                   daemon's log says why";

/// A note for each backend that is not as the command wants it.
pub(crate) fn notes(setting: &Setting, backends: &[Backend]) -> Vec<String> {
    let mut notes: Vec<String> = backends.iter().filter_map(|it| note(setting, it)).collect();
    if notes.len() > NOTED {
        let more = notes.len() - NOTED;
        notes.truncate(NOTED);
        notes.push(format!("note: {more} more backends are not as they were set"));
    }
    notes
}

fn note(setting: &Setting, backend: &Backend) -> Option<String> {
    let name = format!("{}/{}", backend.pool, backend.name);
    let wanted = match setting.order {
        BackendOrder::State(state) => state,
        BackendOrder::Weight(weight) if weight != backend.weight => {
            let weight = backend.weight;
            return Some(format!(
                "note: {name} keeps weight {weight}: the operator has set it; `guidewayctl backend weight {name} \
                 unset` removes that"
            ));
        }
        _ => return None,
    };
    let expected = match wanted {
        SetState::Active | SetState::Enabled => BackendState::Active,
        SetState::Draining => BackendState::Draining,
        SetState::Disabled => BackendState::Disabled,
        SetState::Down => BackendState::Down,
    };
    match backend.state {
        // Nothing outweighs the state, but the weight has the same effect.
        BackendState::Active if wanted == SetState::Enabled && backend.weight == 0 => {
            let is_set = |set: &BackendSetting| set.weight.is_some();
            let hint = match backend.settings.iter().any(is_set) {
                true => "unset",
                false => "1",
            };
            Some(format!(
                "note: {name} is active with weight 0 and gets no new flows; \
                 `guidewayctl backend weight {name} {hint}`"
            ))
        }
        state if state == expected => None,
        state @ (BackendState::Unresolved | BackendState::Unreachable) => {
            let why = sentence::next_hop(&backend.next_hop);
            let is_active = expected == BackendState::Active;
            is_active.then(|| format!("note: {name} is {}: {why}", state.name()))
        }
        state => {
            let (state, source) = (state.name(), backend.source.name());
            let why = backend.reason.as_ref().map(|reason| format!(" ({reason})"));
            let why = why.unwrap_or_default();
            let hint = match (setting.source, backend.source) {
                (Source::Operator, Source::Controller) => {
                    format!("; `guidewayctl backend state {name} active` outweighs it")
                }
                (Source::Controller, Source::Operator) => {
                    "; that outweighs the controller's until the operator unsets it".to_owned()
                }
                _ => String::new(),
            };
            Some(format!("note: {name} stays {state}, set by the {source}{why}{hint}"))
        }
    }
}
